"""What stock Faust does to messages, shown on its own objects, and that ours does not: one test for each trap.

Those that need a broker stand elsewhere:

- uncommitted records, every codec, compacted logs, a place that is gone: ``tests/stream_kafka/test_inputs.py``;
- a full buffer, a standby without partitions, a poll that is late: ``tests/stream_kafka/test_backpressure.py``;
- duplicates on revocation, workers that join, leave and die: ``tests/stream_kafka/test_kills.py``;
- a send that fails after it was taken: ``tests/stream_kafka/test_brokers.py``, and the publisher's own tests;
- JSON that one half of a library reads and the other refuses to write: ``tests/stream/test_rejects.py``.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self
from unittest.mock import AsyncMock, Mock
from weakref import WeakSet

import aiokafka
import faust
import faust.streams
import pytest
from aiokafka.consumer import fetcher
from aiokafka.consumer.subscription_state import Assignment, SubscriptionState
from aiokafka.structs import ConsumerRecord, TopicPartition
from faust.events import Event
from faust.exceptions import ValueDecodeError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from intervaltree import IntervalTree  # type: ignore[import-untyped]  # ships no types

from agents.app import input_channel, make_app
from agents.enrich import add_enrich
from fewnerd_stream.contract.envelope import retry_record, source_of
from fewnerd_stream.contract.records import Record
from fewnerd_stream.delivery.faust.thread import ConsumerThread
from fewnerd_stream.delivery.faust.transport import Consumer
from fewnerd_stream.delivery.faust.versions import check_versions
from fewnerd_stream.delivery.ledger import Ledger, Partition
from fewnerd_stream.delivery.pipeline import record_of
from fewnerd_stream.delivery.process import Processor
from fewnerd_stream.delivery.state import State
from fewnerd_stream.errors import Stop
from fewnerd_stream.settings import load_settings
from tests.support.taggers import WordTagger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agents.app import App

A = TP("raw-documents", 0)
OURS = Partition(*A)


def stock(committed: int | None, acked: list[int]) -> Any:
    """Make Faust's own consumer, as far as it keeps offsets."""
    made: Any = driver.Consumer.__new__(driver.Consumer)
    made._gap = defaultdict(IntervalTree)
    made._acked = defaultdict(list, {A: list(acked)})
    made._acked_index = defaultdict(set, {A: set(acked)})
    made._committed_offset = defaultdict(lambda: None, {A: committed})
    made._read_offset = defaultdict(lambda: None)
    made._active_partitions, made._paused_partitions = {A}, set()
    made._unacked_messages = WeakSet()
    return made


def ours(committed: int, **settings: Any) -> Any:
    """Make our consumer, as far as it keeps offsets, with its partition assigned."""
    made: Any = Consumer.__new__(Consumer)
    made.delivery = State(load_settings(**settings), Mock())
    made.delivery.group = SimpleNamespace(
        is_member=lambda: True, heard_recently=lambda: True, store=AsyncMock()
    )
    made.delivery.assign(OURS, committed, "")
    made.delays = Mock()
    made._turn, made._to_place = 0, False
    made.app = SimpleNamespace(should_stop=False, _start_span_from_rebalancing=lambda _: _Span())
    made._unacked_messages = WeakSet()
    made._active_partitions, made._paused_partitions = {A}, set()
    return made


def message(offset: int = 0, **fields: Any) -> ConsumerMessage:
    """Make a message as Faust takes it from the consumer."""
    given = {
        "timestamp": 0.0,
        "timestamp_type": 0,
        "headers": (),
        "key": b"k",
        "value": b"{}",
        "checksum": None,
    }
    return ConsumerMessage(*A, offset, tp=A, **(given | fields))


def close(app: Any) -> None:
    """Close the loop that Faust made for a consumer's thread, which was never started."""
    if app._consumer is not None:
        app._consumer._thread.thread_loop.close()


@pytest.fixture
async def app() -> AsyncIterator[App]:
    """Give a worker's app, with its agent; nothing is started."""
    made = make_app(load_settings(), WordTagger(), Mock())
    add_enrich(made)
    made.finalize()
    yield made
    close(made)


