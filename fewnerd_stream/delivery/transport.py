"""Faust's transport, with its delivery replaced: the ledger commits, retries are parked, revocation drains.

Faust's own commit rule passes unacked offsets in three cases, drops its ack lists before it commits them
on revocation, and waits for ever for an unacked event. What is overridden here, and why each, is in
``docs/delivery.md``. Private names of faust-streaming 0.15.3 are used: ``check_faust`` refuses another one.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import TYPE_CHECKING, Any

import aiokafka
import faust
import faust.streams
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka as driver

from fewnerd_stream import envelope, topics
from fewnerd_stream.delivery.ledger import Partition
from fewnerd_stream.delivery.parking import Parking
from fewnerd_stream.errors import Stop
from fewnerd_stream.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from faust.types import TP

    from fewnerd_stream.delivery.state import State

FAUST_VERSION = "0.15.3"
METADATA_AGE_MS = 30_000
FETCH_WAIT_MS = 500
# At the shortest sleep a full pipeline costs no throughput, and an idle one costs no processor time.
BACKLOG_PAUSE = 0.02
BACKLOG_BYTES = 64 * 1024 * 1024


def check_faust() -> None:
    """Refuse a Faust whose internals are not those that this transport overrides.

    Raises:
        Stop: another version, no Cython stream iterator (the pure one acks events of an older
            generation), or a private name that is gone.
    """
    if faust.__version__ != FAUST_VERSION:
        message = f"faust-streaming {FAUST_VERSION} is needed; {faust.__version__} is installed"
        raise Stop(message)
    if getattr(faust.streams, "_CStreamIterator", None) is None:
        message = (
            "faust-streaming is installed without its compiled parts, and their pure-Python twin acks events "
            "of an older generation; install a wheel, or a compiler and build it"
        )
        raise Stop(message)
    for owner, name in (
        (driver.Consumer, "_getmany"),
        (driver.Consumer, "_wait_next_records"),
        (driver.Consumer, "_get_active_partitions"),
        (driver.AIOKafkaConsumerThread, "_create_worker_consumer"),
        (driver.AIOKafkaConsumerThread, "_fetch_records"),
        (driver.Producer, "_new_producer"),
    ):
        if not hasattr(owner, name):
            message = f"faust-streaming {faust.__version__} has no {owner.__name__}.{name}"
            raise Stop(message)


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread that talks to the broker; its client is built from this package's settings."""

    heard_at: float = 0.0

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:  # noqa: ARG002 - Faust's signature
        settings = self.app.delivery.settings
        self._assignor = RoundRobinPartitionAssignor
        return aiokafka.AIOKafkaConsumer(
            **settings.client_options(),
            # What `status` shows of a worker that has no name of its own.
            client_id=settings.instance_id or f"{socket.gethostname()}-{os.getpid()}",
            group_id=settings.group,
            group_instance_id=settings.instance_id,
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            # Only used where the log's start has passed the commit: see ``_place``.
            auto_offset_reset="earliest",
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
            max_partition_fetch_bytes=settings.max_message_bytes + 65_536,
        )

    async def on_start(self) -> None:
        """Start the client, and note from then on when the group's coordinator was last heard from."""
        await super().on_start()
        coordinator = self.client._coordinator  # noqa: SLF001 - nothing public tells the last heartbeat
        beat = coordinator._do_heartbeat  # noqa: SLF001

        async def noted() -> Any:
            # The time of asking: an answer can be old when the process was stopped while it waited.
            asked = time.monotonic()
            good = await beat()
            if good:
                self.heard_at = asked
            return good

        coordinator._do_heartbeat = noted  # noqa: SLF001

    @property
    def client(self) -> aiokafka.AIOKafkaConsumer:
        """The aiokafka consumer, once started."""
        return self._ensure_consumer()

    def is_member(self) -> bool:
        """Whether the group still knows this worker, as far as it has heard."""
        # -1 is no generation; Kafka counts them from 1, the embedded broker from 0.
        return bool(self.client._coordinator.generation >= 0)  # noqa: SLF001 - nothing public tells it

    async def here(self, coroutine: Any) -> Any:
        """Run a coroutine of the client in its own thread, beside a long poll that may be under way."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self.thread_loop)
        return await asyncio.wrap_future(future)


class Consumer(driver.Consumer):
    """Consumes for the agents, parks what is not due, and commits what the ledger allows."""

    _thread: ConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Start with nothing parked."""
        super().__init__(*args, **kwargs)
        self.delivery: State = self.app.delivery
        self.delivery.consumer = self
        self.parking: Parking[Any] = Parking(self._due)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    @staticmethod
    def _due(record: Any) -> int:
        return envelope.not_before(record)

    # -- reading ---------------------------------------------------------------------------------------

    async def _wait_next_records(self, timeout: float) -> tuple[Any, set[TP] | None]:
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        active = self._get_active_partitions()
        state = self.delivery
        full = state.ledger.in_flight >= state.backlog or state.ledger.bytes_in_flight >= BACKLOG_BYTES
        if full or not active:
            await asyncio.sleep(BACKLOG_PAUSE)
            return {}, active
        return await self._getmany(active, timeout), active

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> MutableMapping[Any, Any]:
        now = int(time.time() * 1000)
        due = self.parking.release(now)
        if due:
            return self._delivered(due)
        wanted = {tp for tp in active_partitions or () if tp not in self.parking}
        next_due = self.parking.next_due()
        if next_due is not None:
            timeout = min(timeout, max(0.0, (next_due - now) / 1000))
        if not wanted:  # aiokafka takes an empty set for all partitions
            await asyncio.sleep(max(timeout, 0.001))
            return {}
        epoch = self.delivery.ledger.epoch
        try:
            fetched = await self._thread.getmany(wanted, timeout)
        except TopicAuthorizationFailedError as error:
            self.delivery.progress.complain(f"not allowed to read: {error}")
            await asyncio.sleep(1)
            return {}
        # The group may have changed meanwhile. What was fetched then must not count as delivered: Faust drops
        # it, and the partition's position would stand before it until the group changes again. It comes again
        # by a seek, Faust's own while nothing flows.
        if not self.flow_active:
            return {}
        if epoch != self.delivery.ledger.epoch:
            await self.perform_seek()
            return {}
        now = int(time.time() * 1000)
        ready = {}
        for tp, records in fetched.items():
            if topics.is_retry(self.delivery.settings, tp.topic):
                records = self.parking.admit(Partition(*tp), records, now)  # noqa: PLW2901 - the part that is due
            if records:
                ready[tp] = records
        return self._delivered(ready)

    def _delivered(self, records: Mapping[Any, list[Any]]) -> dict[Any, list[Any]]:
        deliver = self.delivery.ledger.deliver
        out = {}
        for tp, found in records.items():
            partition = Partition(tp.topic, tp.partition)
            kept = [r for r in found if deliver(partition, r.offset, len(r.value or b""))]
            if kept:
                out[TopicPartition(*partition)] = kept
        return out

    # -- acknowledging and committing ------------------------------------------------------------------

    def ack(self, message: Any) -> bool:
        """Let go of a message; what is committed, the ledger alone decides."""
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        return True

    async def commit(  # Faust's signature
        self,
        topics: Any = None,  # noqa: ARG002
        start_new_transaction: bool = True,  # noqa: ARG002, FBT001, FBT002
    ) -> bool:
        """Commit what the ledger allows; Faust's timer calls this too."""
        return await self.delivery.committer.commit()

    async def store(self, offsets: Mapping[Partition, tuple[int, str]]) -> None:
        """Commit offsets with their metadata.

        Raises:
            KafkaError: the group's coordinator did not take it.
        """
        plan = {TopicPartition(*p): OffsetAndMetadata(*value) for p, value in offsets.items()}
        await self._thread.here(self._thread.client.commit(plan))

    # -- ownership -------------------------------------------------------------------------------------

    def heard_recently(self) -> bool:
        """Whether the coordinator answered within the session timeout, so that we still count as alive."""
        return time.monotonic() - self._thread.heard_at < self.delivery.settings.session_timeout

    def is_member(self) -> bool:
        """Whether the group still knows this worker, as far as it has heard."""
        return self._thread.is_member()

    def lag(self) -> int | None:
        """Return how many offsets are not handed over yet, or None before the broker has told."""
        total = 0
        for partition in self.delivery.ledger.assigned:
            try:
                end = self._thread.client.highwater(TopicPartition(*partition))
            except (KafkaError, AssertionError):  # not assigned any more, in the client's own thread
                continue
            position = self.delivery.ledger.position(partition)
            if end is not None and position is not None:
                total += max(0, end - position)
        return total

    async def wait_empty(self) -> None:
        """Drain, for as long as the setting allows; commit; let go of the rest, which comes again."""
        drained = await self.delivery.drain(lambda: bool(self._unacked_messages))
        await self.delivery.committer.last(clean=drained)
        self._unacked_messages.clear()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Drain and commit before letting go; Faust would drop its lists before it commits them."""
        self.delivery.progress.rebalancing()
        self.parking.drop()
        await super().on_partitions_revoked(revoked)
        # Rebalances are eager: every partition is let go, and comes back with the next assignment.
        self.delivery.forget()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Find out where each partition stands, before anything is fetched from it."""
        self._thread.heard_at = time.monotonic()
        self.parking.drop()
        self.delivery.forget()
        partitions = [Partition(tp.topic, tp.partition) for tp in sorted(assigned)]
        while partitions and not self.app.should_stop:
            try:
                await self._place(partitions)
                break
            except KafkaError as error:
                self.delivery.progress.complain(f"cannot read the committed offsets: {error!r}")
                await asyncio.sleep(1)
        await super().on_partitions_assigned(assigned, generation_id)
        self.delivery.progress.assigned(partitions)

    async def _place(self, partitions: list[Partition]) -> None:
        client, here = self._thread.client, self._thread.here
        plan = [TopicPartition(*p) for p in partitions]
        found = await here(client._coordinator.fetch_committed_offsets(plan))  # noqa: SLF001 - it alone gives metadata
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
            self.delivery.assign(partition, offset, metadata)
        if lost:
            self.delivery.progress.lost(lost)
            if not self.delivery.settings.allow_loss:
                self.delivery.end(
                    f"{sum(lost.values())} offsets were deleted by the broker before they were read; "
                    "to go on all the same set FEWNERD_ALLOW_LOSS=true",
                    Exit.FAILURE,
                )
        if fresh:
            await self.store(fresh)

    def _start(self, partition: Partition, begin: int, end: int, *, seen: bool) -> int:
        """Where to start on a partition without a commit; one that joined a known topic is read whole."""
        settings = self.delivery.settings
        latest = settings.start == "latest" and not seen and not topics.is_retry(settings, partition.topic)
        return end if latest else begin


