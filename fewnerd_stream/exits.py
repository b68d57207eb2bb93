"""What the exit codes of the command line and of a worker mean: the one place that numbers them."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import suppress
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Exit(IntEnum):
    """Exit codes; each member's docstring-like text is in ``MEANING``."""

    OK = 0
    FAILURE = 1
    USAGE = 2
    BROKER = 3
    TOPICS = 4
    MODEL = 5
    WATCHDOG = 6


MEANING: dict[Exit, str] = {
    Exit.OK: "done, or healthy",
    Exit.FAILURE: "failed, or unhealthy",
    Exit.USAGE: "wrong usage or settings",
    Exit.BROKER: "no broker reached",
    Exit.TOPICS: "topics missing or wrongly set up",
    Exit.MODEL: "model bundle refused",
    Exit.WATCHDOG: "no progress within the patience, or a hanging model",
}


def end_well_on_sigterm(last: Callable[[], object] = lambda: None) -> None:
    """End the process at once and with 0 on SIGTERM, for as long as there is nothing to drain.

    Args:
        last: is called before.
    """

    def end(*_: object) -> None:
        # Not by an exception: whatever runs would be left in the middle, and would say so.
        with suppress(Exception):
            last()
        logging.shutdown()
        os._exit(Exit.OK)

    signal.signal(signal.SIGTERM, end)