# -- commits ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("committed", "read", "hole", "passed"),
    [
        (5, [5, 6, 7], (), 8),  # exactly one is missing at the head
        (None, [0, 1, 2, 3], (), 4),  # nothing was committed yet
        (9, [9, 20], (10, 19), 21),  # a hole in the log lies behind it
    ],
)
def test_an_unacked_head_is_never_committed(
    committed: int | None, read: list[int], hole: tuple[int, ...], passed: int
) -> None:
    """Faust's rule passes an unacked head in three cases; the ledger's position stands at it in each."""
    head, *rest = read
    theirs = stock(committed, rest[-1:] if committed is None else rest)
    if hole:
        theirs._gap[A].addi(hole[0], hole[1] + 1)
    assert theirs._new_offset(A) == passed

    ledger = Ledger()
    ledger.assign(OURS, committed or 0)
    for offset in read:
        ledger.deliver(OURS, offset)
    for offset in rest:
        ledger.hand_over(OURS, offset)
    assert ledger.position(OURS) == head
    assert ledger.to_commit() == {}


async def test_a_revocation_commits_what_was_done_before_it_forgets_it() -> None:
    """Faust drops its list of acks, and then commits what is on it; ours commits first."""
    theirs = stock(0, [0, 1, 2])
    theirs.app = SimpleNamespace(_start_span_from_rebalancing=lambda _: _Span())
    left = []

    async def commit_theirs(_: set[TP]) -> None:
        left.append(theirs._filter_committable_offsets({A}))

    theirs._on_partitions_revoked = commit_theirs
    await driver.Consumer.on_partitions_revoked.__wrapped__(theirs, {A})
    assert left == [{}]

    made = ours(0)
    made._gap, made._acked, made._acked_index = {}, {}, {}
    made._read_offset, made._committed_offset = {}, {}
    for offset in range(3):
        made.delivery.ledger.deliver(OURS, offset)
        made.delivery.ledger.hand_over(OURS, offset)

    async def commit_ours(_: set[TP]) -> None:
        await made.wait_empty()

    made._on_partitions_revoked = commit_ours
    made.diag = Mock()
    await made.on_partitions_revoked({A})
    assert made.delivery.group.store.await_args_list[0].args == ({OURS: (3, "")},)
    assert made.delivery.ledger.assigned == frozenset()


class _Span:
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


async def test_an_unacked_event_does_not_hold_the_group_up_for_ever() -> None:
    """Faust waits for it without end and cannot be cancelled; ours waits for the drain, and lets go."""
    theirs = stock(0, [])
    held = message()
    theirs._unacked_messages.add(held)
    theirs.log, theirs.loop, theirs._waiting_for_ack = Mock(), None, None
    theirs._stopped, theirs._crashed = asyncio.Event(), asyncio.Event()
    theirs.commit = theirs.commit_and_end_transactions = AsyncMock()
    waiting = asyncio.ensure_future(driver.Consumer.wait_empty.__wrapped__(theirs))
    await asyncio.sleep(0.05)
    waiting.cancel()
    await asyncio.sleep(0.05)
    assert not waiting.done()
    theirs._unacked_messages.clear()
    await waiting

    made = ours(0, drain=0.1)
    made._unacked_messages.add(held)
    made.delivery.ledger.deliver(OURS, 0)
    await asyncio.wait_for(made.wait_empty(), 20)
    assert held.acked  # so that no window takes it for its own any more
    assert made.delivery.ledger.position(OURS) == 0
    made.delivery.group.store.assert_not_awaited()


