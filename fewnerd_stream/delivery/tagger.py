"""The tagger in use: leased to each window as a whole, and replaced between windows."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


class TaggerSlot(Generic[T]):
    """Holds one tagger. A window keeps the one that it began with, whatever comes into the slot meanwhile."""

    def __init__(self, tagger: T) -> None:
        """Begin with a tagger."""
        self._tagger = tagger
        self._lock = threading.Lock()
        # How many windows are at work with each tagger, and how to end those that were replaced.
        self._leases: Counter[int] = Counter()
        self._ends: dict[int, Callable[[], object]] = {}

    @property
    def current(self) -> T:
        """The tagger that the next window gets."""
        return self._tagger

    @contextmanager
    def lease(self) -> Iterator[T]:
        """Give the tagger of one window, from its first look to its last."""
        with self._lock:
            tagger = self._tagger
            self._leases[id(tagger)] += 1
        try:
            yield tagger
        finally:
            with self._lock:
                self._leases[id(tagger)] -= 1
                end = self._ended(tagger)
            if end is not None:
                end()

    def switch(self, tagger: T, end: Callable[[], object]) -> None:
        """Give another tagger to all windows from the next one on.

        Args:
            tagger: it, warm.
            end: called once, in any thread, when no window is at work with the one before any more.
        """
        with self._lock:
            old, self._tagger = self._tagger, tagger
            self._ends[id(old)] = end
            done = self._ended(old)
        if done is not None:
            done()

    def _ended(self, tagger: T) -> Callable[[], object] | None:
        if self._leases[id(tagger)]:
            return None
        del self._leases[id(tagger)]
        return self._ends.pop(id(tagger), None)
