"""What one worker's delivery is made of, and what becomes of it when partitions come and go."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from fewnerd_stream.delivery.commit import Committer
from fewnerd_stream.delivery.ledger import Ledger
from fewnerd_stream.delivery.progress import Progress
from fewnerd_stream.delivery.starts import Starts

if TYPE_CHECKING:
    from collections.abc import Callable

    from fewnerd_stream.delivery.ledger import Partition
    from fewnerd_stream.delivery.transport import Consumer
    from fewnerd_stream.exits import Exit
    from fewnerd_stream.settings import Settings

_DRAIN_STEP = 0.02


class State:
    """The ledger, the starts and the progress of one worker, and the consumer once Faust has made it."""

    def __init__(self, settings: Settings, end: Callable[[str, Exit], None]) -> None:
        """Start with nothing assigned and no consumer.

        Args:
            settings: the worker's settings.
            end: ends the process at once with a reason and an exit code; what is not committed comes again.
        """
        self.settings = settings
        self.end = end
        self.ledger = Ledger()
        self.starts = Starts()
        self.progress = Progress(settings)
        self.committer = Committer(self)
        self.consumer: Consumer | None = None
        self.backlog = 4 * settings.window_size * settings.windows_in_flight

    def assign(self, partition: Partition, committed: int, metadata: str) -> None:
        """Open the accounts of a partition at its committed offset."""
        self.ledger.assign(partition, committed)
        self.starts.assign(partition, committed, metadata)

    def let_go(self) -> None:
        """Let nothing that was taken until now be published or committed any more."""
        self.ledger.next_epoch()
        self.committer.abandon()

    def forget(self) -> None:
        """Close all accounts, and let go of what was taken."""
        self.let_go()
        partitions = self.ledger.assigned
        self.ledger.revoke(partitions)
        self.starts.revoke(partitions)
        self.progress.released()

    def owns(self, epoch: int) -> bool:
        """Whether what was taken in this epoch is still this worker's to publish, as far as it can know."""
        return epoch == self.ledger.epoch and self.consumer is not None and self.consumer.is_member()

    def consumer_heard(self) -> bool:
        """Whether the group's coordinator answered within the session timeout."""
        return self.consumer is not None and self.consumer.heard_recently()

    async def drain(self, busy: Callable[[], bool]) -> bool:
        """Wait until nothing taken is at work, at most for the drain's length; return whether that came."""
        self.progress.draining()
        deadline = time.monotonic() + self.settings.drain
        epoch = self.ledger.epoch
        while busy() and time.monotonic() < deadline and self.owns(epoch):
            self.committer.kick()
            await asyncio.sleep(_DRAIN_STEP)
        return not busy()
