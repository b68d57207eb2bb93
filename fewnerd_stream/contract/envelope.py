"""What a record carries on its way to a retry topic, to the dead letters, and back. No broker, no clock.

Key and value stay as they are, and so do the headers that are not ours, in their order and with their
repeats. Ours come last. They are believed on retry topics and among the dead letters only, and only if they
are whole: each at most once, and all that make up a source as this module writes them. Anything else on such
a topic was put there by somebody else: it is its own source, due now, and its headers are not ours, whatever
their names.
"""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from fewnerd_stream.contract.records import (
    OURS,
    Headers,
    Outgoing,
    Record,
    Source,
    Withheld,
    foreign_headers,
    size_of_headers,
)
from fewnerd_stream.errors import TopicsError

if TYPE_CHECKING:
    from fewnerd_stream.contract.options import EnvelopeOptions
    from fewnerd_stream.contract.topology import InputTopics
    from fewnerd_stream.errors import Reason, Reject

__all__ = [
    "DeadLetter",
    "Outgoing",
    "dead_letter",
    "dead_record",
    "not_before",
    "replay_record",
    "retry_record",
    "source_of",
    "withheld_record",
]

ATTEMPT: Final = OURS + "attempt"
NOT_BEFORE: Final = OURS + "not-before"
REPLAY: Final = OURS + "replay"
TOPIC: Final = OURS + "topic"
TOPIC_ID: Final = OURS + "topic-id"
PARTITION: Final = OURS + "partition"
OFFSET: Final = OURS + "offset"
TIMESTAMP: Final = OURS + "timestamp"
REASON: Final = OURS + "reason"
ATTEMPTS: Final = OURS + "attempts"
MODEL: Final = OURS + "model"
ERRORS: Final = OURS + "errors."
SIZE: Final = OURS + "size."

DAY_MS: Final = 86_400_000
"""Longest wait, counted from a record's own timestamp, so that a wrong clock parks nothing for years."""

STACKTRACE_BYTES: Final = 8 * 1024
MESSAGE_BYTES: Final = 2 * 1024
ASIDE_BYTES: Final = 16 * 1024
"""A key, or headers, of more are left out of a letter that is without its value: it must find room anywhere."""

_NUMBER: Final = re.compile(rb"[0-9]{1,19}")
# Kafka's offsets and times have 64 bits.
_LARGEST: Final = 2**63 - 1
_TOPIC: Final = re.compile(rb"[A-Za-z0-9._-]{1,249}")
_TOPIC_ID: Final = re.compile(rb"[A-Za-z0-9_-]{22}")
_MOST_TIMES: Final = 1_000_000


def source_of(record: Record, settings: EnvelopeOptions) -> Source:
    """Say where a record's document first stood: here, or elsewhere as the headers say that we wrote."""
    if record.topic in settings.topology.trusted:
        source = _believed(record)
        if source is not None:
            return source
    timestamp = record.timestamp
    if timestamp is not None and timestamp < 0:  # Kafka's way to say that there is none
        timestamp = None
    return Source(record.topic, record.partition, record.offset, timestamp, topic_id=record.topic_id)


def _ours(record: Record) -> dict[str, bytes | None] | None:
    """Collect our headers; None when one is there twice, so that they are not as we wrote them."""
    found: dict[str, bytes | None] = {}
    for name, value in record.headers:
        if name.startswith(OURS):
            if name in found:
                return None
            found[name] = value
    return found


def _believed(record: Record) -> Source | None:
    """Read the source from our headers; None when they are not as we wrote them."""
    found = _ours(record)
    if found is None:
        return None
    topic = found.get(TOPIC) or b""
    partition, offset = _number(found.get(PARTITION)), _number(found.get(OFFSET))
    attempt, replay = _number(found.get(ATTEMPT)), _number(found.get(REPLAY))
    timestamp = _number(found.get(TIMESTAMP))
    topic_id = found.get(TOPIC_ID, b"")
    if (
        partition is None
        or offset is None
        or attempt is None
        or replay is None
        or (timestamp is None and TIMESTAMP in found)
        or max(attempt, replay) > _MOST_TIMES
        or not _TOPIC.fullmatch(topic)
        or topic_id is None
        or (TOPIC_ID in found and not _TOPIC_ID.fullmatch(topic_id))
    ):
        return None
    return Source(topic.decode(), partition, offset, timestamp, attempt, replay, topic_id.decode())


