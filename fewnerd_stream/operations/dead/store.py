"""Dead letters on the broker: read them, and keep which of them were replayed.

What was replayed is kept in a topic beside the dead letters, ``<group>.<input>.dead.replayed``: one
compacted partition. A consumer group's committed offsets would be the usual place, but they hold one offset and not a
set, Kafka forgets those of a group that was silent for seven days, and the embedded broker drops the
metadata that could hold the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiokafka.errors import TopicAuthorizationFailedError

from fewnerd_stream.errors import FewnerdError, TopicsError
from fewnerd_stream.kafka import clients, topics
from fewnerd_stream.operations.dead.letters import Letter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
    from aiokafka.admin import AIOKafkaAdminClient

    from fewnerd_stream.contract.records import Record
    from fewnerd_stream.operations.dead.filters import Filter
    from fewnerd_stream.operations.dead.replayed_offsets import ReplayedOffsets
    from fewnerd_stream.settings import Settings


class MarksError(FewnerdError):
    """What is kept of replays cannot be understood."""


async def check_marks_topic(admin: AIOKafkaAdminClient, name: str) -> None:
    """Refuse a topic that forgets: letters would be replayed twice. A broker that does not tell is believed.

    Raises:
        TopicsError: its records are deleted after a time.
    """
    configs, _ = await topics.configs(admin, [name])
    policy = configs.get(name, {}).get("cleanup.policy", topics.COMPACT)
    if policy != topics.COMPACT:
        raise TopicsError(topics.forgetful(name, policy))


async def letters(
    client: AIOKafkaConsumer, settings: Settings, where: tuple[str, int], span: tuple[int, int]
) -> AsyncIterator[list[Letter]]:
    """Read dead letters in batches: of (topic, partition), from the span's first offset up to its end."""
    async for batch in clients.read(client, where, span):
        yield [Letter.of(record, settings) for record in batch]


@dataclass(frozen=True, slots=True)
class Span:
    """Where in a partition those letters are that a filter can mean.

    ``anew`` says that its topic was made anew since its letters were marked as replayed.
    """

    partition: int
    start: int
    end: int
    anew: bool


async def spans(
    client: AIOKafkaConsumer,
    settings: Settings,
    where: tuple[str, list[int]],
    chosen: Filter,
    marks: ReplayedOffsets,
) -> list[Span]:
    """Find out where to look in each partition of a dead topic, up to its end as it is now.

    ReplayedOffsets of partitions that were made anew since are forgotten.
    """
    topic, partitions = where
    young = {} if chosen.since is None else await clients.since(client, {topic: partitions}, chosen.since)
    found = []
    for (_, partition), (first, end) in (await clients.bounds(client, {topic: partitions})).items():
        anew = await _made_anew(client, settings, marks, (topic, partition), (first, end))
        if anew:
            marks.forget(partition)
        low, high = chosen.window(partition)
        youngest = young.get((topic, partition), first)
        start = end if youngest is None else max(first, low, youngest)
        found.append(Span(partition, start, min(end, high), anew))
    return found


async def one_letter(
    client: AIOKafkaConsumer, settings: Settings, where: tuple[str, int], offset: int
) -> Letter | None:
    """Read the dead letter at one offset, which must lie before the end; None where a hole is."""
    async for batch in letters(client, settings, where, (offset, offset + 1)):
        return batch[0]
    return None


async def load_marks(client: AIOKafkaConsumer, topic: str, marks: ReplayedOffsets) -> None:
    """Take over the records of a marks topic; the consumer is then where `follow_marks` goes on.

    Raises:
        MarksError: a record there is not ours to understand.
    """
    where = (topic, 0)
    async for batch in clients.read(client, where, (await clients.bounds(client, {topic: [0]}))[where]):
        for record in batch:
            _apply(marks, record)


async def load_marks_if_allowed(client: AIOKafkaConsumer, topic: str, marks: ReplayedOffsets) -> bool:
    """Take over the records of a marks topic, where we may read it; returns whether we may.

    Raises:
        MarksError: as `load_marks`.
    """
    try:
        await load_marks(client, topic, marks)
    except TopicAuthorizationFailedError:
        return False
    return True


async def follow_marks(client: AIOKafkaConsumer, marks: ReplayedOffsets) -> None:
    """Take over what has come since, without waiting for it.

    That is mostly our own, and late: a chunk that we took back, and have marked anew since, must not be taken
    back again. So null values are passed over; whoever else writes one, writes marks as well, and is noticed.

    Raises:
        MarksError: as `load_marks`.
    """
    while found := await client.getmany():
        for batch in found.values():
            for message in batch:
                if message.value is not None:
                    _apply(marks, clients.to_record(message))


def _apply(marks: ReplayedOffsets, record: Record) -> None:
    try:
        marks.apply(record.key, record.value)
    except ValueError as error:
        raise MarksError(f"the record {record.topic}/0/{record.offset} cannot be used: {error}") from error


async def store_marks(producer: AIOKafkaProducer, topic: str, marks: ReplayedOffsets) -> None:
    """Write what changed in the marks, and wait until it is stored in every in-sync replica."""
    for key, value in marks.changes():
        await producer.send_and_wait(topic, value=value, key=key, partition=0)


async def _made_anew(
    client: AIOKafkaConsumer,
    settings: Settings,
    marks: ReplayedOffsets,
    where: tuple[str, int],
    bounds: tuple[int, int],
) -> bool:
    """Say whether a dead topic was deleted and made anew since its letters were marked as replayed."""
    witness = marks.witness(where[1])
    if witness is None or witness[0] < bounds[0]:
        return False
    offset, timestamp = witness
    if offset >= bounds[1]:
        return True
    letter = await one_letter(client, settings, where, offset)
    return letter is not None and timestamp is not None and letter.record.timestamp != timestamp
