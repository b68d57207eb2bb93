"""What one worker's delivery is made of, and what becomes of it when partitions come and go."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from typing import TYPE_CHECKING

from fewnerd_stream.delivery.commit import Committer
from fewnerd_stream.delivery.crashes import CrashCounter
from fewnerd_stream.delivery.ledger import Ledger
from fewnerd_stream.delivery.metadata import with_topic
from fewnerd_stream.telemetry.status import WorkerStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fewnerd_stream.delivery.group import Group
    from fewnerd_stream.delivery.ledger import Partition
    from fewnerd_stream.exits import Exit
    from fewnerd_stream.settings import Settings

_DRAIN_STEP = 0.02
# Seconds that a window needs at least to be published, and that one may take longer than the drain.
_LEAST_TIME = 0.5
_LATE = 1.5
_FADING = 0.9
_OWNERSHIP_STEP = 0.1


class Dropped(Exception):  # noqa: N818 - an outcome: the window is no longer ours, and comes again to its owner
    """The partitions went to another worker before the window was published."""


class State:
    """The ledger, the starts and the progress of one worker, and its membership in the group once there is one."""

    def __init__(
        self, settings: Settings, end: Callable[[str, Exit], None], status: WorkerStatus | None = None
    ) -> None:
        """Start with nothing assigned and no group.

        Args:
            settings: the worker's settings.
            end: ends the process at once with a reason and an exit code; what is not committed comes again.
            status: where it is told how the worker fares; None for one of its own.
        """
        self.settings = settings
        self.end = end
        self.ledger = Ledger()
        self.crashes = CrashCounter()
        self.progress = status or WorkerStatus(settings)
        self.group: Group | None = None
        self.committer = Committer(
            self.ledger, self.crashes, self.progress, lambda: self.group, self.metadata
        )
        # Whether a window is being published; how long the slowest of late took; after when none is begun.
        self.publishing = False
        self._slowest = 0.0
        self._last_begin = math.inf
        # The ids of the topics that are read, as far as the broker tells them.
        self.topic_ids: dict[str, str] = {}
        # Most records read ahead: those at work, and two windows more, so that the next is whole when a thread
        # is free. More would only make a partition that has just got records wait behind it.
        self.backlog = settings.window_size * (settings.windows_in_flight + 2)

    def assign(self, partition: Partition, committed: int, metadata: str) -> None:
        """Open the accounts of a partition at its committed offset."""
        self.ledger.assign(partition, committed)
        self.crashes.assign(partition, committed, metadata)

    def metadata(self, partition: Partition) -> str:
        """Return what the next commit of a partition is to tell beside its offset."""
        return with_topic(self.crashes.metadata(partition), self.topic_ids.get(partition.topic, ""))

    def forget(self) -> None:
        """Close all accounts, and let nothing that was taken until now be published any more."""
        self.ledger.next_epoch()
        self._last_begin = math.inf
        self.committer.behind = 0
        partitions = self.ledger.assigned
        self.ledger.revoke(partitions)
        self.crashes.revoke(partitions)
        self.progress.released()

    def owns(self, epoch: int) -> bool:
        """Whether what was taken in this epoch is still this worker's to publish, as far as it can know."""
        return epoch == self.ledger.epoch and self.group is not None and self.group.is_member()

    def consumer_heard(self) -> bool:
        """Whether the group's coordinator answered within the session timeout."""
        return self.group is not None and self.group.heard_recently()

    def unanswered(self) -> bool:
        """Whether no broker has answered for a session's length, other than that the group is changing."""
        if self.group is None:
            return time.monotonic() - self.progress.began_at > self.settings.session_timeout
        return self.group.unanswered()

    @property
    def silence(self) -> str:
        """What to say while no broker answers."""
        settings = self.settings
        return (
            f"no answer from the group's coordinator for {settings.session_timeout:g} s: "
            f"do the brokers run at {settings.bootstrap_servers}?"
        )

    def consumer_settled(self) -> bool:
        """Whether records would be read if there were any."""
        return self.group is not None and self.group.settled()

    def claim(self) -> Ownership:
        """Claim what is taken now."""
        return Ownership(self, self.ledger.epoch)

    def may_begin(self) -> bool:
        """Whether there is time to publish a window whole: not near the end of a drain, nor after it."""
        return time.monotonic() < self._last_begin

    @contextlib.contextmanager
    def publish(self) -> Iterator[None]:
        """Mark that a window is being published, and note how long that takes."""
        began = time.monotonic()
        self.publishing = True
        try:
            yield
        finally:
            self.publishing = False
            self._slowest = max(_FADING * self._slowest, time.monotonic() - began)

    async def drain(self, busy: Callable[[], bool]) -> bool:
        """Wait until nothing taken is at work, at most for the drain's length; return whether that came.

        A window that is stored in part when its partitions go comes again, and what is stored of it is there twice.
        So none is begun near the end, and the one under way may end a little later.
        """
        self.progress.draining()
        length = self.settings.drain
        deadline = time.monotonic() + length
        self._last_begin = deadline - min(length / 2, max(_LEAST_TIME, 2 * self._slowest))
        epoch = self.ledger.epoch
        # Without an answer from the group nothing may be published, so there is nothing to wait for.
        while busy() and self.owns(epoch) and self.consumer_heard():
            if time.monotonic() >= deadline + (_LATE if self.publishing else 0.0):
                break
            self.committer.kick()
            await asyncio.sleep(_DRAIN_STEP)
        drained = not busy()
        if not drained:
            self._last_begin = -math.inf
        return drained


class Ownership:
    """What was taken in one epoch: whether it is still this worker's to publish."""

    def __init__(self, state: State, epoch: int) -> None:
        """Claim what was taken in an epoch."""
        self._state = state
        self._epoch = epoch

    def lost(self) -> bool:
        """Whether it certainly is not ours any more."""
        return not self._state.owns(self._epoch)

    def sure(self) -> bool:
        """Whether it is ours: a worker that was frozen may own nothing, and not know it yet."""
        return not self.lost() and self._state.consumer_heard()

    async def wait(self) -> None:
        """Wait until it is surely ours.

        Raises:
            Dropped: it is not ours any more.
        """
        while not self.sure():
            if self.lost():
                raise Dropped
            self._state.progress.waiting(self._state.silence)
            await asyncio.sleep(_OWNERSHIP_STEP)
