"""The demonstration's course: broker, topics, worker, feed, and the account of it all."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aiokafka import TopicPartition

from fewnerd_stream.demo import account
from fewnerd_stream.demo.feed import FLAKY, FLAKY_FAILURES, Item, feed
from fewnerd_stream.demo.show import Screen
from fewnerd_stream.errors import FewnerdError
from fewnerd_stream.exits import Exit
from fewnerd_stream.kafka import clients, topics
from fewnerd_stream.kafka.children import end_with_parent
from fewnerd_stream.kafka.embedded import EmbeddedBroker
from fewnerd_stream.settings import load_settings
from fewnerd_stream.telemetry.health import read_health

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from rich.console import Console

    from fewnerd_stream.demo.account import Place
    from fewnerd_stream.settings import Settings

_START_SECONDS: Final = 60.0
_STILL_SECONDS: Final = 30.0
_TAIL_LINES: Final = 25


class DemoError(FewnerdError):
    """The demonstration could not go on; the message holds the worker's last words where there are any."""


def play(
    console: Console,
    bootstrap: str | None = None,
    pace: float = 8.0,
    program: Sequence[str] = (sys.executable, "-m", "fewnerd_stream.demo.worker"),
) -> int:
    """Play it once, and return the exit code: 0 when every input is accounted for.

    Args:
        console: where it is shown.
        bootstrap: a Kafka cluster to use, on topics of our own that are deleted in the end; None: the
            embedded broker.
        pace: documents sent in a second; 0: as fast as can be.
        program: the worker's, which finds its settings in the environment.

    Raises:
        BrokerError: the broker does not start or answer.
        DemoError: the worker does not start or end as it should.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fewnerd-demo-")))
        chosen: dict[str, Any] = {
            "health_file": folder / "worker.json",
            "retry_delays": (1.0, 2.0, 4.0),
            "partitions": 2,
            "session_timeout": 6.0,
            "heartbeat_interval": 1.0,
            "drain": 5.0,
            "window_size": 16,
            "window_time": 0.2,
        }
        began = time.monotonic()
        if bootstrap is None:
            broker = stack.enter_context(EmbeddedBroker())
            # It knows no idempotent producers, which is one of the reasons why it is for looking only.
            chosen |= {"bootstrap_servers": broker.bootstrap, "idempotence": False, "group": "fewnerd-demo"}
            chosen |= {"input_topics": ("raw-documents",), "output_prefix": "entities"}
        else:
            name = f"fewnerd-demo-{secrets.token_hex(4)}"
            chosen |= {"bootstrap_servers": bootstrap, "group": name}
            chosen |= {"input_topics": (f"{name}.raw-documents",), "output_prefix": f"{name}.entities"}
        settings = load_settings(**chosen)
        screen = Screen(console, settings)
        created = asyncio.run(topics.create_topics(settings))
        what = f"The broker {bootstrap}" if bootstrap else "An embedded broker"
        screen.say(f"{what} with {len(created)} topics: {time.monotonic() - began:.1f} s")
        if bootstrap is not None:
            stack.callback(lambda: asyncio.run(_delete(settings, list(created))))
        with _worker(program, settings, chosen, folder / "worker.log") as worker:
            return asyncio.run(_course(screen, settings, worker, pace))


class _Worker:
    """The worker's process, and what it says of itself."""

    def __init__(self, process: subprocess.Popen[bytes], settings: Settings, log: Path) -> None:
        self._process = process
        self._settings = settings
        self._log = log

    def alive(self) -> None:
        """Check that it has not ended."""
        status = self._process.poll()
        if status is not None:
            raise DemoError(f"the worker ended with exit code {status}:\n{self.words()}")

    async def ready(self) -> None:
        """Wait until it has its partitions."""
        deadline = time.monotonic() + _START_SECONDS
        while not read_health(self._settings.health_file, time.time()).figures.get("assigned"):
            self.alive()
            if time.monotonic() > deadline:
                raise DemoError(f"the worker is not ready after {_START_SECONDS:g} s:\n{self.words()}")
            await asyncio.sleep(0.05)

    def end(self) -> None:
        """Send it SIGTERM, and wait until it has drained, committed and left."""
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(self._settings.drain + 10)
        except subprocess.TimeoutExpired:
            raise DemoError(f"the worker does not end at SIGTERM:\n{self.words()}") from None
        if status != Exit.OK:
            raise DemoError(f"the worker ended with {status} at SIGTERM:\n{self.words()}")

    def words(self) -> str:
        """Give the last lines of its log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_TAIL_LINES:])


@contextmanager
def _worker(
    program: Sequence[str], settings: Settings, chosen: dict[str, Any], log: Path
) -> Iterator[_Worker]:
    """Start a worker with our settings on top of the environment's; it is killed in the end if it runs."""
    variables = {f"FEWNERD_{name.upper()}": _written(value) for name, value in chosen.items()}
    with log.open("wb") as output:
        process = subprocess.Popen(
            program,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | variables,
            start_new_session=True,  # a Ctrl-C is for us: we end it
            preexec_fn=end_with_parent(),  # noqa: PLW1509 - one system call
        )
    try:
        yield _Worker(process, settings, log)
    finally:
        process.kill()
        process.wait()


