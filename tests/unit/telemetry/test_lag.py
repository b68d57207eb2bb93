"""The lag of owned partitions, in records and in seconds."""

from __future__ import annotations

from fewnerd_stream.contract.records import Partition
from fewnerd_stream.telemetry.lag import Lag, Lags, Standing

A = Partition("raw", 0)


def read(position: int, end: int) -> Standing:
    """Stand where the record at the position was read."""
    return Standing(position, end, read=True, waits=False)


def unread(position: int, end: int) -> Standing:
    """Stand where it was not read yet."""
    return Standing(position, end, read=False, waits=False)


def test_it_is_as_old_as_the_oldest_record_at_work() -> None:
    """What was fetched and handed over before does not count."""
    lags = Lags()
    lags.fetched(A, 0, 100.0)
    lags.fetched(A, 10, 150.0)
    lags.look(A, read(3, 20), 200.0)
    assert lags.read() == {A: Lag(17, 100.0)}
    lags.look(A, read(12, 20), 200.0)
    assert lags.read()[A].seconds(200.0) == 50.0


def test_after_a_quiet_hour_one_new_record_is_no_hour_late() -> None:
    """What is not read yet came after nothing was left to do."""
    lags = Lags()
    lags.fetched(A, 0, 100.0)
    lags.look(A, unread(1, 1), 3700.0)
    lags.look(A, unread(1, 2), 3701.0)
    assert lags.read()[A].seconds(3701.0) == 1.0


def test_nothing_to_do_is_no_lag() -> None:
    """However long ago the last record came."""
    lags = Lags()
    lags.fetched(A, 0, 100.0)
    lags.look(A, unread(1, 1), 5000.0)
    assert lags.read() == {A: Lag(0, None)}
    assert lags.read()[A].seconds(6000.0) == 0


def test_a_retry_that_waits_is_not_late() -> None:
    """It is counted, and its time has not come."""
    lags = Lags()
    lags.fetched(A, 0, 100.0)
    lags.look(A, Standing(1, 5, read=False, waits=True), 5000.0)
    assert lags.read()[A].records == 4
    assert lags.read()[A].seconds(5000.0) == 0


def test_clocks_that_differ_make_no_lag_below_zero() -> None:
    """A record from the future is on time."""
    lags = Lags()
    lags.fetched(A, 0, 900.0)
    lags.look(A, read(0, 1), 100.0)
    assert lags.read()[A].seconds(100.0) == 0


def test_what_is_let_go_leaves_nothing() -> None:
    """No stale lag."""
    lags = Lags()
    lags.look(A, unread(0, 9), 1.0)
    lags.forget()
    assert lags.read() == {}


def test_little_is_kept_of_a_long_backlog() -> None:
    """One fetch after the other goes when it is handed over."""
    lags = Lags()
    for number in range(1000):
        lags.fetched(A, number, float(number))
        lags.look(A, read(number, 2000), 0.0)
    assert len(lags._readings[A].fetches) == 1
