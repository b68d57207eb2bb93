"""Retries that are not due: nothing is kept of them but when the first of each partition is; then it is read again.

Only the head of a partition is looked at, so a retry topic has one delay. What waits was never delivered: nothing
else knows of it, and however much waits, it takes no memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fewnerd_stream.delivery.ledger import Partition


class Delays:
    """The partitions whose next record is not due, each until then; times in milliseconds since the epoch."""

    def __init__(self) -> None:
        """Start with nothing that waits."""
        self._until: dict[Partition, int] = {}

    def __contains__(self, partition: object) -> bool:
        """Whether a partition waits."""
        return partition in self._until

    def __len__(self) -> int:
        """Return how many partitions wait."""
        return len(self._until)

    def hold(self, partition: Partition, due: int) -> None:
        """Let a partition wait."""
        self._until[partition] = due

    def release(self, now: int) -> None:
        """Let go of the partitions that have waited long enough."""
        self._until = {partition: due for partition, due in self._until.items() if due > now}

    def next_due(self) -> int | None:
        """Return when the first of the partitions has waited long enough, or None when none waits."""
        return min(self._until.values(), default=None)

    def drop(self) -> None:
        """Forget all of it."""
        self._until.clear()
