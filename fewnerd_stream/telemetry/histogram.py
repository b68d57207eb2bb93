"""Counts of values by size: cheap to add to from any thread, and read whole."""

from __future__ import annotations

import threading
from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SECONDS: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
)
"""Upper bounds for what a window's stages take."""

AGES: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 86_400.0)
"""Upper bounds for how old a document is when it is done, retries and outages included."""

SHARES: Final = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
"""Upper bounds for parts of a whole."""


class Reading(NamedTuple):
    """How many values lie at or below each bound, the last one infinite, and their sum."""

    buckets: tuple[tuple[float, int], ...]
    total: float


class Histogram:
    """Values counted by the first bound that is not below them."""

    def __init__(self, bounds: Sequence[float]) -> None:
        """Start empty, with ascending bounds; what exceeds the last is counted as well."""
        self._bounds = (*bounds, float("inf"))
        self._counts = [0] * len(self._bounds)
        self._total = 0.0
        self._lock = threading.Lock()

    def add(self, *values: float) -> None:
        """Count values; one that is below zero, as clocks that differ give it, counts as zero."""
        self.add_all(values)

    def add_all(self, values: Iterable[float]) -> None:
        """Count many values at once."""
        with self._lock:
            for value in values:
                known = max(0.0, value)
                self._counts[bisect_left(self._bounds, known)] += 1
                self._total += known

    def read(self) -> Reading:
        """Return everything that was counted so far."""
        with self._lock:
            counts, total = list(self._counts), self._total
        return Reading(tuple(zip(self._bounds, accumulate(counts), strict=True)), total)
