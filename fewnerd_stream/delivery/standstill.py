"""Which partitions stand still while others move. Pure; no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fewnerd_stream.contract.records import Partition


class Standstill:
    """Remembers since when each owned partition stands, though it has something to do."""

    def __init__(self) -> None:
        """Start with no partition."""
        self._stood: dict[Partition, tuple[int, float]] = {}
        self._moved_at = float("-inf")

    def look(self, places: Mapping[Partition, tuple[int, bool]], now: float) -> dict[Partition, float]:
        """Say which stand, and for how long, in seconds.

        Args:
            places: of each owned partition the offset that is handed over next, and whether there is something
                to do; a partition that is let go is missing.
            now: of any clock that does not go back.

        Returns:
            Only those that stood when another moved: when none moves, no partition is to blame.
        """
        stood: dict[Partition, tuple[int, float]] = {}
        for partition, (offset, behind) in places.items():
            before, since = self._stood.get(partition, (offset, now))
            if before != offset:
                self._moved_at = now
            stood[partition] = (offset, since if behind and before == offset else now)
        self._stood = stood
        return {
            partition: now - since
            for partition, (_, since) in stood.items()
            if since < self._moved_at and places[partition][1]
        }
