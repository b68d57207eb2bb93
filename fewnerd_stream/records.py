"""What goes through the worker's hands: records read, records to write, and where a document first stood."""

from __future__ import annotations

from dataclasses import dataclass

Headers = tuple[tuple[str, bytes], ...]
"""Kafka headers in their order, repeated names included."""


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it was read from a topic; the timestamp is in milliseconds since the epoch."""

    topic: str
    partition: int
    offset: int
    timestamp: int | None
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True, slots=True)
class Source:
    """A document's first record on its input topic, how often it was tried before, and replayed."""

    topic: str
    partition: int
    offset: int
    timestamp: int | None
    attempt: int = 0
    replay: int = 0


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to be published."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
