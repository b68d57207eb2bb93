"""Faust's transport, with its delivery replaced: the ledger commits, retries wait on their topics, revocation drains.

Faust's own commit rule passes unacked offsets in three cases, drops its ack lists before it commits them
on revocation, and waits for ever for an unacked event. What is overridden here, and why each, is in
``docs/delivery.md``. Private names of both are used: ``versions`` refuses other ones.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka as driver

from fewnerd_stream.contract import envelope
from fewnerd_stream.contract.records import weight
from fewnerd_stream.delivery.delay import Delays
from fewnerd_stream.delivery.due import DueTimes
from fewnerd_stream.delivery.faust.fetch import Fetched
from fewnerd_stream.delivery.faust.producer import Producer
from fewnerd_stream.delivery.faust.start_offsets import StartOffsets
from fewnerd_stream.delivery.faust.thread import ConsumerThread
from fewnerd_stream.delivery.faust.unread import Unread
from fewnerd_stream.delivery.ledger import Partition
from fewnerd_stream.delivery.read_ahead import ReadAhead
from fewnerd_stream.telemetry.lag import Standing

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from faust.types import TP

    from fewnerd_stream.delivery.state import State

# At the shortest sleep a full pipeline costs no throughput, and an idle one costs no processor time.
BACKLOG_PAUSE = 0.02
BACKLOG_BYTES = 32 * 1024 * 1024
# Whoever waits is not asked for more often than that: each time a part of what waits is fetched.
DELAY_STEP_MS = 100
_REFUSED_SECONDS = 1.0


def _since(record: Any) -> float:
    """Say since when a record has been due, in seconds since the epoch; one without a time: since now."""
    if record.timestamp is None or record.timestamp < 0:
        return time.time()
    due: int = max(record.timestamp, envelope.not_before(record))
    return due / 1000


class Consumer(driver.Consumer):
    """Consumes for the agents, leaves what is not due where it is, and commits what the ledger allows."""

    errors = (KafkaError,)
    # The group has moved on: whoever has the partitions now reads again from the last commit.
    too_late = (
        CommitFailedError,
        IllegalGenerationError,
        IllegalStateError,
        RebalanceInProgressError,
        UnknownMemberIdError,
    )

    _thread: ConsumerThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Start with nothing that waits."""
        super().__init__(*args, **kwargs)
        self.delivery: State = self.app.delivery
        self.delivery.group = self
        self.due = DueTimes(self.delivery.settings.retry_delays)
        self.delays = Delays()
        self._read_offset = Unread()
        self._read_ahead = ReadAhead(
            self.delivery.backlog, BACKLOG_BYTES, self.delivery.settings.max_poll_records
        )
        # Partitions of which the broker gave an error in place of records, and until when they are let be.
        self._refused: dict[Any, float] = {}
        self._places = StartOffsets(self.delivery, self)
        # When the fetch loop last came round; it stands still while the group changes.
        self.polled_at = 0.0
        self._generation = -1
        # Counts the group's changes: what was begun before one must not go on after it.
        self._turn = 0
        self._to_place = False

    @property
    def thread(self) -> ConsumerThread:
        """The thread that talks to the broker."""
        return self._thread

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, record: Any) -> Any:
        message = super()._to_message(tp, record)
        # In milliseconds as on the broker: Faust's seconds are a float, which is too short for some.
        message.timestamp = record.timestamp
        return message

    # -- reading ---------------------------------------------------------------------------------------

    async def _wait_next_records(self, timeout: float) -> tuple[Any, set[TP] | None]:
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        self.polled_at = time.monotonic()
        active = self._get_active_partitions()
        state = self.delivery
        full = state.ledger.in_flight >= state.backlog or state.ledger.bytes_in_flight >= BACKLOG_BYTES
        records: Any = {}
        if full or not active:
            await asyncio.sleep(BACKLOG_PAUSE)
        else:
            records = await self._getmany(active, timeout)
        # None keeps Faust from seeking in the middle of a change of the group: a seek ends each.
        return (records if self.flow_active else None), active

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> MutableMapping[Any, Any]:
        self.delays.release(int(time.time() * 1000))
        now = time.monotonic()
        next_due = self.delays.next_due()
        if next_due is not None:
            timeout = min(timeout, max(0.0, next_due / 1000 - time.time()))
        self._refused = {tp: until for tp, until in self._refused.items() if until > now}
        wanted = [
            Partition(tp.topic, tp.partition)
            for tp in active_partitions or ()
            if tp not in self.delays and tp not in self._refused
        ]
        shares = self._read_ahead.shares(wanted, self.delivery.ledger.pending(), now)
        if len(shares) < len(wanted):
            # What is not asked for now may be in a moment, and does not end a wait that is under way.
            timeout = min(timeout, BACKLOG_PAUSE)
        epoch = self.delivery.ledger.epoch
        if shares:
            fetched = await self._thread.fetch(shares, timeout, self._waits)
        else:
            await asyncio.sleep(max(timeout, 0.001))
            fetched = Fetched()
        # The group may have changed meanwhile. What was fetched then must not count as delivered: Faust drops
        # it, and the partition's position would stand before it until the group changes again. It comes again:
        # nothing flows before a seek.
        if not self.flow_active:
            return {}
        if epoch != self.delivery.ledger.epoch:
            await self.perform_seek()
            return {}
        records = await self._admitted(fetched)
        await self._deal_with(fetched.errors)
        return records if epoch == self.delivery.ledger.epoch else {}

    async def _deal_with(self, errors: Mapping[Any, Exception]) -> None:
        """Deal with what the broker gave in place of records; no other partition waits for that."""
        out_of_range = []
        for tp, error in errors.items():
            if isinstance(error, OffsetOutOfRangeError):
                out_of_range.append(Partition(*tp))
            elif not isinstance(error, NoOffsetForPartitionError):  # asked before the place was found
                self.delivery.progress.complain(f"cannot read {tp.topic}/{tp.partition}: {error!r}")
                self._refused[tp] = time.monotonic() + _REFUSED_SECONDS
        if out_of_range:
            await self._places.reopen(out_of_range)

    def _waits(self, record: Any) -> bool:
        """Whether a record is a retry that is not due yet."""
        return (
            record.topic in self.delivery.settings.topology.retries and self.due(record) > time.time() * 1000
        )

    async def _admitted(self, fetched: Fetched) -> dict[Any, list[Any]]:
        """Take what is due for delivered; go back to the first of each partition that is not."""
        now = int(time.time() * 1000)
        self._read_ahead.note(fetched.keys(), fetched.more, time.monotonic())
        ready: dict[Any, list[Any]] = {}
        back: dict[Partition, int] = {}
        for tp, records in fetched.items():
            # What waits ends a share, so only the last can wait; to ask about one before it again would measure
            # a writer's clock anew.
            late = bool(records) and self._waits(records[-1])
            due = records[:-1] if late else records
            if late:
                first = records[-1]
                back[Partition(*tp)] = first.offset
                self.delays.hold(Partition(*tp), max(self.due(first), now + DELAY_STEP_MS))
            if due:
                ready[tp] = due
        delivered = self._delivered(ready)
        for tp, position in fetched.positions.items():
            # Holes, and the marks that end a transaction: nobody hands them over, so they are passed here.
            if tp not in self.delays:
                self.delivery.ledger.skip(Partition(*tp), position)
        if back:
            await self._thread.here(self._thread.go_back(back))
        return delivered

    def _delivered(self, records: Mapping[Any, list[Any]]) -> dict[Any, list[Any]]:
        deliver = self.delivery.ledger.deliver
        out = {}
        for tp, found in records.items():
            partition = Partition(tp.topic, tp.partition)
            kept = [r for r in found if deliver(partition, r.offset, weight(r))]
            if kept:
                self.delivery.progress.lags.fetched(partition, kept[0].offset, _since(kept[0]))
                out[TopicPartition(*partition)] = kept
        return out

    async def verify_all_partitions_active(self) -> None:
        """Do nothing: the watchdog looks at what is handed over, and Faust's look can fail in a rebalance."""

    async def perform_seek(self) -> None:
        """Read on behind what was delivered. Faust's own seeks to the commit, and not at all where that is 0.

        Faust calls it when the group has settled, before anything flows: then the accounts are opened. That is
        not done while aiokafka waits for the assignment to be taken over, since it sends no heartbeats meanwhile.

        Raises:
            IllegalStateError: the group changes again, and with it the assignment.
        """
        turn, placing = self._turn, self._to_place
        if placing:
            await self._open()
        ledger = self.delivery.ledger
        places = {partition: ledger.next(partition) or 0 for partition in ledger.assigned}
        self._read_ahead.restart(places, time.monotonic())
        self.delays.drop()  # what waits there comes again
        await self._thread.here(self._thread.share_memory(max(1, len(places))))
        await self._thread.here(self._thread.go_to(places))
        if placing and turn != self._turn:  # else Faust would let records flow
            raise IllegalStateError("the group changes again")

    async def _open(self) -> None:
        turn = self._turn
        partitions = sorted(Partition(tp.topic, tp.partition) for tp in self.assignment())
        while turn == self._turn:
            try:
                await self._places.open(partitions)
                break
            except (CommitFailedError, IllegalStateError):
                self._thread.rejoin()
                raise IllegalStateError("the group changed again before all was placed") from None
            except KafkaError as error:
                self.delivery.progress.waiting(f"cannot find out where the partitions stand: {error!r}")
                await asyncio.sleep(1)
        if turn == self._turn:
            self._to_place = False
            self.delivery.progress.assigned(partitions)

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
        await self._thread.here(self._thread.commit_once(plan, self._generation))

    # -- ownership -------------------------------------------------------------------------------------

    def heard_recently(self) -> bool:
        """Whether the coordinator answered within the session timeout, so that we still count as alive."""
        return time.monotonic() - self._thread.heard_at < self.delivery.settings.session_timeout

    def unanswered(self) -> bool:
        """Whether no broker has answered for a session's length, other than that the group is changing."""
        since = max(self._thread.heard_at, self.delivery.progress.began_at)
        silent = time.monotonic() - since > self.delivery.settings.session_timeout
        return silent and not self._thread.joins()

    def has_leader(self, partition: Partition) -> bool:
        """Whether some broker would give records of a partition."""
        return self._thread.client._client.cluster.leader_for_partition(TopicPartition(*partition)) not in {  # noqa: SLF001 - nothing public tells it
            None,
            -1,
        }

    def has_more(self, partition: Partition) -> bool:
        """Whether the broker has records of a partition that could be read now."""
        return self._read_ahead.more(partition) and partition not in self.delays

    def is_member(self) -> bool:
        """Whether the group still knows this worker, as far as it has heard."""
        return self._thread.is_member()

    def settled(self) -> bool:
        """Whether the fetch loop goes round: not while the group changes, nor until all is placed."""
        return time.monotonic() - self.polled_at < self.delivery.settings.session_timeout

    @property
    def broken(self) -> str:
        """Why the client will not do anything any more, or nothing."""
        return self._thread.broken

    def standings(self) -> dict[Partition, Standing]:
        """Say where the partitions stand of which the broker has told the end."""
        ledger = self.delivery.ledger
        found = {}
        for partition in ledger.assigned:
            try:
                end = self._thread.client.highwater(TopicPartition(*partition))
            except (KafkaError, AssertionError):  # not assigned any more, in the client's own thread
                continue
            position = ledger.position(partition)
            if end is not None and position is not None:
                read = ledger.head(partition) is not None
                waits = not read and partition in self.delays
                found[partition] = Standing(position, end, read, waits)
        return found

    async def wait_empty(self) -> None:
        """Drain, for as long as the setting allows; commit; let go of the rest, which comes again."""
        drained = await self.delivery.drain(lambda: bool(self._unacked_messages))
        if not drained:
            self.delivery.progress.note("letting go of documents that are still at work: they come again")
        await self.delivery.committer.last()
        # What is at work still, or waits in the agent, must not be taken for the next owner's, this worker even.
        for message in list(self._unacked_messages):
            message.acked = True
        self._unacked_messages.clear()
        if self.app.should_stop:
            # What is still at work must not be published while the services end: nobody would commit it.
            self.delivery.forget()
            self.app.end_soon()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Drain and commit before letting go; Faust would drop its lists before it commits them."""
        self._turn += 1
        self._to_place = False
        self.delivery.progress.rebalancing()
        self.delays.drop()
        if self.app.should_stop:
            await self.wait_empty()
        else:
            await super().on_partitions_revoked(revoked)
        # Rebalances are eager: every partition is let go, and comes back with the next assignment.
        self.delivery.forget()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Take the assignment over; ``perform_seek`` opens the accounts."""
        self._turn += 1
        if self.app.should_stop:
            return
        self.delays.drop()
        self.delivery.forget()
        self._generation = generation_id
        self._to_place = True
        # The revocation has stopped the flow only where there was something to revoke; what would flow before
        # the seek is lost when Faust clears its queues.
        self.stop_flow()
        self.app.flow_control.suspend()
        await super().on_partitions_assigned(assigned, generation_id)
        if not assigned:
            self.delivery.progress.assigned([])


class Transport(driver.Transport):
    """Kafka as this package uses it."""

    Consumer = Consumer
    Producer = Producer
