"""Figures of several rounds: least, median and most, and ratios of what ran side by side."""

from __future__ import annotations

import dataclasses
import math
import statistics
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, slots=True)
class Spread:
    """The least, median and most of some figures, and how many there were."""

    least: float
    median: float
    most: float
    rounds: int

    def __str__(self) -> str:
        """Write the median, with the least and the most in brackets."""
        return f"{show(self.median)} ({show(self.least)} to {show(self.most)})"

    def as_dict(self) -> dict[str, Any]:
        """Return an object that JSON can hold."""
        return dataclasses.asdict(self)

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Sum figures up.

        Raises:
            ValueError: there are none.
        """
        if not values:
            raise ValueError("no figures to sum up")
        return cls(min(values), statistics.median(values), max(values), len(values))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Return ours over theirs, round by round: both of a round ran right after each other.

    Raises:
        ValueError: they are not of the same rounds.
    """
    if len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} rounds cannot be compared with {len(theirs)}")
    return Spread.of([mine / other for mine, other in zip(ours, theirs, strict=True)])


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` (0..1) of the values do not exceed; between two, the higher one.

    Raises:
        ValueError: there are none, or the share is out of range.
    """
    if not values or not 0 <= share <= 1:
        raise ValueError("a percentile needs values, and a share in 0..1")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the least-squares slope of y over x; 0 where x does not vary."""
    if len(points) < 2:
        return 0.0
    mean_x = statistics.fmean(x for x, _ in points)
    mean_y = statistics.fmean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0


def slope_error(points: Sequence[tuple[float, float]], parts: int = 10) -> float | None:
    """Return the standard error of the `slope` of a series whose neighbours resemble each other.

    The points, in their order, are cut into parts of equal number, whose means are taken to be independent; the
    error is the usual one of least squares over these means. None where a part would have fewer than two points.
    """
    size = len(points) // parts
    if size < 2 or parts < 3:
        return None
    cut = [points[number * size : (number + 1) * size] for number in range(parts)]
    means = [(statistics.fmean(x for x, _ in one), statistics.fmean(y for _, y in one)) for one in cut]
    rise = slope(means)
    mean_x, mean_y = statistics.fmean(x for x, _ in means), statistics.fmean(y for _, y in means)
    left = sum((y - mean_y - rise * (x - mean_x)) ** 2 for x, y in means)
    spread = sum((x - mean_x) ** 2 for x, _ in means)
    return math.sqrt(left / (parts - 2) / spread) if spread else None


def show(value: float) -> str:
    """Write a figure with about three digits that count."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 4)}f}"


def rate_between(times: Sequence[int], left_out: float) -> float:
    """Return how many were done a second between two of the times, a share of all left out at either end.

    Args:
        times: when each was done, in milliseconds, ascending; many at one time where they come in windows.
        left_out: the share that was done before the first of the two times, and that is done after the second.
    """
    first, last = times[int(len(times) * left_out)], times[int((len(times) - 1) * (1 - left_out))]
    if first == last:  # all of it in one go: there is no better measure than the whole
        return len(times) * 1000 / max(1, times[-1] - times[0])
    return sum(first < one <= last for one in times) * 1000 / (last - first)
