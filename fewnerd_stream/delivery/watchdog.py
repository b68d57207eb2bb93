"""Watches that something is handed over while something is to do; writes the health file and the log line."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING

import orjson

from fewnerd_stream.delivery.standstill import Standstill
from fewnerd_stream.exits import Exit
from fewnerd_stream.settings import private

if TYPE_CHECKING:
    from fewnerd_stream.delivery.ledger import Partition
    from fewnerd_stream.delivery.state import State

log = logging.getLogger("fewnerd_stream.worker")

_TICK = 1.0
_LINE_EVERY = 10.0
# Below that a partition that stands is none: its window is at work.
_STANDS_SECONDS = 10.0


class Watchdog:
    """Ends the process when it has made no progress for the setting's patience."""

    def __init__(self, state: State) -> None:
        """Watch a worker."""
        self._state = state
        # Each partition's lowest pending offset, and how much was handed over when it was first seen there.
        self._heads: dict[Partition, tuple[int, int]] = {}
        self._standstill = Standstill()
        self._unanswered = False

    async def run(self) -> None:
        """Look once a second, for as long as the worker runs."""
        line_at = time.monotonic() + _LINE_EVERY
        while True:
            await self.look()
            if time.monotonic() >= line_at:
                line_at += _LINE_EVERY
                self.say()
            await asyncio.sleep(_TICK)

    async def look(self) -> None:
        """Write the health file; end the process if it is stuck."""
        state = self._state
        progress, patience = state.progress, state.settings.patience
        # A worker with nothing to do makes no progress and is well, as long as the group answers it and it
        # would read what comes. One that has never been in a group is given the patience from its start.
        if not state.ledger.in_flight and state.consumer_heard() and state.consumer_settled():
            progress.moved()
        self._look_for_brokers()
        progress.turned({} if state.group is None else state.group.standings())
        starved = self._look_for_standstill()
        self.write()
        if state.group is not None and state.group.broken:
            await self._give_up(state.group.broken, Exit.FAILURE)
        stuck = time.monotonic() - progress.moved_at
        if stuck > patience:
            reason = progress.reason or "no document was handed over"
            message = f"no progress for {stuck:.0f} s (FEWNERD_PATIENCE is {patience:g}): {reason}"
            await self._give_up(message, Exit.WATCHDOG)
        overtaken = self._overtaken()
        if overtaken is not None:
            where = f"{overtaken.topic}/{overtaken.partition}"
            message = f"{where} stands still while others move: a document was mislaid"
            await self._give_up(message, Exit.WATCHDOG)
        if starved is not None:
            where = f"{starved.topic}/{starved.partition}"
            message = (
                f"{where} is not read while others are, for longer than FEWNERD_PATIENCE ({patience:g} s)"
            )
            await self._give_up(message, Exit.WATCHDOG)

    def _look_for_brokers(self) -> None:
        """Say so while nobody answers, also when there is nothing to do."""
        state = self._state
        if state.unanswered():
            state.progress.waiting(state.silence)
        elif self._unanswered:
            state.progress.flowing()
        self._unanswered = state.unanswered()

    def _look_for_standstill(self) -> Partition | None:
        """Note which partitions stand while others move; return one that is not even read, beyond the patience."""
        state = self._state
        group, ledger = state.group, state.ledger
        if group is None:
            return None
        places = {}
        for partition in ledger.assigned:
            position = ledger.position(partition)
            behind = ledger.head(partition) is not None or group.has_more(partition)
            places[partition] = (position or 0, behind)
        standing = self._standstill.look(places, time.monotonic())
        state.progress.stands({p: seconds for p, seconds in standing.items() if seconds >= _STANDS_SECONDS})
        for partition, seconds in standing.items():
            starved = ledger.head(partition) is None and group.has_leader(partition)
            if starved and seconds > state.settings.patience:
                return partition
        return None

    async def _give_up(self, reason: str, code: Exit) -> None:
        # No document is to blame: a start that stayed counted would make it a suspect.
        await self._state.committer.last()
        self._state.end(reason, code)

    def _overtaken(self) -> Partition | None:
        """Return a partition whose head was overtaken by more documents than are ever read ahead."""
        ledger, done = self._state.ledger, self._state.progress.counts["in"]
        heads = {p: position for p in ledger.assigned if (position := ledger.head(p)) is not None}
        self._heads = {
            p: self._heads[p] if p in self._heads and self._heads[p][0] == position else (position, done)
            for p, position in heads.items()
        }
        most = 2 * (self._state.backlog + self._state.settings.max_poll_records)
        return next((p for p, (_, since) in self._heads.items() if done - since > most), None)

    def write(self) -> None:
        """Write the health file, whole or not at all; a full disk must not end the worker."""
        path = self._state.settings.health_file
        try:
            private.write(path, orjson.dumps(self._state.progress.health()))
        except OSError as error:
            self._state.progress.complain(f"cannot write the health file {path}: {error}")

    def say(self) -> None:
        """Log a line of figures."""
        figures = self._state.progress.line()
        shown = " ".join(f"{name}={value}" for name, value in figures.items())
        log.info("%s", shown, extra={"figures": figures})

    def remove(self) -> None:
        """Take the health file away at a clean end."""
        with contextlib.suppress(OSError):
            self._state.settings.health_file.unlink(missing_ok=True)
