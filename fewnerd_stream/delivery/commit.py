"""Commits: after each finished window, one at a time, and never past the ledger's position."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fewnerd_stream.delivery.ledger import Partition
    from fewnerd_stream.delivery.state import State

_LAST_COMMIT_SECONDS = 3.0
_AGAIN = 0.1
# The group has moved on: whoever has the partitions now reads again from the last commit.
_TOO_LATE = (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)


class Committer:
    """Stores the ledger's positions, with what the starts have to tell as metadata."""

    def __init__(self, state: State) -> None:
        """Start with nothing to commit."""
        self._state = state
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
            positions = self._state.ledger.to_commit()
            for partition, offset in positions.items():
                self._state.crashes.moved(partition, offset)
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
            counted = self._state.crashes.count(last)
            stored = await self._store(counted)
            if not stored:
                self._state.crashes.let_go(counted)
            return stored

    async def survived(self, partitions: Iterable[Partition]) -> bool:
        """Take back the starts at the heads of partitions: what is not done yet has not ended the process."""
        async with self._lock:
            taken_back = self._state.crashes.let_go(partitions)
            stored = await self._store(taken_back)
            if not stored:
                self._state.crashes.count(taken_back)
            return stored

    async def last(self) -> None:
        """Commit before the partitions go, within seconds, and take back the starts: the process lives."""
        if not self._state.consumer_heard():  # nobody would take it
            return
        try:
            await asyncio.wait_for(self._last(), _LAST_COMMIT_SECONDS)
        except TimeoutError:
            self._state.progress.complain("the last commit before letting go was not answered in time")

    async def _last(self) -> None:
        claim = self._state.claim()
        while not claim.lost():
            if await self.commit() and await self.survived(self._state.ledger.assigned):
                return
            await asyncio.sleep(_AGAIN)

    async def _store(self, offsets: dict[Partition, int]) -> bool:
        state = self._state
        if not offsets:
            return True
        if state.consumer is None:
            return False
        epoch = state.ledger.epoch
        try:
            with state.progress.timed("commit"):
                await state.consumer.store({p: (o, state.crashes.metadata(p)) for p, o in offsets.items()})
        except _TOO_LATE as error:
            state.progress.note(f"a commit came too late: {error!r}")
            return False
        except KafkaError as error:
            state.progress.complain(f"cannot commit: {error!r}")
            return False
        if epoch == state.ledger.epoch:
            for partition, offset in offsets.items():
                state.ledger.commit(partition, offset)
        return True
