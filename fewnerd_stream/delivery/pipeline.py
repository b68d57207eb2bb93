"""Windows in flight: inferred in threads side by side, published one after the other as they were read."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import logging
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fewnerd_stream.contract.records import Record
from fewnerd_stream.delivery.ledger import Partition
from fewnerd_stream.delivery.publish import Publisher
from fewnerd_stream.delivery.pulse import Pulse, Watch
from fewnerd_stream.delivery.state import Dropped
from fewnerd_stream.errors import Stop
from fewnerd_stream.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from fewnerd_stream.delivery.group import Producer
    from fewnerd_stream.delivery.process import Outcome, Processor
    from fewnerd_stream.delivery.pulse import Beat
    from fewnerd_stream.delivery.state import Ownership, State

log = logging.getLogger("fewnerd_stream.worker")

WINDOW_BYTES = 1_048_576
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
_LOOK_EVERY = 1.0
_COMMIT_STEP = 0.05


@dataclasses.dataclass(slots=True)
class Window:
    """Events taken from the stream in one go, and the claim to publish what comes of them."""

    events: Sequence[Any]
    records: list[Record]
    claim: Ownership
    work: concurrent.futures.Future[list[Outcome]] | None = None
    outcomes: asyncio.Future[list[Outcome]] | None = None
    done: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    taken_at: float = dataclasses.field(default_factory=time.perf_counter)

    @property
    def last(self) -> dict[Partition, int]:
        """The partitions in the window, each with its last offset."""
        return {Partition(r.topic, r.partition): r.offset for r in self.records}


def record_of(event: Any, topic_ids: Mapping[str, str] = MappingProxyType({})) -> Record:
    """Take a record out of a Faust event; from the message, since the event's headers lose repeated ones.

    Its timestamp is in milliseconds: see the consumer's ``_to_message``.
    """
    message = event.message
    return Record(
        message.topic,
        message.partition,
        message.offset,
        message.timestamp,
        message.key,
        message.value,
        tuple(message.headers or ()),
        topic_ids.get(message.topic, ""),
    )


def _in_parts(events: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Cut a window that is large in bytes: what comes of it is in memory until all of it is stored."""
    begin = size = 0
    for number, event in enumerate(events):
        more = len(event.message.value or b"")
        if number > begin and size + more > WINDOW_BYTES:
            yield events[begin:number]
            begin, size = number, 0
        size += more
    yield events[begin:]


