"""What a record carries to retry topics, to the dead letters, and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewnerd_stream.contract.documents import decode
from fewnerd_stream.contract.envelope import (
    DAY_MS,
    MESSAGE_BYTES,
    STACKTRACE_BYTES,
    dead_letter,
    dead_record,
    not_before,
    replay_record,
    retry_record,
    source_of,
    withheld_record,
)
from fewnerd_stream.contract.records import OURS, Headers, Outgoing, Record, Source, Withheld, size_of
from fewnerd_stream.contract.topology import ROOM
from fewnerd_stream.errors import Reason, Reject, TopicsError
from fewnerd_stream.settings import load_settings

SETTINGS = load_settings()
NOW = 1764000000000

_names = st.text(max_size=8) | st.sampled_from(
    ["traceparent", "ce_id", "original.x", OURS + "attempt", OURS + "z"]
)
_headers = st.lists(st.tuples(_names, st.none() | st.binary(max_size=8)), max_size=6).map(tuple)
_bytes = st.none() | st.binary(max_size=20)


def _record(topic: str = "raw-documents", headers: Headers = (), **changes: Any) -> Record:
    fields = {"partition": 3, "offset": 1042, "timestamp": NOW, "key": b"k", "value": b"v"}
    return Record(topic, **{**fields, **changes}, headers=headers)


def _stored(outgoing: Outgoing | None, offset: int = 0, timestamp: int | None = NOW) -> Record:
    """Read back what was written, from some place in its topic."""
    assert outgoing is not None
    return Record(outgoing.topic, 0, offset, timestamp, outgoing.key, outgoing.value, outgoing.headers)


def _retried(record: Record, now: int = NOW) -> Outgoing | None:
    return retry_record(record, source_of(record, SETTINGS), SETTINGS, now)


def _died(record: Record, error: BaseException | None = None) -> Outgoing:
    source = source_of(record, SETTINGS)
    return dead_record(record, source, Reason.MODEL_ERROR, "model", error, "sha256:0", SETTINGS)


def _raised(error: Exception) -> Exception:
    """Give an error with a traceback."""
    try:
        raise error  # noqa: TRY301 - all that this is for
    except Exception as raised:  # noqa: BLE001 - any that was given
        return raised


def _waiting(**headers: bytes | None) -> Headers:
    """Write our headers as a retry topic has them, with changes; None leaves one out."""
    ours = {
        "attempt": b"1",
        "replay": b"0",
        "topic": b"raw-documents",
        "partition": b"3",
        "offset": b"1042",
        "timestamp": b"1764000000000",
        "not-before": b"1764000005000",
    } | {name.replace("_", "-"): value for name, value in headers.items()}
    return tuple((OURS + name, value) for name, value in ours.items() if value is not None)


def test_a_record_on_an_input_topic_is_its_own_source() -> None:
    """There, headers of ours are not believed."""
    assert source_of(_record(headers=_waiting(attempt=b"2")), SETTINGS) == Source(
        "raw-documents", 3, 1042, NOW
    )


def test_a_missing_timestamp_is_none() -> None:
    """Kafka writes -1 where there is none."""
    assert source_of(_record(timestamp=-1), SETTINGS).timestamp is None


def test_a_retry_as_it_is_written() -> None:
    """Key, value and others' headers are untouched, ours follow, and the delay is the topic's."""
    waiting = _retried(_record(headers=(("x", b"1"), ("x", None))))
    assert waiting == Outgoing(
        "fewnerd-stream.raw-documents.retry.1",
        b"k",
        b"v",
        (
            ("x", b"1"),
            ("x", None),
            ("__fewnerd.attempt", b"1"),
            ("__fewnerd.replay", b"0"),
            ("__fewnerd.topic", b"raw-documents"),
            ("__fewnerd.partition", b"3"),
            ("__fewnerd.offset", b"1042"),
            ("__fewnerd.timestamp", b"1764000000000"),
            ("__fewnerd.not-before", b"1764000005000"),
        ),
    )


def test_attempts_walk_through_the_topics() -> None:
    """Each failure goes to the next delay, and after the last there is none."""
    record = _record()
    for number, delay in enumerate(SETTINGS.retry_delays, start=1):
        waiting = _retried(record)
        record = _stored(waiting)
        assert record.topic == f"fewnerd-stream.raw-documents.retry.{number}"
        assert source_of(record, SETTINGS) == Source("raw-documents", 3, 1042, NOW, attempt=number)
        assert not_before(record) == NOW + delay * 1000
    assert _retried(record) is None


def test_a_dead_letter_as_it_is_written() -> None:
    """The reason, the attempts, the model and the error come with the record, as Kafka Connect names them."""
    error = _raised(ZeroDivisionError("by zero"))
    dead = _died(_record("fewnerd-stream.raw-documents.retry.3", _waiting(attempt=b"3")), error)
    assert (dead.topic, dead.key, dead.value) == ("fewnerd-stream.raw-documents.dead", b"k", b"v")
    headers = dict(dead.headers)
    trace = headers.pop("__fewnerd.errors.exception.stacktrace") or b""
    assert trace.startswith(b"Traceback")
    assert trace.endswith(b"ZeroDivisionError: by zero\n")
    assert headers == {
        "__fewnerd.attempt": b"3",
        "__fewnerd.replay": b"0",
        "__fewnerd.topic": b"raw-documents",
        "__fewnerd.partition": b"3",
        "__fewnerd.offset": b"1042",
        "__fewnerd.timestamp": b"1764000000000",
        "__fewnerd.reason": b"model-error",
        "__fewnerd.attempts": b"4",
        "__fewnerd.model": b"sha256:0",
        "__fewnerd.errors.topic": b"fewnerd-stream.raw-documents.retry.3",
        "__fewnerd.errors.partition": b"3",
        "__fewnerd.errors.offset": b"1042",
        "__fewnerd.errors.stage": b"model",
        "__fewnerd.errors.exception.class.name": b"builtins.ZeroDivisionError",
        "__fewnerd.errors.exception.message": b"by zero",
    }


def test_a_crash_has_no_exception_and_a_tombstone_stays_null() -> None:
    """What is not there is not made up."""
    record = _record(value=None, key=None, timestamp=None)
    dead = dead_record(record, source_of(record, SETTINGS), Reason.CRASH, "model", None, None, SETTINGS)
    assert (dead.key, dead.value) == (None, None)
    names = [name for name, _ in dead.headers]
    assert not [name for name in names if "exception" in name or name in {OURS + "model", OURS + "timestamp"}]


@pytest.mark.parametrize("message", ["é" * 100_000, "\ud800" * 100_000, "x" * 100_000, "\0"])
def test_what_an_error_says_is_bounded(message: str) -> None:
    """Message and stack trace are cut between characters, and both ends of a trace stay."""
    headers = dict(_died(_record(), _raised(ValueError(message))).headers)
    said = headers["__fewnerd.errors.exception.message"] or b""
    trace = headers["__fewnerd.errors.exception.stacktrace"] or b""
    assert len(said) <= MESSAGE_BYTES
    assert len(trace) <= STACKTRACE_BYTES
    said.decode()
    assert trace.decode().startswith("Traceback")


def test_a_replay_as_it_is_written() -> None:
    """A dead letter goes to the first retry topic, due now, one replay older, without its errors."""
    dead = _stored(_died(_record(headers=(("x", b"1"),)), Reject(Reason.NAN, "no")), offset=7)
    again = replay_record(dead, SETTINGS)
    assert (again.topic, again.key, again.value) == ("fewnerd-stream.raw-documents.retry.1", b"k", b"v")
    assert again.headers == (("x", b"1"), *_waiting(replay=b"1", not_before=b"0"))
    assert source_of(_stored(again), SETTINGS) == Source("raw-documents", 3, 1042, NOW, attempt=1, replay=1)
    assert not_before(_stored(again)) == 0


def test_only_dead_letters_are_replayed() -> None:
    """A record from elsewhere is refused by its topic's name."""
    with pytest.raises(TopicsError, match=r"entities\.person"):
        replay_record(_record("entities.person"), SETTINGS)
    with pytest.raises(TopicsError, match=r"raw-documents\.retry\.1 does not hold the dead letters"):
        replay_record(_record("fewnerd-stream.raw-documents.retry.1"), SETTINGS)
    with pytest.raises(TopicsError, match=r"other is no input topic"):
        _retried(_record("other"))


