"""The watchdog: who is stuck, who only waits, and that no document is blamed for a broker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from fewnerd_stream.delivery.ledger import Partition
from fewnerd_stream.delivery.state import State
from fewnerd_stream.delivery.watchdog import Watchdog
from fewnerd_stream.exits import Exit
from fewnerd_stream.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

A, B = Partition("raw", 0), Partition("raw", 1)


class Group:
    """Stands for the consumer."""

    errors: tuple[type[BaseException], ...] = (OSError,)
    too_late: tuple[type[BaseException], ...] = ()

    def __init__(self) -> None:
        """Be well."""
        self.heard, self.round, self.broken = True, True, ""
        self.more: set[Partition] = set()
        self.led = True
        self.commits: dict[Partition, tuple[int, str]] = {}

    def is_member(self) -> bool:
        """Be one."""
        return True

    def heard_recently(self) -> bool:
        """Say it."""
        return self.heard

    def settled(self) -> bool:
        """Say it."""
        return self.round

    def unanswered(self) -> bool:
        """Say it."""
        return not self.heard

    def has_more(self, partition: Partition) -> bool:
        """Say it."""
        return partition in self.more

    def has_leader(self, _: Partition) -> bool:
        """Say it."""
        return self.led

    def standings(self) -> dict[Partition, Any]:
        """Have heard of no end."""
        return {}

    async def store(self, offsets: dict[Partition, tuple[int, str]]) -> None:
        """Keep a commit."""
        self.commits |= offsets


class Ended(Exception):  # noqa: N818 - no error
    """The process was ended."""


@pytest.fixture
def state(tmp_path: Path) -> State:
    """Give a worker's state with two partitions, whose last progress was beyond its patience."""

    def end(reason: str, code: Exit) -> None:
        raise Ended(reason, code)

    made = State(load_settings(health_file=tmp_path / "health.json", window_size=1, windows_in_flight=1), end)
    group: Any = Group()
    made.group = group
    made.assign(A, 0, "")
    made.assign(B, 0, "")
    made.progress.moved_at = time.monotonic() - made.settings.patience - 1
    return made


async def test_one_that_has_nothing_to_do_is_well(state: State) -> None:
    """As long as the group answers it, and it would read what comes."""
    await Watchdog(state).look()
    assert time.monotonic() - state.progress.moved_at < 10


@pytest.mark.parametrize("trouble", ["heard", "round"])
async def test_one_that_would_not_notice_work_is_stuck(state: State, trouble: str) -> None:
    """No document is at work, and yet it is not idle: nobody reads, or nobody answers."""
    setattr(state.group, trouble, False)
    with pytest.raises(Ended) as ended:
        await Watchdog(state).look()
    assert ended.value.args[1] is Exit.WATCHDOG


async def test_giving_up_takes_the_start_back(state: State) -> None:
    """A broker or a model that is down for hours must not make a suspect of the document that waits for it."""
    state.ledger.deliver(A, 0)
    assert await state.committer.count_start({A: 0})
    group: Any = state.group
    assert group.commits[A] == (0, "fewnerd:1;starts=1;until=0")
    with pytest.raises(Ended):
        await Watchdog(state).look()
    assert group.commits[A] == (0, "")


async def test_a_client_that_has_stopped_working_ends_the_worker(state: State) -> None:
    """At once, and as a failure."""
    group: Any = state.group
    group.broken = "the Kafka client has stopped working"
    with pytest.raises(Ended) as ended:
        await Watchdog(state).look()
    assert ended.value.args == ("the Kafka client has stopped working", Exit.FAILURE)


async def test_a_partition_that_all_others_overtake_is_stuck(state: State) -> None:
    """More than is ever read ahead was handed over since its head came: that document will never be."""
    state.progress.moved()
    watchdog = Watchdog(state)
    state.ledger.deliver(A, 0)
    for offset in range(1000):
        state.ledger.deliver(B, offset)
        state.ledger.hand_over(B, offset)
        state.progress.handed_over("enriched")
        try:
            await watchdog.look()
        except Ended as ended:
            assert "raw/0" in ended.args[0]  # noqa: PT017 - it ends somewhere in between
            break
    else:
        pytest.fail("nobody noticed")
    assert offset > state.backlog + state.settings.max_poll_records


async def test_partitions_that_move_are_not_overtaken(state: State) -> None:
    """However much the other hands over."""
    state.progress.moved()
    watchdog = Watchdog(state)
    for offset in range(600):
        for partition in (A, B):
            state.ledger.deliver(partition, offset)
        await watchdog.look()
        for partition in (A, B):
            state.ledger.hand_over(partition, offset)
            state.progress.handed_over("enriched")


async def test_one_whose_brokers_are_gone_says_so_also_when_it_has_nothing_to_do(state: State) -> None:
    """In its health while it waits, and in its last message; both name the brokers, and it is well again with them."""
    group: Any = state.group
    watchdog = Watchdog(state)
    state.progress.moved()
    state.progress.assigned([A, B])
    group.heard = False
    await watchdog.look()
    told = state.progress.health()
    assert told["state"] == "waiting"
    assert state.settings.bootstrap_servers in told["reason"]
    group.heard = True
    await watchdog.look()
    assert state.progress.health()["state"] == "running"
    group.heard = False
    state.progress.moved_at -= state.settings.patience + 1
    with pytest.raises(Ended, match=state.settings.bootstrap_servers):
        await watchdog.look()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give the watchdog's time, to be set."""
    now = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("led", [True, False])
async def test_a_partition_that_is_not_read_while_others_are_is_seen(
    state: State, clock: list[float], *, led: bool
) -> None:
    """First in the health file; beyond the patience it ends the worker, unless the partition has no leader."""
    group: Any = state.group
    group.more, group.led = {A}, led
    watchdog = Watchdog(state)
    for turn in range(3):
        state.ledger.skip(B, turn + 1)
        await watchdog.look()
        clock[0] += 20
    assert state.progress.health()["standing"] == {"raw/0": 40.0}
    clock[0] += state.settings.patience
    state.ledger.skip(B, 9)
    if led:
        with pytest.raises(Ended, match="raw/0"):
            await watchdog.look()
    else:
        await watchdog.look()
    group.more = set()
    await watchdog.look()
    assert state.progress.health()["standing"] == {}
