"""When a retry is due, by the reader's own clock as far as the writer's was wrong."""

# ruff: noqa: ANN401 - aiokafka's records have no types

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fewnerd_stream.contract.envelope import DAY_MS, not_before
from fewnerd_stream.contract.records import Partition

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_BY_BROKER = 1  # the timestamp's type


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class DueTimes:
    """Gives due times that no clock but the reader's own can put off for longer than a record was to wait.

    A record whose time lies farther off than that was written by a clock that is ahead. How far is remembered for its
    partition, so that it becomes due after its delay, and those behind it in their turn.
    """

    def __init__(self, delays: Sequence[float], now_ms: Callable[[], int] = _now_ms) -> None:
        """Take the delays of the retry topics, in seconds, and a clock in milliseconds since the epoch."""
        self._longest = round(max(delays, default=0.0) * 1000)
        self._now_ms = now_ms
        # By how much the writer's clock was ahead, and when that was seen, by partition.
        self._ahead: dict[Partition, tuple[int, int]] = {}

    def __call__(self, record: Any) -> int:
        """Say when a record on a retry topic is due, in milliseconds since the epoch; 0: now."""
        due = not_before(record)
        if not due:
            return 0
        now = self._now_ms()
        latest = now + self._wait(record, due)
        if due <= latest:
            return due
        partition = Partition(record.topic, record.partition)
        ahead, seen = self._ahead.get(partition, (0, now))
        # Another clock than the one that was seen, farther ahead or less, is measured anew.
        if not seen <= due - ahead <= latest:
            ahead = due - latest
            self._ahead[partition] = ahead, now
        return due - ahead

    def _wait(self, record: Any, due: int) -> int:
        """Say how long a record was to wait at most, from when it was written on."""
        if getattr(record, "timestamp_type", None) == _BY_BROKER:
            return self._longest  # its two times are of two clocks
        # The delay may have been set shorter since: then it still waits as long as it was told to.
        written: int = record.timestamp
        return min(DAY_MS, max(0, due - written))
