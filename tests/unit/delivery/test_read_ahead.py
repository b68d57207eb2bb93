"""Read-ahead: partitions with something to read share one bounded queue, and none waits for another to be drained."""

from __future__ import annotations

import collections

from hypothesis import given, settings
from hypothesis import strategies as st

from fewnerd_stream.delivery.ledger import Partition, Pending
from fewnerd_stream.delivery.read_ahead import RESERVED_SECONDS, ReadAhead, Share

BYTES = 1_000_000


def parts(count: int) -> list[Partition]:
    """Name partitions."""
    return [Partition("raw", number) for number in range(count)]


def test_partitions_of_which_nothing_is_known_have_equal_shares() -> None:
    """After an assignment the first fetch that is answered cannot fill the queue."""
    ahead = ReadAhead(640, BYTES, 64)
    ahead.restart(parts(16), 0.0)
    assert ahead.shares(parts(16), {}, 0.0) == dict.fromkeys(parts(16), Share(40, BYTES // 16))


def test_a_partition_that_is_alone_has_the_whole_queue() -> None:
    """What the others have no use for is not kept for them, but for the size of a round."""
    ahead = ReadAhead(640, BYTES, 1000)
    ahead.restart(parts(16), 0.0)
    ahead.note([], {part: part.partition == 3 for part in parts(16)}, 0.0)
    assert ahead.shares(parts(16), {}, 0.0)[parts(16)[3]] == Share(640, BYTES)


def test_a_share_counts_what_is_read_already() -> None:
    """A partition that has its share in the queue is not read; the others are."""
    first, second = parts(2)
    ahead = ReadAhead(100, BYTES, 64)
    ahead.restart([first, second], 0.0)
    assert ahead.shares([first, second], {first: Pending(50, 10)}, 0.0) == {second: Share(50, BYTES // 2)}


def test_a_share_counts_bytes() -> None:
    """Long documents of one partition do not take the room for another's."""
    first, second = parts(2)
    ahead = ReadAhead(100, BYTES, 64)
    ahead.restart([first, second], 0.0)
    assert set(ahead.shares([first, second], {first: Pending(3, BYTES // 2)}, 0.0)) == {second}


def test_a_full_queue_takes_nothing() -> None:
    """Neither more records than the bound nor more bytes are read ahead."""
    [only] = parts(1)
    ahead = ReadAhead(100, BYTES, 64)
    ahead.restart([only], 0.0)
    assert ahead.shares([only], {only: Pending(100, 10)}, 0.0) == {}
    assert ahead.shares([only], {only: Pending(1, BYTES)}, 0.0) == {}


def test_a_partition_that_gives_nothing_does_not_keep_its_share_for_ever() -> None:
    """A partition without a leader, though behind, does not leave the others with a queue too short to be busy."""
    first, second = parts(2)
    ahead = ReadAhead(100, BYTES, 100)
    ahead.restart([first, second], 0.0)
    ahead.note([first], {first: True, second: True}, RESERVED_SECONDS)
    assert ahead.shares([first, second], {}, RESERVED_SECONDS)[first].records == 100


def test_with_more_partitions_than_room_those_that_waited_longest_are_first() -> None:
    """A thousand partitions in a queue of a hundred take turns."""
    ahead = ReadAhead(100, BYTES, 64)
    every = parts(1000)
    ahead.restart(every, 0.0)
    turns = collections.Counter[Partition]()
    for round_ in range(1, 11):
        taken = ahead.shares(every, {}, round_ * 0.01)
        assert set(taken.values()) == {Share(1, BYTES // 1000)}
        turns.update(taken.keys())
        ahead.note(taken, dict.fromkeys(every, True), 1 + round_ * 0.01)
    assert set(turns.values()) == {1}
    assert len(turns) == 1000


@settings(max_examples=40)
@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=12),
    st.integers(4, 80),
    st.integers(1, 20),
    st.data(),
)
def test_no_partition_is_overtaken_by_more_than_the_queue(
    backlogs: list[int], room: int, window: int, data: st.DataObject
) -> None:
    """However late the broker is with others: a partition whose records are there moves within two queues.

    The queue is first in, first out, never over its bound, and not left empty while somebody's records are there
    and there is room for everybody.
    """
    every = parts(len(backlogs))
    left = dict(zip(every, backlogs, strict=True))
    ahead = ReadAhead(room, BYTES, 64)
    now = 0.0
    ahead.restart(every, now)
    queue: collections.deque[Partition] = collections.deque()
    overtaken = dict.fromkeys(every, 0)
    while sum(left.values()) or queue:
        now += 0.01
        pending = {part: Pending(queue.count(part), 10 * queue.count(part)) for part in every}
        shares = ahead.shares(every, pending, now)
        late = data.draw(st.sets(st.sampled_from(every), max_size=len(every) - 1))
        read = [part for part in shares if left[part] and part not in late]
        for part in read:
            take = min(left[part], shares[part].records)
            left[part] -= take
            queue.extend([part] * take)
        assert len(queue) <= room
        assert queue or room < len(every) or not any(left[part] for part in every if part not in late)
        ahead.note(read, {part: left[part] > 0 for part in every}, now)
        done = [queue.popleft() for _ in range(min(window, len(queue)))]
        for part in every:
            waits = (left[part] or part in queue) and part not in done and part not in late
            overtaken[part] = overtaken[part] + len(done) if waits else 0
            assert overtaken[part] <= 2 * max(room, len(every)) + window
