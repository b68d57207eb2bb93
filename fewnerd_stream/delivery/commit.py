"""Commits: after each finished window, one at a time, and never past the ledger's position."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fewnerd_stream.delivery.ledger import Partition
    from fewnerd_stream.delivery.state import State

_LAST_COMMIT_SECONDS = 3.0


class Committer:
    """Stores the ledger's positions, with what the starts have to tell as metadata."""

    def __init__(self, state: State) -> None:
        """Start with nothing to commit."""
        self._state = state
        self._lock = asyncio.Lock()
        self._storing: asyncio.Future[None] | None = None
        self._wanted = asyncio.Event()

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
            positions = self._state.ledger.to_commit()
            for partition, offset in positions.items():
                self._state.starts.moved(partition, offset)
            return await self._store(positions)

    async def count_start(self, last: dict[Partition, int]) -> bool:
        """Count a start at each head in a window, and store the counts; return whether that is done.

        Args:
            last: the window's partitions, each with its last offset in the window.
        """
        async with self._lock:
            counted = self._state.starts.count(last)
            stored = await self._store(counted)
            if not stored:
                self._state.starts.let_go(counted)
            return stored

    async def survived(self, partitions: Iterable[Partition]) -> None:
        """Take back the starts at the heads of partitions: what is not done yet has not ended the process."""
        async with self._lock:
            await self._store(self._state.starts.let_go(partitions))

    async def last(self) -> None:
        """Commit before the partitions go, within seconds, and take back the starts: the process lives."""
        try:
            await asyncio.wait_for(self._last(), _LAST_COMMIT_SECONDS)
        except TimeoutError:
            self._state.progress.complain("the last commit before letting go was not answered in time")

    async def _last(self) -> None:
        await self.commit()
        await self.survived(self._state.ledger.assigned)

    def abandon(self) -> None:
        """Give up the commit that is under way: tried again later, it would speak for another generation."""
        if self._storing is not None:
            self._storing.cancel()

    async def _store(self, offsets: dict[Partition, int]) -> bool:
        state = self._state
        if not offsets:
            return True
        if state.consumer is None:
            return False
        epoch = state.ledger.epoch
        plan = {p: (o, state.starts.metadata(p)) for p, o in offsets.items()}
        storing = self._storing = asyncio.ensure_future(state.consumer.store(plan))
        try:
            await asyncio.wait({storing})
        finally:
            storing.cancel()
        if storing.cancelled():
            return False
        error = storing.exception()
        if isinstance(error, CommitFailedError | IllegalStateError):
            # The group has moved on: whoever has the partitions now reads again from the last commit.
            state.progress.note(f"a commit came too late: {error}")
            return False
        if isinstance(error, KafkaError):
            state.progress.complain(f"cannot commit: {error!r}")
            return False
        if error is not None:
            raise error
        if epoch == state.ledger.epoch:
            for partition, offset in offsets.items():
                state.ledger.commit(partition, offset)
        return True
