"""Commits: after each finished window, one at a time, and never past the ledger's position."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

if TYPE_CHECKING:
    from fewnerd_stream.delivery.ledger import Partition
    from fewnerd_stream.delivery.state import State

_LAST_COMMIT_SECONDS = 3.0


class Committer:
    """Stores the ledger's positions, with what the starts have to tell as metadata."""

    def __init__(self, state: State) -> None:
        """Start with nothing to commit."""
        self._state = state
        self._lock = asyncio.Lock()
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

    async def last(self, *, clean: bool) -> None:
        """Commit before the partitions go, within seconds; if all is done, take back the starts too."""
        try:
            await asyncio.wait_for(self._last(clean=clean), _LAST_COMMIT_SECONDS)
        except TimeoutError:
            self._state.progress.complain("the last commit before letting go was not answered in time")

    async def _last(self, *, clean: bool) -> None:
        await self.commit()
        if clean:
            async with self._lock:
                await self._store(self._state.starts.let_go(self._state.ledger.assigned))

    async def _store(self, offsets: dict[Partition, int]) -> bool:
        state = self._state
        if not offsets:
            return True
        if state.consumer is None:
            return False
        epoch = state.ledger.epoch
        try:
            await state.consumer.store({p: (o, state.starts.metadata(p)) for p, o in offsets.items()})
        except (CommitFailedError, IllegalStateError) as error:
            # The group has moved on: whoever has the partitions now reads again from the last commit.
            state.progress.note(f"a commit came too late: {error}")
            return False
        except KafkaError as error:
            state.progress.complain(f"cannot commit: {error!r}")
            return False
        if epoch == state.ledger.epoch:
            for partition, offset in offsets.items():
                state.ledger.commit(partition, offset)
        return True
