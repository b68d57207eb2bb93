"""A worker's outside eye: another client library than its own, to write topics and read what came of it."""

from __future__ import annotations

import functools
import json
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from fewnerd_stream.contract.topology import Topology

Place = tuple[str, int, int]
"""Topic, partition and offset of a record."""

_TIMEOUT = 20.0
# The library's own chatter about brokers that we have ended ourselves.
_QUIET = {"log_level": 0}
# What a broker answers, or leaves unanswered, while it starts; it passes.
_PASSING = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
}
_PASSES_WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class Message:
    """A record as it lies on a topic."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]

    @property
    def place(self) -> Place:
        """Where it lies."""
        return self.topic, self.partition, self.offset

    def header(self, name: str) -> bytes | None:
        """Give the last header of that name."""
        return next((value for each, value in reversed(self.headers) if each == name), None)

    def json(self) -> Any:
        """Read the value."""
        assert self.value is not None
        return json.loads(self.value)


@dataclass(frozen=True, slots=True)
class New:
    """A record to be written; partition -1 leaves the choice to the key."""

    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    partition: int = -1
    timestamp: int = 0


def _admin(bootstrap: str) -> AdminClient:
    """Connect; the caller must keep it until its futures are done."""
    return AdminClient({"bootstrap.servers": bootstrap, **_QUIET})


def brokers(bootstrap: str) -> int:
    """Count the brokers that take part in the cluster, as it says itself; 0 where none answers."""
    try:
        return len(_admin(bootstrap).list_topics(timeout=2).brokers)
    except KafkaException:
        return 0


def create_topics(
    bootstrap: str,
    topics: Mapping[str, int],
    *,
    replication: int = 1,
    config: Mapping[str, str] | None = None,
) -> None:
    """Create topics by name and number of partitions."""
    new = [NewTopic(name, parts, replication, config=dict(config or {})) for name, parts in topics.items()]
    client = _admin(bootstrap)
    for future in client.create_topics(new).values():
        future.result(_TIMEOUT)


def alter_topic(bootstrap: str, topic: str, config: Mapping[str, str]) -> None:
    """Set some of a topic's configuration; what is not named stays."""
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in config.items()
    ]
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=entries)
    client = _admin(bootstrap)
    for future in client.incremental_alter_configs([resource]).values():
        future.result(_TIMEOUT)


def add_partitions(bootstrap: str, topic: str, total: int) -> None:
    """Raise a topic's number of partitions."""
    client = _admin(bootstrap)
    for future in client.create_partitions([NewPartitions(topic, total)]).values():
        future.result(_TIMEOUT)


def delete_records(bootstrap: str, topic: str, partition: int, before: int) -> None:
    """Delete a partition's records below an offset, as retention would."""
    client = _admin(bootstrap)
    for future in client.delete_records([TopicPartition(topic, partition, before)]).values():
        future.result(_TIMEOUT)


def delete_topic(bootstrap: str, topic: str) -> None:
    """Delete a topic; brokers take a moment to forget it."""
    client = _admin(bootstrap)
    for future in client.delete_topics([topic]).values():
        future.result(_TIMEOUT)


def produce(
    bootstrap: str,
    topic: str,
    records: Iterable[New | bytes | None],
    *,
    transactional: str | None = None,
    abort: bool = False,
    **options: str,
) -> list[Place]:
    """Write records in their order and return where each lies; a transaction around them where one is named.

    Options are librdkafka's, with ``_`` for ``.``, as in ``compression_type="zstd"``.
    """
    settings = {"bootstrap.servers": bootstrap, "linger.ms": 5, "message.max.bytes": 64 << 20, **_QUIET}
    settings |= {name.replace("_", "."): value for name, value in options.items()}
    if transactional:
        settings["transactional.id"] = transactional
    producer = Producer(settings)
    if transactional:
        producer.init_transactions(_TIMEOUT)
        producer.begin_transaction()
    places: dict[int, Place] = {}
    total = 0
    for number, record in enumerate(records):
        new = record if isinstance(record, New) else New(record)

        def stored(error: KafkaError | None, message: Any, number: int = number) -> None:
            if error is not None:
                raise KafkaException(error)
            places[number] = (message.topic(), message.partition(), message.offset())

        while True:
            try:
                producer.produce(
                    topic,
                    new.value,
                    new.key,
                    new.partition,
                    on_delivery=stored,
                    timestamp=new.timestamp,
                    headers=list(new.headers) or None,
                )
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
        total += 1
    assert producer.flush(_TIMEOUT * 3) == 0, f"{topic} did not take all records"
    if transactional and abort:
        producer.abort_transaction(_TIMEOUT)
    elif transactional:
        producer.commit_transaction(_TIMEOUT)
    return [places[number] for number in range(total)]


def documents(count: int, text: str = "Angela Merkel flew to Paris.", start: int = 0) -> list[New]:
    """Make raw documents ``d0``, ``d1``, ... with one text; ``{n}`` in it becomes the number."""
    return [
        New(json.dumps({"id": f"d{n}", "text": text.replace("{n}", str(n))}).encode(), key=f"k{n}".encode())
        for n in range(start, start + count)
    ]


def _patiently(ask: Callable[[], Any]) -> Any:
    """Ask a broker, and ask again while it is only starting."""
    deadline = time.monotonic() + _PASSES_WITHIN
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in _PASSING or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


