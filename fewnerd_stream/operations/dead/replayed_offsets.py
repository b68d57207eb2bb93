"""Which dead letters have been replayed: exact sets of offsets, kept as ranges. Pure.

A place that is only an offset cannot say what a filter left out. A set can: a letter that a filter skipped
stays replayable, one that was sent never goes twice, whatever filters come later, and in whatever order.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_VERSION: Final = 1
_NO_WITNESS: Final = (-1, None)
CHUNK: Final = 8192
"""Offsets to a stored record: even with every second one marked, its JSON is far from a broker's limit."""


class Ranges:
    """A set of offsets as sorted ranges that do not touch; ends are excluded."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        """Start with the union of ranges, which may overlap and come in any order."""
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in ranges:
            self.add(start, end)

    def add(self, start: int, end: int) -> None:
        """Add the offsets from ``start`` up to, not including, ``end``; nothing if there are none."""
        if start >= end:
            return
        low = bisect_left(self._ends, start)  # the first range that reaches up to us, or touches
        high = bisect_right(self._starts, end)  # one past the last that begins within us, or touches
        if low < high:
            start = min(start, self._starts[low])
            end = max(end, self._ends[high - 1])
        self._starts[low:high] = [start]
        self._ends[low:high] = [end]

    def __contains__(self, offset: int) -> bool:
        """Say whether an offset is in the set."""
        index = bisect_right(self._starts, offset) - 1
        return index >= 0 and offset < self._ends[index]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Go through the ranges, the lowest first."""
        return zip(self._starts, self._ends, strict=True)

    def __bool__(self) -> bool:
        """Say whether there is any offset in it."""
        return bool(self._starts)

    @property
    def size(self) -> int:
        """How many offsets are in it. No ``__len__``, which would be taken for the number of ranges."""
        return sum(self._ends) - sum(self._starts)

    def __eq__(self, other: object) -> bool:
        """Compare as sets of offsets."""
        return list(self) == list(other) if isinstance(other, Ranges) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        """Show the ranges."""
        return f"Ranges({list(self)})"

    @property
    def first(self) -> int:
        """The lowest offset; the set must not be empty."""
        return self._starts[0]

    @property
    def end(self) -> int:
        """One past the highest offset; the set must not be empty."""
        return self._ends[-1]

    def gap(self, start: int) -> int:
        """Give the lowest offset from ``start`` on that is not in the set."""
        index = bisect_right(self._starts, start) - 1
        return self._ends[index] if index >= 0 and start < self._ends[index] else start

    def within(self, start: int, end: int) -> Ranges:
        """Give the part of the set from ``start`` up to, not including, ``end``."""
        return Ranges((max(start, low), min(end, high)) for low, high in self if low < end and high > start)


@dataclass(slots=True)
class _Chunk:
    ranges: Ranges
    witness: tuple[int, int | None]


