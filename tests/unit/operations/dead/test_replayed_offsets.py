"""ReplayedOffsets of replays: sets of offsets, and the records that keep them."""

from __future__ import annotations

from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewnerd_stream.operations.dead.replayed_offsets import CHUNK, Ranges, ReplayedOffsets

TOPIC = "fewnerd-stream.raw-documents.dead"
SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)).map(lambda p: (p[0], p[0] + p[1])))
# Around the borders of chunks, where a span falls into several records.
WIDE = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4 * CHUNK), st.integers(1, CHUNK)), max_size=8)


def _offsets(ranges: Ranges) -> set[int]:
    return {offset for start, end in ranges for offset in range(start, end)}


def _model(spans: list[tuple[int, int]]) -> set[int]:
    return {offset for start, end in spans for offset in range(start, end)}


@given(SPANS)
def test_ranges_are_a_set_of_offsets(spans: list[tuple[int, int]]) -> None:
    """Whatever is added in whatever order: membership, count, ends and gaps are those of the set."""
    ranges, model = Ranges(spans), _model(spans)
    assert _offsets(ranges) == model
    assert [offset in ranges for offset in range(80)] == [offset in model for offset in range(80)]
    assert ranges.size == len(model)
    assert bool(ranges) == bool(model)
    for start in range(80):
        assert ranges.gap(start) == next(offset for offset in range(start, 200) if offset not in model)
    if model:
        assert (ranges.first, ranges.end) == (min(model), max(model) + 1)


@given(SPANS)
def test_ranges_are_as_few_as_can_be(spans: list[tuple[int, int]]) -> None:
    """Ranges are sorted, not empty, and do not touch: so what is stored does not grow without need."""
    found = list(Ranges(spans))
    assert all(start < end for start, end in found)
    assert all(earlier[1] < later[0] for earlier, later in pairwise(found))


@given(SPANS, st.integers(0, 80), st.integers(0, 80))
def test_a_part_of_ranges(spans: list[tuple[int, int]], start: int, end: int) -> None:
    """A part holds the offsets that lie between its ends."""
    part = Ranges(spans).within(start, end)
    assert _offsets(part) == {offset for offset in _model(spans) if start <= offset < end}


@given(WIDE)
def test_marks_survive_being_stored(spans: list[tuple[int, int, int]]) -> None:
    """Who reads the records, even only the last of each key, knows what was marked, and nothing else."""
    marks = ReplayedOffsets(TOPIC, "first")
    log: list[tuple[bytes, bytes | None]] = []
    model: set[tuple[int, int]] = set()
    for partition, start, length in spans:
        marks.mark(partition, start, start + length, 1000 + start)
        model |= {(partition, offset) for offset in range(start, start + length)}
        log += marks.changes()
    everything, compacted = ReplayedOffsets(TOPIC, "second"), ReplayedOffsets(TOPIC, "third")
    for key, value in log:
        everything.apply(key, value)
    for key, value in dict(log).items():
        compacted.apply(key, value)
    edges = {offset for _, start, length in spans for offset in (start - 1, start, start + length)}
    for partition in range(4):
        for found in (marks, everything, compacted):
            for offset in edges:
                assert ((partition, offset) in found) == ((partition, offset) in model)
            assert found.count(partition, 0, 6 * CHUNK) == sum(its == partition for its, _ in model)
            assert found.witness(partition) == marks.witness(partition)
            gap = found.gap(partition, 0)
            assert (partition, gap) not in model
            assert all((partition, offset) in model for offset in range(gap))


def test_the_witness_is_the_highest_letter_marked() -> None:
    """It is the last letter of the span that reaches farthest, whatever is marked later below it."""
    marks = ReplayedOffsets(TOPIC)
    assert marks.witness(0) is None
    marks.mark(0, 10, 20, 5000)
    marks.mark(0, 0, 5, 6000)
    assert marks.witness(0) == (19, 5000)
    marks.mark(0, CHUNK - 1, CHUNK + 2, 7000)
    assert marks.witness(0) == (CHUNK + 1, 7000)


def test_a_forgotten_partition_stays_forgotten() -> None:
    """Its records are taken back, so that who reads the whole log does not find them either."""
    marks = ReplayedOffsets(TOPIC, "first")
    marks.mark(0, 0, 2 * CHUNK, 1)
    marks.mark(1, 0, 5, 1)
    log = list(marks.changes())
    marks.forget(0)
    marks.mark(0, 3, 4, 2)
    log += marks.changes()
    for records in (log, list(dict(log).items())):
        found = ReplayedOffsets(TOPIC, "second")
        for key, value in records:
            found.apply(key, value)
        assert found.count(0, 0, 3 * CHUNK) == 1
        assert (0, 3) in found
        assert found.count(1, 0, CHUNK) == 5


def test_marks_of_two_at_a_time_are_joined() -> None:
    """What another replay marked is kept in what this one writes, and the other is named once."""
    ours, theirs = ReplayedOffsets(TOPIC, "ours"), ReplayedOffsets(TOPIC, "theirs")
    ours.mark(0, 0, 10, 1)
    theirs.mark(0, 20, 30, 1)
    for key, value in theirs.changes():
        ours.apply(key, value)
    assert ours.others() == {"theirs"}
    assert ours.others() == set()
    ((_, value),) = ours.changes()
    assert value is not None
    assert orjson.loads(value)["replayed"] == [[0, 10], [20, 30]]


def test_our_own_records_are_nobody_elses() -> None:
    """A replay that reads what it wrote does not take itself for another."""
    marks = ReplayedOffsets(TOPIC, "ours")
    marks.mark(0, 0, 10, 1)
    for key, value in list(marks.changes()):
        marks.apply(key, value)
    assert marks.others() == set()
    assert list(marks.changes()) == []


def test_marks_of_another_topic_are_passed_over() -> None:
    """Records of another dead topic, should any lie there, change nothing."""
    other = ReplayedOffsets("elsewhere.dead")
    other.mark(0, 0, 10, 1)
    marks = ReplayedOffsets(TOPIC)
    for key, value in other.changes():
        marks.apply(key, value)
    assert (0, 5) not in marks


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b"{}"),
        (b"no place", b"{}"),
        (f"{TOPIC}/x/0".encode(), b"{}"),
        (f"{TOPIC}/0/0".encode(), b"not json"),
        (f"{TOPIC}/0/0".encode(), b"[]"),
        (f"{TOPIC}/0/0".encode(), b"{}"),
        (f"{TOPIC}/0/0".encode(), b'{"version": 1, "replayed": [[1]], "witness": [0, null], "run": "x"}'),
        (f"{TOPIC}/0/0".encode(), b'{"version": 2, "replayed": [], "witness": [0, null], "run": "x"}'),
        (b"\xff/0/0", b"{}"),
    ],
)
def test_a_record_that_is_not_ours_is_refused(key: bytes | None, value: bytes) -> None:
    """To guess at what was replayed would replay twice, or lose."""
    with pytest.raises(ValueError, match=r".+"):
        ReplayedOffsets(TOPIC).apply(key, value)