def _number(value: bytes | None) -> int | None:
    if value is None or not _NUMBER.fullmatch(value):
        return None
    number = int(value)
    return number if number <= _LARGEST else None


def not_before(record: Record) -> int:
    """Say when a record on a retry topic is due, in milliseconds since the epoch; 0: now.

    A time that makes no sense means now. One more than a day past the record's own timestamp is cut to that.
    """
    found = _ours(record)
    due = _number(found.get(NOT_BEFORE)) if found else None
    if due is None or record.timestamp is None or record.timestamp < 0:
        return 0
    return min(due, record.timestamp + DAY_MS)


def retry_record(record: Record, source: Source, settings: EnvelopeOptions, now_ms: int) -> Outgoing | None:
    """Send a record to wait for its next attempt; None when it has had its last.

    Args:
        record: as read, from an input or a retry topic.
        source: as ``source_of`` gave it for this attempt, which failed.
        settings: the delays; the n-th retry topic holds the n-th attempt after the first.
        now_ms: the time, in milliseconds since the epoch.

    Raises:
        TopicsError: the record comes from a topic that is not ours to read.
    """
    attempt = source.attempt + 1
    if attempt > len(settings.retry_delays):
        return None
    due = now_ms + round(settings.retry_delays[attempt - 1] * 1000)
    topic = _topics_of(record, settings).retries[attempt - 1]
    headers = (
        *foreign_headers(record, source),
        *_place(source, attempt, source.replay),
        _number_of(NOT_BEFORE, due),
    )
    return Outgoing(topic, record.key, record.value, headers)


def dead_record(  # noqa: PLR0917 - each becomes a header
    record: Record,
    source: Source,
    reason: Reason,
    stage: str,
    error: BaseException | None,
    model_digest: str | None,
    settings: EnvelopeOptions,
) -> Outgoing:
    """Send a record to the dead letters, with the reason and the error.

    Args:
        record: as read, from an input or a retry topic.
        source: as ``source_of`` gave it for the last attempt.
        reason: from the closed list.
        stage: of the work: ``decode``, ``model``, ``encode`` or ``publish``.
        error: what was raised, if anything was.
        model_digest: of the model at work, if there was one.
        settings: the topics.

    Raises:
        TopicsError: the record comes from a topic that is not ours to read.
    """
    headers = [
        *foreign_headers(record, source),
        *_place(source, source.attempt, source.replay),
        (REASON, reason.value.encode()),
        _number_of(ATTEMPTS, source.attempt + 1),
    ]
    if model_digest is not None:
        headers.append((MODEL, _cut(model_digest, MESSAGE_BYTES)))
    headers += [
        (ERRORS + "topic", record.topic.encode()),
        _number_of(ERRORS + "partition", record.partition),
        _number_of(ERRORS + "offset", record.offset),
        (ERRORS + "stage", _cut(stage, MESSAGE_BYTES)),
    ]
    if error is not None:
        kind = type(error)
        trace = "".join(traceback.format_exception(error))
        headers += [
            (ERRORS + "exception.class.name", _cut(f"{kind.__module__}.{kind.__qualname__}", MESSAGE_BYTES)),
            (ERRORS + "exception.message", _cut(str(error), MESSAGE_BYTES)),
            (ERRORS + "exception.stacktrace", _without_middle(trace, STACKTRACE_BYTES)),
        ]
    return Outgoing(_topics_of(record, settings).dead, record.key, record.value, tuple(headers))