@given(key=_bytes, value=_bytes, headers=_headers, timestamp=st.none() | st.integers(0, 2**63 - 1))
def test_a_long_way_round_changes_nothing(
    key: bytes | None, value: bytes | None, headers: Headers, timestamp: int | None
) -> None:
    """Retries, deaths and replays keep key, value, others' headers with repeats, and the source."""
    first = _record(key=key, value=value, headers=headers, timestamp=timestamp)
    source = source_of(first, SETTINGS)
    theirs = [("original." + name if name.startswith(OURS) else name, one) for name, one in headers]
    record, replays = first, 0
    for offset in range(12):
        outgoing = _retried(record) if offset % 2 or offset < 3 else None
        if outgoing is None:
            outgoing = replay_record(_stored(_died(record, ValueError("é" * 9999)), offset), SETTINGS)
            replays += 1
        record = _stored(outgoing, offset)
        seen = source_of(record, SETTINGS)
        assert (record.key, record.value) == (key, value)
        assert [header for header in record.headers if not header[0].startswith(OURS)] == theirs
        assert (seen.topic, seen.partition, seen.offset, seen.timestamp) == (
            source.topic,
            source.partition,
            source.offset,
            source.timestamp,
        )
        assert record.topic == f"fewnerd-stream.raw-documents.retry.{seen.attempt}"
        assert seen.replay == replays


