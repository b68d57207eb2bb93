"""Replays: send dead letters to their input's first retry topic, due now, each once.

A letter is marked as replayed only when the broker has stored its copy. So a replay that is cut short
anywhere is taken up by the next one without loss; at most the batch under way goes out a second time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError

from fewnerd_stream.contract.envelope import replay_record
from fewnerd_stream.errors import FewnerdError
from fewnerd_stream.kafka import clients
from fewnerd_stream.operations.dead import store
from fewnerd_stream.operations.dead.filters import Filter
from fewnerd_stream.operations.dead.replayed_offsets import ReplayedOffsets

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping

    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

    from fewnerd_stream.operations.dead.letters import Letter
    from fewnerd_stream.settings import Settings

MOST_REPLAYS: Final = 3
"""A document that died again after so many replays is refused, unless forced."""

_TOO_LARGE: Final = (MessageSizeTooLargeError, RecordListTooLargeError)
_BATCH: Final = 100
_LAST_WORDS: Final = 10.0


class ReplayError(FewnerdError):
    """A replay that had to stop; what it had sent by then is marked, and the next one goes on."""


class Verdict(StrEnum):
    """What becomes of a dead letter in a replay."""

    REPLAY = "replay"
    ALREADY = "already"
    REFUSED = "refused"
    NO_VALUE = "no value"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Order:
    """What an operator asks of a replay.

    Attributes:
        chosen: the letters that are meant.
        dry_run: only look.
        force: also send documents that were replayed three times before.
        again: also send letters that were sent before.
        limit: most letters to send; None: all.
        rate: most letters a second; None: as fast as they go.
        repaired: other values to send for letters, by partition and offset.
    """

    chosen: Filter = field(default_factory=Filter)
    dry_run: bool = False
    force: bool = False
    again: bool = False
    limit: int | None = None
    rate: float | None = None
    repaired: Mapping[tuple[int, int], bytes] = field(default_factory=dict)

    def judge(self, letter: Letter, marks: ReplayedOffsets) -> Verdict:
        """Decide on one letter; what a filter leaves out stays as it is, replayable by another."""
        if not self.chosen.matches(letter):
            return Verdict.OTHER
        if not self.again and (letter.record.partition, letter.record.offset) in marks:
            return Verdict.ALREADY
        where = letter.record.partition, letter.record.offset
        if letter.withheld and where not in self.repaired:
            return Verdict.NO_VALUE
        if not self.force and letter.replay >= MOST_REPLAYS:
            return Verdict.REFUSED
        return Verdict.REPLAY


@dataclass(slots=True)
class Summary:
    """What a replay did, or with ``dry_run`` would do.

    Attributes:
        topic: the dead topic.
        dry_run: whether it only looked.
        scanned: letters it looked at.
        replayed: letters it sent.
        refused: letters it did not send because they were replayed three times before.
        without_value: letters it did not send because their values found no room among the dead letters.
        too_large: letters that the retry topic refuses for their size, as ``partition:offset``; they stay as they are.
        replayed_before: letters at the offsets it was asked for that earlier replays had sent.
        reasons: how many it sent, by reason.
        made_anew: partitions whose topic was deleted and made anew since an earlier replay.
        finished: whether it came to its end; a limit is one.
    """

    topic: str
    dry_run: bool
    scanned: int = 0
    replayed: int = 0
    refused: int = 0
    without_value: int = 0
    too_large: list[str] = field(default_factory=list)
    replayed_before: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    made_anew: list[int] = field(default_factory=list)
    finished: bool = False

    def as_json(self) -> dict[str, Any]:
        """Give one object for ``--json``."""
        return asdict(self) | {"reasons": dict(sorted(self.reasons.items()))}


@dataclass(frozen=True, slots=True)
class Watch:
    """What a replay tells of its progress."""

    planned: Callable[[int], object] = lambda _: None
    """Called once with the number of offsets there are to go through."""
    passed: Callable[[int], object] = lambda _: None
    """Called with the number of offsets that were gone through, and dealt with, since the last call."""
    judged: Callable[[Letter, Verdict], object] = lambda *_: None
    """Called with each letter and what is to become of it, before it is sent."""


class Replay:
    """One replay of one dead topic, from what was not replayed yet to the end as it was at the start."""

    def __init__(
        self, settings: Settings, input_topic: str, order: Order, *, run: str, watch: Watch | None = None
    ) -> None:
        """Prepare to replay an input's dead letters; ``run`` is a name that no other replay has."""
        self._topics = settings.topology.input(input_topic)
        self.summary = Summary(self._topics.dead, order.dry_run)
        self._settings = settings
        self._order = order
        self._watch = watch or Watch()
        self._marks = ReplayedOffsets(self.summary.topic, run)
        self._started = 0.0

    async def run(self) -> Summary:
        """Replay to the end.

        Raises:
            BrokerError: no broker, or it failed.
            TopicsError: the dead topic, the first retry topic or that of the marks is missing, or it forgets.
            ReplayError: another replay is at work.
        """
        settings, order = self._settings, self._order
        async with contextlib.AsyncExitStack() as stack:
            admin = await stack.enter_async_context(clients.admin(settings))
            topics = await clients.partitions(admin)
            wanted = (self._topics.dead, self._topics.retries[0], self._topics.marks)
            await clients.require(admin, topics, wanted[:2] if order.dry_run else wanted)
            if not order.dry_run:
                await store.check_marks_topic(admin, self._topics.marks)
            reader = await stack.enter_async_context(clients.consumer(settings))
            # A consumer of its own: the letters' reader goes from topic to topic, this one stays.
            marks_reader = await stack.enter_async_context(clients.consumer(settings))
            if self._topics.marks in topics:
                await store.load_marks(marks_reader, self._topics.marks, self._marks)
                self._marks.others()
            parts = await self._parts(reader, topics[self.summary.topic])
            if order.dry_run:
                await self._go_through(reader, parts, None)
            else:
                sender = _Sender(settings, stack, marks_reader)
                await sender.renew()
                await self._go_through(reader, parts, sender)
        self.summary.finished = True
        return self.summary

    async def _parts(self, reader: AIOKafkaConsumer, partitions: list[int]) -> list[tuple[int, int, int]]:
        """Say what to go through: partitions, each from its first letter that was not replayed to its end."""
        parts = []
        where = (self.summary.topic, partitions)
        for span in await store.spans(reader, self._settings, where, self._order.chosen, self._marks):
            if span.anew:
                self.summary.made_anew.append(span.partition)
            self.summary.replayed_before += self._marks.count(span.partition, span.start, span.end)
            start = span.start if self._order.again else self._marks.gap(span.partition, span.start)
            if start < span.end:
                parts.append((span.partition, start, span.end))
        return parts

    async def _go_through(
        self, reader: AIOKafkaConsumer, parts: list[tuple[int, int, int]], sender: _Sender | None
    ) -> None:
        self._watch.planned(sum(end - start for _, start, end in parts))
        self._started = time.monotonic()
        size = _BATCH if self._order.rate is None else max(1, min(_BATCH, int(self._order.rate)))
        for partition, start, end in parts:
            before = start  # where the offsets begin that lead up to the next letter: holes belong to it
            async for batch in store.letters(
                reader, self._settings, (self.summary.topic, partition), (start, end)
            ):
                chosen: list[tuple[int, Letter]] = []
                for letter in batch:
                    if self._judge(letter):
                        chosen.append((before, letter))
                    passed, before = before, letter.record.offset + 1
                    full = (
                        self._order.limit is not None
                        and self.summary.replayed + len(chosen) >= self._order.limit
                    )
                    if full or len(chosen) >= size or letter is batch[-1]:
                        await self._deal_with(chosen, sender)
                        chosen = []
                    if full:
                        return
                    self._watch.passed(before - passed)

    def _judge(self, letter: Letter) -> bool:
        verdict = self._order.judge(letter, self._marks)
        self._watch.judged(letter, verdict)
        self.summary.scanned += 1
        self.summary.refused += verdict is Verdict.REFUSED
        self.summary.without_value += verdict is Verdict.NO_VALUE
        return verdict is Verdict.REPLAY

    async def _deal_with(self, chosen: list[tuple[int, Letter]], sender: _Sender | None) -> None:
        if not chosen:
            return
        if sender is None:
            self._count(chosen)
            return
        if self._order.rate is not None:
            await asyncio.sleep(self._started + self.summary.replayed / self._order.rate - time.monotonic())
        await _to_its_end(self._send(chosen, sender))

    def _count(self, letters: Iterable[tuple[int, Letter]]) -> None:
        for _, letter in letters:
            self.summary.replayed += 1
            self.summary.reasons[letter.reason] += 1

    async def _send(self, chosen: list[tuple[int, Letter]], sender: _Sender) -> None:
        """Send a batch, mark what was stored of it, and only then complain of what was not."""
        await store.follow_marks(sender.marks_reader, self._marks)
        if others := self._marks.others():
            raise ReplayError(
                f"another replay of {self.summary.topic} is at work: {', '.join(sorted(others))}. "
                f"This one stops after {self.summary.replayed} letters; run it again when the other ended"
            )
        outcomes = await asyncio.gather(
            *(self._publish(letter, sender.producer) for _, letter in chosen), return_exceptions=True
        )
        for number, outcome in enumerate(outcomes):
            if isinstance(outcome, _TOO_LARGE):
                outcomes[number] = await self._alone(chosen[number][1], sender)
        sent = [
            one
            for one, outcome in zip(chosen, outcomes, strict=True)
            if not isinstance(outcome, BaseException)
        ]
        for before, letter in sent:
            record = letter.record
            self._marks.mark(record.partition, before, record.offset + 1, record.timestamp)
        self._count(sent)
        # Once more, so that what we write keeps what another replay has marked meanwhile.
        await store.follow_marks(sender.marks_reader, self._marks)
        await store.store_marks(sender.producer, self._topics.marks, self._marks)
        for (_, letter), outcome in zip(chosen, outcomes, strict=True):
            if isinstance(outcome, _TOO_LARGE):
                self.summary.too_large.append(f"{letter.record.partition}:{letter.record.offset}")
            elif isinstance(outcome, BaseException):
                raise outcome

    async def _alone(self, letter: Letter, sender: _Sender) -> BaseException | None:
        """Send a letter by itself: in company it may be refused for others; return what it is refused with."""
        try:
            # What was refused has left a hole in the old producer's sequence.
            await sender.renew()
            await self._publish(letter, sender.producer)
        except Exception as error:  # noqa: BLE001 - told when what was stored is marked
            await sender.renew()
            return error
        return None

    async def _publish(self, letter: Letter, producer: AIOKafkaProducer) -> None:
        record = letter.record
        repaired = self._order.repaired.get((record.partition, record.offset))
        if repaired is not None:
            record = replace(record, value=repaired)
        out = replay_record(record, self._settings)
        headers = list(out.headers)
        if out.key is not None or out.value is not None:
            await producer.send_and_wait(out.topic, value=out.value, key=out.key, headers=headers)
            return
        # Kafka takes a record with neither key nor value, aiokafka takes it only so.
        places = sorted(await producer.partitions_for(out.topic))
        batch = producer.create_batch()
        batch.append(timestamp=None, key=None, value=None, headers=headers)
        place = places[letter.record.partition % len(places)]
        await (await producer.send_batch(batch, out.topic, partition=place))


class _Sender:
    """What sends, and what sees what others mark."""

    def __init__(
        self, settings: Settings, stack: contextlib.AsyncExitStack, marks_reader: AIOKafkaConsumer
    ) -> None:
        self.marks_reader = marks_reader
        self._settings, self._stack = settings, stack
        self._producer: AIOKafkaProducer | None = None

    @property
    def producer(self) -> AIOKafkaProducer:
        """The producer, once there is one."""
        assert self._producer is not None  # noqa: S101 - for the type checker: renewed before it is used
        return self._producer

    async def renew(self) -> None:
        """Take a new producer."""
        self._producer = await self._stack.enter_async_context(clients.producer(self._settings))


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do a piece of work whole, also when we are told to stop in the middle of it."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=_LAST_WORDS)
        raise
