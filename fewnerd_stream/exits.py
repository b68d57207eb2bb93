"""What the exit codes of the command line and of a worker mean: the one place that numbers them."""

from __future__ import annotations

from enum import IntEnum


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
