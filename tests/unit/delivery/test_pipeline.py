"""The pipeline: whatever finishes first, windows are published as they were read, and acked once stored."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    MessageSizeTooLargeError,
    NotEnoughReplicasError,
    RecordListTooLargeError,
)

from fewnerd_stream.contract.records import Outgoing
from fewnerd_stream.delivery.faust.producer import Producer
from fewnerd_stream.delivery.faust.transport import Consumer
from fewnerd_stream.delivery.ledger import Partition
from fewnerd_stream.delivery.pipeline import Pipeline
from fewnerd_stream.delivery.process import Outcome
from fewnerd_stream.delivery.publish import Publisher
from fewnerd_stream.delivery.state import Dropped, State
from fewnerd_stream.errors import Stop
from fewnerd_stream.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from fewnerd_stream.contract.records import Record
    from fewnerd_stream.delivery.pulse import Beat

A = Partition("raw-documents", 0)


@dataclasses.dataclass
class Message:
    """A Faust message, as far as the pipeline looks."""

    offset: int
    value: bytes
    topic: str = A.topic
    partition: int = A.partition
    timestamp: float = 0.0
    key: bytes | None = b"k"
    headers: tuple[tuple[str, bytes], ...] = ()
    acked: bool = False


@dataclasses.dataclass
class Event:
    """A Faust event."""

    message: Message


class Broker:
    """Stands for the producer: keeps what is stored, refuses what it is told to refuse."""

    errors, too_large = Producer.errors, Producer.too_large

    def __init__(self) -> None:
        """Take everything."""
        self.stored: list[bytes] = []
        self.refuse: list[bytes] = []
        self.renewed = 0
        self.hold: asyncio.Event | None = None
        # Values that are refused for their size: always, or only in company.
        self.large: dict[bytes, BaseException] = {}
        self.crowded: set[bytes] = set()
        self.sent: list[bytes] = []

    async def send(self, record: Outgoing, source: int) -> asyncio.Future[None]:  # noqa: ARG002
        """Store a value, or refuse it once."""
        value = record.value or b""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.sent.append(value)
        if value in self.large:
            future.set_exception(self.large[value])
        elif value in self.crowded and self.sent[-2:] != [value, value]:
            future.set_exception(MessageSizeTooLargeError())
        elif value in self.refuse:
            self.refuse.remove(value)
            future.set_exception(NotEnoughReplicasError())
        elif self.hold is not None:
            task = asyncio.ensure_future(self._later(value, future))
            future.add_done_callback(lambda _: task.cancel())
        else:
            self.stored.append(value)
            future.set_result(None)
        return future

    async def _later(self, value: bytes, future: asyncio.Future[None]) -> None:
        assert self.hold is not None
        await self.hold.wait()
        self.stored.append(value)
        future.set_result(None)

    async def renew(self) -> None:
        """Count it."""
        self.renewed += 1


class Group:
    """Stands for the consumer: keeps commits, and is a member until it is told otherwise."""

    errors, too_late = Consumer.errors, Consumer.too_late

    def __init__(self) -> None:
        """Be a member that the coordinator answers."""
        self.member, self.heard = True, True
        self.commits: list[dict[Partition, tuple[int, str]]] = []

    def is_member(self) -> bool:
        """Say it."""
        return self.member

    def heard_recently(self) -> bool:
        """Say it."""
        return self.heard

    async def store(self, offsets: dict[Partition, tuple[int, str]]) -> None:
        """Keep a commit."""
        self.commits.append(offsets)


class Model:
    """Makes one record of each, with the means to hold a window back or to fail."""

    def __init__(self) -> None:
        """Hold nothing back."""
        self.gates: dict[int, threading.Event] = {}
        self.stops = 0
        self.steps = 0
        self.begun: list[int] = []

    def process(self, records: Sequence[Record], beat: Beat) -> list[Outcome]:
        """Wait at the first record's gate, or raise Stop as often as told."""
        self.begun.append(records[0].offset)
        for _ in range(self.steps):
            time.sleep(0.1)
            beat()
        gate = self.gates.get(records[0].offset)
        if gate is not None:
            assert gate.wait(20)
        if self.stops:
            self.stops -= 1
            raise Stop("the model is broken")
        return [Outcome("enriched", (Outgoing("entities.person", r.key, r.value or b""),)) for r in records]

    def too_large(self, record: Record, outcome: Outcome, refused: Outgoing, why: str) -> Outcome:
        """Withhold a record's value."""
        assert refused in outcome.outgoing
        assert why
        letter = Outgoing("raw-documents.dead", record.key, b"letter " + (record.value or b""))
        return Outcome("dead", (letter,), "record-too-large")

    def crashed(self, records: Sequence[Record], beat: Beat) -> list[Outcome]:
        """Bury records."""
        beat()
        return [
            Outcome("dead", (Outgoing("fewnerd-stream.raw-documents.dead", r.key, b"dead"),), "crash")
            for r in records
        ]


