"""Signs of life: what is slow is told from what hangs."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from fewnerd_stream.delivery.pulse import Pulse, Watch, with_beat

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Clock:
    """Stands for a loop: calls what is due when its time is moved."""

    def __init__(self) -> None:
        """Begin at zero."""
        self.now = 0.0
        self.due: tuple[float, Callable[[], None]] | None = None

    def time(self) -> float:
        """Say it."""
        return self.now

    def call_later(self, delay: float, call: Callable[[], None]) -> Clock:
        """Keep one call."""
        self.due = (self.now + delay, call)
        return self

    def cancel(self) -> None:
        """Forget it."""
        self.due = None

    def run(self, seconds: float, each: Callable[[], None] = lambda: None) -> None:
        """Let time pass, call by call."""
        end = self.now + seconds
        while self.due is not None and self.due[0] <= end:
            self.now, call = self.due
            self.due = None
            each()
            call()
        self.now = max(self.now, end)


@pytest.fixture
def watched() -> tuple[Clock, Pulse, list[float]]:
    """Watch a pulse with a limit of ten seconds."""
    clock, pulse, ends = Clock(), Pulse(), []
    Watch(clock, pulse, 10.0, lambda: ends.append(clock.now))  # type: ignore[arg-type]  # as far as it is asked
    return clock, pulse, ends


def test_silence_is_a_hang(watched: tuple[Clock, Pulse, list[float]]) -> None:
    """Once, and not before its time."""
    clock, _, ends = watched
    clock.run(9.5)
    assert ends == []
    clock.run(100)
    assert ends == [10.0]


def test_hours_of_work_are_none(watched: tuple[Clock, Pulse, list[float]]) -> None:
    """While there is a beat."""
    clock, pulse, ends = watched
    clock.run(10_000, pulse.beat)
    assert ends == []
    clock.run(20)
    assert len(ends) == 1


def test_a_frozen_process_has_not_hung(watched: tuple[Clock, Pulse, list[float]]) -> None:
    """What passes while nobody runs counts for no more than two looks."""
    clock, _, ends = watched
    clock.run(5)
    assert clock.due is not None
    clock.due = (clock.now + 3600, clock.due[1])
    clock.run(3600.5)
    assert ends == []
    clock.run(4)
    assert len(ends) == 1


async def test_a_watch_ends_with_the_work() -> None:
    """Cancelled, it says nothing."""
    ends: list[int] = []
    watch = Watch(asyncio.get_running_loop(), Pulse(), 0.1, lambda: ends.append(1))
    watch.cancel()
    await asyncio.sleep(0.3)
    assert ends == []


def test_a_call_that_comes_back_or_raises_is_a_sign_of_life() -> None:
    """A tagger that tells nothing of itself is timed by its calls."""
    pulse = Pulse()

    def tag(texts: Sequence[str]) -> list[list[Any]]:
        if not texts:
            raise RuntimeError("boom")
        return [[]]

    beating = with_beat(tag, pulse.beat)
    beating(["a"])
    assert pulse.count == 1
    with pytest.raises(RuntimeError):
        beating([])
    assert pulse.count == 2


def test_a_tagger_that_takes_a_beat_is_given_it() -> None:
    """It gives signs of life while a call is under way."""
    pulse = Pulse()

    def tag(texts: Sequence[str], beat: Callable[[], None]) -> list[list[Any]]:
        for _ in texts:
            beat()
            time.sleep(0)
        return [[] for _ in texts]

    with_beat(tag, pulse.beat)(["a", "b", "c"])  # type: ignore[arg-type]  # it takes more than it must
    assert pulse.count == 4
