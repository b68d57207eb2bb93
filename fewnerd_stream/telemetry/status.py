"""What the worker counts and how it is, counted here and nowhere else.

The log line, the health file, the watchdog, the metrics and the probes all read from here. The loop's thread
and the windows' threads write, any thread reads.
"""

from __future__ import annotations

import collections
import logging
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from fewnerd_stream.telemetry.health import FRESH, Verdict
from fewnerd_stream.telemetry.histogram import AGES, SECONDS, SHARES, Histogram
from fewnerd_stream.telemetry.lag import Lags
from fewnerd_stream.telemetry.precision import ExpectedPrecision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from fewnerd_stream.contract.documents import ModelLike
    from fewnerd_stream.contract.records import Partition
    from fewnerd_stream.settings import Settings
    from fewnerd_stream.telemetry.lag import Standing
    from fewnerd_stream.telemetry.precision import Band

log = logging.getLogger("fewnerd_stream.worker")

_REPEAT_SECONDS = 10.0

STAGES: Final = ("queue", "decode", "tag", "encode", "publish", "commit")
"""What a window goes through: it waits for a thread, and is then worked on, stored and committed."""


class WorkerStatus:
    """Counts since the start, the state the worker is in, and since when nothing moved."""

    def __init__(self, settings: Settings) -> None:
        """Start in state ``starting`` with all counts at zero."""
        self._settings = settings
        self.state = "starting"
        self.since = time.time()
        self.reason = ""
        self.partitions: list[str] = []
        # Partitions that stand still while others move, and for how many seconds.
        self.standing: dict[str, float] = {}
        self.counts: collections.Counter[str] = collections.Counter()
        self.dead_by_reason: collections.Counter[str] = collections.Counter()
        # Models that came while the worker runs: done, refused.
        self.reloads: collections.Counter[str] = collections.Counter()
        # Records stored, by topic: outputs and retry topics.
        self.stored: collections.Counter[str] = collections.Counter()
        self.stages = {stage: Histogram(SECONDS) for stage in STAGES}
        self.fill = Histogram(SHARES)
        self.ages = Histogram(AGES)
        self.precision = ExpectedPrecision()
        self.lags = Lags()
        self.model: ModelLike | None = None
        self._pieces: Callable[[], int] | None = None
        self._pieces_before = 0
        self.placed = False
        self.producing = False
        self.began_at = self.moved_at = time.monotonic()
        # When the loop last came round; None before it began.
        self.turned_at: float | None = None
        self._said: dict[str, float] = {}

    # -- what happened ---------------------------------------------------------------------------------

    def handed_over(
        self,
        kind: str,
        topics: Sequence[str] = (),
        *,
        reason: str = "",
        scores: Iterable[tuple[str, float]] = (),
    ) -> None:
        """Count one input as handed over.

        Args:
            kind: ``enriched``, ``retried`` or ``dead``.
            topics: where its records are stored, one for each.
            reason: why it is dead.
            scores: category and score of each entity that was found in it.
        """
        self.counts["in"] += 1
        self.counts[kind] += 1
        self.counts["out"] += len(topics) if kind == "enriched" else 0
        if kind == "dead":
            self.dead_by_reason[reason] += 1
        else:
            self.stored.update(topics)
        self.precision.add(scores)
        self.moved()

    def took(self, stage: str, seconds: float) -> None:
        """Count what one of the ``STAGES`` has taken."""
        self.stages[stage].add(seconds)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Count what the block takes, however it ends, as one of the ``STAGES``."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.took(stage, time.perf_counter() - began)

    def dropped(self, count: int) -> None:
        """Count documents of windows that were no longer ours to publish; their new owner does them again."""
        self.counts["dropped"] += count
        log.warning(
            "dropped %d documents: another worker has their partitions now, and does them again", count
        )

    def moved(self) -> None:
        """Note that something was handed over, or that nothing is there to do."""
        self.moved_at = time.monotonic()

    def uses(
        self, model: ModelLike, bands: Mapping[str, Band], pieces: Callable[[], int] | None = None
    ) -> None:
        """Note the model that finds entities from now on.

        Args:
            model: what it says of itself; it is warm.
            bands: the precision that its evaluation promises, by category.
            pieces: how many word pieces it has looked at so far; None where it does not count them.
        """
        self._pieces_before += self._pieces() if self._pieces is not None else 0
        self.model, self._pieces = model, pieces
        self.precision.begin(bands)

    def model_changed(self, seconds: float) -> None:
        """Count and say that another model finds entities now, loaded within so many seconds."""
        self.reloads["done"] += 1
        if self.model is not None:
            log.info("another model from now on: %s %s (%.1f s)", self.model.name, self.model.digest, seconds)

    def model_refused(self, reason: str) -> None:
        """Count and say that another model was refused; the one in use goes on."""
        self.reloads["refused"] += 1
        log.error("another model was refused, the one in use goes on: %s", reason)

    def pieces(self) -> int | None:
        """Return how many word pieces the models have looked at; None where they do not count them."""
        return None if self._pieces is None else self._pieces_before + self._pieces()

    def turned(self, standings: Mapping[Partition, Standing]) -> None:
        """Note that the loop goes round, and where the partitions stand that are owned."""
        self.turned_at = time.monotonic()
        now = time.time()
        for partition, standing in standings.items():
            self.lags.look(partition, standing, now)

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
        self.placed = True
        if partitions:
            log.info("assigned %d partitions: %s", len(partitions), ", ".join(self.partitions))

    def released(self) -> None:
        """Note that this worker has no partitions until the group gives it some."""
        self.partitions = []
        self.standing = {}
        self.placed = False
        self.lags.forget()

    def stands(self, standing: Mapping[Partition, float]) -> None:
        """Note which partitions stand still while others move, and for how many seconds."""
        self.standing = {f"{p.topic}/{p.partition}": round(seconds, 1) for p, seconds in standing.items()}
        for name in self.standing:
            self.complain(f"{name} stands still while others move")

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

    def lag(self) -> int | None:
        """Return how many offsets are not handed over yet, or None before the broker has told."""
        lags = self.lags.read().values()
        return sum(lag.records for lag in lags) if lags or self.placed else None

    def live(self) -> Verdict:
        """Say whether the loop goes round; a start may take as long as the patience."""
        now = time.monotonic()
        if self.state == "stopped":
            return Verdict(well=False, missing=("stopped",))
        if self.turned_at is None:
            slow = now - self.began_at > self._settings.patience
            return Verdict(not slow, ("start",) if slow else ())
        hangs = now - self.turned_at > FRESH
        return Verdict(not hangs, ("loop",) if hangs else ())

    def ready(self) -> Verdict:
        """Say whether documents would be handed over if there were any: also by one that stands by."""
        wanted = {
            "model": self.model is not None,
            "producer": self.producing,
            "partitions": self.placed,
            "running": self.state == "running",
            "loop": self.live().well,
        }
        missing = tuple(name for name, there in wanted.items() if not there)
        return Verdict(not missing, missing)

    def line(self) -> dict[str, Any]:
        """Return the figures of the log line."""
        names = ("in", "out", "retried", "dead", "dropped")
        figures: dict[str, Any] = {name: self.counts[name] for name in names}
        return {**figures, "lag": self.lag(), "partitions": len(self.partitions), "state": self.state}

    def health(self) -> dict[str, Any]:
        """Return what the health file holds; see ``fewnerd-stream health``."""
        return {
            "pid": os.getpid(),
            "time": time.time(),
            "state": self.state,
            "since": self.since,
            "model": None if self.model is None else self.model.digest,
            "reason": self.reason,
            "group": self._settings.group,
            "instance": self._settings.instance_id,
            "assigned": self.partitions,
            "standing": self.standing,
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