@dataclasses.dataclass
class Bench:
    """A pipeline at work, and all it touches."""

    state: State
    broker: Broker
    group: Group
    model: Model
    pipeline: Pipeline
    acked: list[int]

    async def window(self, *offsets: int) -> None:
        """Deliver and submit a window."""
        for offset in offsets:
            assert self.state.ledger.deliver(A, offset)
        events = [Event(Message(offset, b"%d" % offset)) for offset in offsets]

        async def ack(event: Event) -> None:
            self.acked.append(event.message.offset)

        await self.pipeline.submit(events, ack)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for a condition."""
        async with asyncio.timeout(20):
            while not true():  # noqa: ASYNC110 - whatever the condition, no event tells it
                await asyncio.sleep(0.005)


@pytest.fixture
async def bench(tmp_path: Any) -> AsyncIterator[Bench]:
    """Give a pipeline whose partition stands at offset 0."""
    settings = load_settings(window_size=4, windows_in_flight=2, health_file=tmp_path / "health.json")

    def end(reason: str, code: object) -> None:
        raise AssertionError(reason, code)

    state = State(settings, end)
    group, broker, model = Group(), Broker(), Model()
    state.group = group  # type: ignore[assignment]  # as far as it is asked
    state.assign(A, 0, "")
    pipeline = Pipeline(state, model, lambda: broker)  # type: ignore[arg-type, return-value]  # the same
    tasks = [asyncio.ensure_future(pipeline.run()), asyncio.ensure_future(state.committer.run())]
    yield Bench(state, broker, group, model, pipeline, [])
    for gate in model.gates.values():
        gate.set()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_window_that_finishes_first_waits_for_the_one_before(bench: Bench) -> None:
    """Publishing keeps the order of reading, and commits follow it."""
    bench.model.gates[0] = threading.Event()
    await bench.window(0, 1)
    await bench.window(2, 3)
    await asyncio.sleep(0.1)
    assert bench.broker.stored == []
    bench.model.gates[0].set()
    await bench.until(lambda: bench.acked == [0, 1, 2, 3])
    assert bench.broker.stored == [b"0", b"1", b"2", b"3"]
    await bench.until(lambda: bench.group.commits[-1].get(A) == (4, ""))


async def test_nothing_is_acked_before_it_is_stored(bench: Bench) -> None:
    """While the broker has not confirmed, nothing is handed over and nothing committed past the head."""
    bench.broker.hold = asyncio.Event()
    await bench.window(0, 1)
    await asyncio.sleep(0.1)
    assert bench.acked == []
    assert bench.state.ledger.position(A) == 0
    bench.broker.hold.set()
    await bench.until(lambda: bench.acked == [0, 1])


async def test_a_broken_model_is_waited_for(bench: Bench) -> None:
    """Stop hands nothing over; the window is tried again, and comes out once the model works."""
    bench.model.stops = 1
    await bench.window(0)
    await bench.until(lambda: bench.state.progress.state == "waiting")
    assert bench.broker.stored == []
    await bench.until(lambda: bench.acked == [0])
    assert bench.broker.stored == [b"0"]


async def test_a_window_of_a_past_epoch_is_dropped_unpublished(bench: Bench) -> None:
    """What was taken before a revocation is not published after it, and is counted."""
    bench.model.gates[0] = threading.Event()
    await bench.window(0, 1)
    bench.state.forget()
    bench.model.gates[0].set()
    await bench.until(lambda: bench.state.progress.counts["dropped"] == 2)
    assert bench.broker.stored == []
    assert bench.acked == []


async def test_a_window_that_was_let_go_before_a_thread_was_free_is_never_tagged(bench: Bench) -> None:
    """Threads that are busy with what was let go take on nothing more that was let go."""
    for offset in (0, 1):
        bench.model.gates[offset] = threading.Event()
        await bench.window(offset)
    await bench.until(lambda: len(bench.model.begun) == 2)
    for again in range(2):
        bench.state.forget()
        await bench.until(lambda: bench.state.progress.counts["dropped"] == 2 + again)  # noqa: B023 - awaited here
        bench.state.assign(A, 0, "")
        await bench.window(0)
    for gate in bench.model.gates.values():
        gate.set()
    await bench.until(lambda: bench.acked == [0])
    assert sorted(bench.model.begun) == [0, 0, 1]  # two threads may begin in either order


async def test_a_worker_that_was_frozen_publishes_nothing_until_it_hears_from_the_group(bench: Bench) -> None:
    """Silence of the coordinator for a session's length holds publishing back; a lost membership drops it."""
    bench.group.heard = False
    await bench.window(0)
    await asyncio.sleep(0.2)
    assert bench.broker.stored == []
    bench.group.member = False
    await bench.until(lambda: bench.state.progress.counts["dropped"] == 1)
    assert bench.broker.stored == []


