"""RSS and Atom, polled politely: each feed in a task of its own, so that none waits for another's server."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from fewnerd_stream.feeds.articles import Articles
from fewnerd_stream.feeds.entries import Entry, stable_id
from fewnerd_stream.feeds.helper import Helper, UnreadableError
from fewnerd_stream.feeds.net import Answer, Fetcher, RequestError
from fewnerd_stream.feeds.schedule import Outcome, wait

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fewnerd_stream.feeds.lists import Feed
    from fewnerd_stream.feeds.sink import Sink
    from fewnerd_stream.feeds.state import State
    from fewnerd_stream.settings import Settings

_log = logging.getLogger(__name__)

_ACCEPT: Final = "application/atom+xml, application/rss+xml, application/xml;q=0.9, text/xml;q=0.9, */*;q=0.1"
_REMEMBERED: Final = 10_000
_TOGETHER: Final = 50
_AT_ONCE: Final = 16
_OK: Final = 200
_UNCHANGED: Final = 304
_GONE: Final = 410
_STAGGER: Final = 5.0


@dataclass(frozen=True, slots=True)
class Options:
    """How to poll; a feed's own word in its list wins.

    Attributes:
        every: seconds between polls; None: as the feed wishes, else an hour.
        fetch: get each entry's article.
        once: poll each feed once, and end.
    """

    every: float | None = None
    fetch: bool = False
    once: bool = False


@dataclass(slots=True)
class Poller:
    """Polls feeds until it is cancelled."""

    settings: Settings
    sink: Sink
    state: State
    fetcher: Fetcher
    helper: Helper
    options: Options = field(default_factory=Options)
    random: random.Random = field(default_factory=random.Random)
    failed: int = 0
    """Polls that failed."""
    _articles: Articles = field(init=False)
    _room: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        """Make what all feeds share."""
        self._articles = Articles(self.fetcher, self.helper)
        self._room = asyncio.Semaphore(_AT_ONCE)  # so many feeds' entries are in memory

    async def run(self, feeds: Sequence[Feed]) -> None:
        """Poll feeds, each by its own clock; with ``once``, until each was polled."""
        async with asyncio.TaskGroup() as tasks:
            for one in {each.url: each for each in feeds}.values():
                tasks.create_task(self._follow(one, stagger=len(feeds) > _AT_ONCE))

    async def _follow(self, feed: Feed, *, stagger: bool) -> None:
        failures = 0
        if stagger and not self.options.once:
            await asyncio.sleep(self.random.uniform(0, _STAGGER))
        while True:
            async with self._room:
                outcome = await self.poll(feed)
            failures = failures + 1 if outcome.failed else 0
            self.failed += outcome.failed
            if self.options.once:
                return
            if outcome.status == _GONE:
                _log.warning("%s is gone for good, says its server: it is not polled again", feed.url)
                return
            every = feed.every or self.options.every
            seconds = wait(outcome, failures, every, datetime.now(UTC), self.random)
            _log.debug("%s again in %.0f s", feed.url, seconds)
            await asyncio.sleep(seconds)

    async def poll(self, feed: Feed) -> Outcome:
        """Poll a feed once: store its new entries, and then remember them.

        Raises:
            TopicsError: a topic is gone.
        """
        known = self.state.get(feed.url)
        headers = {"Accept": _ACCEPT}
        # Verbatim, quotes and all: to the server they are opaque.
        for ours, theirs in (("etag", "If-None-Match"), ("modified", "If-Modified-Since")):
            if known.get(ours):
                headers[theirs] = known[ours]
        try:
            answer = await self.fetcher.get(feed.url, headers)
        except RequestError as error:
            _log.warning("%s: %s", feed.url, error)
            return Outcome(None, {})
        if answer.status == _UNCHANGED:
            return Outcome(answer.status, answer.headers, known.get("every"))
        if answer.status != _OK:
            _log.warning("%s answers %d", feed.url, answer.status)
            return Outcome(max(answer.status, 400), answer.headers)
        try:
            found = await self.helper.call(
                "feed", answer.body, url=answer.url, content_type=answer.headers.get("Content-Type", "")
            )
        except UnreadableError as error:
            _log.warning("%s: %s", feed.url, error)
            return Outcome(None, answer.headers)
        if found["more"]:
            _log.warning("%s has %d entries more than are read at once", feed.url, found["more"])
        await self._take(feed, found, known, answer)
        return Outcome(answer.status, answer.headers, found["every"])

    async def _take(self, feed: Feed, found: dict[str, Any], known: dict[str, Any], answer: Answer) -> None:
        seen: dict[str, None] = dict.fromkeys(known.get("seen", []))
        new: dict[str, dict[str, Any]] = {}
        now: dict[str, None] = {}
        for entry in reversed(found["entries"]):  # the oldest first, as they came about
            identity = stable_id(feed.url, entry["id"])[:16]
            now[identity] = None
            if identity not in seen:
                new.setdefault(identity, entry)
        fetch = self.options.fetch if feed.fetch is None else feed.fetch
        entries = list(new.values())
        stored = 0
        for start in range(0, len(entries), _TOGETHER):
            documents = []
            for entry in entries[start : start + _TOGETHER]:
                article = await self._articles.get(entry["url"]) if fetch and entry["url"] else ""
                documents.append(self._entry(feed, found, entry, article).document(self.settings))
            for refused in await self.sink.store(documents):
                stored += refused is None
                if refused:
                    _log.warning("%s: an entry is left out: %s", feed.url, refused)
        if stored:
            _log.info("%s: %d new of %d entries", feed.url, stored, len(found["entries"]))
        # What is in the feed now is remembered longest: it is what comes again.
        kept = list({identity: None for identity in seen if identity not in now} | now)[-_REMEMBERED:]
        state = {"seen": kept, "every": found["every"]}
        state |= {"etag": answer.headers.get("ETag"), "modified": answer.headers.get("Last-Modified")}
        if state != known:
            await self.state.put(feed.url, state)

    @staticmethod
    def _entry(feed: Feed, found: dict[str, Any], entry: dict[str, Any], article: str) -> Entry:
        text = article if len(article) > len(entry["text"]) else entry["text"]
        return Entry(
            id=stable_id(feed.url, entry["id"]),
            text=text,
            title=entry["title"],
            url=entry["url"],
            time=entry["time"] or "",
            feed=feed.title or found["title"] or feed.url,
            source=feed.url,
        )
