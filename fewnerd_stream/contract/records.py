"""What goes through the worker's hands: records read, records to write, and where a document first stood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Self

if TYPE_CHECKING:
    from fewnerd_stream.errors import Reason

Headers = tuple[tuple[str, bytes | None], ...]
"""Kafka headers in their order, repeated names included; a value may be null."""

OURS: Final = "__fewnerd."
"""How the names of the headers begin that only this package may write."""

ORIGINAL: Final = "original."
"""What is put before the name of an input's header that would pass for one of ours."""

_RECORD_OVERHEAD: Final = 256
_HEADER: Final = 10
"""What a record, and a header, take on the wire beside what they hold, generously."""

_HEADER_OBJECTS: Final = 160


class Partition(NamedTuple):
    """A partition of a topic. Faust's ``TP`` and aiokafka's ``TopicPartition`` compare equal to it."""

    topic: str
    partition: int


class Withheld(bytes):
    """Stands for a value that was not read, since there is no room for it: empty itself, it knows why.

    Attributes:
        reason: why it cannot be handed on.
        message: the same for people, with the sizes.
        size: the value's bytes; None where nobody has seen its end.
    """

    reason: Reason
    message: str
    size: int | None

    def __new__(cls, reason: Reason, message: str, size: int | None = None) -> Self:
        """Take note of what is not there."""
        made = super().__new__(cls)
        made.reason, made.message, made.size = reason, message, size
        return made


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it was read from a topic; the timestamp is in milliseconds since the epoch.

    ``topic_id`` tells the topic from one of the same name before or after it; empty where the broker does not.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int | None
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    topic_id: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """A document's first record on its input topic, and how often it was tried before, and replayed."""

    topic: str
    partition: int
    offset: int
    timestamp: int | None
    attempt: int = 0
    replay: int = 0
    topic_id: str = ""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to be published."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


def foreign_headers(record: Record, source: Source) -> list[tuple[str, bytes | None]]:
    """Give a record's headers without ours, in their order.

    A record that is its own source cannot carry ours, so what is named like them comes along as
    ``original.<name>``. One that names another record as its source has been through our hands: ours go.
    """
    headers = record.headers
    if not any(name.startswith(OURS) for name, _ in headers):
        return list(headers)
    if (
        source.offset == record.offset
        and source.partition == record.partition
        and source.topic == record.topic
    ):
        return [(ORIGINAL + name if name.startswith(OURS) else name, value) for name, value in headers]
    return [header for header in headers if not header[0].startswith(OURS)]


def size_of(record: Record | Outgoing) -> int:
    """Return the bytes that a record takes on the wire, uncompressed, at most."""
    key, value = record.key or b"", record.value or b""
    return len(key) + len(value) + size_of_headers(record.headers) + _RECORD_OVERHEAD


def size_of_headers(headers: Headers) -> int:
    """Return the bytes that headers take on the wire, at most."""
    return sum(len(name.encode(errors="replace")) + len(value or b"") + _HEADER for name, value in headers)


def weight(record: Record) -> int:
    """Return about as many bytes as a record that was read takes in memory; a header costs more there."""
    return size_of(record) + _HEADER_OBJECTS * len(record.headers)