def _written(value: object) -> str:
    """Write a setting's value into the environment."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


async def _course(screen: Screen, settings: Settings, worker: _Worker, pace: float) -> int:
    began = time.monotonic()
    await worker.ready()
    screen.say(f"A worker with its partitions: {time.monotonic() - began:.1f} s\n")
    items = feed(settings)
    async with _seen(screen, settings):
        sent = await _send(settings, items, pace)
        await _settle(screen, worker, len(sent))
    worker.end()
    result = await account.take(settings, sent)
    screen.table(result)
    surprises = result.surprises(sent, FLAKY, FLAKY_FAILURES)
    surprises += [f"{sent[place].name}: lost" for place in result.lost]
    if result.committed != len(sent):
        surprises.append(f"{result.committed} inputs are committed, not {len(sent)}")
    for surprise in surprises:
        screen.say(f"  {surprise}")
    return Exit.FAILURE if surprises else Exit.OK


async def _send(settings: Settings, items: list[Item], pace: float) -> dict[Place, Item]:
    """Send the feed in its order, and note where each document lies."""
    sent: dict[Place, Item] = {}
    topic = settings.input_topics[0]
    async with clients.producer(settings) as producer:
        for item in items:
            stored = await producer.send_and_wait(topic, item.value, item.key)
            sent[topic, stored.partition, stored.offset] = item
            if pace:
                await asyncio.sleep(1 / pace)
    return sent


@asynccontextmanager
async def _seen(screen: Screen, settings: Settings) -> AsyncIterator[None]:
    """Show what comes out of the topics while the block runs."""
    async with clients.admin(settings) as admin:
        parts = await clients.partitions(admin)
    names = [name for name, role in settings.topology.roles() if role not in {"input", "marks"}]
    async with clients.consumer(settings) as consumer:
        where = [TopicPartition(name, number) for name in names for number in parts[name]]
        consumer.assign(where)
        await consumer.seek_to_beginning(*where)

        async def look() -> None:
            while True:
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    for message in batch:
                        screen.see(clients.to_record(message))

        looking = asyncio.create_task(look())
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)


async def _settle(screen: Screen, worker: _Worker, count: int) -> None:
    """Wait until everything has come out, or nothing more comes; the account will tell which."""
    before, moved = -1, time.monotonic()
    while (settled := screen.settled) < count and time.monotonic() - moved < _STILL_SECONDS:
        worker.alive()
        if settled != before:
            before, moved = settled, time.monotonic()
        await asyncio.sleep(0.1)


async def _delete(settings: Settings, names: list[str]) -> None:
    """Delete the topics that we have made on somebody's cluster."""
    async with clients.admin(settings) as admin:
        await admin.delete_topics(names)
