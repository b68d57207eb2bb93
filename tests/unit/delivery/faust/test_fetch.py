"""Fetching: each partition's share is taken out of what aiokafka has fetched, whatever lies before it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import FetchError, FetchResult, PartitionRecords
from aiokafka.errors import CorruptRecordException, TopicAuthorizationFailedError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition

from fewnerd_stream.delivery.faust.fetch import fetch
from fewnerd_stream.delivery.read_ahead import Share

A, B = TopicPartition("raw", 0), TopicPartition("raw", 1)
PLENTY = 1 << 30


class Fetcher:
    """As much of aiokafka's fetcher as is taken from, with its own results in it."""

    def __init__(self, **chunks: bytes) -> None:
        self._closed = False
        self._wait_consume_future = None
        self._records: dict[Any, Any] = {}
        self._waiters: list[asyncio.Future[None]] = []
        self.notified = 0
        self.states: dict[Any, Any] = {}
        assignment = SimpleNamespace(
            active=True, tps=self.states, state_value=lambda tp: self.states[tp], unassign_future=None
        )
        self._assignment = assignment
        self._subscriptions = SimpleNamespace(
            reassignment_in_progress=False, subscription=SimpleNamespace(assignment=assignment)
        )
        for name, data in chunks.items():
            self.put(TopicPartition("raw", int(name[1:])), data)

    def put(self, tp: TopicPartition, data: bytes) -> None:
        """Have a chunk fetched."""
        self.states[tp] = state = SimpleNamespace(
            paused=False, position=0, has_valid_position=True, lso=None, highwater=1000
        )

        def consumed_to(position: int) -> None:
            state.position = position

        state.consumed_to = consumed_to
        records = PartitionRecords(tp, MemoryRecords(data), [], 0, None, None, True, 0)
        self._records[tp] = FetchResult(tp, assignment=self._assignment, partition_records=records, backoff=0)
        for waiter in self._waiters:
            waiter.set_result(None)

    def _notify(self, _future: Any) -> None:
        self.notified += 1

    def _create_fetch_waiter(self) -> asyncio.Future[None]:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        return waiter


def chunk(count: int, size: int = 10, first: int = 0) -> bytes:
    """Make the bytes of a batch of records."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, PLENTY)
    for offset in range(first, first + count):
        builder.append(offset, 1000, None, b"x" * size, [])
    return bytes(builder.build())


async def test_every_partition_gives_its_share_at_once() -> None:
    """Thousands of records of one partition do not keep the next one's back."""
    fetcher = Fetcher(p0=chunk(500), p1=chunk(500))
    shares = dict.fromkeys((A, B), Share(20, PLENTY))
    for turn in range(3):
        found = await fetch(fetcher, shares, 0)
        offsets = [[record.offset for record in found[tp]] for tp in (A, B)]
        assert offsets == [list(range(20 * turn, 20 * turn + 20))] * 2
        assert found.positions == dict.fromkeys((A, B), 20 * turn + 20)
        assert found.more == dict.fromkeys((A, B), True)


async def test_a_share_ends_at_its_bytes_but_never_before_a_record() -> None:
    """A partition of long records gives few of them, and one that is longer than its share by itself."""
    fetcher = Fetcher(p0=chunk(10, 1000))
    assert len((await fetch(fetcher, {A: Share(10, 3500)}, 0))[A]) == 3
    assert len((await fetch(fetcher, {A: Share(10, 1)}, 0))[A]) == 1


async def test_a_partition_that_is_not_asked_for_keeps_what_was_fetched() -> None:
    """What has its share already waits, and comes later whole."""
    fetcher = Fetcher(p0=chunk(3), p1=chunk(3))
    found = await fetch(fetcher, {A: Share(9, PLENTY)}, 0)
    assert set(found) == {A}
    assert set(found.positions) == {A}
    assert fetcher.notified == 1, "what is drained is fetched anew"
    assert [r.offset for r in (await fetch(fetcher, {B: Share(9, PLENTY)}, 0))[B]] == [0, 1, 2]


async def test_an_error_of_one_partition_holds_no_other_up() -> None:
    """A partition that may not be read, or whose batch is damaged, is told of, and the others give records."""
    damaged = bytearray(chunk(3))
    damaged[-1] ^= 1
    fetcher = Fetcher(p0=bytes(damaged), p2=chunk(2))
    fetcher._records[B] = FetchError(error=TopicAuthorizationFailedError("raw"), backoff=0)
    last = TopicPartition("raw", 2)
    found = await fetch(fetcher, dict.fromkeys((A, B, last), Share(9, PLENTY)), 0)
    assert len(found[last]) == 2
    assert {tp: type(error) for tp, error in found.errors.items()} == {
        A: CorruptRecordException,
        B: TopicAuthorizationFailedError,
    }
    assert not fetcher._records, "and are fetched anew"


async def test_what_lies_before_a_damaged_batch_is_given() -> None:
    """The error comes with the next fetch, when nothing lies before it any more."""
    damaged = bytearray(chunk(3, first=2))
    damaged[-1] ^= 1
    fetcher = Fetcher(p0=chunk(2) + bytes(damaged))
    found = await fetch(fetcher, {A: Share(9, PLENTY)}, 0)
    assert [record.offset for record in found[A]] == [0, 1]
    assert found.positions == {A: 2}
    assert not found.errors


@pytest.mark.parametrize("comes", [True, False])
async def test_it_waits_for_records_as_long_as_it_may(comes: bool) -> None:  # noqa: FBT001 - pytest gives it
    """Records that come meanwhile end the wait; else it ends empty."""
    fetcher = Fetcher()
    if comes:
        asyncio.get_running_loop().call_later(0.01, fetcher.put, A, chunk(2))
    wait = 60 if comes else 0.01
    found = await fetch(fetcher, {A: Share(9, PLENTY)}, wait)
    assert len(found.get(A, ())) == (2 if comes else 0)


async def test_nothing_is_taken_behind_a_record_that_waits() -> None:
    """Retries that are not due stay with the broker, however many there are."""
    fetcher = Fetcher(p0=chunk(500), p1=chunk(500))
    shares = dict.fromkeys((A, B), Share(100, PLENTY))
    found = await fetch(fetcher, shares, 0, lambda record: record.partition == 1 and record.offset >= 3)
    assert {tp: len(records) for tp, records in found.items()} == {A: 100, B: 4}


async def test_only_one_record_may_be_more_than_there_is_room_for() -> None:
    """A record is never cut; but long ones of many partitions are not all taken in one round."""
    chunks = {f"p{number}": chunk(2, 1_000_000) for number in range(8)}
    fetcher = Fetcher(**chunks)
    found = await fetch(fetcher, dict.fromkeys(fetcher.states, Share(2, 200_000)), 0)
    assert 1 <= len(found) <= 2


async def test_keys_and_headers_count() -> None:
    """A record of them alone takes as much memory as its value would."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, 0, PLENTY)
    for offset in range(10):
        builder.append(offset, 1000, b"k" * 500, b"", [("h", b"x" * 500)])
    fetcher = Fetcher(p0=bytes(builder.build()))
    assert len((await fetch(fetcher, {A: Share(10, 3000)}, 0))[A]) <= 3
