"""Which offsets were handed over: decides, alone, what may be committed.

*Handed over* means stored in every topic that the document belongs to, or in a retry or dead-letter topic.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, NamedTuple

from fewnerd_stream.contract.records import Partition

if TYPE_CHECKING:
    from collections.abc import Iterable


__all__ = ["Ledger", "Partition", "Pending"]


class Pending(NamedTuple):
    """How many records of a partition are pending, and the bytes of their values."""

    records: int
    size: int


@dataclasses.dataclass(slots=True)
class _Account:
    committed: int
    end: int
    size: int = 0
    # Insertion order is offset order: delivery refuses anything else.
    pending: dict[int, int] = dataclasses.field(default_factory=dict)


class Ledger:
    """The offsets delivered to this worker since it was assigned their partitions, and what became of them.

    A new *epoch* begins with every revocation: what was taken in an older one may no longer be published.
    """

    def __init__(self) -> None:
        """Start with nothing assigned, in epoch 0."""
        self.epoch = 0
        self.in_flight = 0
        self.bytes_in_flight = 0
        self._accounts: dict[Partition, _Account] = {}

    def assign(self, partition: Partition, committed: int) -> None:
        """Open a partition's account at its committed offset, forgetting an older account."""
        self.revoke([partition])
        self._accounts[partition] = _Account(committed, committed)

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """Close accounts; what was in flight in them comes again from the committed offset, to whoever."""
        for partition in partitions:
            account = self._accounts.pop(partition, None)
            if account is not None:
                self.in_flight -= len(account.pending)
                self.bytes_in_flight -= account.size

    def next_epoch(self) -> None:
        """Invalidate everything that was taken so far."""
        self.epoch += 1

    @property
    def assigned(self) -> frozenset[Partition]:
        """The partitions with an open account."""
        return frozenset(self._accounts)

    def deliver(self, partition: Partition, offset: int, size: int = 0) -> bool:
        """Note that a record of ``size`` bytes is about to be processed; offsets ascend, with holes or not.

        Returns:
            False when it was delivered before in this account, or its partition is not assigned: it must
            then not be processed.
        """
        account = self._accounts.get(partition)
        if account is None or offset < account.end:
            return False
        account.pending[offset] = size
        account.end = offset + 1
        account.size += size
        self.in_flight += 1
        self.bytes_in_flight += size
        return True

    def skip(self, partition: Partition, offset: int) -> None:
        """Note that there is no record for us below an offset other than those that were delivered."""
        account = self._accounts.get(partition)
        if account is not None and offset > account.end:
            account.end = offset

    def next(self, partition: Partition) -> int | None:
        """Return the offset behind the last one delivered, from which to read on."""
        account = self._accounts.get(partition)
        return None if account is None else account.end

    def hand_over(self, partition: Partition, offset: int) -> bool:
        """Note that everything that came of an offset is stored; False if it was not pending."""
        account = self._accounts.get(partition)
        if account is None or offset not in account.pending:
            return False
        size = account.pending.pop(offset)
        account.size -= size
        self.bytes_in_flight -= size
        self.in_flight -= 1
        return True

    def pending(self) -> dict[Partition, Pending]:
        """Return what is delivered and not handed over, of each partition."""
        return {p: Pending(len(one.pending), one.size) for p, one in self._accounts.items()}

    def head(self, partition: Partition) -> int | None:
        """Return the lowest pending offset, or None when nothing is pending."""
        account = self._accounts.get(partition)
        return None if account is None else next(iter(account.pending), None)

    def position(self, partition: Partition) -> int | None:
        """Return the offset to commit: every lower one is handed over or was never a record of ours."""
        account = self._accounts.get(partition)
        if account is None:
            return None
        return next(iter(account.pending), account.end)

    def committed(self, partition: Partition) -> int | None:
        """Return what was committed last, or None when the partition is not assigned."""
        account = self._accounts.get(partition)
        return None if account is None else account.committed

    def to_commit(self) -> dict[Partition, int]:
        """Return the partitions whose position has passed their commit, with that position."""
        out = {}
        for partition, account in self._accounts.items():
            position = next(iter(account.pending), account.end)
            if position > account.committed:
                out[partition] = position
        return out

    def commit(self, partition: Partition, offset: int) -> None:
        """Note that an offset was committed.

        Raises:
            ValueError: the offset passes one that is not handed over, or goes back.
        """
        account = self._accounts.get(partition)
        if account is None:
            return
        position = next(iter(account.pending), account.end)
        if not account.committed <= offset <= position:
            message = f"{partition}: a commit of {offset} is not within {account.committed}..{position}"
            raise ValueError(message)
        account.committed = offset
