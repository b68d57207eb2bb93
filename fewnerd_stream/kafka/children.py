"""Child processes that do not outlive us, as far as the system can see to that."""

from __future__ import annotations

import ctypes
import signal
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_PDEATHSIG: Final = 1


def end_with_parent() -> Callable[[], None] | None:
    """Return a ``preexec_fn`` after which Linux kills the child when the thread that started it ends.

    One system call, in a library loaded before the fork, so that threads do no harm; None on other systems.
    """
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