def withheld_record(
    record: Record, source: Source, error: Reject, model_digest: str | None, settings: EnvelopeOptions
) -> Outgoing:
    """Send a record to the dead letters without its value, which has no room there, or was never read.

    Its place is in the headers, so that it can be fetched while its topic keeps it, and so are its sizes. Key and
    headers come along unless they are large themselves.

    Args:
        record: as read; its value may stand for one that was not.
        source: as ``source_of`` gave it for the last attempt.
        error: the reason, and what was too large for what.
        model_digest: of the model at work, if there was one.
        settings: the topics.

    Raises:
        TopicsError: the record comes from a topic that is not ours to read.
    """
    key, value, headers = record.key, record.value, tuple(foreign_headers(record, source))
    sizes = {
        "value": value.size if isinstance(value, Withheld) else None if value is None else len(value),
        "key": None if key is None else len(key),
        "headers": size_of_headers(headers),
    }
    small = replace(
        record, key=None if key is None or len(key) > ASIDE_BYTES else key, value=None, headers=()
    )
    letter = dead_record(small, source, error.reason, error.stage, error, model_digest, settings)
    kept = headers if size_of_headers(headers) <= ASIDE_BYTES else ()
    ours = (_number_of(SIZE + name, size) for name, size in sizes.items() if size is not None)
    return replace(letter, headers=(*kept, *letter.headers, *ours))


def replay_record(record: Record, settings: EnvelopeOptions) -> Outgoing:
    """Send a dead letter to its input's first retry topic, due now; the errors stay behind.

    Raises:
        TopicsError: the record is no dead letter of an input topic.
    """
    source = source_of(record, settings)
    topics = _topics_of(record, settings)
    if record.topic != topics.dead:
        raise TopicsError(f"{record.topic} does not hold the dead letters of {topics.input}")
    headers = (
        *foreign_headers(record, source),
        *_place(source, 1, source.replay + 1),
        _number_of(NOT_BEFORE, 0),
    )
    return Outgoing(topics.retries[0], record.key, record.value, headers)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What a dead letter says of itself; empty where it does not."""

    source: Source
    reason: str
    attempts: int
    model: str
    stage: str
    read_from: str
    exception: str
    message: str
    stacktrace: str
    headers: Headers
    """Those that are not ours."""


def dead_letter(record: Record, settings: EnvelopeOptions) -> DeadLetter:
    """Read a dead letter for somebody who looks into it; what was put there by others is read too."""
    source = source_of(record, settings)
    found = {
        name: (value or b"").decode(errors="replace")
        for name, value in record.headers
        if name.startswith(OURS)
    }

    def error(name: str) -> str:
        return found.get(ERRORS + name, "")

    return DeadLetter(
        source=source,
        reason=found.get(REASON, ""),
        attempts=source.attempt + 1,
        model=found.get(MODEL, ""),
        stage=error("stage"),
        read_from="/".join(filter(None, (error("topic"), error("partition"), error("offset")))),
        exception=error("exception.class.name"),
        message=error("exception.message"),
        stacktrace=error("exception.stacktrace"),
        headers=tuple(foreign_headers(record, source)),
    )


def _topics_of(record: Record, settings: EnvelopeOptions) -> InputTopics:
    topics = settings.topology.of(record.topic)
    if topics is None:
        raise TopicsError(
            f"{record.topic} is no input topic, nor one of its retry topics or its dead letters"
        )
    return topics


def _place(source: Source, attempt: int, replay: int) -> Headers:
    """Write down where the document first stood, and which attempt comes next or was the last."""
    place: Headers = (
        _number_of(ATTEMPT, attempt),
        _number_of(REPLAY, replay),
        (TOPIC, source.topic.encode()),
        _number_of(PARTITION, source.partition),
        _number_of(OFFSET, source.offset),
    )
    if source.topic_id:
        place = (*place, (TOPIC_ID, source.topic_id.encode()))
    return place if source.timestamp is None else (*place, _number_of(TIMESTAMP, source.timestamp))


def _number_of(name: str, number: int) -> tuple[str, bytes]:
    return name, b"%d" % number


def _cut(text: str, most: int) -> bytes:
    """Encode a text to at most so many bytes, all of its characters whole; a surrogate is spelled out."""
    data = text.encode(errors="backslashreplace")
    return data if len(data) <= most else data[:most].decode(errors="ignore").encode()


def _without_middle(text: str, most: int) -> bytes:
    """Encode a text to at most so many bytes, without its middle: both ends of a trace tell something."""
    data = text.encode(errors="backslashreplace")
    if len(data) <= most:
        return data
    gap = b"\n  ...\n"
    half = (most - len(gap)) // 2
    return data[:half].decode(errors="ignore").encode() + gap + data[-half:].decode(errors="ignore").encode()
