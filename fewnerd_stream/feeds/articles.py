"""An entry's own article, where its site's robots.txt allows it, and slowly: the feed's text stands in for it."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from fewnerd_stream.feeds.helper import Helper, UnreadableError
from fewnerd_stream.feeds.net import AGENT, Fetcher, RequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

_log = logging.getLogger(__name__)

_SITES: Final = 1000
_FRESH: Final = 3600.0
_PAUSE: Final = 1.0
_MOST_PAUSE: Final = 30.0
_PATIENCE: Final = 3
_MOST_ROBOTS: Final = 500_000
_OK: Final = 200
_NONE: Final = 400
_BROKEN: Final = 500


@dataclass(slots=True)
class _Site:
    read: float
    robots: bytes | None
    """Its robots.txt; None: it says nothing that can be read, so that nothing is allowed."""
    next: float = 0.0
    failures: int = 0


class Articles:
    """Gets articles, one after the other of each site."""

    def __init__(self, fetcher: Fetcher, helper: Helper) -> None:
        """Get them through a fetcher, read them in a helper."""
        self._fetcher = fetcher
        self._helper = helper
        self._sites: OrderedDict[str, _Site] = OrderedDict()

    async def get(self, url: str) -> str:
        """Give an article's text; empty where there is none to be had, or where one is not welcome."""
        loop = asyncio.get_running_loop()
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        try:
            site = await self._site(origin, loop.time())
            if site.robots is None or site.failures >= _PATIENCE:
                return ""
            rules = await self._helper.call("robots", site.robots, url=url, agent=AGENT)
            if not rules["allowed"]:
                _log.info("%s: its site's robots.txt forbids it", url)
                return ""
            pause = min(_MOST_PAUSE, max(_PAUSE, rules["delay"] or 0.0))
            ready, site.next = site.next, max(loop.time(), site.next) + pause
            await asyncio.sleep(max(0.0, ready - loop.time()))
            answer = await self._fetcher.get(url, {"Accept": "text/html, application/xhtml+xml;q=0.9"})
            site.failures = 0 if answer.status < _BROKEN else site.failures + 1
            if answer.status != _OK or not _is_html(answer.headers):
                return ""
            found: Any = await self._helper.call("article", answer.body, url=answer.url)
            return str(found)
        except RequestError as error:
            if origin in self._sites:
                self._sites[origin].failures += 1
            _log.info("%s: %s", url, error)
        except UnreadableError as error:
            _log.info("%s: %s", url, error)
        return ""

    async def _site(self, origin: str, now: float) -> _Site:
        site = self._sites.get(origin)
        if site is None or now - site.read > _FRESH:
            robots: bytes | None = None
            try:
                answer = await self._fetcher.get(f"{origin}/robots.txt")
            except RequestError as error:
                _log.info("%s/robots.txt: %s", origin, error)
            else:
                # As RFC 9309 has it: none there allows all, a server in trouble allows nothing.
                if answer.status < _NONE:
                    robots = answer.body[:_MOST_ROBOTS]
                elif answer.status < _BROKEN:
                    robots = b""
            site = self._sites[origin] = _Site(now, robots)
            while len(self._sites) > _SITES:
                self._sites.popitem(last=False)
        return site


def _is_html(headers: Mapping[str, str]) -> bool:
    return "html" in headers.get("Content-Type", "html").lower()
