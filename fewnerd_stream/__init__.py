"""fewnerd-stream: Few-NERD entities for documents on Kafka.

The core package: contracts, delivery, settings and operations. It imports neither ``agents`` nor ``model``.
"""

from __future__ import annotations

__all__ = ["__version__"]


def __getattr__(name: str) -> str:
    """Look the version up when somebody asks, so that importing the package stays light."""
    if name != "__version__":
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415 - 10 ms that few need

    try:
        return version("fewnerd-stream")
    except PackageNotFoundError:  # a checkout that was never installed
        return "0+unknown"
