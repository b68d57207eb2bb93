"""Child processes that never outlive the tests: each in a session of its own, ended by its process group."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from fewnerd_stream.kafka.children import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path


class Process:
    """A program that runs beside the tests, its output in a file.

    It is killed with its whole group when the interpreter exits, on Linux also when this process is killed.
    """

    def __init__(self, arguments: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        """Start it; the log is appended to, so that a restart's lines follow the earlier ones."""
        self.log = log
        self.arguments = tuple(arguments)
        with log.open("ab") as output:
            self._child: subprocess.Popen[Any] = subprocess.Popen(
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if env is None else dict(env),
                start_new_session=True,
                preexec_fn=end_with_parent(),
            )
        self.pid = self._child.pid
        atexit.register(self.kill)

    @property
    def status(self) -> int | None:
        """Its exit status, -n after signal n; None while it runs."""
        return self._child.poll()

    def signal(self, number: int) -> None:
        """Send a signal to the program alone; harmless when it has ended."""
        self._child.send_signal(number)

    def wait(self, seconds: float) -> int:
        """Wait for its end, return its status; raises AssertionError with its last lines when it goes on."""
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            message = f"{self.arguments[0]} ({self.pid}) still runs after {seconds:g} s:\n{self.tail()}"
            raise AssertionError(message) from None

    def kill(self) -> None:
        """End it and all it started with SIGKILL, stopped or not; harmless when it has ended."""
        atexit.unregister(self.kill)
        # Its group may outlive it, and can be trusted to be its own only until it is reaped.
        if self._child.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self._child.wait()

    def tail(self, lines: int = 40) -> str:
        """Give the last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        """Do nothing: it runs already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill."""
        self.kill()


def until(what: str, check: Callable[[], object], seconds: float = 60, every: float = 0.1) -> None:
    """Wait until the check gives something true; raises AssertionError with what was waited for."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            message = f"not within {seconds:g} s: {what}"
            raise AssertionError(message)
        time.sleep(every)