async def test_a_freeze_in_the_middle_of_a_window_holds_the_rest_back(bench: Bench) -> None:
    """Before each record is sent it must be sure that the worker is still a member."""
    heard = iter([True, True])
    bench.group.heard_recently = lambda: next(heard, False)  # type: ignore[method-assign]
    await bench.window(0, 1, 2)
    await bench.until(lambda: bench.state.progress.state == "waiting")
    assert bench.broker.stored == [b"0"]
    bench.group.heard_recently = lambda: True  # type: ignore[method-assign]
    await bench.until(lambda: bench.acked == [0, 1, 2])
    assert bench.broker.stored == [b"0", b"1", b"2"]


async def test_a_client_that_does_not_take_records_is_left_when_the_partitions_go(bench: Bench) -> None:
    """A topic that was deleted, or a full buffer, blocks in sending; nothing is sent once that ends."""
    gate = asyncio.Event()
    send = bench.broker.send

    async def blocked(record: Outgoing, source: int) -> asyncio.Future[None]:
        await gate.wait()
        return await send(record, source)

    bench.broker.send = blocked  # type: ignore[method-assign]
    await bench.window(0, 1)
    await asyncio.sleep(0.1)
    bench.state.forget()
    await bench.until(lambda: bench.state.progress.counts["dropped"] == 2)
    gate.set()
    await asyncio.sleep(0.05)
    assert bench.broker.stored == []


async def test_an_error_that_nobody_foresaw_ends_the_process_with_the_start_counted(bench: Bench) -> None:
    """So a document that causes it each time ends as dead, and is not tried for ever."""
    bench.model.process = lambda *_: 1 / 0  # type: ignore[assignment, method-assign]
    ended: list[str] = []
    bench.state.end = lambda reason, _: ended.append(reason)
    await bench.window(0)
    await bench.until(lambda: bool(ended))
    assert "ZeroDivisionError" in ended[0]
    assert bench.group.commits[-1][A] == (0, "fewnerd:1;starts=1;until=0")


async def test_waiting_for_a_thread_is_no_hang(bench: Bench) -> None:
    """Threads may still be at work on windows that were let go; the limit is for the work, not for that."""
    bench.state.settings = load_settings(inference_timeout=1)
    bench.model.gates = {offset: threading.Event() for offset in (0, 1, 2)}
    ended: list[str] = []
    bench.state.end = lambda reason, _: ended.append(reason)
    await bench.window(0)
    await bench.window(1)
    bench.state.forget()
    bench.state.assign(A, 2, "")
    await bench.window(2)
    await bench.until(lambda: len(ended) == 2)
    assert sorted(reason.partition(";")[0][-1] for reason in ended) == ["0", "1"]
    for gate in bench.model.gates.values():
        gate.set()
    await bench.until(lambda: bench.acked == [2])
    assert len(ended) == 2


async def test_slow_is_no_hang(bench: Bench) -> None:
    """However long a window takes, as long as the model shows now and then that it is at work."""
    bench.state.settings = load_settings(inference_timeout=1)
    bench.model.steps = 25
    await bench.window(0)
    await bench.until(lambda: bench.acked == [0])


