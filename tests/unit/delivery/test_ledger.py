"""The ledger: no commit ever passes an offset that is not handed over."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from fewnerd_stream.delivery.ledger import Ledger, Partition

A = Partition("raw", 0)


def test_position_is_the_lowest_offset_that_is_not_handed_over() -> None:
    """Finishing out of order moves the position only past what is finished from below."""
    ledger = Ledger()
    ledger.assign(A, 10)
    for offset in (10, 11, 12):
        assert ledger.deliver(A, offset)
    ledger.hand_over(A, 11)
    assert ledger.position(A) == 10
    assert ledger.to_commit() == {}
    ledger.hand_over(A, 10)
    assert ledger.position(A) == 12
    ledger.hand_over(A, 12)
    assert ledger.to_commit() == {A: 13}


def test_holes_in_the_log_are_passed() -> None:
    """Offsets that compaction or a transaction left out do not hold the position back."""
    ledger = Ledger()
    ledger.assign(A, 0)
    for offset in (3, 9, 27):
        ledger.deliver(A, offset)
        ledger.hand_over(A, offset)
    assert ledger.to_commit() == {A: 28}


def test_a_hole_at_the_head_is_never_taken_for_a_handed_over_offset() -> None:
    """With one offset missing at the head, Faust's own rule commits past it; the ledger does not."""
    ledger = Ledger()
    ledger.assign(A, 5)
    ledger.deliver(A, 5)
    ledger.deliver(A, 6)
    ledger.hand_over(A, 6)
    assert ledger.to_commit() == {}


def test_a_redelivered_offset_is_refused() -> None:
    """The same offset is not processed twice within one assignment."""
    ledger = Ledger()
    ledger.assign(A, 0)
    assert ledger.deliver(A, 4)
    assert not ledger.deliver(A, 4)
    assert not ledger.deliver(A, 2)


def test_nothing_is_delivered_from_a_partition_that_is_not_assigned() -> None:
    """A record that was fetched before a revocation is not processed after it."""
    ledger = Ledger()
    assert not ledger.deliver(A, 0)
    assert not ledger.hand_over(A, 0)
    assert ledger.position(A) is None
    assert ledger.committed(A) is None


def test_a_commit_past_the_position_or_backwards_is_an_error() -> None:
    """The second line of defence raises rather than lose a document."""
    ledger = Ledger()
    ledger.assign(A, 2)
    ledger.deliver(A, 2)
    for wrong in (3, 1):
        with pytest.raises(ValueError, match="is not within"):
            ledger.commit(A, wrong)


def test_what_is_in_flight_is_counted_in_records_and_bytes() -> None:
    """Backpressure sees what was delivered and not handed over, and forgets what was revoked."""
    ledger = Ledger()
    ledger.assign(A, 0)
    ledger.deliver(A, 0, 100)
    ledger.deliver(A, 1, 50)
    ledger.hand_over(A, 0)
    assert (ledger.in_flight, ledger.bytes_in_flight) == (1, 50)
    ledger.revoke([A])
    assert (ledger.in_flight, ledger.bytes_in_flight) == (0, 0)


class Life(RuleBasedStateMachine):
    """A log with holes, a broker that keeps commits, and a worker that delivers, fails, loses and crashes."""

    delivered = Bundle("delivered")

    def __init__(self) -> None:
        """Two partitions; the truth about what is stored lives outside the ledger."""
        super().__init__()
        self.ledger = Ledger()
        self.logs: dict[Partition, list[int]] = {Partition("raw", n): [] for n in range(2)}
        self.broker = dict.fromkeys(self.logs, 0)
        self.stored: dict[Partition, set[int]] = {p: set() for p in self.logs}
        self.read = dict.fromkeys(self.logs, 0)
        for partition in self.logs:
            self.ledger.assign(partition, 0)

    partitions = st.sampled_from([Partition("raw", 0), Partition("raw", 1)])

    @rule(partition=partitions, gap=st.integers(0, 3))
    def produce(self, partition: Partition, gap: int) -> None:
        """Append a record, after a hole or not."""
        log = self.logs[partition]
        log.append((log[-1] + 1 if log else 0) + gap)

    @rule(target=delivered, partition=partitions, most=st.integers(1, 4))
    def deliver(self, partition: Partition, most: int) -> object:
        """Fetch the next records, if the partition is assigned."""
        taken = [o for o in self.logs[partition] if o >= self.read[partition]][:most]
        good = [o for o in taken if self.ledger.deliver(partition, o)]
        if taken and good:
            self.read[partition] = taken[-1] + 1
        return multiple(*((partition, o, self.ledger.epoch) for o in good))

    @rule(item=consumes(delivered))
    def finish(self, item: tuple[Partition, int, int]) -> None:
        """Store what came of an event, in any order; only then is it handed over."""
        partition, offset, epoch = item
        self.stored[partition].add(offset)
        if epoch == self.ledger.epoch:
            self.ledger.hand_over(partition, offset)

    @rule(item=consumes(delivered))
    def fail(self, item: tuple[Partition, int, int]) -> None:
        """Forget an event: neither stored nor handed over."""

    @rule()
    def commit(self) -> None:
        """Commit what the ledger allows."""
        for partition, offset in self.ledger.to_commit().items():
            self.ledger.commit(partition, offset)
            assert offset >= self.broker[partition]
            self.broker[partition] = offset

    @rule(partition=partitions)
    def rebalance(self, partition: Partition) -> None:
        """Lose every partition and get some of them back at the broker's commit."""
        self.ledger.next_epoch()
        self.ledger.revoke(self.ledger.assigned)
        self.ledger.assign(partition, self.broker[partition])
        self.read[partition] = self.broker[partition]

    @rule()
    def crash(self) -> None:
        """Lose everything in memory, and begin again from what the broker knows."""
        epoch = self.ledger.epoch
        self.ledger = Ledger()
        self.ledger.epoch = epoch + 1
        for partition, offset in self.broker.items():
            self.ledger.assign(partition, offset)
            self.read[partition] = offset

    @invariant()
    def no_commit_passes_what_is_not_stored(self) -> None:
        """Every record below a commit is stored."""
        for partition, committed in self.broker.items():
            below = {o for o in self.logs[partition] if o < committed}
            assert below <= self.stored[partition]


TestLife = Life.TestCase
