"""How long, and past how many documents, owned partitions stand, seen from outside."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from confluent_kafka import KafkaException

from tests.faults.outside import Group

if TYPE_CHECKING:
    from collections.abc import Mapping

Part = tuple[str, int]


@dataclass(slots=True)
class Stood:
    """The longest that any partition stood while it was owned and behind, in seconds.

    And the most documents of others that one was passed by while it stood for longer than it may: a slow machine
    makes a stand long, but not that.
    """

    seconds: float = 0.0
    documents: int = 0


class Standing:
    """Judges a series of looks; a partition's time begins anew when it moves, has nothing to do, or has no owner."""

    def __init__(self, may: float) -> None:
        """Start with nothing seen; a partition may stand for so many seconds."""
        self._may = may
        self.longest = Stood()
        self._since: dict[Part, tuple[float, int]] = {}
        self._before: Mapping[Part, int] = {}

    def look(self, committed: Mapping[Part, int], behind: set[Part], owned: set[Part], now: float) -> None:
        """Take a look: each partition's commit, which have something to do, and which have an owner."""
        done = sum(committed.values())
        for part, offset in committed.items():
            stays = part in behind and part in owned and self._before.get(part) == offset
            if not stays or part not in self._since:
                self._since[part] = (now, done)
            since, done_then = self._since[part]
            self.longest.seconds = max(self.longest.seconds, now - since)
            if now - since > self._may:
                self.longest.documents = max(self.longest.documents, done - done_then)
        self._before = dict(committed)


class Onlooker:
    """Looks at a group's commits and owners several times a second, from a thread of its own."""

    def __init__(self, bootstrap: str, group: str, topic: str, may: float) -> None:
        """Prepare to watch a group's partitions of one topic, which may stand for so many seconds."""
        self._group = Group(bootstrap, group)
        self._topic = topic
        self.standing = Standing(may)
        self.committed: Mapping[Part, int] = {}
        self.behind: set[Part] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="onlooker", daemon=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._over.set()
        self._thread.join()
        self._group.close()

    def _run(self) -> None:
        while not self._over.wait(0.2):
            with suppress(KafkaException):
                committed = self._group.committed([self._topic], timeout=3)
                ends = self._group.ends(committed, timeout=3)
                behind = {part for part, end in ends.items() if end > committed[part]}
                self.standing.look(committed, behind, set(self._group.owners()), time.monotonic())
                self.committed, self.behind = committed, behind