async def test_reading_on_from_the_beginning_goes_there() -> None:
    """A seek to the commit goes nowhere when that is 0, and what was fetched meanwhile is skipped; ours goes there."""
    state = SubscriptionState()
    state.subscribe({"raw-documents"})
    state.assign_from_subscribed([TopicPartition(*A)])
    assert state.subscription is not None
    assignment = state.subscription.assignment
    assert isinstance(assignment, Assignment)
    position = assignment.state_value(TopicPartition(*A))
    position.seek(5)  # five records were fetched while nobody could take them

    client = SimpleNamespace(assignment=state.assigned_partitions, seek=state.seek, _records={})
    made = SimpleNamespace(client=client)
    await ConsumerThread.go_to(made, {OURS: 0})  # type: ignore[arg-type]  # as much of it as there is
    assert position.position == 0


async def test_faust_keeps_no_notes_of_what_it_read(app: App) -> None:
    """By its notes Faust drops records that come again, and remembers each hole of a log; ours stay empty."""
    notes = app.consumer._read_offset
    notes[A] = 7
    notes.update({A: 8})
    assert notes[A] is None


# -- agents and streams ----------------------------------------------------------------------------------


async def test_a_batch_is_not_acked_by_the_failure_of_its_agent() -> None:
    """`take` acks a batch also when the agent raises in the middle of it; `noack_take`, which ours uses, does not."""
    acked = {}
    for name in ("take", "noack_take"):
        app = faust.App(f"trap-{name}", broker="kafka://nowhere", store="memory://", web_enabled=False)
        app.finalize()
        app.flow_control.resume()
        channel = app.channel(value_type=bytes)
        stream = channel.stream()
        events: list[Any] = []
        stream.ack = lambda event, _events=events: _noted(_events, event)
        taking = getattr(stream, name)(3, within=30)
        first = asyncio.ensure_future(anext(taking))
        await asyncio.sleep(0)  # now it listens
        for number in range(3):
            await channel.put(_event(app, number))
        await first
        with pytest.raises(RuntimeError):
            await taking.athrow(RuntimeError("in the agent"))
        acked[name] = len(events)
        await stream.stop()
        close(app)
    assert acked == {"take": 3, "noack_take": 0}


async def _noted(events: list[Any], event: Any) -> bool:
    events.append(event)
    return True


def _event(app: Any, offset: int) -> Event:
    return Event(app, b"k", b"v", {}, message(offset, generation_id=app.consumer_generation_id))


async def test_one_agent_takes_all_in_order(app: App) -> None:
    """With more than one instance of an agent events are acked out of order; ours has one, which crashes the app."""
    [agent] = app.agents.values()
    assert agent.concurrency == 1
    assert app.conf.agent_supervisor.__name__ == "CrashingSupervisor"


def test_headers_keep_their_repeats() -> None:
    """An event's headers are a dict, which keeps the last of each name; a record of ours keeps all, in order."""
    headers = (("x", b"1"), ("y", None), ("x", b"2"))
    event = Event(Mock(), b"k", b"{}", headers, message(headers=headers))
    assert event.headers == {"x": b"2", "y": None}
    assert record_of(event).headers == headers


async def test_what_cannot_be_decoded_reaches_us(app: App) -> None:
    """Faust acks a value that its own codec cannot read, before an agent sees it; ours reads bytes, whatever."""
    theirs = app.topic("raw-documents", value_serializer="json")
    with pytest.raises(ValueDecodeError):
        await theirs.decode(message(value=b"\xff{"), propagate=True)
    for value in (b"\xff{", b"", None):
        event = await input_channel(app).decode(message(value=value), propagate=True)
        assert record_of(event).value == value


def test_a_tombstone_stays_one() -> None:
    """A null value arrives as None, and goes to the dead letters as null."""
    event = Event(Mock(), b"k", None, {}, message(value=None))
    [outcome] = Processor(load_settings(), WordTagger()).process([record_of(event)])
    [letter] = outcome.outgoing
    assert (outcome.reason, letter.value, letter.key) == ("tombstone", None, b"k")


def test_an_iterator_that_acks_old_generations_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Faust's compiled stream iterator, or with another version of Faust, no worker starts."""
    check_versions()
    monkeypatch.setattr(faust.streams, "_CStreamIterator", None)
    with pytest.raises(Stop, match="compiled"):
        check_versions()
    monkeypatch.undo()
    monkeypatch.setattr(faust, "__version__", "0.15.4")
    with pytest.raises(Stop, match=r"faust-streaming 0\.15\.3 is needed; 0\.15\.4"):
        check_versions()


