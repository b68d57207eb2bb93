"""Delays: a partition waits until its head is due, and no longer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fewnerd_stream.contract.records import Partition
from fewnerd_stream.delivery.delay import Delays

A = Partition("raw.retry.1", 0)
B = Partition("raw.retry.1", 1)


@given(st.dictionaries(st.sampled_from([A, B]), st.integers(0, 100)), st.integers(0, 100))
def test_a_partition_waits_until_its_time_has_come(held: dict[Partition, int], now: int) -> None:
    """Those whose time has come are let go, the others wait, and the earliest of them is told."""
    delays = Delays()
    for partition, due in held.items():
        delays.hold(partition, due)
    delays.release(now)
    waiting = {partition: due for partition, due in held.items() if due > now}
    assert {partition for partition in (A, B) if partition in delays} == set(waiting)
    assert len(delays) == len(waiting)
    assert delays.next_due() == min(waiting.values(), default=None)
    delays.drop()
    assert (len(delays), delays.next_due()) == (0, None)