async def test_a_broken_model_has_no_more_than_the_patience_however_slowly_it_fails(bench: Bench) -> None:
    """Once it failed on a known-good sentence, only what is handed over counts as progress."""
    bench.model.stops, bench.model.steps = 3, 14
    moved: list[bool] = []
    bench.state.progress.moved = lambda: moved.append(bool(bench.model.begun[1:]))  # type: ignore[method-assign]
    await bench.window(0)
    await bench.until(lambda: len(bench.model.begun) == 3)
    assert moved == [False]


async def test_publishing_waits_for_commits(bench: Bench) -> None:
    """While the coordinator stores none, no more is published than what may be in flight."""
    store, refused = bench.group.store, [True]

    async def flaky(offsets: dict[Partition, tuple[int, str]]) -> None:
        if refused and any(offset for offset, _ in offsets.values()):
            raise GroupCoordinatorNotAvailableError
        await store(offsets)

    bench.group.store = flaky  # type: ignore[method-assign]
    await bench.window(0)
    await bench.window(1)
    late = asyncio.ensure_future(bench.window(2))
    await bench.until(lambda: bench.acked == [0, 1])
    await asyncio.sleep(0.2)
    assert bench.broker.stored == [b"0", b"1"]
    refused.clear()
    await bench.until(lambda: bench.acked == [0, 1, 2])
    await late


async def test_the_last_commit_is_tried_again(bench: Bench) -> None:
    """A coordinator that is being looked for costs no window a second time."""
    errors = [GroupCoordinatorNotAvailableError(), GroupCoordinatorNotAvailableError()]
    store = bench.group.store

    async def flaky(offsets: dict[Partition, tuple[int, str]]) -> None:
        if errors:
            raise errors.pop()
        await store(offsets)

    bench.state.ledger.deliver(A, 0)
    bench.state.ledger.hand_over(A, 0)
    bench.group.store = flaky  # type: ignore[method-assign]
    await bench.state.committer.last()
    assert bench.group.commits == [{A: (1, "")}]


async def test_suspicion_tries_documents_one_at_a_time(bench: Bench) -> None:
    """After three starts at a head, each document is counted, tried and committed before the next."""
    bench.state.assign(A, 0, "fewnerd:1;starts=3;until=2")
    await bench.window(0, 1, 2)
    await bench.until(lambda: bench.acked == [0, 1, 2])
    seen = [commit[A] for commit in bench.group.commits if A in commit]
    assert [offset for offset, _ in seen] == [0, 1, 1, 2, 2, 3]
    assert all(metadata.startswith("fewnerd:1;starts=4") for _, metadata in seen[::2])


async def test_a_document_that_never_survives_is_buried_without_being_tried(bench: Bench) -> None:
    """After six starts, three of them alone, the head goes to the dead letters and its successor does not."""
    bench.state.assign(A, 0, "fewnerd:1;starts=6;until=1")
    await bench.window(0, 1)
    await bench.until(lambda: bench.acked == [0, 1])
    assert bench.broker.stored == [b"dead", b"1"]
    assert bench.state.progress.dead_by_reason == {"crash": 1}


async def test_only_what_was_refused_is_sent_again(bench: Bench) -> None:
    """After a refusal the producer is replaced, and the stored records are not repeated."""
    bench.broker.refuse = [b"1"]
    await bench.window(0, 1, 2)
    await bench.until(lambda: bench.acked == [0, 1, 2])
    assert bench.broker.stored == [b"0", b"2", b"1"]
    assert bench.broker.renewed == 1


@pytest.mark.parametrize("error", [MessageSizeTooLargeError, RecordListTooLargeError])
async def test_a_record_that_is_too_large_stops_nothing(
    bench: Bench, error: type[MessageSizeTooLargeError]
) -> None:
    """A letter without its value takes its place, in its window; those around it are stored, and all is acked."""
    bench.broker.large = {b"1": error()}
    await bench.window(0, 1, 2)
    await bench.until(lambda: bench.acked == [0, 1, 2])
    assert bench.broker.stored == [b"0", b"2", b"letter 1"]
    assert bench.state.progress.dead_by_reason == {"record-too-large": 1}


async def test_what_the_client_itself_refuses_is_put_away_as_well(bench: Bench) -> None:
    """It raises at once, before anything is sent."""
    send = bench.broker.send

    async def strict(record: Outgoing, source: int) -> asyncio.Future[None]:
        if record.value == b"0":
            raise MessageSizeTooLargeError
        return await send(record, source)

    bench.broker.send = strict  # type: ignore[method-assign]
    await bench.window(0, 1)
    await bench.until(lambda: bench.acked == [0, 1])
    assert bench.broker.stored == [b"1", b"letter 0"]


