"""A Kafka of a few lists, in place of the clients that the command line reads and sends through."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from fewnerd_stream.contract.records import Record
from fewnerd_stream.kafka import clients

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

BATCH = 7
"""How many records are read at a time."""

Place = tuple[str, int]


@dataclass
class ListBatch:
    """Records that are sent together."""

    records: list[dict[str, Any]] = field(default_factory=list)

    def append(self, *, timestamp: int | None, **fields: Any) -> None:
        """Add a record; the broker's clock gives its time."""
        assert timestamp is None
        self.records.append(fields)


@dataclass
class ListKafka:
    """Topics as lists of records; ``hurt`` is asked before and after each record is stored, and may raise."""

    topics: dict[str, int] = field(default_factory=dict)
    logs: defaultdict[Place, list[Record]] = field(default_factory=lambda: defaultdict(list))
    hurt: Callable[[str, Record], None] = lambda _, __: None
    clock: int = 1_000
    policies: dict[str, str] = field(default_factory=dict)

    def append(self, topic: str, partition: int, record: Record | None = None, **fields: Any) -> Record:
        """Store a record at the end of a partition, and give it as it lies there."""
        log = self.logs[topic, partition]
        self.clock += 1
        given = record or Record(topic, partition, 0, None, fields.get("key"), fields.get("value"))
        offset = log[-1].offset + 1 if log else 0
        stored = Record(topic, partition, offset, self.clock, given.key, given.value, given.headers)
        log.append(stored)
        return stored

    async def send_and_wait(
        self,
        topic: str,
        *,
        value: bytes | None,
        key: bytes | None = None,
        headers: Iterable[tuple[str, bytes | None]] = (),
        partition: int | None = None,
    ) -> None:
        """Be a producer."""
        place = sum(key or b"") % self.topics[topic] if partition is None else partition
        record = Record(topic, place, 0, None, key, value, tuple(headers))
        self.hurt("before", record)
        self.append(topic, place, record)
        self.hurt("after", record)

    async def partitions_for(self, topic: str) -> set[int]:
        """Be a producer that knows the topic."""
        return set(range(self.topics[topic]))

    @staticmethod
    def create_batch() -> ListBatch:
        """Be a producer that sends batches."""
        return ListBatch()

    async def send_batch(self, batch: ListBatch, topic: str, *, partition: int) -> asyncio.Future[None]:
        """Store a batch's records."""
        for fields in batch.records:
            await self.send_and_wait(topic, partition=partition, **fields)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def create_topics(self, new: Iterable[Any]) -> Any:
        """Be an admin client."""
        for topic in new:
            self.topics[topic.name] = topic.num_partitions
        return SimpleNamespace(topic_errors=[(topic.name, 0, None) for topic in new])

    async def forbidden(self, names: list[str]) -> set[str]:
        """Hide nothing."""
        assert not set(names) & set(self.topics)
        return set()

    async def describe_configs(self, resources: Iterable[Any]) -> list[Any]:
        """Tell topics' cleanup policies."""
        told = [
            (0, "", 2, one.name, [("cleanup.policy", self.policies.get(one.name, "compact"))])
            for one in resources
        ]
        return [SimpleNamespace(resources=told)]


@dataclass
class ListConsumer:
    """A consumer that goes on where it has read to."""

    kafka: ListKafka
    at: Place = ("", 0)
    position: int = 0

    async def getmany(self) -> dict[Place, list[Record]]:
        """Give what has come since."""
        new = [record for record in self.kafka.logs[self.at] if record.offset >= self.position]
        self.position += len(new)
        return {self.at: new} if new else {}


@contextmanager
def instead_of_clients(kafka: ListKafka) -> Iterator[ListKafka]:
    """Put the lists in place of every client."""

    @asynccontextmanager
    async def opened(_settings: object, **_: object) -> AsyncIterator[ListKafka]:
        yield kafka

    @asynccontextmanager
    async def consumer(_settings: object, **_: object) -> AsyncIterator[ListConsumer]:
        yield ListConsumer(kafka)

    async def partitions(_: object) -> dict[str, list[int]]:
        return {topic: list(range(count)) for topic, count in kafka.topics.items()}

    async def bounds(_: object, where: dict[str, list[int]]) -> dict[Place, tuple[int, int]]:
        out = {}
        for place in ((topic, number) for topic, numbers in where.items() for number in numbers):
            log = kafka.logs[place]
            out[place] = (log[0].offset, log[-1].offset + 1) if log else (0, 0)
        return out

    async def read(
        client: ListConsumer, where: Place, span: tuple[int, int], **_: object
    ) -> AsyncIterator[list[Record]]:
        client.at, client.position = where, span[1]
        found = [record for record in kafka.logs[where] if span[0] <= record.offset < span[1]]
        for start in range(0, len(found), BATCH):
            yield found[start : start + BATCH]

    async def since(_: object, where: dict[str, list[int]], timestamp: int) -> dict[Place, int | None]:
        out: dict[Place, int | None] = {}
        for place in ((topic, number) for topic, numbers in where.items() for number in numbers):
            young = [each.offset for each in kafka.logs[place] if (each.timestamp or 0) >= timestamp]
            out[place] = young[0] if young else None
        return out

    names: dict[str, Any] = {
        "since": since,
        "admin": opened,
        "producer": opened,
        "consumer": consumer,
        "partitions": partitions,
        "bounds": bounds,
        "read": read,
        "to_record": lambda record: record,
    }
    with patch.multiple(clients, **names):
        yield kafka
