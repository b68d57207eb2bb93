"""`send`: JSON lines to an input topic, each line's bytes as they are, each confirmed."""

from __future__ import annotations

import asyncio
import io
import os
import time
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, Final

import click

from fewnerd_stream.cli._group import complain, examples, run
from fewnerd_stream.cli._options import CONNECTION, json_option, settings_options
from fewnerd_stream.errors import FewnerdError
from fewnerd_stream.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from fewnerd_stream.settings import Settings

_SHOWN: Final = 5
_KEPT: Final = 100


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

    def stored(self, number: int, size: int) -> None:  # noqa: ARG002 - the sender's protocol
        """Count a line that is stored."""
        self.sent += 1
        self.bytes += size

    def refused(self, number: int, error: str) -> None:
        """Count a line that was refused, and keep the first ones' reasons."""
        self.failed += 1
        if len(self.failures) < _KEPT:
            self.failures.append((number, error))

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
    from fewnerd_stream.terminal import console, print_json, progress

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
        console().print(f"{result.sent} sent to {result.topic} in {result.seconds:.1f} s{rest}")
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
    from fewnerd_stream.feeds.lines import key_of, read_lines
    from fewnerd_stream.feeds.sender import Sender
    from fewnerd_stream.kafka import clients

    async with clients.admin(settings) as admin:
        await clients.require(admin, await clients.partitions(admin), [result.topic])
    started = time.monotonic()
    async with Sender(settings, result.topic, result) as lines:
        try:
            number = 0
            async for line, length in read_lines(source, settings.max_result_bytes):
                number += 1
                way.read(length)
                if line is None:
                    most = settings.max_result_bytes
                    result.refused(
                        number, f"it has {length} bytes, more than FEWNERD_MAX_RESULT_BYTES ({most})"
                    )
                    continue
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
