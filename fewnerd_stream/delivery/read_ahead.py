"""How much of each partition is read ahead, so that all owned partitions advance together. Pure; no clock.

What is read ahead waits in one queue. A partition that could fill it alone would have all others wait behind
it: so each one with something to read has an equal share of it, in records and in bytes, and no more. Shares
of partitions that have nothing to read go to the others: alone, a partition has the whole queue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fewnerd_stream.delivery.ledger import Pending

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from fewnerd_stream.delivery.ledger import Partition

RESERVED_SECONDS = 2.0
"""How long a partition's share is kept for it while the broker gives nothing of it, though there is more.

Long enough for a fetch to be answered; a partition without a leader must not slow the others down for ever.
"""


class Share(NamedTuple):
    """What may be read of a partition now: so many records, and no further one from so many bytes on."""

    records: int
    size: int


class ReadAhead:
    """Shares a bounded queue out among the partitions, in every round of reading anew."""

    def __init__(self, records: int, size: int, most: int) -> None:
        """Bound the queue.

        Args:
            records: most records in it, of all partitions together.
            size: bytes in it from which on nothing more is read, of all partitions together.
            most: most records of one partition in a round.
        """
        self._records = records
        self._size = size
        self._most = most
        # When each partition was last read, and whether the broker has more of it; None: it was not asked yet.
        self._read_at: dict[Partition, float] = {}
        # When each partition had its last turn: where there is not room for all, they take turns.
        self._turn_at: dict[Partition, float] = {}
        self._more: dict[Partition, bool | None] = {}

    def restart(self, partitions: Iterable[Partition], now: float) -> None:
        """Begin with these partitions, of which nothing is known yet."""
        self._read_at = dict.fromkeys(partitions, now)
        self._turn_at = dict(self._read_at)
        self._more = dict.fromkeys(self._read_at)

    def note(self, read: Collection[Partition], more: Mapping[Partition, bool | None], now: float) -> None:
        """Take notice of a round: which partitions gave records, and which have more at the broker."""
        for partition in read:
            self._read_at[partition] = now
        self._more.update(more)

    def more(self, partition: Partition) -> bool:
        """Whether the broker is known to have more of a partition than was read."""
        return self._more.get(partition) is True

    def shares(
        self, wanted: Collection[Partition], pending: Mapping[Partition, Pending], now: float
    ) -> dict[Partition, Share]:
        """Share out what there is room for; those whose last turn is longest ago come first.

        Args:
            wanted: the partitions that may be read now.
            pending: what is read ahead of every partition; one that is missing has nothing.
            now: of any clock that does not go back.

        Returns:
            The partitions of which something may be read.
        """
        none = Pending(0, 0)
        room = self._records - sum(one.records for one in pending.values())
        space = self._size - sum(one.size for one in pending.values())
        in_turn = sorted(wanted, key=lambda one: self._turn_at.get(one, 0.0))
        expected = {one: None for one in in_turn if self._expected(one, now)}
        each, each_size = self._records // max(1, len(expected)), self._size // max(1, len(expected))
        out: dict[Partition, Share] = {}
        for partition in expected:
            have = pending.get(partition, none)
            records = min(self._most, room, max(1, each) - have.records)
            # A record is never cut: the first of a partition is read however long it is.
            size = min(space, each_size - have.size if have.records else max(1, each_size))
            if records > 0 and size > 0:
                out[partition] = Share(records, size)
                room -= records
                space -= size
        # Nothing is known to be there of these; should something come, the little room that is left is theirs.
        rest = [one for one in in_turn if one not in expected]
        for number, partition in enumerate(rest):
            left = len(rest) - number
            records, size = min(self._most, -(-room // left)), -(-space // left)
            if records > 0 and size > 0:
                out[partition] = Share(records, size)
                room -= records
                space -= size
        self._turn_at.update(dict.fromkeys(out, now))
        return out

    def _expected(self, partition: Partition, now: float) -> bool:
        """Whether a partition has, or may soon have, something to read."""
        more = self._more.get(partition)
        return more is not False and now - self._read_at.get(partition, now) < RESERVED_SECONDS