class Producer(driver.Producer):
    """Faust's producer service around an idempotent client that can be replaced after a fatal error."""

    def _new_producer(self, transactional_id: str | None = None) -> aiokafka.AIOKafkaProducer:  # noqa: ARG002 - Faust's signature
        settings = self.app.delivery.settings
        options: dict[str, Any] = {
            **settings.client_options(),
            "acks": "all",
            "enable_idempotence": settings.idempotence,
            "compression_type": None if settings.compression == "none" else settings.compression,
            "linger_ms": 0,
            "max_batch_size": 131_072,
            # Sizes are settled before: enriched records by the settings, the others by having been read.
            "max_request_size": 256 * 1_048_576,
            "request_timeout_ms": int(settings.request_timeout * 1000),
            "metadata_max_age_ms": METADATA_AGE_MS,
        }
        return aiokafka.AIOKafkaProducer(**options)

    @property
    def client(self) -> aiokafka.AIOKafkaProducer:
        """The aiokafka producer, once started."""
        return self._ensure_producer()

    async def renew(self) -> None:
        """Replace the client by a new one with an id of its own; what the old one still holds may be sent."""
        old = self.client
        self._producer = self._new_producer()
        await self._producer.start()
        try:
            await asyncio.wait_for(old.stop(), 5)
        except (KafkaError, TimeoutError) as error:
            self.log.warning("the old producer did not stop cleanly: %r", error)


class Transport(driver.Transport):
    """Kafka as this package uses it."""

    Consumer = Consumer
    Producer = Producer
