"""Replays on a Kafka of lists: each letter once and none lost, wherever a replay is cut short."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from aiokafka.errors import KafkaTimeoutError, MessageSizeTooLargeError, RecordListTooLargeError
from hypothesis import given
from hypothesis import strategies as st

from fewnerd_stream.contract.envelope import dead_record, not_before, source_of, withheld_record
from fewnerd_stream.contract.records import Record, Source
from fewnerd_stream.errors import Reason, Reject, TopicsError
from fewnerd_stream.operations.dead.filters import Filter, parse_offsets
from fewnerd_stream.operations.dead.replay import Order, Replay, ReplayError, Summary, Watch
from fewnerd_stream.operations.dead.replayed_offsets import ReplayedOffsets
from fewnerd_stream.operations.dead.store import MarksError, follow_marks, store_marks
from fewnerd_stream.settings import load_settings
from tests.support.lists import BATCH, ListConsumer, ListKafka, instead_of_clients

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SETTINGS = load_settings()
INPUT, DEAD, RETRY = (
    "raw-documents",
    "fewnerd-stream.raw-documents.dead",
    "fewnerd-stream.raw-documents.retry.1",
)
MARKS = "fewnerd-stream.raw-documents.dead.replayed"
REASONS = (Reason.MODEL_ERROR, Reason.CRASH, Reason.NOT_JSON)
PARTITIONS = 3


class Killed(BaseException):
    """The end of a process, in the middle of whatever it did."""


def _die(kafka: ListKafka, number: int, *, replay: int = 0, reason: Reason | None = None) -> Record:
    """Put the document with this number among the dead letters."""
    record = Record(
        INPUT, number % PARTITIONS, number, 5, b"k%d" % number, None if number % 5 == 4 else b"v%d" % number
    )
    source = Source(INPUT, number % PARTITIONS, number, 5, attempt=3, replay=replay)
    out = dead_record(record, source, reason or REASONS[number % 3], "model", None, None, SETTINGS)
    where = Record(DEAD, number % PARTITIONS, 0, None, out.key, out.value, out.headers)
    return kafka.append(DEAD, number % PARTITIONS, where)


def _kafka(count: int, replays: Callable[[int], int] = lambda _: 0) -> ListKafka:
    kafka = ListKafka({DEAD: PARTITIONS, RETRY: 4, MARKS: 1})
    for number in range(count):
        _die(kafka, number, replay=replays(number))
    return kafka


@pytest.fixture
def kafka() -> Iterator[ListKafka]:
    """Thirty dead letters on three partitions, of three reasons, some of them tombstones."""
    kafka = _kafka(30)
    with instead_of_clients(kafka):
        yield kafka


def _replay(order: Order | None = None, *, run: str = "run", watch: Watch | None = None) -> Summary:
    replay = Replay(SETTINGS, INPUT, order or Order(), run=run, watch=watch)
    return asyncio.run(replay.run())


def _sent(kafka: ListKafka) -> Counter[int]:
    """Count how often each document, by its number, lies on the first retry topic."""
    records = [record for (topic, _), log in kafka.logs.items() if topic == RETRY for record in log]
    return Counter(source_of(record, SETTINGS).offset for record in records)


def test_every_letter_goes_out_once(kafka: ListKafka) -> None:
    """A replay sends all, and the next one none."""
    first = _replay()
    assert (first.replayed, first.scanned, first.finished) == (30, 30, True)
    assert first.reasons == {reason.value: 10 for reason in REASONS}
    second = _replay(run="second")
    assert (second.replayed, second.replayed_before, second.scanned) == (0, 30, 0)
    assert _sent(kafka) == Counter(range(30))


def test_a_letter_goes_out_as_it_was_and_due_now(kafka: ListKafka) -> None:
    """Key, value and place of the first record stay, tombstones too; it is one replay older."""
    _replay(Order(Filter(offsets=parse_offsets(["1:1"]))))
    (record,) = [record for (topic, _), log in kafka.logs.items() if topic == RETRY for record in log]
    assert (record.key, record.value) == (b"k4", None)
    assert source_of(record, SETTINGS) == Source(INPUT, 1, 4, 5, attempt=1, replay=1)
    assert not_before(record) == 0


def test_what_a_filter_leaves_out_is_replayed_by_another(kafka: ListKafka) -> None:
    """Overlapping filters in any order: each letter still goes out once."""
    crash = Order(Filter(frozenset({"crash"})))
    assert _replay(crash).replayed == 10
    assert _replay(Order(Filter(offsets=parse_offsets(["0:2-7"])))).replayed == 6
    assert _replay(Order(Filter(offsets=parse_offsets(["1:2-7"])))).replayed == 0, (
        "all of partition 1 crashed"
    )
    assert _replay(crash).replayed == 0
    assert _replay().replayed == 14
    assert _sent(kafka) == Counter(range(30))


def test_letters_that_die_later_are_for_the_next_replay(kafka: ListKafka) -> None:
    """A replay ends where the topic ended when it began."""
    late: list[Record] = []
    watch = Watch(judged=lambda *_: late.append(_die(kafka, 100)) if len(late) < 3 else None)
    assert _replay(watch=watch).replayed == 30
    assert _replay().replayed == 3


def test_a_dry_run_changes_nothing(kafka: ListKafka) -> None:
    """It says what would be sent, sends nothing, and makes no topic."""
    summary = _replay(Order(Filter(frozenset({"crash"})), dry_run=True))
    assert (summary.replayed, summary.scanned, summary.dry_run) == (10, 30, True)
    assert _sent(kafka) == Counter()
    assert not kafka.logs[MARKS, 0]
    assert _replay(Order(dry_run=True, limit=4)).replayed == 4


def test_a_limit_is_kept(kafka: ListKafka) -> None:
    """Replays with a limit go on from each other until nothing is left."""
    assert [_replay(Order(limit=13)).replayed for _ in range(4)] == [13, 13, 4, 0]
    assert _sent(kafka) == Counter(range(30))


def test_the_fourth_replay_of_a_document_is_refused() -> None:
    """After three replays a letter stays where it is, and is replayable, by force."""
    kafka = _kafka(12, replays=lambda number: number % 6)
    with instead_of_clients(kafka):
        summary = _replay()
        assert (summary.replayed, summary.refused) == (6, 6)
        assert set(_sent(kafka)) == {0, 1, 2, 6, 7, 8}
        again = _replay()
        assert (again.replayed, again.refused) == (0, 6)
        forced = _replay(Order(force=True))
        assert (forced.replayed, forced.refused) == (6, 0)
    assert _sent(kafka) == Counter(range(12))


def test_letters_are_sent_again_only_when_that_is_asked_for(kafka: ListKafka) -> None:
    """``again`` passes over what is known of earlier replays."""
    _replay()
    assert _replay(Order(Filter(frozenset({"crash"})), again=True)).replayed == 10
    assert sorted(_sent(kafka).values()) == [1] * 20 + [2] * 10


def test_a_letter_that_is_too_large_stops_no_other(kafka: ListKafka) -> None:
    """It is named and stays as it is; what is sent is marked, and a later replay sends it if there is room then."""

    def refuse(when: str, record: Record) -> None:
        if when == "before" and record.topic == RETRY and record.key == b"k6":
            raise MessageSizeTooLargeError

    kafka.hurt = refuse
    summary = _replay()
    assert (summary.replayed, summary.too_large, summary.finished) == (29, ["0:2"], True)
    assert _sent(kafka) == Counter(set(range(30)) - {6})
    kafka.hurt = lambda *_: None
    assert _replay().replayed == 1
    assert _sent(kafka) == Counter(range(30))


def test_letters_that_are_too_large_only_together_go_out(kafka: ListKafka) -> None:
    """A request is refused as a whole, which says nothing of a single letter in it."""
    times: Counter[bytes | None] = Counter()

    def refuse(when: str, record: Record) -> None:
        if when == "before" and record.topic == RETRY:
            times[record.key] += 1
            if times[record.key] == 1:
                raise RecordListTooLargeError

    kafka.hurt = refuse
    summary = _replay()
    assert (summary.replayed, summary.too_large) == (30, [])
    assert _sent(kafka) == Counter(range(30))


def test_a_letter_without_its_value_is_not_replayed(kafka: ListKafka) -> None:
    """It would come as a tombstone; with the value that it lacks it goes out."""
    record = Record(INPUT, 0, 99, 5, b"large", b"v" * 1000)
    error = Reject(Reason.RECORD_TOO_LARGE, "too large", "publish")
    out = withheld_record(record, source_of(record, SETTINGS), error, None, SETTINGS)
    letter = kafka.append(DEAD, 0, Record(DEAD, 0, 0, None, out.key, out.value, out.headers))
    summary = _replay()
    assert (summary.replayed, summary.without_value) == (30, 1)
    assert _replay(Order(repaired={(0, letter.offset): b"{}"})).replayed == 1
    assert _sent(kafka)[99] == 1


def test_a_broker_that_fails_is_told_as_it_is(kafka: ListKafka) -> None:
    """Its error is not turned into the letter's fault."""

    def fail(when: str, record: Record) -> None:
        if when == "before" and record.topic == RETRY:
            raise KafkaTimeoutError

    kafka.hurt = fail
    with pytest.raises(KafkaTimeoutError):
        _replay()
    kafka.hurt = lambda *_: None
    assert _replay().replayed == 30


