"""Follow the topics, and ask now and then how the group stands; a broker that is away is waited for."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from aiokafka import TopicPartition

from fewnerd_stream.console.documents import Documents, UnreadableRecordError
from fewnerd_stream.console.figures import Figures
from fewnerd_stream.contract.envelope import dead_letter
from fewnerd_stream.errors import BrokerError, FewnerdError, TopicsError
from fewnerd_stream.kafka import clients
from fewnerd_stream.operations.status.gather import gather

if TYPE_CHECKING:
    from fewnerd_stream.console.hub import Hub
    from fewnerd_stream.contract.records import Record
    from fewnerd_stream.settings import Settings

_log = logging.getLogger(__name__)

_TICK: Final = 0.25
_MOST: Final = 25
_BACK: Final = 20
_POLL_MS: Final = 200
_TOGETHER: Final = 500
_LOOK: Final = 5.0
_AWAY: Final = 2.0
_NOTES: Final = 50


class Follower:
    """Reads output, retry and dead topics in no group, and tells the browsers."""

    def __init__(self, settings: Settings, hub: Hub) -> None:
        """Read where the settings say, and tell a hub's browsers."""
        self._settings = settings
        self._hub = hub
        self._next: dict[TopicPartition, int] = {}
        self._lost = asyncio.Event()
        self._notes: list[dict[str, Any]] = []
        self._first: dict[str, None] = {}
        self.documents = Documents(settings.text_field)
        self.figures = Figures()
        self.state = "starting"
        """``live``, or why not."""
        self.waiting = 0
        """Retries that wait, in all."""
        self.letters = 0
        """Dead letters, in all."""
        self.workers = 0

    async def run(self) -> None:
        """Work until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for work in (self._follow(), self._look(), self._tick()):
                tasks.create_task(work)

    async def _follow(self) -> None:
        while True:
            try:
                await self._read()
            except FewnerdError as error:
                self.state = str(error)
                _log.warning("%s", error)
                await asyncio.sleep(_AWAY)

    async def _read(self) -> None:
        """Read until the broker goes.

        Raises:
            BrokerError: no broker, or it failed.
            TopicsError: there is none of the topics.
        """
        settings = self._settings
        roles = {
            name: role for name, role in settings.topology.roles() if role in {"output", "retry", "dead"}
        }
        async with clients.admin(settings) as admin:
            there = await clients.partitions(admin)
        found = {name: there[name] for name in roles if name in there}
        if not found:
            raise TopicsError("there are no topics yet: `fewnerd-stream topics create` makes them")
        self._lost.clear()
        async with clients.consumer(settings, follow=True) as reader:
            for place, (first, end) in (await clients.bounds(reader, found)).items():
                part = TopicPartition(*place)
                begin = max(first, end - _BACK) if roles[part.topic] == "output" else end
                known = self._next.get(part)
                # A topic that ends before where we were is another one: it was made anew.
                self._next[part] = begin if known is None or known > end else max(first, known)
            reader.assign(list(self._next))
            for part, offset in self._next.items():
                reader.seek(part, offset)
            self.state = "live"
            while not self._lost.is_set():
                batches = await reader.getmany(timeout_ms=_POLL_MS, max_records=_TOGETHER)
                for part, batch in batches.items():
                    for message in batch:
                        self._see(clients.to_record(message), roles[part.topic])
                    self._next[part] = batch[-1].offset + 1
                await asyncio.sleep(0)

    def _see(self, record: Record, role: str) -> None:
        now = time.time()
        if role == "retry":
            self.figures.retry(now)
        elif role == "dead":
            self.figures.dead(now)
            reason = dead_letter(record, self._settings).reason or "unknown"
            if len(self._notes) < _NOTES:
                self._notes.append(
                    {
                        "reason": reason,
                        "at": record.timestamp,
                        "partition": record.partition,
                        "offset": record.offset,
                    }
                )
        else:
            try:
                message = self.documents.see(record, time.monotonic())
            except UnreadableRecordError:
                self.figures.unreadable += 1
                return
            if message is not None:
                first = message.place not in self._first
                self._first[message.place] = None
                while len(self._first) > 10_000:  # noqa: PLR2004 - more than documents are kept
                    self._first.pop(next(iter(self._first)))
                self.figures.document(message, now, first=first)

    async def _look(self) -> None:
        """Ask how the group stands."""
        while True:
            try:
                report = await gather(self._settings, letters=0)
            except (BrokerError, TopicsError, TimeoutError) as error:
                if self.state == "live":
                    _log.warning("%s", error)
                self.state = str(error) or "the broker does not answer"
                self.figures.lag = None
                self._lost.set()
            else:
                self.figures.lag = report.lag
                self.waiting, self.workers = report.waiting, len(report.members)
                self.letters = sum(dead.total for dead in report.dead)
            await asyncio.sleep(_LOOK)

    async def _tick(self) -> None:
        """Tell the browsers: documents four times a second at most, figures once."""
        count = 0
        while True:
            await asyncio.sleep(_TICK)
            count += 1
            documents, left = self.documents.news(time.monotonic(), _MOST)
            notes, self._notes = self._notes, []
            if documents or left or notes:
                value = {"documents": documents, "skipped": left, "dead": notes}
                self._hub.tell("documents", value, len(documents) + left)
            if count % 4 == 0:
                self._hub.tell("numbers", self.report())

    def report(self) -> dict[str, Any]:
        """Give the figures, and how all stands."""
        return self.figures.report(time.time()) | {
            "state": self.state,
            "waiting": self.waiting,
            "letters": self.letters,
            "workers": self.workers,
            "browsers": len(self._hub),
        }