def _ages(outcomes: Sequence[Outcome]) -> list[float]:
    """Say how old the documents are that are enriched now, in seconds since they came to their input topic."""
    now = time.time()
    return [now - outcome.since / 1000 for outcome in outcomes if outcome.since is not None]


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
        for part in _in_parts(events):
            if self._state.crashes.suspect():
                await self._alone(part, ack)
            else:
                await self._launch(part, ack)

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
        taken_at = time.perf_counter()
        await self._slots.acquire()
        # What was let go while it waited here is not ours any more, whatever the epoch is by now.
        events = [event for event in events if not event.message.acked]
        records = [record_of(event, self._state.topic_ids) for event in events]
        window = Window(events, records, self._state.claim(), taken_at=taken_at)
        if events and await self._start(window):
            self._queue.put_nowait((window, ack))
        else:
            self._slots.release()
            window.done.set()
        return window

    async def _start(self, window: Window) -> bool:
        """Count the start and put the window to work; False when it is not ours any more."""
        state = self._state
        pause = _FIRST_PAUSE / 4
        while not await state.committer.count_start(window.last):
            if window.claim.lost():
                return False
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, 2 * pause)
        if window.claim.lost():
            return False
        record = window.records[0]
        where = Partition(record.topic, record.partition)
        if len(window.records) == 1 and state.crashes.condemned(where, record.offset):
            window.outcomes = self._work_on(window, self._processor.crashed)
        else:
            window.outcomes = self._work_on(window, self._processor.process)
        return True

    def _work_on(
        self, window: Window, process: Callable[[Sequence[Record], Beat], list[Outcome]]
    ) -> asyncio.Future[list[Outcome]]:
        """Give a window to a thread, and end the process when it hangs there, whoever owns it by then."""
        loop = asyncio.get_running_loop()
        pulse = Pulse()
        outcomes: asyncio.Future[list[Outcome]]

        def begin() -> None:
            # From when a thread is free on: one may still be at work on a window that was let go. A thread
            # that hangs cannot be ended, only its process.
            limit = self._state.settings.inference_timeout
            watch = Watch(loop, pulse, limit, lambda: self._hangs(window, limit))
            outcomes.add_done_callback(lambda _: watch.cancel())

        def work_in_thread() -> list[Outcome]:
            self._state.progress.took("queue", time.perf_counter() - window.taken_at)
            loop.call_soon_threadsafe(begin)
            return process(window.records, pulse.beat)

        work = window.work = self._threads.submit(work_in_thread)
        self._work.add(work)
        work.add_done_callback(self._work.discard)
        outcomes = asyncio.wrap_future(work)
        # Looked at: nobody may wait for it any more.
        outcomes.add_done_callback(lambda outcomes: outcomes.cancelled() or outcomes.exception())
        return outcomes

    def _hangs(self, window: Window, limit: float) -> None:
        first = window.records[0]
        self._state.end(
            f"the model has given no sign of life for {limit:g} s (FEWNERD_INFERENCE_TIMEOUT), at work on "
            f"{len(window.records)} documents from {first.topic}/{first.partition}/{first.offset}; it hangs",
            Exit.WATCHDOG,
        )

    async def run(self) -> None:
        """Publish windows in the order in which they were submitted, for as long as the worker runs."""
        while True:
            window, ack = await self._queue.get()
            try:
                await self._finish(window, ack)
            except Dropped:
                self._state.progress.dropped(len(window.records))
                if window.work is not None:
                    window.work.cancel()  # if it waits for a thread still: nobody waits for it any more
            except Exception as error:
                # The start stays counted: should one of these documents be the cause, it ends as dead.
                log.exception("a window could not be finished")
                self._state.end(f"a window could not be finished: {error!r}", Exit.FAILURE)
                raise
            finally:
                self._slots.release()
                window.done.set()

    async def _finish(self, window: Window, ack: Callable[[Any], Any]) -> None:
        state = self._state
        outcomes: Sequence[Outcome] = await self._outcomes(window)
        await self._committed(window)
        while not state.may_begin():
            if window.claim.lost():
                raise Dropped
            await asyncio.sleep(_COMMIT_STEP)
        with state.progress.timed("publish"), state.publish():
            outcomes = await self._publish(window, outcomes)
        if window.claim.lost():
            raise Dropped
        state.progress.fill.add(len(window.records) / state.settings.window_size)
        for event, record, outcome in zip(window.events, window.records, outcomes, strict=True):
            state.ledger.hand_over(Partition(record.topic, record.partition), record.offset)
            state.progress.handed_over(
                outcome.kind,
                [record.topic for record in outcome.outgoing],
                reason=outcome.reason,
                scores=outcome.scores,
            )
            await ack(event)
        state.progress.ages.add_all(_ages(outcomes))
        state.committer.handed_over()

    async def _committed(self, window: Window) -> None:
        """Wait until what was published before is committed, but for as many windows as are in flight.

        While no commit is stored, all that is published would come again with the next owner.
        """
        state = self._state
        began = time.monotonic()
        while state.committer.behind >= state.settings.windows_in_flight:
            if window.claim.lost():
                raise Dropped
            if time.monotonic() - began > _LOOK_EVERY:
                state.progress.waiting("what was published before is not committed yet")
            state.committer.kick()
            await asyncio.sleep(_COMMIT_STEP)

    async def _outcomes(self, window: Window) -> list[Outcome]:
        state = self._state
        pause = _FIRST_PAUSE
        broken = False
        while True:
            assert window.outcomes is not None  # noqa: S101 - for the type checker: set before it is queued
            try:
                return await self._result(window, window.outcomes, patient=not broken)
            except Stop as error:
                state.progress.waiting(str(error))
                broken = True
            await state.committer.survived(window.last)
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, 2 * pause)
            if not await self._start(window):
                raise Dropped

    async def _result(
        self, window: Window, outcomes: asyncio.Future[list[Outcome]], *, patient: bool
    ) -> list[Outcome]:
        """Await a window's outcomes, for as long as it is ours."""
        while not window.claim.lost():
            done, _ = await asyncio.wait({outcomes}, timeout=_LOOK_EVERY)
            if done:
                return outcomes.result()
            # A model at work is ended where it hangs, not by the watchdog's patience. One that was found broken
            # has that patience and no more, however slowly it fails.
            if patient:
                self._state.progress.moved()
        raise Dropped

    async def _publish(self, window: Window, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """Store all that came of a window; return what came of it in the end."""
        publishing = asyncio.ensure_future(self._stored(window, outcomes))
        try:
            done, _ = await asyncio.wait({publishing}, timeout=_LOOK_EVERY)
            if not done:
                # The model came back: whatever holds it up now, the document does not end the process.
                await self._state.committer.survived(window.last)
            return await publishing
        finally:
            publishing.cancel()

    async def _stored(self, window: Window, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """Store what came of a window; what a topic refuses for its size ends as a letter without its value."""
        plan = [
            (number, out, record.partition)
            for number, (record, outcome) in enumerate(zip(window.records, outcomes, strict=True))
            for out in outcome.outgoing
        ]
        refused = await self._publisher.publish([(out, source) for _, out, source in plan], window.claim)
        if not refused:
            return outcomes
        ended = list(outcomes)
        letters = {}
        for at, why in refused.items():
            number, out, source = plan[at]
            ended[number] = self._processor.too_large(window.records[number], outcomes[number], out, str(why))
            letters[number] = [(letter, source) for letter in ended[number].outgoing]
            self._state.progress.complain(f"{out.topic} refuses a record for its size: {why}")
        # There is nothing smaller to put in their place.
        small = [letter for one in letters.values() for letter in one]
        await self._publisher.publish(small, window.claim, insist=True)
        return ended
