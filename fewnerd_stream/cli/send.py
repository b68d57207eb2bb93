"""`send`: JSON lines to an input topic, each line's bytes as they are, each confirmed."""

from __future__ import annotations

import asyncio
import io
import os
import threading
import time
from collections import deque
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final, Self

import click
import orjson

from fewnerd_stream.cli._group import complain, examples, run
from fewnerd_stream.cli._options import CONNECTION, json_option, settings_options
from fewnerd_stream.errors import FewnerdError, TopicsError
from fewnerd_stream.exits import Exit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import TracebackType

    from fewnerd_stream.settings import Settings

_CHUNK: Final = 65_536
_IN_FLIGHT: Final = 1000
_SHOWN: Final = 5
_KEPT: Final = 100
_LAST_WORDS: Final = 5.0


@dataclass(slots=True)
class Sent:
    """What became of the lines."""

    topic: str
    sent: int = 0
    failed: int = 0
    skipped: int = 0
    without_key: int = 0
    bytes: int = 0
    seconds: float = 0.0
    failures: list[tuple[int, str]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Give one object for ``--json``."""
        return {
            "topic": self.topic,
            "sent": self.sent,
            "failed": self.failed,
            "skipped": self.skipped,
            "without_key": self.without_key,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "failures": [{"line": line, "error": error} for line, error in self.failures],
        }


@click.command(
    "send",
    epilog=examples(
        "fewnerd-stream send documents.jsonl",
        "fewnerd-stream send documents.jsonl --key-field id --rate 100",
        "zcat archive.jsonl.gz | fewnerd-stream send - --topic raw-documents --json",
    ),
)
@click.argument("source", metavar="FILE|-", type=click.File("rb"))
@click.option("--topic", help="Where to; by default the first input topic.")
@click.option(
    "--key-field", metavar="FIELD", help="Field of a line's JSON object that becomes the record's key."
)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Most lines a second.")
@settings_options(*CONNECTION, "input_topics", "compression")
@json_option
def command(
    *,
    source: IO[bytes],
    topic: str | None,
    key_field: str | None,
    rate: float | None,
    settings: Settings,
    as_json: bool,
) -> None:
    """Send the lines of a file, or of standard input (-), to an input topic.

    Each line's bytes are the record's value as they stand; blank lines are skipped. A line counts as sent
    when every in-sync replica has stored it. Exit code 1 if any was refused.
    """
    from fewnerd_stream.cli._screen import console, print_json, progress

    result = Sent(topic or settings.input_topics[0])
    size = _size(source)
    with progress(f"to {result.topic}", size, shown=not as_json) as bar:
        try:
            run(_send(source, settings, result, _Way(key_field, rate, lambda read: bar(advance=read))))
        except (FewnerdError, KeyboardInterrupt):
            # What was stored is stored: say how far it came, and let the error be told.
            _failures(result)
            if result.sent:
                click.echo(f"{result.sent} lines were sent, then:", err=True)
            raise
    if as_json:
        print_json(result.as_json())
    else:
        rest = f", {result.failed} failed" if result.failed else ""
        rest += f", {result.skipped} blank lines skipped" if result.skipped else ""
        rest += f", {result.without_key} without a key" if result.without_key else ""
        console().print(f"{result.sent} sent to {result.topic} in {result.seconds:.1f} s{rest}", markup=False)
    _failures(result)
    click.get_current_context().exit(Exit.FAILURE if result.failed else Exit.OK)


def _failures(result: Sent) -> None:
    for line, error in result.failures[:_SHOWN]:
        complain(f"line {line} was refused: {error}")
    if result.failed > _SHOWN:
        complain(f"{result.failed - _SHOWN} more lines were refused")


def _size(source: IO[bytes]) -> int | None:
    """Give a file's size in bytes; None for a pipe."""
    try:
        size = os.fstat(source.fileno()).st_size
    except (OSError, io.UnsupportedOperation, AttributeError):
        return None
    return size or None


@dataclass(frozen=True, slots=True)
class _Way:
    """How to send."""

    key_field: str | None
    rate: float | None
    read: Callable[[int], object]
    """Told of each line's length."""


async def _send(source: IO[bytes], settings: Settings, result: Sent, way: _Way) -> None:
    """Send all lines, and count what became of them.

    Raises:
        BrokerError: no broker, or it failed for all alike; what was stored by then is counted.
        TopicsError: there is no such topic.
    """
    from fewnerd_stream.kafka import clients

    async with clients.admin(settings) as admin:
        if result.topic not in await clients.partitions(admin):
            raise TopicsError(f"there is no topic {result.topic}: `fewnerd-stream topics create` makes it")
    started = time.monotonic()
    async with _Lines(settings, result) as lines:
        try:
            number = 0
            async for line, length in _read(source):
                number += 1
                way.read(length)
                if not line.strip():
                    result.skipped += 1
                    continue
                if way.rate is not None:
                    gone = result.sent + result.failed + len(lines)
                    await asyncio.sleep(started + gone / way.rate - time.monotonic())
                key = None if way.key_field is None else key_of(line, way.key_field)
                result.without_key += way.key_field is not None and key is None
                await lines.send(number, key, line)
            await lines.finish()
        finally:
            await lines.last_words()
            result.seconds = time.monotonic() - started


@dataclass(frozen=True, slots=True)
class _UnderWay:
    number: int
    key: bytes | None
    line: bytes
    stored: asyncio.Future[Any]


class _Lines:
    """Lines on their way to a topic, confirmed in their order, at most so many at a time."""

    def __init__(self, settings: Settings, result: Sent) -> None:
        self._settings = settings
        self._result = result
        self._open = AsyncExitStack()
        self._under_way: deque[_UnderWay] = deque()

    async def __aenter__(self) -> Self:
        await self._renew()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._open.__aexit__(kind, error, trace)  # which says it in an operator's words

    def __len__(self) -> int:
        return len(self._under_way)

    async def send(self, number: int, key: bytes | None, line: bytes) -> None:
        """Send a line after the one before it, and finish what is stored; waits while too many are open."""
        self._under_way.append(await self._begin(number, key, line))
        while self._under_way and (self._under_way[0].stored.done() or len(self) >= _IN_FLIGHT):
            await self._first()

    async def finish(self) -> None:
        """Wait until every line is stored or refused."""
        while self._under_way:
            await self._first()

    async def last_words(self) -> None:
        """After an error or an interruption, count what is stored of the lines that are left."""
        left = [one.stored for one in self._under_way]
        if left:
            await asyncio.wait(left, timeout=_LAST_WORDS)
            self._result.sent += sum(stored.done() and stored.exception() is None for stored in left)

    async def _renew(self) -> None:
        from fewnerd_stream.kafka import clients

        await self._open.aclose()
        self._producer = await self._open.enter_async_context(clients.producer(self._settings))

    async def _begin(self, number: int, key: bytes | None, line: bytes) -> _UnderWay:
        """Hand a line to the producer; one that the producer itself refuses has failed at once."""
        from aiokafka.errors import MessageSizeTooLargeError

        try:
            stored = await self._producer.send(self._result.topic, value=line, key=key)
        except MessageSizeTooLargeError as error:
            stored = asyncio.get_running_loop().create_future()
            stored.set_exception(error)
        return _UnderWay(number, key, line, stored)

    async def _first(self) -> None:
        """Finish the first line: count what is wrong with it, raise what is wrong with the broker."""
        from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError

        one = self._under_way.popleft()
        try:
            await one.stored
        except (MessageSizeTooLargeError, RecordListTooLargeError) as error:
            self._result.failed += 1
            if len(self._result.failures) < _KEPT:
                self._result.failures.append((one.number, str(error)))
            await self._behind_a_hole()
        else:
            self._result.sent += 1
            self._result.bytes += len(one.line)

    async def _behind_a_hole(self) -> None:
        """Send again what the broker refused only because of the line before it.

        A line that it refuses leaves a hole in an idempotent producer's sequence, and the broker takes nothing
        behind it in that partition; a new producer begins a sequence of its own.
        """
        from aiokafka.errors import OutOfOrderSequenceNumber

        if self._under_way:
            await asyncio.wait([one.stored for one in self._under_way])
        await self._renew()
        for place, one in enumerate(self._under_way):
            if isinstance(one.stored.exception(), OutOfOrderSequenceNumber):
                self._under_way[place] = await self._begin(one.number, one.key, one.line)


def key_of(line: bytes, field_name: str) -> bytes | None:
    """Give a field of a line's JSON object as a key: a string's UTF-8, a number's digits; else None."""
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    value = fields.get(field_name) if isinstance(fields, dict) else None
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value).encode()
    return None


