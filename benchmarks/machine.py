"""What a figure cannot be read without: the processor with its flags, versions, and who else was at work."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any, Final

_PACKAGES: Final = (
    "aiokafka",
    "confluent-kafka",
    "cramjam",
    "faust-streaming",
    "numpy",
    "onnx",
    "onnxruntime",
    "openvino",
    "optimum",
    "optimum-onnx",
    "orjson",
    "tokenizers",
    "torch",
    "transformers",
    "uvloop",
)
# Those that decide which INT8 kernels run.
_TELLING: Final = (
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_int8",
)


def describe() -> dict[str, Any]:
    """Return processor, memory, system, versions and load, for the results' file."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "caches": _caches(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions(),
        "java": _java(),
    }


def versions() -> dict[str, str]:
    """Return the versions of the packages that matter here, where they are installed."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def load() -> float:
    """Return how many processes wanted a core, on average over the last minute."""
    return round(os.getloadavg()[0], 2)


def _processor() -> dict[str, Any]:
    fields: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            fields.setdefault(name.strip(), value.strip())
    except OSError:
        return {"name": platform.processor()}
    flags = fields.get("flags", fields.get("Features", "")).split()
    return {
        "name": fields.get("model name", platform.processor()),
        "family_model_stepping": [fields.get(name, "") for name in ("cpu family", "model", "stepping")],
        "telling_flags": [flag for flag in _TELLING if flag in flags],
        "flags": flags,
    }


def _caches() -> dict[str, str]:
    found = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = ((folder / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        found[f"L{level} {kind}"] = size
    return found


def _java() -> str | None:
    try:
        done = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False, timeout=30)  # noqa: S607 - the user's own Java
    except OSError:
        return None
    return done.stderr.splitlines()[0] if done.stderr else None
