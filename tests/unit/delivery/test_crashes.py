"""CrashCounter at an unmoved head: a document that kills its process ends, and no innocent one with it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fewnerd_stream.delivery.crashes import CONDEMNED, SUSPECT, CrashCounter
from fewnerd_stream.delivery.ledger import Partition

A = Partition("raw", 0)
B = Partition("raw", 1)


class Broker:
    """Commits with metadata, as they outlive a process."""

    def __init__(self) -> None:
        """Start at the beginning of both partitions."""
        self.commits = {A: (0, ""), B: (0, "")}


def run(
    broker: Broker, log: dict[Partition, int], killers: set[tuple[Partition, int]], window: int
) -> list[tuple[Partition, int] | None]:
    """Run one process until it dies or has read all; return the dead, and None for its own end."""
    starts = CrashCounter()
    dead: list[tuple[Partition, int] | None] = []
    for partition, (offset, metadata) in broker.commits.items():
        starts.assign(partition, offset, metadata)
    position = {partition: offset for partition, (offset, _) in broker.commits.items()}
    while True:
        size = 1 if starts.suspect() else window
        batch = [(p, o) for p in log for o in range(position[p], min(position[p] + size, log[p]))]
        batch = batch[:1] if starts.suspect() else batch
        if not batch:
            return dead
        for partition, offset in starts.count(dict(batch)).items():
            broker.commits[partition] = (offset, starts.metadata(partition))
        if size == 1 and len(batch) == 1 and starts.condemned(*batch[0]):
            dead.append(batch[0])
        elif killers & set(batch):
            return [*dead, None]
        for partition, offset in batch:
            position[partition] = offset + 1
        for partition in {p for p, _ in batch}:
            starts.moved(partition, position[partition])
            broker.commits[partition] = (position[partition], starts.metadata(partition))


@given(
    st.sets(st.tuples(st.sampled_from([A, B]), st.integers(0, 11)), max_size=3),
    st.integers(1, 6),
)
def test_exactly_the_killers_end_as_dead(killers: set[tuple[Partition, int]], window: int) -> None:
    """Whatever stands beside it, each killer is declared dead after a bounded number of crashes, alone."""
    broker = Broker()
    dead: list[tuple[Partition, int]] = []
    for _ in range(len(killers) * (2 * CONDEMNED + SUSPECT) + 1):
        found = run(broker, {A: 12, B: 12}, killers, window)
        dead.extend(item for item in found if item is not None)
        if None not in found:
            break
    else:
        raise AssertionError(broker.commits)
    assert sorted(dead) == sorted(killers)


def test_a_start_is_counted_once_per_head_and_process() -> None:
    """A second window on the same head does not count again."""
    starts = CrashCounter()
    starts.assign(A, 5, "")
    assert starts.count({A: 9}) == {A: 5}
    assert starts.count({A: 14}) == {}
    assert starts.metadata(A) == "fewnerd:1;starts=1;until=9"


def test_letting_go_in_good_order_takes_the_start_back() -> None:
    """A rebalance or a stop is no crash."""
    starts = CrashCounter()
    starts.assign(A, 5, "")
    starts.count({A: 9})
    assert starts.let_go([A]) == {A: 5}
    assert starts.metadata(A) == ""
    assert starts.let_go([A]) == {}


def test_foreign_metadata_counts_as_none() -> None:
    """Whatever else somebody committed with is ignored."""
    starts = CrashCounter()
    starts.assign(A, 5, "fewnerd:1;starts=many")
    assert not starts.suspect()
    assert starts.metadata(A) == ""


def test_a_moved_head_beyond_the_crash_clears_the_suspicion() -> None:
    """Once the offsets that were in flight at the crash are through, windows are whole again."""
    starts = CrashCounter()
    starts.assign(A, 5, f"fewnerd:1;starts={SUSPECT};until=7")
    assert starts.suspect()
    starts.moved(A, 7)
    assert starts.suspect()
    starts.moved(A, 8)
    assert not starts.suspect()