def test_another_replay_at_work_stops_this_one(kafka: ListKafka) -> None:
    """Two at a time would send letters twice: the one that notices the other stops, and says so."""
    _replay(Order(limit=1))

    def interfere(when: str, record: Record) -> None:
        if when == "after" and record.topic == RETRY and record.key == b"k3":
            kafka.hurt = lambda *_: None
            key, value = (
                kafka.logs[MARKS, 0][-1].key,
                kafka.logs[MARKS, 0][-1].value,
            )
            assert value is not None
            kafka.append(MARKS, 0, key=key, value=value.replace(b':"run"', b':"other"'))

    kafka.hurt = interfere
    with pytest.raises(ReplayError, match="another replay"):
        _replay(Order(rate=10_000), run="second")


def test_a_topic_made_anew_is_not_taken_for_the_old_one(kafka: ListKafka) -> None:
    """ReplayedOffsets of a dead topic that was deleted since are dropped, and that is said."""
    _replay()
    for partition in range(PARTITIONS):
        kafka.logs[DEAD, partition].clear()
    for number in range(50, 74):
        _die(kafka, number)
    summary = _replay()
    assert (summary.replayed, sorted(summary.made_anew)) == (24, [0, 1, 2])
    assert _replay().replayed == 0
    assert _replay().made_anew == []


