"""What a broker tells of consumer groups: which partitions a member has, and who else uses our topics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka import TopicPartition
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from aiokafka.admin import AIOKafkaAdminClient

    from fewnerd_stream.contract.topology import InputTopics


def assigned(assignment: bytes) -> list[tuple[str, int]]:
    """Read which partitions a member was given; none where that cannot be read."""
    if not assignment:
        return []
    try:
        topics = ConsumerProtocolMemberAssignment.decode(assignment).assignment
    except (ValueError, TypeError):
        return []
    return sorted((topic, number) for topic, numbers in topics for number in numbers)


def namesakes(group: str, one: InputTopics) -> Iterator[str]:
    """Name the groups whose own topics for some input would be these: ``a`` on ``b.c``, ``a.b`` on ``c``."""
    own = f"{group}.{one.input}"
    for place, character in enumerate(own):
        if character == "." and 0 < place < len(own) - 1 and own[:place] != group:
            yield own[:place]


async def clashes(
    client: AIOKafkaAdminClient, group: str, one: InputTopics, partitions: Mapping[str, int]
) -> list[str]:
    """Name the other groups that read an input's retry topics, which are ours: they have the same names.

    A group of which the broker does not tell is passed over.

    Args:
        client: the broker.
        group: ours.
        one: the input and what belongs to it.
        partitions: how many each topic has that there is.
    """
    parts = [
        TopicPartition(name, number) for name in one.retries for number in range(partitions.get(name, 0))
    ]
    return [other for other in namesakes(group, one) if parts and await _reads(client, other, parts)]


async def _reads(client: AIOKafkaAdminClient, group: str, parts: list[TopicPartition]) -> bool:
    try:
        commits = await client.list_consumer_group_offsets(group, partitions=parts)
        if any(at.offset >= 0 for at in commits.values()):
            return True
        (answer,) = await client.describe_consumer_groups([group])
        _, _, _, _, _, members, *_ = answer.groups[0]
        topics = {part.topic for part in parts}
        return any(topic in topics for member in members for topic, _ in assigned(member[4]))
    except (KafkaError, ValueError, TypeError, IndexError):
        return False
