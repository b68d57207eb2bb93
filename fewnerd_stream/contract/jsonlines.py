"""Lines of JSON for programs and for eyes: one compact line a value, of which nothing steers a terminal. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from fewnerd_stream.contract.harmless import UNSAFE
from fewnerd_stream.contract.jsonbytes import compact

if TYPE_CHECKING:
    import re


def json_line(value: object) -> bytes:
    """Write one compact line of JSON, as every ``--json`` does; what would steer a terminal is escaped.

    Text that has no UTF-8, an unpaired surrogate, is written with U+FFFD in its place.
    """
    try:
        data = orjson.dumps(value)
    except TypeError:
        data = orjson.dumps(_without_surrogates(value))
    return escaped(data) + b"\n"


def compact_line(data: bytes) -> bytes | None:
    """Write JSON that somebody else wrote as `json_line` would, its numbers and repeats as they stand.

    Returns:
        None where it is no JSON.
    """
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    return escaped(compact(data)) + b"\n"


def escaped(data: bytes) -> bytes:
    """Escape what steers in JSON: if it is valid it stands in strings only, where an escape says the same."""
    text = data.decode()
    return UNSAFE.sub(_escape, text).encode()


def _escape(match: re.Match[str]) -> str:
    data = match[0].encode("utf-16-be")
    return "".join(f"\\u{data[at]:02x}{data[at + 1]:02x}" for at in range(0, len(data), 2))


def _without_surrogates(value: Any) -> Any:  # noqa: ANN401 - as many types as JSON has
    if isinstance(value, str):
        return value.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "replace")
    if isinstance(value, dict):
        return {_without_surrogates(str(key)): _without_surrogates(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_surrogates(item) for item in value]
    return value
