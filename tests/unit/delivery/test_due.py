"""Due times: a wrong clock puts a retry off by no more than its delay, and nothing comes early."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewnerd_stream.delivery.due import DueTimes

if TYPE_CHECKING:
    from fewnerd_stream.contract.records import Headers

NOW = 1_800_000_000_000
YEARS = 10 * 365 * 86_400_000
DELAY = 5_000


@dataclasses.dataclass
class Waiting:
    """A record on a retry topic, as aiokafka gives it."""

    offset: int
    timestamp: int
    due: int
    timestamp_type: int = 0
    topic: str = "raw.retry.1"
    partition: int = 0

    @property
    def headers(self) -> Headers:
        """What says when it is due."""
        return (("__fewnerd.not-before", b"%d" % self.due),)


class Clock:
    """The reader's clock."""

    now = NOW

    def __call__(self) -> int:
        """Tell."""
        return self.now


@pytest.mark.parametrize("ahead", [60_000, 3_600_000, 86_400_000, YEARS])
def test_a_clock_that_was_ahead_puts_a_retry_off_by_its_delay(ahead: int) -> None:
    """From when it was first read on, whenever one looks; and those behind it by the time between them."""
    clock = Clock()
    times = DueTimes([DELAY / 1000], clock)
    first = Waiting(0, NOW + ahead, NOW + ahead + DELAY)
    second = Waiting(1, NOW + ahead + 700, NOW + ahead + 700 + DELAY)
    for clock.now in (NOW, NOW + 1, NOW + DELAY):
        assert times(first) == NOW + DELAY
    assert times(second) == NOW + DELAY + 700


@pytest.mark.parametrize("ahead", [3_600_000, YEARS])
def test_where_the_broker_writes_the_time_a_wrong_clock_shows_in_the_due_time_alone(ahead: int) -> None:
    """It waits for the longest delay there is."""
    assert DueTimes([1.0, DELAY / 1000], Clock())(Waiting(0, NOW, NOW + ahead, 1)) == NOW + DELAY


def test_one_clock_does_not_make_another_ones_retry_early() -> None:
    """Behind a record from 2036 one that is an hour ahead still waits for its delay."""
    times = DueTimes([DELAY / 1000], Clock())
    times(Waiting(0, NOW + YEARS, NOW + YEARS + DELAY))
    assert times(Waiting(1, NOW + 3_600_000, NOW + 3_600_000 + DELAY)) == NOW + DELAY
    assert times(Waiting(2, NOW, NOW + DELAY)) == NOW + DELAY


def test_a_delay_that_was_longer_when_it_was_written_holds() -> None:
    """A setting that was made shorter releases nothing early."""
    assert DueTimes([1.0], Clock())(Waiting(0, NOW, NOW + 600_000)) == NOW + 600_000


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.sampled_from([0, 1]))
def test_nothing_is_put_off_for_longer_than_a_day(timestamp: int, due: int, kind: int) -> None:
    """Whatever its times say."""
    assert DueTimes([DELAY / 1000], Clock())(Waiting(0, timestamp, due, kind)) <= NOW + 86_400_000
