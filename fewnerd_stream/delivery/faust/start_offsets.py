"""Where reading starts, and starts again: from the commits, or from where a log begins when it lost its start."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from fewnerd_stream.delivery.ledger import Partition
from fewnerd_stream.delivery.metadata import topic_of
from fewnerd_stream.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Mapping, Sequence

    from aiokafka.structs import OffsetAndMetadata

    from fewnerd_stream.delivery.faust.thread import ConsumerThread
    from fewnerd_stream.delivery.state import State


class Reader(Protocol):
    """The consumer, as far as it is asked here."""

    @property
    def thread(self) -> ConsumerThread:
        """Where its client runs."""

    async def store(self, offsets: Mapping[Partition, tuple[int, str]]) -> None:
        """Commit offsets with their metadata."""

    async def perform_seek(self) -> None:
        """Go on reading where the ledger stands."""


class StartOffsets:
    """Finds the offsets at which the accounts of partitions open."""

    def __init__(self, state: State, consumer: Reader) -> None:
        """Keep the accounts, and the consumer to ask the broker through."""
        self._state = state
        self._consumer = consumer

    async def open(self, partitions: Sequence[Partition]) -> None:
        """Open the accounts of partitions that were assigned just now.

        Raises:
            KafkaError: the broker did not tell, or the group has changed again.
        """
        client, here = self._consumer.thread.client, self._consumer.thread.here
        plan = [TopicPartition(*p) for p in partitions]
        # Of all their topics' partitions: whether a topic is known must not depend on which of them are ours.
        every = {TopicPartition(p.topic, n) for p in plan for n in client.partitions_for_topic(p.topic) or ()}
        found = await here(client._coordinator.fetch_committed_offsets([*{*plan, *every}]))  # noqa: SLF001 - it alone gives metadata
        known = {tp.topic for tp, committed in found.items() if committed.offset >= 0}
        # With a topic that is deleted the broker deletes its commits: those of its retries tell that it was read.
        known.update(
            n for one in self._state.settings.topology.inputs if known & {*one.read} for n in one.read
        )
        ids = self._state.topic_ids = await here(self._consumer.thread.topic_ids({tp.topic for tp in plan}))
        new = [tp for tp in plan if tp not in found or found[tp].offset < 0]
        if new and not known:
            known = await self._forgotten({tp.topic for tp in plan})
        anew = [tp for tp in plan if tp not in new and self._made_anew(tp, found[tp], ids)]
        starts = await self._starts([*new, *anew], known)
        for tp in plan:
            offset, metadata = (
                (starts[tp], "") if tp in starts else (found[tp].offset, found[tp].metadata or "")
            )
            self._state.assign(Partition(*tp), offset, metadata)
        # Stored at once: else a restart before the first commit would choose the start anew.
        if starts:
            await self._consumer.store(
                {Partition(*tp): (at, self._state.metadata(Partition(*tp))) for tp, at in starts.items()}
            )

    def _made_anew(self, tp: TopicPartition, committed: OffsetAndMetadata, ids: Mapping[str, str]) -> bool:
        """Whether a commit is of a topic that is gone, and bears the name of the one there is now; say so."""
        before, now = topic_of(committed.metadata or ""), ids.get(tp.topic, "")
        if not before or not now or before == now:
            return False
        self._state.progress.complain(
            f"{tp.topic} was made anew since {tp.topic}/{tp.partition} was read up to {committed.offset}: "
            "reading it from its beginning"
        )
        return True

    async def _forgotten(self, read: Collection[str]) -> set[str]:
        """Return the topics as known if the group has done work before, though the broker has none of its commits.

        It forgets the commits of a group that was empty for longer than its offsets.retention.minutes.
        """
        settings = self._state.settings
        work = [*settings.topology.retries, *settings.topology.outputs.values()]
        used = sorted(await self._consumer.thread.here(self._consumer.thread.used(work)))
        if not used:
            return set()
        self._state.progress.complain(
            f"the broker has no commit of the group {settings.group}, though {used[0]} holds what was made before: "
            "commits of a group without workers are forgotten after offsets.retention.minutes, or the group's name "
            "is new. Reading from the beginning; what was done before comes again, with the same ce_id"
        )
        return set(read)

    async def _starts(
        self, new: Sequence[TopicPartition], known: Collection[str]
    ) -> dict[TopicPartition, int]:
        """Choose where to start on partitions without a commit for their topic as it is now.

        One that joined a known topic, or belongs to one that was made anew, is read whole.

        The broker answers only when it has answered the fetch that waits for records before: so nothing is asked
        for at a rebalance that changes nothing but who reads what.
        """
        client, here, settings = (
            self._consumer.thread.client,
            self._consumer.thread.here,
            self._state.settings,
        )
        latest = [
            tp
            for tp in new
            if settings.start == "latest"
            and tp.topic not in known
            and tp.topic not in settings.topology.retries
        ]
        earliest = [tp for tp in new if tp not in latest]
        starts: dict[TopicPartition, int] = {}
        if earliest:
            starts |= await here(client.beginning_offsets(earliest))
        if latest:
            starts |= await here(client.end_offsets(latest))
        return starts

    async def reopen(self, partitions: Sequence[Partition]) -> None:
        """Find out why the broker has no record where reading stands: say what is lost, and stop or go on."""
        client, here = self._consumer.thread.client, self._consumer.thread.here
        ledger = self._state.ledger
        plan = [TopicPartition(*p) for p in partitions]
        try:
            begins, ends = await here(_both(client.beginning_offsets(plan), client.end_offsets(plan)))
        except KafkaError as error:
            self._state.progress.complain(f"cannot read where the logs begin and end: {error!r}")
            await asyncio.sleep(1)
            begins, ends = {}, {}
        lost: dict[Partition, int] = {}
        for tp, begin in begins.items():
            partition, read = Partition(*tp), ledger.next(Partition(*tp))
            if read is not None and read < begin:
                lost[partition] = begin - read
                ledger.skip(partition, begin)
            elif read is not None and read > ends[tp]:
                await self._consumer.store({partition: (begin, self._state.metadata(partition))})
                self._state.end(
                    f"{tp.topic}/{tp.partition} ends at {ends[tp]}, but was read up to {read}: it was made anew or "
                    "cut back. The next start reads it from its beginning",
                    Exit.FAILURE,
                )
        self._lost(lost)
        await self._consumer.perform_seek()

    def _lost(self, lost: Mapping[Partition, int]) -> None:
        """Say how much was deleted unread; end the process unless that is allowed."""
        if not lost:
            return
        self._state.progress.lost(lost)
        if not self._state.settings.allow_loss:
            self._state.end(
                f"{sum(lost.values())} offsets were deleted by the broker before they were read; "
                "to go on all the same set FEWNERD_ALLOW_LOSS=true",
                Exit.FAILURE,
            )


async def _both(first: Awaitable[Any], second: Awaitable[Any]) -> tuple[Any, Any]:
    return await asyncio.gather(first, second)
