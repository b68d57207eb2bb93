"""Topics and consumer groups in memory, with what makes Kafka hard: redelivery, repeats, rebalances.

    memory = Memory()
    memory.publish(messages("Angela Merkel flew to Paris.", [("Angela Merkel", "person-politician")]))
    async with memory.subscribe("person", group="mine") as stream:
        await my_handler(stream)
    assert memory.lag("mine") == 0

The stream is the package's own; only the broker is not there. Records of one key keep their order, each
partition has one owner in a group, and whoever joins or leaves makes all partitions be given out anew.
"""

from __future__ import annotations

import asyncio
import zlib
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from fewnerd_client.filters import Filter
from fewnerd_client.messages import CATEGORIES, NONE
from fewnerd_client.stream import REMEMBER, Stream, topics_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable

    from fewnerd_client.ledger import Partition
    from fewnerd_client.messages import Raw
    from fewnerd_client.seen import Store


@dataclass
class _Group:
    """A consumer group: what is committed, and who is in it."""

    committed: dict[Partition, int] = field(default_factory=dict)
    members: list[_Member] = field(default_factory=list)
    dealing: asyncio.Lock = field(default_factory=asyncio.Lock)


class Memory:
    """Topics, and the groups that read them; for one event loop."""

    def __init__(self, partitions: int = 3, prefix: str = "entities") -> None:
        """Make the topics of all categories, with so many partitions each."""
        self._prefix = prefix
        self._partitions = partitions
        self._logs: dict[Partition, list[Raw]] = {
            (f"{prefix}.{category}", number): []
            for category in (*CATEGORIES, NONE)
            for number in range(partitions)
        }
        self._groups: dict[str, _Group] = {}
        self._news = asyncio.Event()
        self._written = 0

    def publish(self, records: Iterable[Raw]) -> list[Raw]:
        """Append records; gives them as they lie there.

        One with a key goes to the partition of its key, one without to that of its input, as workers do it.
        """
        stored = []
        for record in records:
            number = self._written if record.key is None else zlib.crc32(record.key)
            partition = (record.topic, number % self._partitions)
            if partition not in self._logs:
                raise ValueError(f"there is no topic {record.topic}: topics begin with {self._prefix!r} here")
            log = self._logs[partition]
            log.append(replace(record, partition=partition[1], offset=len(log)))
            stored.append(log[-1])
        self._written += 1
        self._news.set()
        return stored

    def repeat(self, records: Iterable[Raw]) -> list[Raw]:
        """Append records again, in their own partitions: as a worker does that was killed before it committed."""
        stored = []
        for record in records:
            log = self._logs[record.topic, record.partition]
            log.append(replace(record, offset=len(log)))
            stored.append(log[-1])
        self._news.set()
        return stored

    def committed(self, group: str) -> dict[Partition, int]:
        """Give a group's committed offsets."""
        return dict(self._group(group).committed)

    def lag(self, group: str) -> int:
        """Count the records that a group has not committed, of the topics that it has read."""
        committed = self._group(group).committed
        topics = {topic for topic, _ in committed}
        return sum(
            len(log) - committed.get(partition, 0)
            for partition, log in self._logs.items()
            if partition[0] in topics
        )

    def subscribe(
        self,
        *categories: str,
        group: str = "test",
        fine: Iterable[str] = (),
        score: float = 0.0,
        coarse_score: float = 0.0,
        remember: int = REMEMBER,
        store: Store | None = None,
        unreadable: Callable[[Raw, Exception], object] | None = None,
        until_end: bool = True,
        **options: Any,  # noqa: ANN401 - Stream's own
    ) -> Stream:
        """Subscribe, as ``fewnerd_client.subscribe`` does.

        Args:
            categories: of ``CATEGORIES``, or ``NONE``.
            group: the consumer group.
            fine: types wanted.
            score: least score.
            coarse_score: least score of the category.
            remember: ids to keep.
            store: remembers ids.
            unreadable: takes what cannot be read.
            until_end: end the loop when there is nothing more to read; False: wait for it, as Kafka does.
            options: more for ``Stream``.
        """
        topics = topics_of(categories, self._prefix)
        return Stream(
            _Member(self, self._group(group), topics, until_end=until_end),
            categories,
            filters=Filter(frozenset([fine] if isinstance(fine, str) else fine), score, coarse_score),
            remember=remember,
            store=store,
            unreadable=unreadable,
            **{"drain": 0.05, **options},
        )

    async def rebalance(self, group: str = "test") -> None:
        """Give a group's partitions out anew, as when a member has come and gone."""
        await _deal(self._group(group), self._partitions)

    def _group(self, name: str) -> _Group:
        return self._groups.setdefault(name, _Group())


class _Member:
    """A member of a group; a ``Consumer`` as streams want it."""

    def __init__(self, memory: Memory, group: _Group, topics: list[str], *, until_end: bool) -> None:
        self._memory, self._group, self._until_end = memory, group, until_end
        self.topics = topics
        self.positions: dict[Partition, int] = {}
        self.revoked: Callable[[Collection[Partition]], Awaitable[None]] | None = None

    @property
    def ended(self) -> bool:
        return (
            self._until_end
            and not self._group.dealing.locked()
            and not any(self._left(one) for one in self.positions)
        )

    async def start(self, revoked: Callable[[Collection[Partition]], Awaitable[None]], /) -> None:
        self.revoked = revoked
        await _deal(self._group, self._memory._partitions, joining=self)

    async def next(self, seconds: float, /) -> Raw | None:
        for partition in list(self.positions):
            if self._left(partition):
                # The next call looks at another partition first.
                position = self.positions.pop(partition)
                self.positions[partition] = position + 1
                return self._memory._logs[partition][position]
        if self.ended:
            return None
        self._memory._news.clear()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._memory._news.wait(), seconds)
        return None

    async def commit(self, offsets: dict[Partition, int], /) -> bool:
        if not offsets.keys() <= self.positions.keys():
            return False
        self._group.committed.update(offsets)
        return True

    async def partitions(self) -> dict[str, int]:
        return dict.fromkeys(self.topics, self._memory._partitions)

    async def stop(self) -> None:
        if self in self._group.members:
            await _deal(self._group, self._memory._partitions, leaving=self)

    def _left(self, partition: Partition) -> int:
        return len(self._memory._logs[partition]) - self.positions[partition]


async def _deal(
    group: _Group, partitions: int, joining: _Member | None = None, leaving: _Member | None = None
) -> None:
    """Take all partitions from all members, and give them out, one number in all topics to one member."""
    async with group.dealing:
        for member in group.members:
            if member is not leaving and member.positions and member.revoked is not None:
                await member.revoked(list(member.positions))
            member.positions = {}
        if joining is not None:
            group.members.append(joining)
        if leaving is not None:
            group.members.remove(leaving)
        for topic in dict.fromkeys(topic for member in group.members for topic in member.topics):
            takers = [member for member in group.members if topic in member.topics]
            for number in range(partitions):
                taker = takers[number * len(takers) // partitions]
                taker.positions[topic, number] = group.committed.setdefault((topic, number), 0)