@pytest.mark.parametrize(
    "wrong",
    [
        _waiting(attempt=None),
        _waiting(attempt=b"-1"),
        _waiting(attempt=b""),
        _waiting(attempt=b"9" * 18),
        _waiting(attempt=b"\xd9\xa1"),
        _waiting(replay=b"1e3"),
        _waiting(replay=None),
        _waiting(topic=b"no such topic"),
        _waiting(topic=b"\xff"),
        _waiting(topic=None),
        _waiting(partition=b"3.0"),
        _waiting(offset=b"9" * 19),
        _waiting(offset=b"%d" % 2**63),
        _waiting(timestamp=b"soon"),
        (*_waiting(), (OURS + "offset", b"1")),
        ((OURS + "offset", None),),
        (),
    ],
)
@pytest.mark.parametrize(
    "topic", ["fewnerd-stream.raw-documents.retry.2", "fewnerd-stream.raw-documents.dead"]
)
def test_what_others_put_on_our_topics_is_its_own_source(topic: str, wrong: Headers) -> None:
    """Headers that are not as we write them are not ours: nothing crashes, and nothing of them is lost."""
    record = _record(topic, (("x", b"1"), *wrong))
    source = source_of(record, SETTINGS)
    assert source == Source(topic, 3, 1042, NOW)
    next_one = replay_record(record, SETTINGS) if topic.endswith("dead") else _retried(record)
    stored = _stored(next_one)
    theirs = [("original." + name, value) for name, value in wrong]
    assert [header for header in stored.headers if not header[0].startswith(OURS)] == [("x", b"1"), *theirs]
    assert source_of(stored, SETTINGS).offset == 1042
    assert source_of(stored, SETTINGS).topic == topic


@given(
    headers=st.lists(st.tuples(st.sampled_from([n for n, _ in _waiting()]), _bytes), max_size=9).map(tuple)
)
def test_no_headers_make_it_fail(headers: Headers) -> None:
    """Whatever stands on a retry topic, it has a source, a due time, and a way on."""
    record = _record("fewnerd-stream.raw-documents.retry.1", headers)
    assert source_of(record, SETTINGS).attempt >= 0
    assert 0 <= not_before(record) <= NOW + DAY_MS
    dead_letter(_stored(_died(record)), SETTINGS)


@pytest.mark.parametrize(
    ("written", "due"),
    [
        (b"1764000005000", 1764000005000),
        (b"0", 0),
        (None, 0),
        (b"", 0),
        (b"-5", 0),
        (b"tomorrow", 0),
        (b"9" * 18, NOW + DAY_MS),
        (b"9" * 30, 0),
        (b"1764000005000.5", 0),
    ],
)
def test_a_senseless_time_means_now_and_a_far_one_is_cut(written: bytes | None, due: int) -> None:
    """No clock, however wrong, parks a partition for more than a day."""
    assert not_before(_record("fewnerd-stream.raw-documents.retry.1", _waiting(not_before=written))) == due


def test_a_shortened_delay_releases_nothing_early() -> None:
    """What was written with a longer delay keeps it when the setting is shortened."""
    waiting = _stored(_retried(_record("fewnerd-stream.raw-documents.retry.2", _waiting(attempt=b"2"))))
    shorter = load_settings(retry_delays="0.1,0.2,0.3")
    assert source_of(waiting, shorter).attempt == 3
    assert not_before(waiting) == NOW + 600_000


