"""Which offsets may be committed: everything below them is finished."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Partition = tuple[str, int]
"""A topic's name and a partition's number."""


class Ledger:
    """Takes offsets as they are read and finished, in any order, and says what may be committed."""

    def __init__(self) -> None:
        self._open: dict[Partition, dict[int, None]] = {}
        self._next: dict[Partition, int] = {}
        self._told: dict[Partition, int] = {}

    def open(self, partition: Partition, offset: int) -> None:
        """Note that an offset was read; a partition's come ascending."""
        self._told.setdefault(partition, offset)
        self._open.setdefault(partition, {})[offset] = None
        self._next[partition] = offset + 1

    def close(self, partition: Partition, offset: int) -> None:
        """Note that an offset is finished; of a partition that was given up, nothing is noted."""
        if partition in self._open:
            self._open[partition].pop(offset, None)

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Give partitions up: what was open is somebody else's now."""
        for partition in partitions:
            for table in (self._open, self._next, self._told):
                table.pop(partition, None)

    def due(self) -> dict[Partition, int]:
        """Give what to commit: by partition the first offset that is not finished, where it has moved."""
        found = {}
        for partition, following in self._next.items():
            first = next(iter(self._open[partition]), following)
            if first > self._told[partition]:
                found[partition] = first
        return found

    def committed(self, offsets: dict[Partition, int]) -> None:
        """Note what was committed."""
        for partition, offset in offsets.items():
            if partition in self._told:
                self._told[partition] = offset
