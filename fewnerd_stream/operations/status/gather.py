"""Ask the broker how the pipeline stands. What it will not tell becomes a note, and the rest is told."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from aiokafka import TopicPartition
from aiokafka.errors import (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    KafkaError,
    NotCoordinatorForGroupError,
    TopicAuthorizationFailedError,
    for_code,
)

from fewnerd_stream.contract.envelope import DAY_MS, not_before, source_of
from fewnerd_stream.kafka import clients
from fewnerd_stream.kafka.groups import assigned
from fewnerd_stream.operations.dead import store
from fewnerd_stream.operations.dead.letters import Letter
from fewnerd_stream.operations.dead.replayed_offsets import ReplayedOffsets
from fewnerd_stream.operations.status.report import (
    Dead,
    Member,
    PartitionStatus,
    Place,
    Report,
    Waiting,
    newest,
    owners,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from aiokafka import AIOKafkaConsumer
    from aiokafka.admin import AIOKafkaAdminClient

    from fewnerd_stream.contract.records import Record
    from fewnerd_stream.contract.topology import InputTopics
    from fewnerd_stream.settings import Settings

_Answer = TypeVar("_Answer")

_TRIES: Final = 10
_PAUSE: Final = 0.3
_NOT_YET: Final = (
    GroupCoordinatorNotAvailableError,
    GroupLoadInProgressError,
    NotCoordinatorForGroupError,
)


async def gather(settings: Settings, *, letters: int | None = 10_000) -> Report:
    """Find out how the group and its topics stand.

    Args:
        settings: the group, the topics and the broker.
        letters: most dead letters to look at per topic, the newest; None: all.

    Raises:
        BrokerError: no broker, or it failed.
    """
    report = Report(settings.group)
    async with clients.admin(settings) as admin, clients.consumer(settings) as reader:
        topics = await clients.partitions(admin)
        read = {name: topics[name] for one in settings.topology.inputs for name in one.read if name in topics}
        wanted = {name for name, role in settings.topology.roles() if role != "output"}
        hidden = await admin.forbidden(sorted(wanted - topics.keys()))
        report.missing = sorted(wanted - topics.keys() - hidden)
        if hidden:
            report.notes.append(f"no right to see {', '.join(sorted(hidden))}: Describe is needed")
        await _members(admin, settings, report)
        report.partitions = await _partitions(admin, reader, settings, report, read)
        report.heads = await _heads(reader, settings, report)
        for one in settings.topology.inputs:
            if one.dead in topics:
                report.dead.append(await _dead(reader, settings, report, (one, topics), letters))
    return report


async def _patiently(ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
    """Ask again while the broker has no coordinator for the group yet; a new cluster takes a moment."""
    for _ in range(_TRIES - 1):
        try:
            return await ask()
        except _NOT_YET:
            await asyncio.sleep(_PAUSE)
    return await ask()


async def _members(admin: AIOKafkaAdminClient, settings: Settings, report: Report) -> None:
    """Ask who is in the group; one group at a time, since aiokafka mixes up the answers for several."""
    try:
        (answer,) = await _patiently(lambda: admin.describe_consumer_groups([settings.group]))
        code, _, state, _, _, members, *_ = answer.groups[0]
    except (KafkaError, ValueError, TypeError, IndexError) as error:
        report.notes.append(f"the broker does not tell who is in the group: {error}")
        return
    if code:
        report.notes.append(f"the broker does not tell who is in the group: {for_code(code).__name__}")
        return
    # What Kafka calls dead is a group that it does not know.
    report.state = "none" if state == "Dead" else state.lower()
    for identity, client, host, _, assignment, *_ in members:
        report.members.append(Member(identity, client, host.removeprefix("/"), tuple(assigned(assignment))))
    if report.members and not any(member.partitions for member in report.members):
        report.notes.append("the broker does not tell which member has which partitions")


async def _partitions(
    admin: AIOKafkaAdminClient,
    reader: AIOKafkaConsumer,
    settings: Settings,
    report: Report,
    read: Mapping[str, Sequence[int]],
) -> list[PartitionStatus]:
    """Set the group's commits against the topics' bounds."""
    if not read:
        return []
    bounds = await clients.bounds(reader, {topic: list(numbers) for topic, numbers in read.items()})
    committed: dict[Place, int] = {}
    asked = [TopicPartition(*place) for place in bounds]
    try:
        found = await _patiently(lambda: admin.list_consumer_group_offsets(settings.group, partitions=asked))
        committed = {(one.topic, one.partition): at.offset for one, at in found.items() if at.offset >= 0}
    except (KafkaError, ValueError) as error:
        report.notes.append(f"the broker does not tell what the group has committed: {error}")
    owner = owners(report.members)
    return [
        PartitionStatus(
            topic=topic,
            partition=number,
            role="retry" if topic in settings.topology.retries else "input",
            first=first,
            end=end,
            committed=committed.get((topic, number)),
            owner=owner.get((topic, number)),
            from_start=topic in settings.topology.retries or settings.start == "earliest",
        )
        for (topic, number), (first, end) in bounds.items()
    ]


async def _heads(reader: AIOKafkaConsumer, settings: Settings, report: Report) -> list[Waiting]:
    """Read the record that each retry partition comes to next."""
    heads = []
    for one in report.partitions:
        if one.role != "retry" or not one.lag:
            continue
        with _spared(report, one.topic, "how long its retries wait"):
            async for batch in clients.read(reader, (one.topic, one.partition), (one.next, one.end)):
                heads.append(_head(batch[0], settings))
                break
    return heads


def _head(record: Record, settings: Settings) -> Waiting:
    source = source_of(record, settings)
    origin = f"{source.topic}/{source.partition}/{source.offset}"
    # No worker waits for longer than a day, whatever the writer's clock was.
    due = min(not_before(record), time.time_ns() // 1_000_000 + DAY_MS)
    return Waiting(record.topic, record.partition, record.offset, record.timestamp, due, origin)


@contextmanager
def _spared(report: Report, topic: str, what: str) -> Iterator[None]:
    """Note what cannot be told without the right to read a topic, and let the rest be told."""
    try:
        yield
    except TopicAuthorizationFailedError:
        note = f"no right to read {topic}: {what} is not known"
        if note not in report.notes:
            report.notes.append(note)


async def _dead(
    reader: AIOKafkaConsumer,
    settings: Settings,
    report: Report,
    where: tuple[InputTopics, Mapping[str, list[int]]],
    letters: int | None,
) -> Dead:
    """Count an input's dead letters, and the newest of them by reason."""
    one, topics = where
    topic = one.dead
    found = await clients.bounds(reader, {topic: topics[topic]})
    bounds = {number: span for (_, number), span in found.items()}
    dead = Dead(topic, total=sum(end - first for first, end in bounds.values()))
    if one.marks in topics:
        marks = ReplayedOffsets(topic)
        with _spared(report, one.marks, "what was replayed"):
            await store.load_marks(reader, one.marks, marks)
        dead.replayed = sum(marks.count(number, *span) for number, span in bounds.items())
    with _spared(report, topic, "why its letters are dead"):
        for number, span in newest(bounds, letters).items():
            async for batch in clients.read(reader, (topic, number), span):
                dead.looked_at += len(batch)
                dead.reasons.update(Letter.of(record, settings).reason for record in batch)
    return dead
