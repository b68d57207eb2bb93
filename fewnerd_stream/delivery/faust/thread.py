"""The thread that talks to the broker for the consumer: its client, and what it must tell beside the records."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING, Any

import aiokafka
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import (
    CommitFailedError,
    ConsumerStoppedError,
    KafkaError,
    NoError,
    RebalanceInProgressError,
)
from aiokafka.protocol.group import HeartbeatRequest, LeaveGroupRequest, SyncGroupRequest
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as driver
from mode import Service

from fewnerd_stream.delivery.faust import batches
from fewnerd_stream.delivery.faust import fetch as fetching
from fewnerd_stream.delivery.faust.fetch import Fetched
from fewnerd_stream.delivery.faust.topic_ids import topic_ids
from fewnerd_stream.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from fewnerd_stream.delivery.ledger import Partition
    from fewnerd_stream.delivery.read_ahead import Share
    from fewnerd_stream.settings import Settings

METADATA_AGE_MS = 30_000
FETCH_WAIT_MS = 500
# What the coordinator answers to a member whose partitions are still its own.
_KNOWN = (NoError.errno, RebalanceInProgressError.errno)
_LOOK_SECONDS = 1.0
_TOPICS_SECONDS = 5.0
_LEAVE_SECONDS = 2.0
# What is fetched and not taken yet: of one broker in an answer, and of all partitions together.
_ANSWER_BYTES = 8 * 1_048_576
_FETCHED_BYTES = 32 * 1_048_576
_LEAST_FETCH = 65_536
# Far more than any producer packs into a batch.
_BATCH_BYTES = 32 * 1_048_576
_KEPT_BYTES = 32 * 1_048_576


def _largest_fetch(settings: Settings) -> int:
    return settings.max_message_bytes + _LEAST_FETCH


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread that talks to the broker; its client is built from this package's settings."""

    heard_at: float = 0.0
    # Why the client will not do anything any more.
    broken: str = ""

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:  # noqa: ARG002 - Faust's signature
        settings = self.app.delivery.settings
        # What is larger than a result may be cannot be handed on, whatever comes of it.
        batches.read_anything(
            batches.Limits(
                settings.max_result_bytes, max(_BATCH_BYTES, 2 * settings.max_result_bytes), _KEPT_BYTES
            )
        )
        self._assignor = RoundRobinPartitionAssignor
        return aiokafka.AIOKafkaConsumer(
            **settings.client_options(),
            # What `status` shows of a worker that has no name of its own.
            client_id=settings.instance_id or f"{socket.gethostname()}-{os.getpid()}",
            group_id=settings.group,
            group_instance_id=settings.instance_id,
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            # A position out of the log's range means loss, which is not to be passed over in silence.
            auto_offset_reset="none",
            isolation_level=settings.isolation,
            max_poll_records=settings.max_poll_records,
            # aiokafka leaves the group for good when this is exceeded (aio-libs/aiokafka#1187).
            max_poll_interval_ms=1_000_000_000,
            session_timeout_ms=int(settings.session_timeout * 1000),
            heartbeat_interval_ms=int(settings.heartbeat_interval * 1000),
            rebalance_timeout_ms=int(settings.rebalance_timeout * 1000),
            request_timeout_ms=int(settings.request_timeout * 1000),
            metadata_max_age_ms=METADATA_AGE_MS,
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_partition_fetch_bytes=_largest_fetch(settings),
            fetch_max_bytes=_ANSWER_BYTES,
        )

    async def on_start(self) -> None:
        """Start the client, and note from then on when the group's coordinator was last heard from."""
        await super().on_start()
        coordinator = self.client._coordinator  # noqa: SLF001 - nothing public tells the last answer
        send = coordinator._send_req  # noqa: SLF001

        async def noted(request: Any) -> Any:
            # The time of asking: an answer can be old when the process was stopped while it waited.
            asked = time.monotonic()
            response = await send(request)
            if isinstance(request, HeartbeatRequest | SyncGroupRequest) and response.error_code in _KNOWN:
                self.heard_at = max(self.heard_at, asked)
            return response

        coordinator._send_req = noted  # noqa: SLF001

    @Service.task
    async def _watch(self) -> None:
        """Take notice of the client's errors: aiokafka keeps them for a ``getmany`` that Faust avoids."""
        while not self.should_stop:
            await self.sleep(_LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Clear an error that holds the coordination up, so that it goes on; note one that ended it."""
        if self.should_stop:
            return
        coordinator, fetcher = self.client._coordinator, self.client._fetcher  # noqa: SLF001 - nothing public does
        for task in (coordinator._coordination_task, fetcher._fetch_task):  # noqa: SLF001
            if task.done():
                error = None if task.cancelled() else task.exception()
                self.broken = f"the Kafka client has stopped working: {error!r}"
                return
        try:
            coordinator.check_errors()
        except KafkaError as error:
            said = f"the group's coordinator: {error!r}"
            self.parent_loop.call_soon_threadsafe(self.app.delivery.progress.waiting, said)
        beat = coordinator._heartbeat_task  # noqa: SLF001
        if beat is not None and beat.done() and not beat.cancelled() and beat.exception() is not None:
            # Nothing else would start it again.
            coordinator.request_rejoin()

    async def on_thread_stop(self) -> None:
        """Leave the group at once, also from the middle of a join."""
        if self._consumer is not None:
            await self._leave(self._consumer)
        await super().on_thread_stop()

    @staticmethod
    async def _leave(client: aiokafka.AIOKafkaConsumer) -> None:
        # A join is answered only when the whole group has joined, and aiokafka waits for that before it
        # leaves; on the connection on which it waits, the broker would not read the leave either.
        coordinator = client._coordinator  # noqa: SLF001 - nothing public ends a join
        task = coordinator._coordination_task  # noqa: SLF001
        if task.done() or not client._subscription.reassignment_in_progress:  # noqa: SLF001
            return
        task.cancel()
        await asyncio.wait({task}, timeout=_LEAVE_SECONDS)
        known = coordinator.member_id and coordinator.coordinator_id is not None
        if known and coordinator._group_instance_id is None:  # noqa: SLF001
            request = LeaveGroupRequest(coordinator.group_id, coordinator.member_id)
            leaving = client._client.send(coordinator.coordinator_id, request)  # noqa: SLF001
            with contextlib.suppress(KafkaError, TimeoutError):
                await asyncio.wait_for(leaving, _LEAVE_SECONDS)
        coordinator.reset_generation()

    def close(self) -> None:
        """Do nothing: Faust would close the client from the wrong thread, while the drain still commits."""

    @property
    def client(self) -> aiokafka.AIOKafkaConsumer:
        """The aiokafka consumer, once started."""
        return self._ensure_consumer()

    def is_member(self) -> bool:
        """Whether the group still knows this worker, as far as it has heard."""
        # -1 is no generation; Kafka counts them from 1, the embedded broker from 0.
        return bool(self.client._coordinator.generation >= 0)  # noqa: SLF001 - nothing public tells it

    async def fetch(
        self, shares: Mapping[Any, Share], timeout: float, waits: Callable[[Any], bool]
    ) -> Fetched:
        """Take what was fetched of partitions, a share of each; wait for it for at most ``timeout`` seconds."""
        fetched: Fetched = await self.call_thread(self._fetch_shares, shares, timeout, waits)
        return fetched

    async def _fetch_shares(
        self, shares: Mapping[Any, Share], timeout: float, waits: Callable[[Any], bool]
    ) -> Fetched:
        # Looked at when its turn has come: a fetch that begins while the group changes would wait for its end.
        if not self.consumer.flow_active:
            return Fetched()
        client = self.client
        if client._closed or client._fetcher._closed:  # noqa: SLF001 - nothing public tells it
            raise ConsumerStoppedError
        with client._subscription.fetch_context():  # noqa: SLF001 - as the client's own ``getmany``
            return await fetching.fetch(client._fetcher, shares, timeout, waits)  # noqa: SLF001

    async def topic_ids(self, topics: Collection[str]) -> dict[str, str]:
        """Ask for the ids of topics; those that the broker does not tell are missing.

        Raises:
            KafkaError: the broker did not answer.
        """
        node = self.client._coordinator.coordinator_id  # noqa: SLF001 - nothing public tells it
        return {} if node is None else await topic_ids(self.client._client, node, topics)  # noqa: SLF001

    async def used(self, topics: Collection[str]) -> set[str]:
        """Return those of the topics to which something was ever written.

        Raises:
            KafkaError: the broker did not answer.
        """
        cluster = await self.client._client.fetch_all_metadata()  # noqa: SLF001 - asking for one may create it
        parts = [TopicPartition(t, n) for t in topics for n in cluster.partitions_for_topic(t) or ()]
        return {tp.topic for tp, end in (await self.client.end_offsets(parts)).items() if end > 0}

    @Service.task
    async def _watch_topics(self) -> None:
        """End the process when a topic that is read was deleted and made anew: reading on would skip its beginning."""
        while not self.should_stop:
            await self.sleep(_TOPICS_SECONDS)
            state = self.app.delivery
            known = dict(state.topic_ids)
            try:
                now = await self.topic_ids(known) if known and not self.should_stop else {}
            except KafkaError:
                continue
            anew = sorted(name for name, identity in now.items() if known[name] != identity)
            if anew and known == state.topic_ids:
                reason = f"{anew[0]} was deleted and made anew: the next start reads it from its beginning"
                self.parent_loop.call_soon_threadsafe(state.end, reason, Exit.FAILURE)
                return

    def joins(self) -> bool:
        """Whether the group is changing, on a connection that stands: the coordinator answers when all have joined."""
        if self._consumer is None:
            return False
        connections = list(self._consumer._client._conns.values())  # noqa: SLF001 - nothing public tells it
        changing = self._consumer._subscription.reassignment_in_progress  # noqa: SLF001
        return bool(changing) and any(one.connected() for one in connections)

    def rejoin(self) -> None:
        """Have the group share its partitions out anew."""
        self.thread_loop.call_soon_threadsafe(self.client._coordinator.request_rejoin)  # noqa: SLF001

    async def commit_once(self, plan: Mapping[Any, Any], generation: int) -> None:
        """Commit in a generation or not at all: aiokafka's own tries go on into the next one.

        Raises:
            KafkaError: it is not stored, as far as is known.
        """
        coordinator = self.client._coordinator  # noqa: SLF001 - nothing public commits for one generation
        async with coordinator._commit_lock:  # noqa: SLF001
            if coordinator.generation != generation:
                raise CommitFailedError("the group has shared its partitions out anew")
            await coordinator._do_commit_offsets(None, plan)  # noqa: SLF001

    async def go_to(self, places: Mapping[Partition, int]) -> None:
        """Read on from these offsets, as far as the partitions are still assigned."""
        assigned = self.client.assignment()
        for partition, offset in places.items():
            if partition in assigned:
                self.client.seek(TopicPartition(*partition), offset)

    async def go_back(self, places: Mapping[Partition, int]) -> None:
        """Read these partitions from there again, and keep nothing of what was read of them."""
        await self.go_to(places)
        for partition in places:
            fetching.drop(self.client._fetcher, partition)  # noqa: SLF001 - nothing public drops it

    async def share_memory(self, partitions: int) -> None:
        """Bound what is fetched of each of so many partitions, so that it is bounded for all of them."""
        share = max(
            _LEAST_FETCH, min(_largest_fetch(self.app.delivery.settings), _FETCHED_BYTES // partitions)
        )
        # A broker gives a larger record all the same, when it is the first of its answer.
        self.client._fetcher._max_partition_fetch_bytes = share  # noqa: SLF001 - a setting of the start

    async def here(self, coroutine: Any) -> Any:
        """Run a coroutine of the client in its own thread, beside a long poll that may be under way."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self.thread_loop)
        return await asyncio.wrap_future(future)
