"""Signs of life of work in a thread, and the watch that tells what is slow from what hangs."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from fewnerd_stream.contract.documents import EntityLike
    from fewnerd_stream.delivery.policy import Tag

    Beat = Callable[[], None]

_LONGEST_STEP: Final = 1.0
_STEPS: Final = 10


def silent() -> None:
    """Be the beat that nobody listens to."""


class Pulse:
    """Counts signs of life; any thread may give one."""

    def __init__(self) -> None:
        """Have none yet."""
        self.count = 0

    def beat(self) -> None:
        """Give one."""
        # Two threads may count as one, which is a sign of life all the same.
        self.count += 1


class Watch:
    """Calls once when a pulse has been still for too long, as the loop sees it.

    The time is added up in steps, none counted for more than twice its length: a process that was frozen, or a
    loop that got no processor, has seen no more than that of what the thread did meanwhile.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, pulse: Pulse, limit: float, hangs: Callable[[], None]
    ) -> None:
        """Watch from now on; ``limit`` in seconds."""
        self._loop, self._pulse, self._limit, self._hangs = loop, pulse, limit, hangs
        self._step = min(_LONGEST_STEP, limit / _STEPS)
        self._still = 0.0
        self._seen, self._at = pulse.count, loop.time()
        self._timer = loop.call_later(self._step, self._look)

    def cancel(self) -> None:
        """Watch no more."""
        self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        self._still += min(now - self._at, 2 * self._step)
        self._at = now
        if self._pulse.count != self._seen:
            self._seen, self._still = self._pulse.count, 0.0
        if self._still >= self._limit:
            self._hangs()
        else:
            self._timer = self._loop.call_later(self._step, self._look)


def with_beat(tag: Tag, beat: Beat) -> Tag:
    """Return a tagger's ``tag`` that gives a sign of life after each call, and within it where it can.

    One that takes a ``beat`` is expected to call it again and again while it is at work; of any other nothing is
    known before it comes back.
    """
    options: dict[str, Any] = {"beat": beat} if takes_beat(tag) else {}

    def tagged(texts: Sequence[str]) -> Sequence[Sequence[EntityLike]]:
        try:
            return tag(texts, **options)
        finally:
            beat()

    return tagged


def takes_beat(tag: Callable[..., Any]) -> bool:
    """Say whether a tagger's ``tag`` has a parameter of that name."""
    try:
        return "beat" in inspect.signature(tag).parameters
    except (TypeError, ValueError):  # not every callable tells
        return False
