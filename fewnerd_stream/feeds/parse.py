"""What strangers wrote, read: feeds, articles, robots.txt. Pure, and run in the helper's process only.

Everything here may take long or much memory on hostile input, which is why a process that can be ended does
it: see `fewnerd_stream.feeds.helper`.
"""

from __future__ import annotations

import calendar
import hashlib
import io
import logging
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urljoin

from fewnerd_stream.feeds.plain import plain

MOST_ENTRIES: Final = 5_000
"""Most entries that are taken of one feed; what is over is told, and comes when the feed is shorter."""

_MOST_NAME: Final = 2_000
_PERIODS: Final = {
    "hourly": 3600,
    "daily": 86_400,
    "weekly": 604_800,
    "monthly": 2_592_000,
    "yearly": 31_536_000,
}


def feed(body: bytes, *, url: str, content_type: str) -> dict[str, Any]:
    """Read RSS or Atom.

    Returns:
        ``title``, ``every`` (seconds that the feed asks for between polls, or None), ``more`` (entries left
        out), ``warning`` (what is wrong with it, or empty), and ``entries``: each with ``id``, ``url``,
        ``title``, ``time`` (ISO 8601 or None) and ``text``, in the feed's order.

    Raises:
        ValueError: it is no feed.
    """
    import feedparser  # noqa: PLC0415 - the helper alone needs it

    # Not told where it is from: it would make addresses of guids, and others when the feed has moved.
    headers = {"content-type": content_type} if content_type else {}
    found = feedparser.parse(
        io.BytesIO(body), response_headers=headers, sanitize_html=False, resolve_relative_uris=False
    )
    if not found.get("version") and not found.get("entries"):
        raise ValueError(f"no RSS or Atom feed{_why(found)}")
    entries = found["entries"]
    return {
        "title": plain(_text(found["feed"].get("title")))[:_MOST_NAME],
        "every": _every(found["feed"]),
        "more": max(0, len(entries) - MOST_ENTRIES),
        "warning": _why(found).removeprefix(": ") if found.get("bozo") else "",
        "entries": [_entry(entry, url) for entry in entries[:MOST_ENTRIES]],
    }


def _why(found: dict[str, Any]) -> str:
    error = found.get("bozo_exception")
    return f": {str(error)[:200]}" if error else ""


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _entry(entry: dict[str, Any], feed_url: str) -> dict[str, Any]:
    title = plain(_text(entry.get("title")))
    bodies = [plain(_text(one.get("value"))) for one in entry.get("content", [])]
    bodies.append(plain(_text(entry.get("summary"))))
    text = max(bodies, key=len)
    link = _text(entry.get("link"))
    url = _joined(feed_url, link) if link else ""
    # Without an id or a link, what it says is what it is.
    identity = _text(entry.get("id")) or url or hashlib.sha256(f"{title}\n{text}".encode()).hexdigest()
    return {
        "id": _whole(identity[:_MOST_NAME]),
        "url": _whole(url[:_MOST_NAME]) if url.startswith(("http://", "https://")) else "",
        "title": title,
        "text": text,
        "time": _time(entry),
    }


def _whole(text: str) -> str:
    """Replace halves of surrogate pairs: they are no text, and JSON in UTF-8 has no place for them."""
    return text.encode(errors="replace").decode()


def _joined(base: str, link: str) -> str:
    try:
        return urljoin(base, link.strip())
    except ValueError:
        return ""


def _time(entry: dict[str, Any]) -> str | None:
    for name in ("published_parsed", "updated_parsed", "created_parsed"):
        moment = dict.get(entry, name)  # feedparser's own has other fields stand in, and warns of it
        if moment:
            try:
                return datetime.fromtimestamp(calendar.timegm(moment), UTC).isoformat().replace("+00:00", "Z")
            except (ValueError, OverflowError, OSError, TypeError):
                continue
    return None


def _every(channel: dict[str, Any]) -> float | None:
    """Say how often the feed wants to be read: its ``ttl`` (minutes), or its syndication period."""
    ttl = _text(channel.get("ttl")).strip()
    if ttl.isascii() and ttl.isdigit() and len(ttl) < 9 and int(ttl):  # noqa: PLR2004 - any sane number
        return int(ttl) * 60.0
    period = _PERIODS.get(_text(channel.get("sy_updateperiod")).strip())
    if period is None:
        return None
    frequency = _text(channel.get("sy_updatefrequency")).strip() or "1"
    parts = int(frequency) if frequency.isascii() and frequency.isdigit() and len(frequency) < 6 else 1  # noqa: PLR2004
    return period / max(1, parts)


def article(body: bytes, *, url: str) -> str:
    """Give a page's article without menus, advertisements and comments; empty where there is none."""
    import trafilatura  # noqa: PLC0415 - the helper alone needs it

    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    found = trafilatura.extract(
        body, url=url, include_comments=False, include_tables=False, favor_precision=True
    )
    return plain(found) if found else ""


def robots(body: bytes, *, url: str, agent: str) -> dict[str, Any]:
    """Read a robots.txt: ``allowed`` for the URL, and the ``delay`` in seconds that it asks for, or None."""
    import protego  # noqa: PLC0415 - the helper alone needs it

    rules = protego.Protego.parse(body.decode("utf-8", "replace"))
    delay = rules.crawl_delay(agent)
    return {"allowed": rules.can_fetch(url, agent), "delay": None if delay is None else float(delay)}