async def _read(source: IO[bytes]) -> AsyncIterator[tuple[bytes, int]]:
    """Read lines without their ends, each with the number of bytes that it took."""
    rest = b""
    async for chunk in _chunks(source):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.removesuffix(b"\r"), len(line) + 1
    if rest:
        yield rest, len(rest)


async def _chunks(source: IO[bytes]) -> AsyncIterator[bytes]:
    """Read what comes, in a thread that nobody has to wait for: a pipe may be silent for hours."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | BaseException] = asyncio.Queue(maxsize=4)
    read = _reader(source)

    def work() -> None:
        chunk: bytes | BaseException = b"first"
        while chunk and not isinstance(chunk, BaseException):
            try:
                chunk = read()
            except Exception as error:  # noqa: BLE001 - raised where it is awaited
                chunk = error
            try:
                asyncio.run_coroutine_threadsafe(queue.put(chunk), loop).result()
            except (RuntimeError, asyncio.CancelledError):  # the loop has ended: nobody listens
                return

    threading.Thread(target=work, daemon=True, name="read input").start()
    while chunk := await queue.get():
        if isinstance(chunk, BaseException):
            raise FewnerdError(f"the input cannot be read: {chunk}") from chunk
        yield chunk


def _reader(source: IO[bytes]) -> Callable[[], bytes]:
    """Give a function that reads what is there, past Python's buffer: its lock would outlive the thread."""
    try:
        descriptor = source.fileno()
    except (OSError, io.UnsupportedOperation, AttributeError):
        return lambda: source.read(_CHUNK)
    return lambda: os.read(descriptor, _CHUNK)