def test_another_aiokafka_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many of its private names are used: another version, or one without such a name, starts no worker."""
    monkeypatch.setattr(aiokafka, "__version__", "0.15.0")
    with pytest.raises(Stop, match=r"aiokafka 0\.14\.0 is needed; 0\.15\.0"):
        check_versions()
    monkeypatch.undo()
    monkeypatch.delattr(fetcher.FetchResult, "getone")
    with pytest.raises(Stop, match=r"FetchResult\.getone"):
        check_versions()


@pytest.mark.parametrize(
    "written", [0, 1, 1_700_000_000_123, 1_700_000_000_123_456_789, 2**53 + 1, 2**63 - 1]
)
async def test_a_timestamp_stays_the_number_that_it_is(app: App, written: int) -> None:
    """Faust's seconds are a float, too short for nanoseconds; on a retry it is the same number still."""
    read = ConsumerRecord(*A, 7, written, 0, None, b"{}", None, -1, 2, ())
    record = record_of(Event(Mock(), None, None, {}, app.consumer._to_message(A, read)))
    close(app)
    settings = load_settings()
    again = retry_record(record, source_of(record, settings), settings, 1000)
    assert again is not None
    waiting = Record(again.topic, 0, 3, 1000, None, b"{}", again.headers)
    assert record.timestamp == source_of(waiting, settings).timestamp == written


# -- clients and settings --------------------------------------------------------------------------------


@pytest.fixture
async def made(app: App, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """Give the options with which our clients are made."""
    options: dict[str, dict[str, Any]] = {}

    def maker(name: str) -> Any:
        return lambda **given: options.setdefault(name, given)

    monkeypatch.setattr("aiokafka.AIOKafkaConsumer", maker("consumer"))
    monkeypatch.setattr("aiokafka.AIOKafkaProducer", maker("producer"))
    app.consumer.thread._create_worker_consumer(app.transport)
    app.producer._new_producer()
    return options


async def test_the_producer_is_idempotent_and_does_not_wait_for_twenty_minutes(
    app: App,
    made: dict[str, dict[str, Any]],
) -> None:
    """Faust's producer repeats what it sends again and waits 1,200 s; ours is idempotent, and told of all copies."""
    settings = load_settings()
    assert driver.Producer._settings_extra(Mock(app=app)) == {}
    assert made["producer"]["enable_idempotence"] is True
    assert made["producer"]["acks"] == "all"
    assert made["producer"]["request_timeout_ms"] == settings.request_timeout * 1000


async def test_the_consumer_never_leaves_its_group_by_itself(made: dict[str, dict[str, Any]]) -> None:
    """A full buffer for longer than the poll interval ends a membership for good, silently: ours is out of reach."""
    assert made["consumer"]["max_poll_interval_ms"] >= 10**9


async def test_the_consumer_reads_what_was_committed_and_is_never_reset(
    made: dict[str, dict[str, Any]],
) -> None:
    """Faust reads uncommitted records, and starts anew in silence when its place is gone; ours does neither."""
    assert made["consumer"]["isolation_level"] == "read_committed"
    assert made["consumer"]["auto_offset_reset"] == "none"
    assert made["consumer"]["enable_auto_commit"] is False


async def test_nothing_is_opened_created_or_elected(app: App) -> None:
    """Workers bind no port, create no topic and have no leader: any number of them runs on one host."""
    conf = app.conf
    assert not conf.web_enabled
    assert not conf.topic_allow_declare
    assert conf.topic_disable_leader
    assert conf.stream_wait_empty


async def test_the_buffer_takes_more_than_is_ever_read_ahead(app: App) -> None:
    """A full buffer stops the one fetch that all topics share: ours is larger than what the ledger lets in."""
    settings = app.delivery.settings
    assert app.conf.stream_buffer_maxsize / 1.25 > app.delivery.backlog + settings.max_poll_records
