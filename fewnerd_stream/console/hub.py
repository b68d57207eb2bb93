"""One reader, many browsers: each update is written once, and a browser that is slow skips, and is told."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Final

import orjson

MOST: Final = 200
"""Browsers at a time."""

_BEHIND: Final = 8


class Watcher:
    """A browser that watches."""

    def __init__(self) -> None:
        """Begin with nothing to send."""
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._some = asyncio.Event()
        self._skipped = 0

    def put(self, event: bytes, documents: int) -> None:
        """Have an event sent; the oldest that waits goes where too many do."""
        if len(self._waiting) >= _BEHIND:
            self._skipped += self._waiting.popleft()[1]
        self._waiting.append((event, documents))
        self._some.set()

    async def next(self) -> bytes:
        """Wait for the next event."""
        await self._some.wait()
        event, _ = self._waiting.popleft()
        if not self._waiting:
            self._some.clear()
        if self._skipped:
            event = write("skipped", {"skipped": self._skipped}) + event
            self._skipped = 0
        return event


class Hub:
    """All browsers that watch."""

    def __init__(self) -> None:
        """Begin with none."""
        self._watchers: set[Watcher] = set()

    def __len__(self) -> int:
        """Count them."""
        return len(self._watchers)

    def join(self) -> Watcher | None:
        """Add one; None where there are too many."""
        if len(self._watchers) >= MOST:
            return None
        watcher = Watcher()
        self._watchers.add(watcher)
        return watcher

    def leave(self, watcher: Watcher) -> None:
        """Take one away."""
        self._watchers.discard(watcher)

    def tell(self, name: str, value: dict[str, Any], documents: int = 0) -> None:
        """Send an event to all; ``documents`` says how many a browser misses without it."""
        if self._watchers:
            event = write(name, value)
            for watcher in self._watchers:
                watcher.put(event, documents)


def write(name: str, value: dict[str, Any]) -> bytes:
    """Write a server-sent event: JSON has no line breaks."""
    return b"event: " + name.encode() + b"\ndata: " + orjson.dumps(value) + b"\n\n"
