"""Figures of several rounds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.stats import Spread, percentile, rate_between, ratio, show, slope, slope_error

_FIGURES = st.lists(st.floats(0.001, 1e6), min_size=1, max_size=50)


@given(_FIGURES)
def test_a_spread_holds_its_figures(values: list[float]) -> None:
    """The median lies between the least and the most, which are among the figures."""
    spread = Spread.of(values)
    assert spread.least <= spread.median <= spread.most
    assert {spread.least, spread.most} <= set(values)
    assert spread.rounds == len(values)


def test_a_ratio_is_taken_round_by_round() -> None:
    """A machine that halves its speed between two rounds leaves the ratio as it is."""
    assert ratio([200, 100, 50], [100, 50, 25]) == Spread(2, 2, 2, 3)


def test_rounds_must_match() -> None:
    """Figures of different rounds are not compared."""
    with pytest.raises(ValueError, match="3 rounds"):
        ratio([1, 2, 3], [1, 2])


def test_nothing_cannot_be_summed_up() -> None:
    """No figures are an error, not a zero."""
    with pytest.raises(ValueError, match="no figures"):
        Spread.of([])
    with pytest.raises(ValueError, match="percentile"):
        percentile([], 0.5)


@given(_FIGURES, st.floats(0, 1))
def test_a_percentile_is_not_exceeded_by_its_share(values: list[float], share: float) -> None:
    """At least the share of the values lies at or below it, and it is one of them."""
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9


def test_percentiles_of_a_hundred() -> None:
    """Of 1 to 100, the 99th percentile is 99."""
    values = [float(n) for n in range(100, 0, -1)]
    assert (percentile(values, 0.5), percentile(values, 0.99), percentile(values, 1)) == (50, 99, 100)


def test_slope_of_a_line() -> None:
    """The slope of a line is found, and of a single point there is none."""
    assert slope([(x, 3 * x + 1) for x in range(10)]) == pytest.approx(3)
    assert slope([(1, 5), (1, 7)]) == 0


def test_the_error_of_a_slope_tells_a_swing_from_a_rise() -> None:
    """A line has none, a slow swing about the line has one that is larger than what it adds to the slope."""
    line = [(x / 100, 3 * x / 100) for x in range(400)]
    assert slope_error(line) == pytest.approx(0, abs=1e-6)
    swings = [(x, y + 10 * math.sin(5 * x)) for x, y in line]
    error = slope_error(swings)
    assert error is not None
    assert abs(slope(swings) - 3) < 2 * error
    assert slope_error(line[:19]) is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.01234, "0.0123"), (1.2345, "1.23"), (12.345, "12.3"), (12345.6, "12,346")],
)
def test_figures_are_shown_with_three_digits(value: float, shown: str) -> None:
    """About three digits count, and thousands are parted."""
    assert show(value) == shown


@pytest.mark.parametrize("side_by_side", [1, 3])
def test_a_rate_is_not_flattered_by_windows_side_by_side(side_by_side: int) -> None:
    """However many windows are at work at a time, and whatever a start costs, the rate is that of the work."""
    window, windows, takes, start = 100, 20, 500, 7_000
    # Windows of equal work share the machine: the first ends when those begun with it are nearly done.
    ends = [start + takes * (min(n + side_by_side, windows) - (side_by_side - 1) / 2) for n in range(windows)]
    times = [int(end) for end in ends for _ in range(window)]
    assert rate_between(times, 0.15) == pytest.approx(1000 * window / takes)


def test_a_rate_of_what_came_in_one_go_is_of_the_whole() -> None:
    """Where the middle has no extent, all is counted."""
    assert rate_between([0, 500, 500, 500, 500, 500, 500, 1000], 0.15) == 8.0
    assert rate_between([3, 3, 3], 0.15) == 3000.0
