"""The outside eye: topics, commits and the group, by another client library than the product uses.

``Topics`` is what the verifier reads; ``KafkaTopics`` reads them from a cluster, and tests make their own.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions

from tests.support.clients import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

OFFSETS: Final = "__consumer_offsets"
_TIMEOUT: Final = 20.0
_QUIET: Final = {"log_level": 0}


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit as the group's coordinator stored it; offset None: the broker took the commit back."""

    topic: str
    partition: int
    offset: int | None
    metadata: str
    timestamp: int


class Topics(Protocol):
    """What can be read after a run."""

    def read(self, topic: str) -> Iterator[Message]:
        """Give a topic's records from its first to its end as it is now, in order within each partition."""

    def commits(self, group: str) -> Iterator[Commit]:
        """Give a group's commits in the order in which they were stored."""


class KafkaTopics:
    """Topics on a cluster."""

    def __init__(self, bootstrap: str) -> None:
        """Connect on first use."""
        self.bootstrap = bootstrap

    def read(self, topic: str) -> Iterator[Message]:
        """Stream a topic; nothing is kept, so it may be of any size."""
        for raw in _stream(self.bootstrap, topic):
            yield Message(
                raw.topic(),
                raw.partition(),
                raw.offset(),
                raw.timestamp()[1],
                raw.key(),
                raw.value(),
                tuple(raw.headers() or ()),
            )

    def commits(self, group: str) -> Iterator[Commit]:
        """Stream a group's commits; all are in one partition of the offsets' topic, so in order."""
        for raw in _stream(self.bootstrap, OFFSETS):
            commit = parse_commit(raw.key(), raw.value(), group)
            if commit is not None:
                yield commit


def _options(bootstrap: str) -> dict[str, Any]:
    return {
        "bootstrap.servers": bootstrap,
        "group.id": "outside",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
        "fetch.message.max.bytes": 16 << 20,
        "queued.max.messages.kbytes": 64 << 10,
        "check.crcs": False,
        "fetch.wait.max.ms": 50,
        **_QUIET,
    }


def _stream(bootstrap: str, topic: str, seconds: float = 600) -> Iterator[Any]:
    consumer = Consumer(_options(bootstrap))
    try:
        known = consumer.list_topics(timeout=_TIMEOUT).topics.get(topic)
        if known is None or known.error is not None:
            return
        waiting = set(known.partitions)
        consumer.assign([TopicPartition(topic, part, 0) for part in waiting])
        deadline = time.monotonic() + seconds
        while waiting:
            assert time.monotonic() < deadline, f"{topic} is not read to its end within {seconds:g} s"
            for message in consumer.consume(1000, timeout=0.1):
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    waiting.discard(message.partition())
                elif error.fatal():
                    raise KafkaException(error)
    finally:
        consumer.close()


def parse_commit(key: bytes | None, value: bytes | None, group: str) -> Commit | None:
    """Read a record of the offsets' topic; None for another group's, and for what is no commit.

    Raises:
        ValueError: a version of the format that is not known here.
    """
    if key is None or len(key) < 2:
        return None
    (version,) = struct.unpack_from(">h", key)
    if version > 1:  # the group's own state
        return None
    name, at = _string(key, 2)
    topic, at = _string(key, at)
    (partition,) = struct.unpack_from(">i", key, at)
    if name != group:
        return None
    if value is None:
        return Commit(topic, partition, None, "", 0)
    (version,) = struct.unpack_from(">h", value)
    if version not in {0, 1, 2, 3, 4}:
        message = f"commits of version {version}"
        raise ValueError(message)
    (offset,) = struct.unpack_from(">q", value, 2)
    metadata, at = _compact(value, 14) if version == 4 else _string(value, 14 if version == 3 else 10)
    (timestamp,) = struct.unpack_from(">q", value, at)
    return Commit(topic, partition, offset, metadata, timestamp)


def _string(data: bytes, at: int) -> tuple[str, int]:
    (size,) = struct.unpack_from(">h", data, at)
    return data[at + 2 : at + 2 + max(size, 0)].decode(), at + 2 + max(size, 0)


def _compact(data: bytes, at: int) -> tuple[str, int]:
    """Read a string with its length and one as a varint before it."""
    size = shift = 0
    while True:
        byte = data[at]
        at += 1
        size |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    return data[at : at + max(size - 1, 0)].decode(), at + max(size - 1, 0)