async def test_records_that_are_too_large_only_together_are_stored(bench: Bench) -> None:
    """A request that is refused as a whole says nothing of a single record in it."""
    bench.broker.crowded = {b"0", b"1"}
    bench.broker.large = {b"2": MessageSizeTooLargeError()}
    await bench.window(0, 1, 2)
    bench.broker.crowded.clear()
    await bench.until(lambda: bench.acked == [0, 1, 2])
    assert bench.broker.stored == [b"0", b"1", b"letter 2"]
    assert bench.state.progress.dead_by_reason == {"record-too-large": 1}


async def test_a_letter_that_finds_no_room_either_is_waited_for(bench: Bench) -> None:
    """Nothing smaller is left to write: nothing is handed over, and the reason is said, until it is taken."""
    bench.broker.large = {b"1": MessageSizeTooLargeError(), b"letter 1": MessageSizeTooLargeError()}
    await bench.window(0, 1)
    await bench.until(lambda: bench.state.progress.state == "waiting")
    assert "raw-documents.dead" in bench.state.progress.reason
    assert bench.acked == []
    bench.broker.large = {}
    await bench.until(lambda: bench.acked == [0, 1])
    assert bench.broker.stored == [b"0", b"letter 1"]


async def test_a_window_is_bounded_in_bytes(bench: Bench) -> None:
    """Long documents are few in a window, one that is longer than a window is alone in it, and order is kept."""
    sizes = [10, 600_000, 600_000, 3_000_000, 10, 10]
    events = [Event(Message(offset, bytes(size))) for offset, size in enumerate(sizes)]
    for event in events:
        assert bench.state.ledger.deliver(A, event.message.offset)

    async def ack(event: Event) -> None:
        bench.acked.append(event.message.offset)

    await bench.pipeline.submit(events, ack)
    await bench.until(lambda: len(bench.acked) == len(sizes))
    assert bench.acked == list(range(6))
    assert bench.model.begun == [0, 2, 3, 4]


async def test_nothing_is_begun_near_the_end_of_a_drain(bench: Bench) -> None:
    """It might be stored in part only, and come again; what was begun before is finished and committed."""
    bench.state.settings = load_settings(drain=1, window_time=0.05)
    bench.model.gates = {0: threading.Event(), 1: threading.Event()}
    await bench.window(0)
    await bench.window(1)
    draining = asyncio.ensure_future(bench.state.drain(lambda: len(bench.acked) < 2))
    bench.model.gates[0].set()
    await bench.until(lambda: bench.acked == [0])
    await bench.until(lambda: not bench.state.may_begin())
    bench.model.gates[1].set()
    assert not await draining
    await bench.state.committer.last()
    await asyncio.sleep(0.2)
    assert bench.broker.stored == [b"0"]
    bench.state.forget()
    await bench.until(lambda: bench.state.progress.counts["dropped"] == 1)
    assert bench.broker.stored == [b"0"]
    assert bench.group.commits[-1][A][0] == 1
    assert bench.state.may_begin(), "the next owner of them may be this worker"


async def test_a_window_that_is_being_published_is_finished_after_the_drain(bench: Bench) -> None:
    """It is stored in part already: a little longer, and none of it comes again."""
    bench.state.settings = load_settings(drain=0.3, window_time=0.05)
    bench.broker.hold = asyncio.Event()
    await bench.window(0, 1)
    await bench.until(lambda: bench.state.publishing)
    draining = asyncio.ensure_future(bench.state.drain(lambda: len(bench.acked) < 2))
    await asyncio.sleep(0.6)
    assert not draining.done()
    bench.broker.hold.set()
    assert await draining
    assert bench.acked == [0, 1]


async def test_publishing_ends_when_the_partitions_are_gone(bench: Bench) -> None:
    """A publish that hangs lets go as soon as it is no longer ours."""
    bench.broker.hold = asyncio.Event()
    publisher = Publisher(lambda: bench.broker, bench.state.progress)  # type: ignore[arg-type, return-value]  # as above
    records = [(Outgoing("t", b"k", b"v"), 0)]
    publishing = asyncio.ensure_future(publisher.publish(records, bench.state.claim()))
    await asyncio.sleep(0.1)
    assert not publishing.done()
    bench.state.forget()
    with pytest.raises(Dropped):
        await publishing