def test_without_a_timestamp_a_record_is_due() -> None:
    """Where there is nothing to count a day from, nothing waits."""
    assert not_before(_record("fewnerd-stream.raw-documents.retry.1", _waiting(), timestamp=None)) == 0
    assert not_before(_record("fewnerd-stream.raw-documents.retry.1", _waiting(), timestamp=-1)) == 0


def test_fewer_delays_send_a_late_attempt_to_the_dead_letters() -> None:
    """An attempt beyond the delays that are set now has no next one."""
    record = _record("fewnerd-stream.raw-documents.retry.1", _waiting(attempt=b"3"))
    assert retry_record(record, source_of(record, SETTINGS), load_settings(retry_delays="1"), NOW) is None


def test_a_dead_letter_can_be_read() -> None:
    """Whoever looks into it gets what was written, and nulls and bytes of others do no harm."""
    letter = dead_letter(_stored(_died(_record(headers=(("x", b"1"),)), ValueError("no"))), SETTINGS)
    assert letter.source == Source("raw-documents", 3, 1042, NOW)
    assert (letter.reason, letter.attempts, letter.model) == ("model-error", 1, "sha256:0")
    assert (letter.stage, letter.read_from) == ("model", "raw-documents/3/1042")
    assert (letter.exception, letter.message) == ("builtins.ValueError", "no")
    assert letter.headers == (("x", b"1"),)
    strange = dead_letter(
        _record("fewnerd-stream.raw-documents.dead", ((OURS + "reason", b"\xff"),)), SETTINGS
    )
    assert (strange.reason, strange.stage, strange.read_from) == ("\ufffd", "", "")


@given(_bytes, st.none() | st.binary(max_size=100), _headers)
def test_a_withheld_record_keeps_all_but_its_value(
    key: bytes | None, value: bytes | None, headers: Headers
) -> None:
    """Key, headers, place and reason; and its sizes."""
    record = _record(key=key, value=value, headers=headers)
    error = Reject(Reason.RECORD_TOO_LARGE, "too large for it", "publish")
    whole, letter = _died(record), withheld_record(record, source_of(record, SETTINGS), error, None, SETTINGS)
    assert (letter.topic, letter.key, letter.value) == (whole.topic, key, None)
    end = dead_letter(_stored(letter), SETTINGS)
    assert (end.reason, end.stage, end.message) == ("record-too-large", "publish", "too large for it")
    assert (end.source, end.headers) == (
        source_of(record, SETTINGS),
        dead_letter(_stored(whole), SETTINGS).headers,
    )
    sizes = {name: int(found or b"") for name, found in letter.headers if name.startswith(OURS + "size.")}
    assert sizes.get(OURS + "size.value") == (None if value is None else len(value))
    assert sizes.get(OURS + "size.key") == (None if key is None else len(key))


@pytest.mark.parametrize("most", [0, 10_000_000])
def test_a_withheld_record_is_small_whatever_was_in_it(most: int) -> None:
    """A large key and large headers stay behind, too; so it finds room where a retry topic's records do."""
    record = _record(
        key=b"k" * most, value=b"v" * most, headers=(("h", b"h" * most), ("\U0001f600" * (most // 100), None))
    )
    error = _raised(Reject(Reason.RECORD_TOO_LARGE, "x" * most, "publish"))
    assert isinstance(error, Reject)
    letter = withheld_record(record, source_of(record, SETTINGS), error, "sha256:" + "0" * most, SETTINGS)
    assert size_of(letter) < ROOM
    assert (OURS + "size.value", b"%d" % most) in letter.headers


def test_a_value_that_was_never_read_is_rejected_with_its_reason() -> None:
    """The batch's reader says why, and how large it is if it has seen its end."""
    value = Withheld(Reason.RECORD_TOO_LARGE, "a bomb", 7)
    with pytest.raises(Reject, match="a bomb") as caught:
        decode(value, SETTINGS)
    assert (caught.value.reason, caught.value.stage) == ("record-too-large", "read")
    record = _record(value=value)
    letter = withheld_record(record, source_of(record, SETTINGS), caught.value, None, SETTINGS)
    assert letter.value is None
    assert (OURS + "size.value", b"7") in letter.headers