class Tail:
    """Follows a group's commits as they come; what it knows is as new as the last ``update``.

    The client's own answer will not do: its binding reads the metadata of a commit past their end.
    """

    def __init__(self, bootstrap: str, group: str) -> None:
        """Connect on the first update."""
        self.latest: dict[tuple[str, int], Commit] = {}
        self._group = group
        self._consumer = Consumer(_options(bootstrap))
        self._parts: list[int] = []

    def update(self, seconds: float = 30) -> dict[tuple[str, int], Commit]:
        """Read all that is there, and give the latest commit of each partition."""
        if not self._parts:
            known = self._consumer.list_topics(timeout=_TIMEOUT).topics.get(OFFSETS)
            self._parts = list(known.partitions) if known is not None else []
            if not self._parts:
                return {}
            self._consumer.assign([TopicPartition(OFFSETS, part, 0) for part in self._parts])
        ends = {
            part: self._consumer.get_watermark_offsets(
                TopicPartition(OFFSETS, part), timeout=5, cached=False
            )[1]
            for part in self._parts
        }
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            # -1001 before the first record; an empty partition has its end at 0.
            at = self._consumer.position([TopicPartition(OFFSETS, part) for part in self._parts])
            if all(max(0, one.offset) >= ends[one.partition] for one in at):
                break
            for raw in self._consumer.consume(2000, timeout=0.1):
                if raw.error() is None:
                    commit = parse_commit(raw.key(), raw.value(), self._group)
                    if commit is not None:
                        self.latest[commit.topic, commit.partition] = commit
        return self.latest

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()


class Group:
    """A consumer group seen from outside, over one lasting connection; it is never joined."""

    def __init__(self, bootstrap: str, group: str) -> None:
        """Connect on first use."""
        self.group = group
        self._admin = AdminClient({"bootstrap.servers": bootstrap, **_QUIET})
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False, **_QUIET}
        )

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()

    def partitions(self, topics: Iterable[str], timeout: float = 5) -> list[TopicPartition]:
        """List the partitions of those topics that there are."""
        known = self._consumer.list_topics(timeout=timeout).topics
        return [
            TopicPartition(topic, part)
            for topic in topics
            if topic in known and known[topic].error is None
            for part in sorted(known[topic].partitions)
        ]

    def committed(self, topics: Iterable[str], timeout: float = 5) -> dict[tuple[str, int], int]:
        """Give each partition's committed offset; 0 where there is none."""
        found = self._consumer.committed(self.partitions(topics, timeout), timeout=timeout)
        return {(each.topic, each.partition): max(0, each.offset) for each in found}

    def ends(self, parts: Iterable[tuple[str, int]], timeout: float = 5) -> dict[tuple[str, int], int]:
        """Give partitions' end offsets."""
        return {
            part: self._consumer.get_watermark_offsets(TopicPartition(*part), timeout=timeout, cached=False)[
                1
            ]
            for part in parts
        }

    def lag(self, topics: Sequence[str]) -> int:
        """Count what is not committed; raises KafkaException when the brokers do not tell."""
        committed = self.committed(topics)
        ends = self.ends(committed)
        return sum(end - committed[part] for part, end in ends.items())

    def owners(self) -> dict[tuple[str, int], str]:
        """Give the member that owns each partition, of a group that is stable; else nothing."""
        found = self._admin.describe_consumer_groups([self.group])[self.group].result(_TIMEOUT)
        if found.state.name != "STABLE":
            return {}
        return {
            (part.topic, part.partition): member.member_id
            for member in found.members
            for part in member.assignment.topic_partitions
        }


def alter(bootstrap: str, topic: str, config: Mapping[str, str | None]) -> None:
    """Change some of a topic's configuration; None takes an entry back to its default."""
    entries = [
        ConfigEntry(
            name,
            value,
            incremental_operation=AlterConfigOpType.DELETE if value is None else AlterConfigOpType.SET,
        )
        for name, value in config.items()
    ]
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    client = AdminClient({"bootstrap.servers": bootstrap, **_QUIET})
    for future in client.incremental_alter_configs([resource]).values():
        future.result(_TIMEOUT)


def delete_topics(bootstrap: str, topics: Sequence[str]) -> None:
    """Delete topics, and wait until nobody sees them any more."""
    client = AdminClient({"bootstrap.servers": bootstrap, **_QUIET})
    for future in client.delete_topics(list(topics), operation_timeout=_TIMEOUT).values():
        future.result(_TIMEOUT)


def add_partitions(bootstrap: str, topic: str, total: int) -> None:
    """Let a topic have more partitions."""
    client = AdminClient({"bootstrap.servers": bootstrap, **_QUIET})
    for future in client.create_partitions([NewPartitions(topic, total)]).values():
        future.result(_TIMEOUT)


def patient(ask: Callable[[], Any], otherwise: Any = None) -> Any:
    """Ask the brokers something, which may be down just now on purpose."""
    try:
        return ask()
    except KafkaException:
        return otherwise
