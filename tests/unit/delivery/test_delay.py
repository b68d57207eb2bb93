"""DelayBuffer: a retry is handed on when it is due, in order, and never before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fewnerd_stream.delivery.delay import DelayBuffer
from fewnerd_stream.delivery.ledger import Partition

A = Partition("raw.retry.1", 0)
B = Partition("raw.retry.1", 1)


def due(record: tuple[int, int]) -> int:
    """Take the due time out of a record, which is (offset, due time)."""
    return record[1]


@given(st.lists(st.lists(st.integers(0, 100), max_size=6), max_size=6), st.integers(0, 120))
def test_records_leave_in_order_and_none_before_its_time(batches: list[list[int]], step: int) -> None:
    """Whatever the due times and the polls, order is kept and nothing is early or left behind."""
    parking: DelayBuffer[tuple[int, int]] = DelayBuffer(due)
    out: list[tuple[int, int]] = []
    offset = now = 0
    for times in batches:
        records = [(offset + n, time) for n, time in enumerate(times)]
        offset += len(times)
        early = parking.release(now).get(A, [])
        early += parking.admit(A, records, now)
        assert all(time <= now for _, time in early)
        out += early
        now += step
    out += parking.release(1000).get(A, [])
    assert [o for o, _ in out] == list(range(offset))
    assert len(parking) == 0


def test_only_the_head_is_looked_at() -> None:
    """What stands behind a head that is not due waits, due or not."""
    parking: DelayBuffer[tuple[int, int]] = DelayBuffer(due)
    assert parking.admit(A, [(0, 5), (1, 50), (2, 5)], now=10) == [(0, 5)]
    assert parking.next_due() == 50
    assert parking.release(49) == {}
    assert parking.release(50) == {A: [(1, 50), (2, 5)]}
    assert parking.next_due() is None


def test_partitions_wait_apart_and_are_dropped_apart() -> None:
    """A revoked partition's records are forgotten, another's stay."""
    parking: DelayBuffer[tuple[int, int]] = DelayBuffer(due)
    parking.admit(A, [(0, 50)], now=0)
    parking.admit(B, [(0, 60)], now=0)
    parking.drop([A])
    assert A not in parking
    assert B in parking
    parking.drop()
    assert len(parking) == 0
