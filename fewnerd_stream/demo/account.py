"""What became of each input, read back from the topics: nothing of it is taken from the worker's own word."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiokafka import TopicPartition

from fewnerd_stream.contract.documents import unwrapped
from fewnerd_stream.contract.taxonomy import NONE
from fewnerd_stream.kafka import clients

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from aiokafka import AIOKafkaConsumer

    from fewnerd_stream.contract.records import Record
    from fewnerd_stream.demo.feed import Item
    from fewnerd_stream.settings import Settings

Place = tuple[str, int, int]
"""Topic, partition and offset of an input."""

_PATIENCE: Final = 20.0


@dataclass(slots=True)
class Fate:
    """What came of one input: how often it is on each topic, and what is said there."""

    results: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    attempt: int = 0
    wanted: frozenset[str] = frozenset()
    reason: str | None = None

    def add(self, record: Record, settings: Settings) -> None:
        """Take note of a record that came of it."""
        if record.topic in settings.topology.retries:
            self.retries += 1
            return
        self.results[record.topic] += 1
        if record.topic in settings.topology.outputs.values():
            message = unwrapped(orjson.loads(record.value or b""))
            self.attempt = max(self.attempt, message["source"]["attempt"])
            categories = message["counts"] or {NONE: 0}
            self.wanted = frozenset(settings.topology.outputs[category] for category in categories)
        else:
            self.wanted = frozenset({record.topic})
            self.reason = header(record, "reason")

    @property
    def complete(self) -> bool:
        """Whether it is in every topic that it belongs to."""
        return bool(self.wanted) and self.wanted <= set(self.results)

    @property
    def duplicates(self) -> int:
        """How many results are there more than once."""
        return self.results.total() - len(self.results)


@dataclass(slots=True)
class Account:
    """All inputs and their fates, and how many records each topic holds."""

    fates: dict[Place, Fate]
    records: Counter[str] = field(default_factory=Counter)
    dead: Counter[str] = field(default_factory=Counter)
    strangers: list[Place] = field(default_factory=list)
    committed: int = 0
    """The sum of the group's commits on the input topics: so many inputs are handed over, it says."""

    @property
    def lost(self) -> list[Place]:
        """Inputs that are not in every topic that they belong to."""
        return sorted(place for place, fate in self.fates.items() if not fate.complete)

    @property
    def duplicates(self) -> int:
        """How many results are there more than once."""
        return sum(fate.duplicates for fate in self.fates.values())

    def surprises(self, sent: Mapping[Place, Item], flaky: str, attempts: int) -> list[str]:
        """Say which inputs came to another end than the feed foresees."""
        found = [f"{place} is named as an input, but was not sent" for place in self.strangers]
        for place, item in sent.items():
            fate = self.fates[place]
            if fate.complete and fate.reason != item.reason:
                found.append(f"{item.name}: {fate.reason or 'enriched'}, not {item.reason or 'enriched'}")
            wanted = attempts if item.name == flaky else 0
            if fate.complete and fate.retries != wanted:
                found.append(f"{item.name}: retried {fate.retries} times, not {wanted}")
        return found


def header(record: Record, name: str) -> str:
    """Read one of our headers; empty where there is none."""
    values = [value for each, value in record.headers if each == f"__fewnerd.{name}" and value is not None]
    return values[-1].decode(errors="replace") if values else ""


def place_of(record: Record, settings: Settings) -> Place:
    """Say of which input a record came: by its value where it is enriched, else by its headers."""
    if record.topic in settings.topology.outputs.values():
        source: dict[str, Any] = unwrapped(orjson.loads(record.value or b""))["source"]
        return source["topic"], source["partition"], source["offset"]
    return header(record, "topic"), int(header(record, "partition")), int(header(record, "offset"))


async def take(settings: Settings, sent: Mapping[Place, Item]) -> Account:
    """Read every topic from its start to its end, and hold it against what was sent.

    Raises:
        BrokerError: the broker does not answer.
    """
    account = Account({place: Fate() for place in sent})
    async with clients.admin(settings) as admin:
        all_parts = await clients.partitions(admin)
        inputs = [
            TopicPartition(name, number) for name in settings.input_topics for number in all_parts[name]
        ]
        # Asked by partition: the embedded broker does not know how to answer for all.
        commits = await admin.list_consumer_group_offsets(settings.group, partitions=inputs)
        account.committed = sum(max(0, commit.offset) for commit in commits.values())
    names = [name for name, _ in settings.topology.roles()]
    where = [TopicPartition(name, number) for name in names for number in all_parts[name]]
    async with clients.consumer(settings) as consumer:
        async for record in _everything(consumer, where):
            account.records[record.topic] += 1
            _enter(account, record, settings)
    return account


async def _everything(consumer: AIOKafkaConsumer, where: list[TopicPartition]) -> AsyncIterator[Record]:
    """Read partitions from their starts to their ends, which every answer to a fetch tells.

    Not to the ends that can be asked for: the embedded broker then gives the start of the last batch.

    Raises:
        TimeoutError: nothing comes any more, and an end is not reached.
    """
    consumer.assign(where)
    await consumer.seek_to_beginning(*where)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _PATIENCE
    while True:
        for batch in (await consumer.getmany(timeout_ms=200)).values():
            deadline = loop.time() + _PATIENCE
            for message in batch:
                yield clients.to_record(message)
        ends = {part: consumer.highwater(part) for part in where}
        if all([end is not None and await consumer.position(part) >= end for part, end in ends.items()]):
            return
        if loop.time() > deadline:
            raise TimeoutError


def _enter(account: Account, record: Record, settings: Settings) -> None:
    if record.topic in settings.input_topics:
        return
    place = place_of(record, settings)
    fate = account.fates.get(place)
    if fate is None:
        account.strangers.append(place)
        return
    fate.add(record, settings)
    if record.topic == settings.topology.input(place[0]).dead:
        account.dead[header(record, "reason")] += 1