class Observer:
    """Reads topics and commits from outside; one consumer of a throw-away group, which never commits."""

    def __init__(self, bootstrap: str, *, isolation: str = "read_committed") -> None:
        """Connect on first use."""
        self.bootstrap = bootstrap
        self._options = {
            "bootstrap.servers": bootstrap,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "isolation.level": isolation,
            "fetch.message.max.bytes": 64 << 20,
            # The end of a partition is told by an empty answer: not to be waited for long.
            "fetch.wait.max.ms": 20,
            "topic.metadata.refresh.interval.ms": 1000,
            **_QUIET,
        }

    def topics(self) -> list[str]:
        """Name the topics that exist."""
        return sorted(_admin(self.bootstrap).list_topics(timeout=_TIMEOUT).topics)

    def partitions(self, topics: Iterable[str]) -> list[TopicPartition]:
        """List the partitions of the topics that exist."""
        known = _admin(self.bootstrap).list_topics(timeout=_TIMEOUT).topics
        return [
            TopicPartition(topic, part)
            for topic in topics
            if topic in known
            for part in known[topic].partitions
        ]

    def ends(self, topics: Iterable[str], seconds: float = 60) -> dict[tuple[str, int], int]:
        """Give the end offset of each partition.

        It is asked for by a fetch: to ListOffsets the embedded broker answers with the last batch's start.
        """
        found: dict[tuple[str, int], int] = {}
        parts = self.partitions(topics)
        consumer = Consumer({**self._options, "group.id": "observer"})
        try:
            for part in parts:
                ask = functools.partial(consumer.get_watermark_offsets, part, timeout=_TIMEOUT)
                ends = _patiently(ask)
                part.offset = max(0, ends[1] - 1)
            for _ in self._until_ends(consumer, parts, found, seconds):
                pass
        finally:
            consumer.close()
        return found

    def committed(self, group: str, topics: Iterable[str]) -> dict[tuple[str, int], int]:
        """Give the group's committed offset of each partition; -1001 where there is none."""
        consumer = Consumer({**self._options, "group.id": group})
        try:
            parts = self.partitions(topics)
            found = _patiently(lambda: consumer.committed(parts, timeout=_TIMEOUT))
            return {(part.topic, part.partition): part.offset for part in found}
        finally:
            consumer.close()

    def lag(self, group: str, topics: Sequence[str]) -> int:
        """Count the records that the group has not committed, of all partitions."""
        committed = self.committed(group, topics)
        return sum(end - max(0, committed.get(part, 0)) for part, end in self.ends(topics).items())

    def read(self, topics: Iterable[str], seconds: float = 60) -> list[Message]:
        """Read all records from the start to the ends as they are now."""
        parts = self.partitions(topics)
        for part in parts:
            part.offset = 0
        consumer = Consumer({**self._options, "group.id": "observer"})
        try:
            return [_message(message) for message in self._until_ends(consumer, parts, {}, seconds)]
        finally:
            consumer.close()

    def _until_ends(
        self,
        consumer: Consumer,
        parts: list[TopicPartition],
        ends: dict[tuple[str, int], int],
        seconds: float,
    ) -> Iterator[Any]:
        """Give the messages of partitions from their offsets on, and note where each ends."""
        deadline = time.monotonic() + seconds
        consumer.assign(parts)
        while len(ends) < len(parts):
            assert time.monotonic() < deadline, f"not read to the ends within {seconds:g} s: {parts}, {ends}"
            for message in consumer.consume(1000, timeout=0.05):
                error = message.error()
                if error is None:
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    found = _message(message)
                    ends[found.topic, found.partition] = found.offset
                elif error.fatal():
                    raise KafkaException(error)


def _message(message: Any) -> Message:
    return Message(
        message.topic(),
        message.partition(),
        message.offset(),
        message.timestamp()[1],
        message.key(),
        message.value(),
        tuple(message.headers() or ()),
    )


@dataclass
class Account:
    """What became of each input: which topics hold something that came of it, and how often."""

    outcomes: dict[Place, Counter[str]] = field(default_factory=dict)
    retried: Counter[str] = field(default_factory=Counter)

    @property
    def lost(self) -> list[Place]:
        """The inputs of which nothing came."""
        return sorted(place for place, topics in self.outcomes.items() if not topics)

    @property
    def duplicates(self) -> int:
        """How many results there are beyond the first of each input on each topic."""
        return sum(n - 1 for topics in self.outcomes.values() for n in topics.values())

    @property
    def torn(self) -> list[Place]:
        """The inputs that are both dead and enriched, or both empty-handed and enriched."""
        return sorted(
            place
            for place, topics in self.outcomes.items()
            if len(topics) > 1 and any(topic.endswith((".dead", ".none")) for topic in topics)
        )

    def topics(self, place: Place) -> set[str]:
        """Name the topics that hold something that came of an input."""
        return set(self.outcomes[place])


def account(observer: Observer, topology: Topology) -> Account:
    """Read all and hold it against the inputs: by ``source`` in enriched messages, by headers in dead ones.

    A result that names no input is an error.
    """
    outcomes: defaultdict[Place, Counter[str]] = defaultdict(Counter)
    result = Account(outcomes)
    outputs = set(topology.outputs.values())
    for message in observer.read([one.input for one in topology.inputs]):
        outcomes[message.place] = Counter()
    known = set(outcomes)
    for message in observer.read([*outputs, *(one.dead for one in topology.inputs)]):
        if message.topic in outputs:
            source = message.json()["source"]
            place = source["topic"], source["partition"], source["offset"]
        else:
            place = first_place(message)
        assert place in known, f"{message.place} came of {place}, which is no input"
        outcomes[place][message.topic] += 1
    result.retried.update(message.topic for message in observer.read(sorted(topology.retries)))
    return result


def first_place(message: Message) -> Place:
    """Give where a retried or dead record's document first lay, by its headers."""
    topic, partition, offset = (
        message.header(f"__fewnerd.{name}") for name in ("topic", "partition", "offset")
    )
    assert topic is not None
    assert partition is not None
    assert offset is not None
    return topic.decode(), int(partition), int(offset)