def test_what_comes_back_late_takes_nothing_back(kafka: ListKafka) -> None:
    """A replay reads its own records late: a chunk that it took back, and marked anew, stays marked."""
    topic = MARKS
    marks = ReplayedOffsets(DEAD, "ours")
    reader = ListConsumer(kafka, (topic, 0))
    kafka.topics[topic] = 1
    marks.mark(0, 0, 3, 1)
    marks.forget(0)
    asyncio.run(store_marks(kafka, topic, marks))
    marks.mark(0, 5, 6, 1)
    asyncio.run(follow_marks(reader, marks))
    assert reader.position == 1
    assert (0, 5) in marks
    assert (0, 0) not in marks
    asyncio.run(store_marks(kafka, topic, marks))


def test_letters_deleted_since_are_no_reason_to_forget(kafka: ListKafka) -> None:
    """When the beginning of the log is gone, what is left counts as before."""
    _replay()
    for partition in range(PARTITIONS):
        del kafka.logs[DEAD, partition][:8]
    summary = _replay()
    assert (summary.replayed, summary.made_anew, summary.replayed_before) == (0, [], 6)


def test_holes_in_the_log_are_passed_over(kafka: ListKafka) -> None:
    """Offsets without a record, as transactions leave them, hold nothing up and are not looked at again."""
    for partition in range(PARTITIONS):
        log = kafka.logs[DEAD, partition]
        log[:] = [record for record in log if record.offset % 4 == 3]
    assert _replay().replayed == 6
    assert _replay().scanned == 0


