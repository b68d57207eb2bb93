"""How far a worker is behind in each partition that it owns, in records and in seconds."""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from fewnerd_stream.contract.records import Partition


class Lag(NamedTuple):
    """A partition's records that are not handed over yet, and since when the oldest has been due, if known."""

    records: int
    since: float | None

    def seconds(self, now: float) -> float:
        """Say how long the oldest has been due; 0 when there is none."""
        return max(0.0, now - self.since) if self.records and self.since is not None else 0.0


class Standing(NamedTuple):
    """Where a partition stands.

    ``position`` is the lowest offset that is not handed over, ``end`` the one behind the last on the broker;
    ``read``: the record there was read; ``waits``: it is a retry whose time has not come.
    """

    position: int
    end: int
    read: bool
    waits: bool


@dataclasses.dataclass(slots=True)
class _Reading:
    # The first offset of each fetch that may hold the oldest record, and since when that has been due.
    fetches: deque[tuple[int, float]] = dataclasses.field(default_factory=deque)
    # When nothing was left to do last.
    done: float | None = None
    lag: Lag | None = None


class Lags:
    """The lag of the partitions that are owned now; one that is let go leaves nothing behind."""

    def __init__(self) -> None:
        """Start with no partition."""
        self._readings: dict[Partition, _Reading] = {}

    def fetched(self, partition: Partition, offset: int, since: float) -> None:
        """Note records that were fetched: the first one's offset, and since when it has been due (epoch, s)."""
        self._readings.setdefault(partition, _Reading()).fetches.append((offset, since))

    def look(self, partition: Partition, standing: Standing, now: float) -> None:
        """Note where a partition that is owned stands, at ``now`` in seconds since the epoch."""
        position, end = standing.position, standing.end
        reading = self._readings.setdefault(partition, _Reading())
        fetches = reading.fetches
        while len(fetches) > 1 and fetches[1][0] <= position:
            fetches.popleft()
        if position >= end:
            reading.done = now
            reading.lag = Lag(0, None)
            return
        since = fetches[0][1] if fetches else None
        if standing.waits:
            since = None
        elif not standing.read and reading.done is not None:
            # What is not read yet came after nothing was left, and behind what was read last.
            since = max(reading.done, since or 0.0)
        reading.lag = Lag(end - position, since)

    def forget(self) -> None:
        """Let all partitions go."""
        self._readings.clear()

    def read(self) -> dict[Partition, Lag]:
        """Return the lag of each partition of which it is known; may be called from any thread."""
        return {
            partition: reading.lag
            for partition, reading in self._readings.copy().items()
            if reading.lag is not None
        }
