"""Where reading starts, and starts again: from the commits, or from where a log begins when it lost its start."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition

from fewnerd_stream import topics
from fewnerd_stream.delivery.ledger import Partition
from fewnerd_stream.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fewnerd_stream.delivery.state import State
    from fewnerd_stream.delivery.transport import Consumer


class Places:
    """Finds the offsets at which the accounts of partitions open."""

    def __init__(self, state: State, consumer: Consumer) -> None:
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
        begins = await here(client.beginning_offsets(plan))
        ends = await here(client.end_offsets(plan))
        known = {tp.topic for tp, committed in found.items() if committed.offset >= 0}
        fresh: dict[Partition, tuple[int, str]] = {}
        lost: dict[Partition, int] = {}
        for tp, partition in zip(plan, partitions, strict=True):
            committed = found.get(tp)
            offset, metadata = (-1, "") if committed is None else (committed.offset, committed.metadata or "")
            if offset < 0:
                offset, metadata = self._start(partition, begins[tp], ends[tp], seen=tp.topic in known), ""
                # Stored at once: else a restart before the first commit would choose the start anew.
                fresh[partition] = (offset, "")
            elif offset < begins[tp]:
                lost[partition] = begins[tp] - offset
                offset, metadata = begins[tp], ""
            self._state.assign(partition, offset, metadata)
        self._lost(lost)
        if fresh:
            await self._consumer.store(fresh)

    async def reopen(self, partitions: Sequence[Partition]) -> None:
        """Find out why the broker has no record where reading stands: say what is lost, and stop or go on."""
        client, here = self._consumer.thread.client, self._consumer.thread.here
        ledger = self._state.ledger
        plan = [TopicPartition(*p) for p in partitions]
        try:
            begins = await here(client.beginning_offsets(plan))
            ends = await here(client.end_offsets(plan))
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
                await self._consumer.store({partition: (begin, "")})
                self._state.end(
                    f"{tp.topic}/{tp.partition} ends at {ends[tp]}, but was read up to {read}: it was made anew or "
                    "cut back. The next start reads it from its beginning",
                    Exit.FAILURE,
                )
        self._lost(lost)
        await self._consumer.perform_seek()

    def _start(self, partition: Partition, begin: int, end: int, *, seen: bool) -> int:
        """Where to start on a partition without a commit; one that joined a known topic is read whole."""
        settings = self._state.settings
        latest = settings.start == "latest" and not seen and not topics.is_retry(settings, partition.topic)
        return end if latest else begin

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