def test_a_missing_topic_is_named() -> None:
    """Without dead letters, a first retry topic or marks there is nothing to do a replay with."""
    for missing in (DEAD, RETRY, MARKS):
        kafka = _kafka(1)
        del kafka.topics[missing]
        with instead_of_clients(kafka), pytest.raises(TopicsError, match=missing):
            _replay()


@pytest.mark.parametrize("policy", ["delete", "compact,delete"])
def test_a_topic_of_marks_that_forgets_is_refused(policy: str, kafka: ListKafka) -> None:
    """What was replayed would be forgotten after a week, and go out again in silence."""
    kafka.policies[MARKS] = policy
    with pytest.raises(TopicsError, match=f"cleanup.policy is {policy}, which forgets"):
        _replay()
    assert _sent(kafka) == Counter()


def test_marks_that_cannot_be_understood_stop_a_replay(kafka: ListKafka) -> None:
    """Nothing is sent on a guess."""
    kafka.append(MARKS, 0, key=b"fewnerd-stream.raw-documents.dead/0/0", value=b'{"version": 9}')
    with pytest.raises(MarksError, match="version 9"):
        _replay()
    assert _sent(kafka) == Counter()


@pytest.mark.usefixtures("kafka")
def test_progress_covers_every_offset() -> None:
    """A bar that counts what was passed ends at what was planned."""
    planned: list[int] = []
    passed: list[int] = []
    _replay(Order(Filter(frozenset({"crash"}))), watch=Watch(planned=planned.append, passed=passed.append))
    assert planned == [30]
    assert sum(passed) == 30


@dataclass(frozen=True)
class Step:
    """A replay, and after how many stored records its process is killed, if it is."""

    order: Order
    killed_after: int | None


ORDERS = st.builds(
    Order,
    st.builds(
        Filter,
        st.frozensets(st.sampled_from([reason.value for reason in REASONS]), max_size=2),
        st.none() | st.integers(1000, 1030),
        st.none() | st.integers(1000, 1030),
        st.lists(
            st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 5)).map(
                lambda span: f"{span[0]}:{span[1]}-{span[1] + span[2]}"
            ),
            max_size=3,
        ).map(parse_offsets),
    ),
    force=st.booleans(),
    limit=st.none() | st.integers(1, 12),
    rate=st.none() | st.just(20_000.0),
)
STEPS = st.lists(st.builds(Step, ORDERS, st.none() | st.integers(0, 14)), max_size=6)


@given(STEPS)
def test_none_is_lost_and_a_kill_repeats_no_more_than_its_batch(steps: list[Step]) -> None:
    """Any replays, killed anywhere: what was meant goes out, and only what a kill cut off goes out again."""
    kafka = _kafka(24, replays=lambda number: number % 4)
    kills = 0
    with instead_of_clients(kafka):
        for number, step in enumerate(steps):
            stored = 0

            def hurt(when: str, _: Record, last: int | None = step.killed_after) -> None:
                nonlocal stored
                stored += when == "after"
                if last is not None and when == "after" and stored > last:
                    raise Killed

            kafka.hurt = hurt
            try:
                _replay(step.order, run=f"run{number}")
            except Killed:
                kills += 1
            kafka.hurt = lambda *_: None
        repeated = sum(count - 1 for count in _sent(kafka).values())
        assert repeated <= kills * BATCH
        _replay(Order(force=True), run="last")
        assert set(_sent(kafka)) == set(range(24))
        assert _replay(Order(force=True), run="idle").replayed == 0