class ReplayedOffsets:
    """What was replayed of one dead topic: reads and writes the records that keep it, and knows no broker.

    A record holds one chunk of a partition: key ``<dead topic>/<partition>/<chunk>``, value its ranges.
    Sets only grow, so the topic can be compacted, and two writers at a time lose little. A null value takes a
    chunk back. The *witness* in a record is a marked letter with its timestamp: it tells a dead topic that
    was deleted and made anew from the one that was replayed.
    """

    def __init__(self, dead_topic: str, run: str = "") -> None:
        """Start with nothing replayed; ``run`` names this replay among others that may be writing."""
        self._topic = dead_topic
        self._run = run
        self._chunks: dict[tuple[int, int], _Chunk] = {}
        self._changed: set[tuple[int, int]] = set()
        self._forgotten: set[tuple[int, int]] = set()
        self._others: set[str] = set()

    def apply(self, key: bytes | None, value: bytes | None) -> None:
        """Take a record of the topic, in their order.

        Raises:
            ValueError: it is not a record of ours, or another version's.
        """
        try:
            topic, partition, chunk = (key or b"").decode().rsplit("/", 2)
            where = (int(partition), int(chunk))
            stored = None if value is None else orjson.loads(value)
            version = _VERSION if stored is None else stored["version"]
            if version != _VERSION:
                raise ValueError(f"it is of version {version!r}, and this is {_VERSION}")
            if topic != self._topic:
                return
            if stored is None:
                self._chunks.pop(where, None)
                return
            ranges = [(int(low), int(high)) for low, high in stored["replayed"]]
            offset, timestamp = stored["witness"]
            self._add(where, ranges, (int(offset), timestamp))
            if stored["run"] != self._run:
                self._others.add(str(stored["run"]))
        except (TypeError, KeyError) as error:
            raise ValueError("it is no mark of a replay") from error

    def _add(
        self, where: tuple[int, int], ranges: Iterable[tuple[int, int]], witness: tuple[int, int | None]
    ) -> None:
        chunk = self._chunks.setdefault(where, _Chunk(Ranges(), _NO_WITNESS))
        for low, high in ranges:
            chunk.ranges.add(low, high)
        if witness[0] > chunk.witness[0]:
            chunk.witness = witness

    def others(self) -> set[str]:
        """Name the other replays whose records were taken since this was last asked."""
        found, self._others = self._others, set()
        return found

    def __contains__(self, letter: tuple[int, int]) -> bool:
        """Say whether the letter at (partition, offset) was replayed."""
        partition, offset = letter
        chunk = self._chunks.get((partition, offset // CHUNK))
        return chunk is not None and offset in chunk.ranges

    def count(self, partition: int, start: int, end: int) -> int:
        """Count the offsets of a partition from ``start`` up to ``end`` that were replayed."""
        return sum(
            chunk.ranges.within(start, end).size
            for (its, _), chunk in self._chunks.items()
            if its == partition
        )

    def gap(self, partition: int, start: int) -> int:
        """Give a partition's lowest offset from ``start`` on that was not replayed."""
        while (chunk := self._chunks.get((partition, start // CHUNK))) is not None:
            gap = chunk.ranges.gap(start)
            if gap == start:
                break
            start = gap
        return start

    def witness(self, partition: int) -> tuple[int, int | None] | None:
        """Give the offset and timestamp of a partition's highest witness."""
        found = [chunk.witness for (its, _), chunk in self._chunks.items() if its == partition]
        highest = max(found, key=lambda witness: witness[0], default=_NO_WITNESS)
        return None if highest == _NO_WITNESS else highest

    def mark(self, partition: int, start: int, end: int, timestamp: int | None) -> None:
        """Mark the offsets from ``start`` up to ``end`` as replayed; the timestamp is the last letter's."""
        for number in range(start // CHUNK, -(-end // CHUNK)):
            low, high = max(start, number * CHUNK), min(end, (number + 1) * CHUNK)
            witness = (end - 1, timestamp) if high == end else _NO_WITNESS
            self._add((partition, number), [(low, high)], witness)
            self._changed.add((partition, number))

    def forget(self, partition: int) -> None:
        """Take every mark of a partition back."""
        for where in [where for where in self._chunks if where[0] == partition]:
            del self._chunks[where]
            self._changed.discard(where)
            self._forgotten.add(where)

    def changes(self) -> Iterator[tuple[bytes, bytes | None]]:
        """Give the records, key and value, to be written for what changed since this was last asked."""
        forgotten, self._forgotten = sorted(self._forgotten), set()
        changed, self._changed = sorted(self._changed), set()
        for where in forgotten:
            yield self._key(where), None
        for where in changed:
            chunk = self._chunks[where]
            stored = {
                "version": _VERSION,
                "replayed": list(chunk.ranges),
                "witness": chunk.witness,
                "run": self._run,
            }
            yield self._key(where), orjson.dumps(stored)

    def _key(self, where: tuple[int, int]) -> bytes:
        return f"{self._topic}/{where[0]}/{where[1]}".encode()
