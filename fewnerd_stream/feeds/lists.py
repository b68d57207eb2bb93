"""Lists of feeds, in TOML or OPML."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lxml import etree

from fewnerd_stream.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

_FIELDS: Final = {"url": str, "title": str, "every": (int, float), "fetch": bool}


@dataclass(frozen=True, slots=True)
class Feed:
    """A feed to be read; what is None is as the command says for all."""

    url: str
    title: str | None = None
    every: float | None = None
    """Seconds between two polls."""
    fetch: bool | None = None
    """Whether to get each entry's article."""


def read_list(path: Path) -> list[Feed]:
    """Read a list: ``[[feed]]`` tables of TOML with ``url``, or OPML (whatever begins with ``<``).

    Raises:
        SettingsError: it cannot be read, or an entry is wrong; the message says which.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror or error}") from error
    try:
        found = _opml(data) if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") else _toml(data.decode())
    except (ValueError, etree.XMLSyntaxError) as error:
        raise SettingsError(f"{path}: {error}") from error
    if not found:
        raise SettingsError(f"{path} names no feed: write [[feed]] tables with a url, or OPML with xmlUrl")
    return found


def _toml(text: str) -> list[Feed]:
    tables = tomllib.loads(text)
    if unknown := tables.keys() - {"feed"}:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}; each feed is a [[feed]] table")
    feeds = tables.get("feed", [])
    if not isinstance(feeds, list):
        raise ValueError("each feed is a [[feed]] table, in double brackets")  # noqa: TRY004 - the file's value
    return [_feed(number, fields) for number, fields in enumerate(feeds, 1)]


def _feed(number: int, fields: Any) -> Feed:  # noqa: ANN401 - what somebody wrote
    if not isinstance(fields, dict) or "url" not in fields:
        raise ValueError(f"feed {number} has no url")
    for name, value in fields.items():
        kind = _FIELDS.get(name)
        if kind is None:
            raise ValueError(f"feed {number}: unknown: {name}; there are {', '.join(_FIELDS)}")
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):  # type: ignore[arg-type]
            raise ValueError(f"feed {number}: {name} has a wrong type")
    if fields.get("every", 1) <= 0:
        raise ValueError(f"feed {number}: every is a number of seconds above 0")
    return Feed(**fields)


def _opml(data: bytes) -> list[Feed]:
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    root = etree.fromstring(data, parser)
    return [
        Feed(url.strip(), outline.get("title") or outline.get("text"))
        for outline in root.iter("outline")
        if (url := outline.get("xmlUrl"))
    ]
