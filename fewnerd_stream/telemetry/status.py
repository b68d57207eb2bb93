"""What the worker counts and how it is: for the log line, the health file and the watchdog."""

from __future__ import annotations

import collections
import logging
import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fewnerd_stream.delivery.ledger import Partition
    from fewnerd_stream.settings import Settings

log = logging.getLogger("fewnerd_stream.worker")

_REPEAT_SECONDS = 10.0


class WorkerStatus:
    """Counts since the start, the state the worker is in, and since when nothing moved."""

    def __init__(self, settings: Settings) -> None:
        """Start in state ``starting`` with all counts at zero."""
        self._settings = settings
        self.state = "starting"
        self.since = time.time()
        self.reason = ""
        self.partitions: list[str] = []
        self.counts: collections.Counter[str] = collections.Counter()
        self.dead_by_reason: collections.Counter[str] = collections.Counter()
        self.moved_at = time.monotonic()
        self._said: dict[str, float] = {}

    # -- what happened ---------------------------------------------------------------------------------

    def handed_over(self, kind: str, records: int, reason: str = "") -> None:
        """Count one input as handed over: ``enriched``, ``retried`` or ``dead``, in so many records."""
        self.counts["in"] += 1
        self.counts["out"] += records if kind == "enriched" else 0
        self.counts["retried"] += kind == "retried"
        if kind == "dead":
            self.counts["dead"] += 1
            self.dead_by_reason[reason] += 1
        self.moved()

    def dropped(self, count: int) -> None:
        """Count documents of windows that were no longer ours to publish; their new owner does them again."""
        self.counts["dropped"] += count
        log.warning(
            "dropped %d documents: another worker has their partitions now, and does them again", count
        )

    def moved(self) -> None:
        """Note that something was handed over, or that nothing is there to do."""
        self.moved_at = time.monotonic()

    # -- how it is -------------------------------------------------------------------------------------

    def _enter(self, state: str, reason: str = "") -> None:
        if state != self.state:
            self.state, self.since = state, time.time()
        self.reason = reason

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """Note which partitions the group gave to this worker."""
        self.partitions = [f"{p.topic}/{p.partition}" for p in partitions]
        if partitions or self.state == "starting":
            self.moved()
        self._enter("running")
        if partitions:
            log.info("assigned %d partitions: %s", len(partitions), ", ".join(self.partitions))

    def released(self) -> None:
        """Note that this worker has no partitions until the group gives it some."""
        self.partitions = []

    def rebalancing(self) -> None:
        """Note that the group changes."""
        log.info("the group changes: letting go of %d partitions", len(self.partitions))

    def draining(self) -> None:
        """Note that windows at work are waited for."""
        self._enter("draining")

    def waiting(self, reason: str) -> None:
        """Note that nothing can be handed over, and why; said aloud at once and then every 10 s."""
        self._enter("waiting", reason)
        self.complain(reason)

    def flowing(self) -> None:
        """Note that publishing works."""
        if self.state == "waiting":
            log.info("on again after %.0f s", time.time() - self.since)
            self._enter("running")

    def stopped(self, reason: str = "") -> None:
        """Note the end."""
        self._enter("stopped", reason)

    # -- saying it -------------------------------------------------------------------------------------

    def complain(self, message: str) -> None:
        """Log a warning, the same one at most every 10 s."""
        now = time.monotonic()
        if now - self._said.get(message, -_REPEAT_SECONDS) >= _REPEAT_SECONDS:
            if len(self._said) > 1000:  # noqa: PLR2004 - a bound on what is remembered, of no other meaning
                self._said.clear()
            self._said[message] = now
            log.warning("%s", message)

    def note(self, message: str) -> None:
        """Log what is worth knowing and no trouble."""
        log.info("%s", message)

    def lost(self, partitions: Mapping[Partition, int]) -> None:
        """Count and say that logs' starts have passed the commits: what stood between is gone."""
        for partition, count in partitions.items():
            log.error(
                "LOST: %d offsets of %s/%d were deleted by the broker before they were read "
                "(its retention is too short for this lag)",
                count,
                *partition,
            )
            self.counts["lost"] += count

    def line(self, lag: int | None) -> dict[str, Any]:
        """Return the figures of the log line."""
        names = ("in", "out", "retried", "dead", "dropped")
        figures: dict[str, Any] = {name: self.counts[name] for name in names}
        return {**figures, "lag": lag, "partitions": len(self.partitions), "state": self.state}

    def health(self) -> dict[str, Any]:
        """Return what the health file holds; see ``fewnerd-stream health``."""
        return {
            "pid": os.getpid(),
            "time": time.time(),
            "state": self.state,
            "since": self.since,
            "reason": self.reason,
            "group": self._settings.group,
            "instance": self._settings.instance_id,
            "assigned": self.partitions,
            "in": self.counts["in"],
            "out": self.counts["out"],
            "retried": self.counts["retried"],
            "dead": self.counts["dead"],
            "dead_by_reason": dict(self.dead_by_reason),
            "duplicates_dropped": self.counts["dropped"],
            "lost": self.counts["lost"],
            "last_progress": time.time() - (time.monotonic() - self.moved_at),
            "patience": self._settings.patience,
        }
