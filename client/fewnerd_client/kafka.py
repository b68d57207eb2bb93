"""Records from Kafka, by aiokafka."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import CommitFailedError, IllegalStateError

from fewnerd_client.errors import check_topics
from fewnerd_client.messages import Raw

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from fewnerd_client.ledger import Partition

_OURS: Final = {"enable_auto_commit", "auto_offset_reset", "key_deserializer", "value_deserializer"}


class KafkaConsumer(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """A member of a consumer group.

    The range assignor gives one member the partitions of one number in all topics, so all of a document.
    """

    ended = False

    def __init__(
        self, topics: list[str], *, bootstrap: str, group: str, start: str, options: dict[str, Any]
    ) -> None:
        if not group:
            raise ValueError("the group needs a name: what it has finished is kept under it")
        if start not in {"earliest", "latest"}:
            raise ValueError(f"start is 'earliest' or 'latest', not {start!r}")
        if wrong := sorted(_OURS & options.keys()):
            raise ValueError(f"not to be set here: {', '.join(wrong)}")
        self._topics = topics
        self._options = {
            "partition_assignment_strategy": (RangePartitionAssignor,),
            **options,
            "bootstrap_servers": bootstrap.split(","),
            "group_id": group,
            "auto_offset_reset": start,
            "enable_auto_commit": False,
        }
        self._consumer: Any = None
        self._fetching: asyncio.Task[Any] | None = None
        self._settled = asyncio.Event()
        self._revoked: Callable[[Collection[Partition]], Awaitable[None]] | None = None

    async def start(self, revoked: Callable[[Collection[Partition]], Awaitable[None]], /) -> None:
        """Join the group.

        Raises:
            TopicMissingError: a topic does not exist; nothing is created by asking.
        """
        self._revoked = revoked
        self._consumer = AIOKafkaConsumer(**self._options)
        await self._consumer.start()
        try:
            check_topics(self._topics, await self._consumer.topics())
            self._consumer.subscribe(self._topics, listener=self)
        except BaseException:
            await self._consumer.stop()
            raise

    async def next(self, seconds: float, /) -> Raw | None:
        """Give the next record of the partitions that are ours; None when none came in that time."""
        if not self._settled.is_set():
            try:
                await asyncio.wait_for(self._settled.wait(), seconds)
            except asyncio.TimeoutError:
                return None
        if self._fetching is None:
            self._fetching = asyncio.ensure_future(self._consumer.getone())
        fetching = self._fetching
        await asyncio.wait({fetching}, timeout=seconds)
        # A rebalance drops it: then what it has got will be read again, by whoever owns it.
        if not fetching.done() or self._fetching is not fetching:
            return None
        self._fetching = None
        record = fetching.result()
        return Raw(
            record.topic,
            record.partition,
            record.offset,
            record.timestamp if record.timestamp >= 0 else None,
            record.key,
            record.value,
            tuple(record.headers),
        )

    async def commit(self, offsets: dict[Partition, int], /) -> bool:
        """Commit offsets; False when the group has changed."""
        try:
            await self._consumer.commit({TopicPartition(*one): offset for one, offset in offsets.items()})
        except (CommitFailedError, IllegalStateError):
            return False
        return True

    async def partitions(self) -> dict[str, int]:
        """Count the partitions of each topic."""
        return {topic: len(self._consumer.partitions_for_topic(topic) or ()) for topic in self._topics}

    async def stop(self) -> None:
        """Leave the group."""
        self._drop()
        if self._consumer is not None:
            await self._consumer.stop()

    async def on_partitions_revoked(self, revoked: Collection[Any]) -> None:
        """Give partitions up: called by aiokafka before it joins the group again."""
        self._settled.clear()
        self._drop()
        if self._revoked is not None and revoked:
            await self._revoked([(one.topic, one.partition) for one in revoked])

    async def on_partitions_assigned(self, assigned: Collection[Any]) -> None:  # noqa: ARG002 - aiokafka's own
        """Go on: called by aiokafka when the group is complete; positions are the committed ones."""
        self._settled.set()

    def _drop(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            self._fetching = None
