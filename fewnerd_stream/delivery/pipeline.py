"""Windows in flight: inferred in threads side by side, published one after the other as they were read."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import logging
from typing import TYPE_CHECKING, Any

from fewnerd_stream.delivery.ledger import Partition
from fewnerd_stream.delivery.publish import Dropped, Publisher
from fewnerd_stream.errors import Stop
from fewnerd_stream.exits import Exit
from fewnerd_stream.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fewnerd_stream.delivery.process import Outcome, Processor
    from fewnerd_stream.delivery.state import State
    from fewnerd_stream.delivery.transport import Producer

log = logging.getLogger("fewnerd_stream.worker")

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
_OWNERSHIP_STEP = 0.1
_BYTES_PER_LIMIT = 1_048_576


@dataclasses.dataclass(slots=True)
class Window:
    """Events taken from the stream in one go, and the epoch in which they were taken."""

    events: Sequence[Any]
    records: list[Record]
    epoch: int
    outcomes: asyncio.Future[list[Outcome]] | None = None
    done: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)

    @property
    def last(self) -> dict[Partition, int]:
        """The partitions in the window, each with its last offset."""
        return {Partition(r.topic, r.partition): r.offset for r in self.records}


def record_of(event: Any) -> Record:
    """Take a record out of a Faust event; from the message, since the event's headers lose repeated ones."""
    message = event.message
    timestamp = None if message.timestamp is None else round(message.timestamp * 1000)
    return Record(
        message.topic,
        message.partition,
        message.offset,
        timestamp,
        message.key,
        message.value,
        tuple(message.headers or ()),
    )


class Pipeline:
    """Takes windows from the agents, and acknowledges an event once everything that came of it is stored."""

    def __init__(self, state: State, processor: Processor, producer: Callable[[], Producer]) -> None:
        """Build the pipeline of a worker.

        Args:
            state: the worker's accounts.
            processor: what makes outcomes of records, in a thread.
            producer: a way to the running producer.
        """
        self._state = state
        self._processor = processor
        self._publisher = Publisher(producer, state.progress)
        count = state.settings.windows_in_flight
        self._slots = asyncio.Semaphore(count)
        self._threads = concurrent.futures.ThreadPoolExecutor(count, "window")
        self._work: set[concurrent.futures.Future[list[Outcome]]] = set()
        self._queue: asyncio.Queue[tuple[Window, Callable[[Any], Any]]] = asyncio.Queue()

    @property
    def at_work(self) -> bool:
        """Whether a thread is at work on a window, or was when the loop ended."""
        return bool(self._work)

    async def submit(self, events: Sequence[Any], ack: Callable[[Any], Any]) -> None:
        """Put a window to work; returns when there is room for it, not when it is done.

        Args:
            events: Faust events, in the order of their offsets within each partition.
            ack: what lets go of an event, Faust's ``stream.ack``.
        """
        if self._state.starts.suspect():
            await self._alone(events, ack)
        else:
            await self._launch(events, ack)

    async def _alone(self, events: Sequence[Any], ack: Callable[[Any], Any]) -> None:
        """Try documents one at a time, nothing else at work: so a crash names its culprit."""
        log.warning("a document before this has taken its process with it: going on one document at a time")
        for event in events:
            for _ in range(self._state.settings.windows_in_flight):
                await self._slots.acquire()
            for _ in range(self._state.settings.windows_in_flight):
                self._slots.release()
            window = await self._launch([event], ack)
            await window.done.wait()
            await self._state.committer.commit()

    async def _launch(self, events: Sequence[Any], ack: Callable[[Any], Any]) -> Window:
        state = self._state
        await self._slots.acquire()
        window = Window(events, [record_of(event) for event in events], state.ledger.epoch)
        pause = _FIRST_PAUSE / 4
        while state.owns(window.epoch) and not await state.committer.count_start(window.last):
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, 2 * pause)
        window.outcomes = self._start(window)
        self._queue.put_nowait((window, ack))
        return window

    def _start(self, window: Window) -> asyncio.Future[list[Outcome]]:
        loop = asyncio.get_running_loop()
        record = window.records[0]
        where = Partition(record.topic, record.partition)
        if len(window.records) == 1 and self._state.starts.condemned(where, record.offset):
            ready: asyncio.Future[list[Outcome]] = loop.create_future()
            ready.set_result([self._processor.crashed(record)])
            return ready
        work = self._threads.submit(self._processor.process, window.records)
        self._work.add(work)
        work.add_done_callback(self._work.discard)
        return asyncio.wrap_future(work)

    async def run(self) -> None:
        """Publish windows in the order in which they were submitted, for as long as the worker runs."""
        while True:
            window, ack = await self._queue.get()
            try:
                await self._finish(window, ack)
            except Dropped:
                self._state.progress.dropped(len(window.records))
            finally:
                self._slots.release()
                window.done.set()

    async def _finish(self, window: Window, ack: Callable[[Any], Any]) -> None:
        state = self._state
        outcomes = await self._outcomes(window)
        pairs = zip(window.records, outcomes, strict=True)
        plan = [(out, record.partition) for record, outcome in pairs for out in outcome.outgoing]
        await self._owned(window)
        await self._publisher.publish(plan, lambda: state.owns(window.epoch))
        if window.epoch != state.ledger.epoch:
            raise Dropped
        for event, record, outcome in zip(window.events, window.records, outcomes, strict=True):
            state.ledger.hand_over(Partition(record.topic, record.partition), record.offset)
            state.progress.handed_over(outcome.kind, len(outcome.outgoing), outcome.reason)
            await ack(event)
        state.committer.kick()

    async def _owned(self, window: Window) -> None:
        """Wait until the coordinator was heard from: a worker that was frozen may own nothing any more."""
        while not self._state.consumer_heard():
            if not self._state.owns(window.epoch):
                raise Dropped
            self._state.progress.waiting("the group's coordinator has not answered for a session's length")
            await asyncio.sleep(_OWNERSHIP_STEP)
        if not self._state.owns(window.epoch):
            raise Dropped

    async def _outcomes(self, window: Window) -> list[Outcome]:
        pause = _FIRST_PAUSE
        size = sum(len(record.value or b"") for record in window.records)
        limit = self._state.settings.inference_timeout * max(1.0, size / _BYTES_PER_LIMIT)
        while True:
            assert window.outcomes is not None  # noqa: S101 - for the type checker: set before it is queued
            try:
                return await self._within(window, window.outcomes, limit)
            except Stop as error:
                self._state.progress.waiting(str(error))
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, 2 * pause)
            if not self._state.owns(window.epoch):
                raise Dropped
            window.outcomes = self._start(window)

    async def _within(
        self, window: Window, outcomes: asyncio.Future[list[Outcome]], limit: float
    ) -> list[Outcome]:
        """Await a window's outcomes; give the process up when they take too long."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit
        while True:
            done, _ = await asyncio.wait({outcomes}, timeout=min(1.0, max(0.0, deadline - loop.time())))
            if done:
                return outcomes.result()
            if not self._state.owns(window.epoch):
                raise Dropped
            if loop.time() >= deadline:
                first = window.records[0]
                # A thread that hangs cannot be ended, only its process.
                self._state.end(
                    f"the model has worked for {limit:.0f} s on a window of {len(window.records)} documents "
                    f"from {first.topic}/{first.partition}/{first.offset}; it hangs",
                    Exit.WATCHDOG,
                )
