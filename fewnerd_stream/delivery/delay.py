"""Retries that are not due wait here, in the fetch path, never delivered: nothing else knows of them.

Only the head of a partition is looked at, so a retry topic has one delay. Parked records are dropped on
revocation and on every seek: they come again from the committed offset.
"""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fewnerd_stream.delivery.ledger import Partition

R = TypeVar("R")


class DelayBuffer(Generic[R]):
    """Records per partition, in order, each until its due time in milliseconds since the epoch."""

    def __init__(self, due: Callable[[R], int]) -> None:
        """Start empty; ``due`` gives a record's due time, at or below now for one that is due."""
        self._due = due
        self._parked: dict[Partition, collections.deque[R]] = {}

    def __contains__(self, partition: object) -> bool:
        """Whether anything of a partition is parked."""
        return partition in self._parked

    def __len__(self) -> int:
        """Return how many records are parked."""
        return sum(map(len, self._parked.values()))

    def admit(self, partition: Partition, records: list[R], now: int) -> list[R]:
        """Return the leading records that are due; park the first that is not, and all behind it."""
        if partition in self._parked:
            self._parked[partition].extend(records)
            return []
        for index, record in enumerate(records):
            if self._due(record) > now:
                self._parked[partition] = collections.deque(records[index:])
                return records[:index]
        return records

    def release(self, now: int) -> dict[Partition, list[R]]:
        """Take out and return what has become due."""
        out: dict[Partition, list[R]] = {}
        for partition, waiting in list(self._parked.items()):
            while waiting and self._due(waiting[0]) <= now:
                out.setdefault(partition, []).append(waiting.popleft())
            if not waiting:
                del self._parked[partition]
        return out

    def next_due(self) -> int | None:
        """Return the earliest due time of any partition's head, or None when nothing is parked."""
        return min((self._due(waiting[0]) for waiting in self._parked.values()), default=None)

    def drop(self, partitions: Iterable[Partition] | None = None) -> None:
        """Forget what is parked of some partitions, or of all."""
        for partition in list(self._parked) if partitions is None else list(partitions):
            self._parked.pop(partition, None)
