"""How the values of single settings are read: each gives the value, or an error that says what it should be."""

from __future__ import annotations

import json
import re
from typing import Final

PREFIX: Final = "FEWNERD_"

_SERVER: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_HIGHEST_PORT: Final = 65_535


def items(value: str) -> list[str]:
    """Split a value of the environment: commas between items, or a JSON list."""
    if value.lstrip().startswith("["):
        parsed = json.loads(value)
        return [item if isinstance(item, str) else json.dumps(item) for item in parsed]
    return [item.strip() for item in value.split(",") if item.strip()]


def check_servers(value: str) -> str:
    """Check that each server is host:port, and give them back with plain commas between.

    Raises:
        ValueError: one is not.
    """
    servers = items(value)
    for server in servers:
        match = _SERVER.fullmatch(server)
        if match is None or not 0 < int(match[1]) <= _HIGHEST_PORT:
            message = "host:port is wanted, with commas between"
            raise ValueError(message)
    if not servers:
        message = "host:port is wanted, with commas between"
        raise ValueError(message)
    return ",".join(servers)


def check_address(value: str) -> str:
    """Check that an address to listen on is host:port; port 0 stands for any that is free.

    Raises:
        ValueError: it is not.
    """
    match = _SERVER.fullmatch(value)
    if match is None or int(match[1]) > _HIGHEST_PORT:
        raise ValueError(f"host:port is wanted, such as 0.0.0.0:9464, not {value}")
    return value
