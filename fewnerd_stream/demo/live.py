"""A feed on a page in one command: broker, topics, worker, feed and console, each in a process of its own."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fewnerd_stream.demo.feed import feed
from fewnerd_stream.errors import FewnerdError
from fewnerd_stream.kafka import clients, topics
from fewnerd_stream.kafka.children import end_with_parent
from fewnerd_stream.kafka.embedded import EmbeddedBroker
from fewnerd_stream.settings import load_settings
from fewnerd_stream.telemetry.health import read_health

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fewnerd_stream.settings import Settings

_READY_SECONDS: Final = 60.0
_END_SECONDS: Final = 15.0
_LINES: Final = 20


class LiveError(FewnerdError):
    """One of the processes ended; the message holds its last words."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to show.

    Attributes:
        feeds: addresses of RSS or Atom feeds; none: the demonstration's news, over and over.
        lists: files that name more.
        bootstrap: a Kafka cluster; None: the embedded broker.
        port: the console's.
        every: seconds between polls; None: as the feeds wish.
        fetch: whether to get each entry's article.
        pace: documents a second of the demonstration's news.
    """

    feeds: Sequence[str] = ()
    lists: Sequence[Path] = ()
    bootstrap: str | None = None
    port: int = 8000
    every: float | None = None
    fetch: bool = False
    pace: float = 1.5


@dataclass(slots=True)
class _Child:
    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def alive(self) -> None:
        status = self.process.poll()
        if status is not None:
            words = "\n".join(self.log.read_text(errors="replace").splitlines()[-_LINES:])
            raise LiveError(f"the {self.name} ended with exit code {status}:\n{words}")


@dataclass(slots=True)
class Live:
    """All of it, while it runs."""

    plan: Plan
    say: Callable[[str], object]
    folder: Path
    _variables: dict[str, str] = field(default_factory=dict)
    _children: list[_Child] = field(default_factory=list)

    def run(self) -> None:
        """Run until a Ctrl-C.

        Raises:
            BrokerError: the broker does not start or answer.
            LiveError: one of the processes ended.
        """
        with ExitStack() as stack:
            stack.callback(self._end)
            settings = self._settings(stack)
            asyncio.run(topics.create_topics(settings))
            self._start("worker", "worker")
            token = self.folder / "token"
            token.write_text(secrets.token_hex(16))
            console = ["console", "--port", str(self.plan.port), "--dead-letters", "--token-file", str(token)]
            self._start("console", *console)
            deadline = time.monotonic() + _READY_SECONDS
            while not read_health(settings.health_file, time.time()).figures.get("assigned"):
                self._watch()
                if time.monotonic() > deadline:
                    raise LiveError(f"the worker is not ready after {_READY_SECONDS:g} s")
                time.sleep(0.1)
            self.say(f"See it at http://localhost:{self.plan.port} (dead letters: token {token.read_text()})")
            if self.plan.feeds or self.plan.lists:
                self._start("feed", *self._feed())
                self.say(f"The feeds' log is {self.folder / 'feed.log'}. Ctrl-C ends it all.")
                while True:
                    self._watch()
                    time.sleep(0.5)
            self.say("The demonstration's news comes over and over. Ctrl-C ends it all.")
            asyncio.run(self._news(settings))

    def _settings(self, stack: ExitStack) -> Settings:
        chosen: dict[str, Any] = {"health_file": self.folder / "worker.json"}
        if self.plan.bootstrap is None:
            broker = stack.enter_context(EmbeddedBroker())
            chosen |= {"bootstrap_servers": broker.bootstrap, "idempotence": False, "group": "fewnerd-live"}
            chosen |= {"partitions": 2, "window_time": 0.2, "retry_delays": (1.0, 5.0, 30.0)}
        else:
            chosen["bootstrap_servers"] = self.plan.bootstrap
        for name, value in chosen.items():
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            self._variables[f"FEWNERD_{name.upper()}"] = text.lower() if isinstance(value, bool) else text
        return load_settings(**chosen)

    def _feed(self) -> list[str]:
        arguments = ["feed", "rss", *self.plan.feeds]
        for path in self.plan.lists:
            arguments += ["--list", str(path)]
        if self.plan.every is not None:
            arguments += ["--every", str(self.plan.every)]
        return [*arguments, *(["--fetch"] if self.plan.fetch else [])]

    def _start(self, name: str, *arguments: str) -> None:
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "fewnerd_stream", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | self._variables,
                start_new_session=True,  # a Ctrl-C is for us: we end it
                preexec_fn=end_with_parent(),  # noqa: PLW1509 - one system call
            )
        self._children.append(_Child(name, process, log))

    def _watch(self) -> None:
        for child in self._children:
            child.alive()

    def _end(self) -> None:
        for child in reversed(self._children):
            child.process.terminate()
        for child in self._children:
            with suppress(subprocess.TimeoutExpired):
                child.process.wait(_END_SECONDS)
            child.process.kill()
            child.process.wait()

    async def _news(self, settings: Settings) -> None:
        """Send the demonstration's news, over and over."""
        async with clients.producer(settings) as producer:
            while True:
                for item in feed(settings):
                    self._watch()
                    await producer.send_and_wait(settings.input_topics[0], item.value, item.key)
                    await asyncio.sleep(1 / self.plan.pace)


def live(plan: Plan, say: Callable[[str], object]) -> None:
    """Run it until a Ctrl-C, in a temporary folder of its own.

    Raises:
        BrokerError: the broker does not start or answer.
        LiveError: one of the processes ended.
    """
    with tempfile.TemporaryDirectory(prefix="fewnerd-live-") as folder:
        Live(plan, say, Path(folder)).run()
