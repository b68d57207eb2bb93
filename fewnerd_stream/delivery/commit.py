"""Commits: after each finished window, one at a time, and never past the ledger's position."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fewnerd_stream.contract.records import Partition
    from fewnerd_stream.delivery.crashes import CrashCounter
    from fewnerd_stream.delivery.group import Group
    from fewnerd_stream.delivery.ledger import Ledger
    from fewnerd_stream.telemetry.status import WorkerStatus

_LAST_COMMIT_SECONDS = 3.0
_AGAIN = 0.1


class Committer:
    """Stores the ledger's positions, with what the starts have to tell as metadata."""

    def __init__(
        self,
        ledger: Ledger,
        crashes: CrashCounter,
        progress: WorkerStatus,
        group: Callable[[], Group | None],
        metadata: Callable[[Partition], str],
    ) -> None:
        """Start with nothing to commit.

        Args:
            ledger: which positions may be committed.
            crashes: the starts, which are counted in what is stored.
            progress: where it is said that a commit is refused.
            group: the worker's membership, once there is one.
            metadata: what a partition's commit is to tell beside its offset.
        """
        self._ledger, self._crashes, self._progress, self._group = ledger, crashes, progress, group
        self._metadata = metadata
        self._lock = asyncio.Lock()
        self._wanted = asyncio.Event()
        # Windows that were handed over since a commit was stored.
        self.behind = 0

    def handed_over(self) -> None:
        """Note that a window is handed over, and ask for a commit."""
        self.behind += 1
        self.kick()

    def kick(self) -> None:
        """Ask for a commit soon; the call costs nothing and waits for nothing."""
        self._wanted.set()

    async def run(self) -> None:
        """Commit whenever asked to, for as long as the worker runs."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            await self.commit()

    async def commit(self) -> bool:
        """Commit every partition whose position has passed its commit; return whether all is committed."""
        async with self._lock:
            positions = self._ledger.to_commit()
            for partition, offset in positions.items():
                self._crashes.moved(partition, offset)
            before = self.behind
            stored = await self._store(positions)
            if stored:
                self.behind = max(0, self.behind - before)
            return stored

    async def count_start(self, last: dict[Partition, int]) -> bool:
        """Count a start at each head in a window, and store the counts; return whether that is done.

        Args:
            last: the window's partitions, each with its last offset in the window.
        """
        async with self._lock:
            counted = self._crashes.count(last)
            stored = await self._store(counted)
            if not stored:
                self._crashes.let_go(counted)
            return stored

    async def survived(self, partitions: Iterable[Partition]) -> bool:
        """Take back the starts at the heads of partitions: what is not done yet has not ended the process."""
        async with self._lock:
            taken_back = self._crashes.let_go(partitions)
            stored = await self._store(taken_back)
            if not stored:
                self._crashes.count(taken_back)
            return stored

    async def last(self) -> None:
        """Commit before the partitions go, within seconds, and take back the starts: the process lives."""
        group = self._group()
        if group is None or not group.heard_recently():  # nobody would take it
            return
        try:
            await asyncio.wait_for(self._last(), _LAST_COMMIT_SECONDS)
        except TimeoutError:
            self._progress.complain("the last commit before letting go was not answered in time")

    async def _last(self) -> None:
        epoch = self._ledger.epoch
        while (group := self._group()) is not None and epoch == self._ledger.epoch and group.is_member():
            if await self.commit() and await self.survived(self._ledger.assigned):
                return
            await asyncio.sleep(_AGAIN)

    async def _store(self, offsets: dict[Partition, int]) -> bool:
        if not offsets:
            return True
        group = self._group()
        if group is None:
            return False
        epoch = self._ledger.epoch
        try:
            with self._progress.timed("commit"):
                await group.store({p: (o, self._metadata(p)) for p, o in offsets.items()})
        except group.too_late as error:
            self._progress.note(f"a commit came too late: {error!r}")
            return False
        except group.errors as error:
            self._progress.complain(f"cannot commit: {error!r}")
            return False
        if epoch == self._ledger.epoch:
            for partition, offset in offsets.items():
                self._ledger.commit(partition, offset)
        return True
