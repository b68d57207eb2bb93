"""Real worker processes: started, watched by their health file, and ended in every way there is.

``python -m tests.support.workers`` is a worker with another tagger than the bundled model's: the one that
``TEST_TAGGER`` names as ``module:callable``.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
from itertools import count
from typing import TYPE_CHECKING, Any, Final, Self

from tests.support.processes import Process, until
from tests.support.taggers import STATE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fewnerd_stream.kafka.topics import TopicProblem
    from fewnerd_stream.settings import Settings

WORDS: Final = "tests.support.taggers:WordTagger"

QUICK: Final[dict[str, str]] = {
    "session_timeout": "4",
    "heartbeat_interval": "0.5",
    "rebalance_timeout": "15",
    "drain": "5",
    "request_timeout": "10",
    "retry_delays": "0.5,1,1.5",
}
"""Settings for a test that will not wait for what is good in production."""

UNCHECKED: Final = "TEST_UNCHECKED"
"""Set: the worker starts whatever is wrong with its topics, as if that had happened a moment later."""

_names = count(1)


class Worker:
    """A worker process; killed at the end of its block if it still runs."""

    def __init__(
        self,
        bootstrap: str,
        folder: Path,
        *,
        tagger: str | None = WORDS,
        arguments: Sequence[str] = (),
        environment: dict[str, str] | None = None,
        name: str | None = None,
        **settings: object,
    ) -> None:
        """Prepare it.

        Args:
            bootstrap: the brokers.
            folder: for its log and health file, and what the word tagger counts.
            tagger: what tags in place of the bundled model, ``module:callable``; None: the real command.
            arguments: more arguments of ``fewnerd-stream worker``, with the real command only.
            environment: more variables.
            name: its name in the folder.
            settings: by name, as text or a number; they win over ``QUICK``.
        """
        self.name = name or f"worker-{next(_names)}"
        self.health_file = folder / f"{self.name}.json"
        self.log = folder / f"{self.name}.log"
        self.settings = QUICK | {key: str(value) for key, value in settings.items()}
        self._environment = {
            key: value for key, value in os.environ.items() if not key.startswith("FEWNERD_")
        }
        self._environment |= {f"FEWNERD_{key.upper()}": value for key, value in self.settings.items()}
        self._environment |= {
            "FEWNERD_BOOTSTRAP_SERVERS": bootstrap,
            "FEWNERD_HEALTH_FILE": str(self.health_file),
            "PYTHONUNBUFFERED": "1",
            STATE: str(folder),
        }
        if tagger is None:
            command = "import sys; from fewnerd_stream.cli import main; sys.exit(main())"
            self._arguments = [sys.executable, "-c", command, "worker", *arguments]
        else:
            self._environment["TEST_TAGGER"] = tagger
            self._arguments = [sys.executable, "-m", "tests.support.workers"]
        self._environment |= environment or {}
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        """The process of the latest start."""
        assert self._process is not None, f"{self.name} was not started"
        return self._process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    @property
    def started(self) -> bool:
        """Whether it was ever started."""
        return self._process is not None

    def said(self) -> str:
        """Give all that it has logged, over all its starts."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def start(self, *, wait: bool = True, seconds: float = 60) -> Self:
        """Start it, and wait until it says that it runs."""
        assert self._process is None or self._process.status is not None, f"{self.name} runs already"
        self.health_file.unlink(missing_ok=True)
        self._process = Process(self._arguments, self.log, self._environment)
        if wait:
            self.wait_state("running", seconds=seconds)
        return self

    def health(self) -> dict[str, Any]:
        """Read what it last said of itself; empty before its first word."""
        try:
            said: dict[str, Any] = json.loads(self.health_file.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return said if self._process is None or said.get("pid") == self.pid else {}

    def wait_state(self, *states: str, seconds: float = 60) -> None:
        """Wait until it is in one of these states, ``assigned`` meaning: running, and has partitions."""

        def there() -> bool:
            status = self.process.status
            assert status is None, f"{self.name} ended with status {status}:\n{self.process.tail()}"
            said = self.health()
            return said.get("state") in states or bool("assigned" in states and said.get("assigned"))

        try:
            until(f"{self.name} is {' or '.join(states)}", there, seconds)
        except AssertionError as error:
            error.add_note(f"{self.health()}\n{self.process.tail()}")
            raise

    def terminate(self, seconds: float = 30) -> int:
        """Send SIGTERM, and return its exit status."""
        self.process.signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def kill(self) -> None:
        """End it with SIGKILL."""
        self.process.kill()

    def pause(self) -> None:
        """Freeze it with SIGSTOP."""
        self.process.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on with SIGCONT."""
        self.process.signal(signal.SIGCONT)

    def wait(self, seconds: float = 60) -> int:
        """Wait for its end, and return its exit status."""
        return self.process.wait(seconds)

    def __enter__(self) -> Self:
        """Start it, unless it runs already."""
        return self if self._process is not None else self.start()

    def __exit__(self, *_: object) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()


async def _nothing_wrong(_settings: Settings) -> list[TopicProblem]:
    return []


def main() -> int:
    """Run a worker with the tagger that ``TEST_TAGGER`` names."""
    from agents.enrich import add_enrich
    from agents.run import run_worker
    from fewnerd_stream.kafka import topics
    from fewnerd_stream.settings import load_settings
    from fewnerd_stream.telemetry.logs import setup_logging

    settings = load_settings()
    setup_logging(settings)
    if UNCHECKED in os.environ:
        topics.check_topics = _nothing_wrong  # type: ignore[assignment]  # the argument has another name
    module, _, name = os.environ["TEST_TAGGER"].partition(":")
    factory = getattr(importlib.import_module(module), name)
    return run_worker(settings, factory, add_enrich)


if __name__ == "__main__":
    sys.exit(main())
