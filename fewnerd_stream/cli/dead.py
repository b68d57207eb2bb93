"""`dead list`, `dead show` and `dead replay`."""

from __future__ import annotations

import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import click

from fewnerd_stream.cli._group import examples, run
from fewnerd_stream.cli._letters import SETTINGS, filters, inputs
from fewnerd_stream.cli._options import json_option, settings_options
from fewnerd_stream.cli._replay import replay
from fewnerd_stream.errors import FewnerdError
from fewnerd_stream.operations.dead.filters import Filter, parse_offsets

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from fewnerd_stream.operations.dead.letters import Letter
    from fewnerd_stream.settings import Settings

_PLACE: Final = re.compile(
    r"(?:(?P<topic>[A-Za-z0-9._-]+)[/:])?(?P<partition>\d{1,9})[/:](?P<offset>\d{1,18})"
)
_SHOWN: Final = 100
_MOST_MESSAGE: Final = 80


class NotFound(FewnerdError):  # noqa: N818 - what happened
    """There is no such letter."""


@click.group(
    "dead",
    epilog=examples(
        "fewnerd-stream dead list --since 2h",
        "fewnerd-stream dead show 3:1042",
        "fewnerd-stream dead replay --reason model-error --dry-run",
    ),
)
def command() -> None:
    """Look at dead letters, documents that could not be enriched, and replay them."""


@command.command(
    "list",
    epilog=examples(
        "fewnerd-stream dead list",
        "fewnerd-stream dead list --reason model-error --reason crash --since 2h",
        "fewnerd-stream dead list --offsets 0:100-199 --offsets 3:",
        "fewnerd-stream dead list --json --limit 0 > letters.jsonl",
    ),
)
@filters
@click.option("--waiting", is_flag=True, help="Only what was not replayed yet.")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    help=f"Most letters to list, 0 for all; by default {_SHOWN}, and all with --json.",
)
@settings_options(*SETTINGS)
@json_option
def list_(
    *,
    chosen: Filter,
    topic: str | None,
    waiting: bool,
    limit: int | None,
    settings: Settings,
    as_json: bool,
) -> None:
    """List dead letters, the oldest of each partition first.

    With --json there is an object a line; "replayed" says whether a replay has sent it again already.
    """
    from fewnerd_stream.terminal import console, print_json, table

    limit = (0 if as_json else _SHOWN) if limit is None else limit
    shown = table("LETTER", "DIED", "REASON", "TRIES", "REPLAYS", "ORIGIN", "WHY", right=("TRIES", "REPLAYS"))
    count = 0
    more = False

    async def gather() -> None:
        nonlocal count, more
        for name in inputs(settings, topic):
            async with aclosing(_chosen_letters(settings, name, chosen)) as found:
                async for letter, replayed in found:
                    if waiting and replayed:
                        continue
                    if limit and count == limit:
                        more = True
                        return
                    count += 1
                    if as_json:
                        print_json(letter.summary() | {"replayed": replayed})
                    else:
                        shown.add_row(*_cells(letter, settings, replayed=replayed))

    run(gather())
    if as_json:
        return
    out = console()
    if count:
        out.print(shown)
    out.print(f"{count} dead letters{'; there are more, --limit 0 lists all' if more else ''}")


def _cells(letter: Letter, settings: Settings, *, replayed: bool) -> tuple[str, ...]:
    """Write a letter as a row of the table."""
    from fewnerd_stream.operations.dead.letters import iso

    record, why = letter.record, letter.end.message or letter.end.exception
    place = f"{record.partition}:{record.offset}"
    return (
        place if len(settings.input_topics) == 1 else f"{_input_of(record.topic, settings)}:{place}",
        iso(record.timestamp) or "?",
        f"{letter.reason}{' (replayed)' if replayed else ''}",
        str(letter.end.attempts),
        str(letter.replay),
        letter.origin,
        " ".join(why.split())[:_MOST_MESSAGE],
    )


def _input_of(dead_topic: str, settings: Settings) -> str:
    topics = settings.topology.of(dead_topic)
    return dead_topic if topics is None else topics.input


async def _chosen_letters(
    settings: Settings, input_topic: str, chosen: Filter
) -> AsyncGenerator[tuple[Letter, bool], None]:
    """Read an input's dead letters that a filter means, each with whether it was replayed."""
    from fewnerd_stream.kafka import clients
    from fewnerd_stream.operations.dead import store
    from fewnerd_stream.operations.dead.replayed_offsets import ReplayedOffsets

    own = settings.topology.input(input_topic)
    topic = own.dead
    async with clients.admin(settings) as admin:
        there = await clients.partitions(admin)
        await clients.require(admin, there, [topic])
    async with clients.consumer(settings) as reader:
        marks = ReplayedOffsets(topic)
        if own.marks in there and not await store.load_marks_if_allowed(reader, own.marks, marks):
            click.echo(f"no right to read {own.marks}: all letters count as not replayed", err=True)
        for span in await store.spans(reader, settings, (topic, there[topic]), chosen, marks):
            if span.start >= span.end:
                continue
            where = (topic, span.partition)
            async for batch in store.letters(reader, settings, where, (span.start, span.end)):
                for letter in batch:
                    if chosen.matches(letter):
                        yield letter, (span.partition, letter.record.offset) in marks


@command.command(
    "show",
    epilog=examples(
        "fewnerd-stream dead show 3:1042",
        "fewnerd-stream dead show raw-documents/3/1042 --json",
        "fewnerd-stream dead show 3:1042 --value > document.json",
    ),
)
@click.argument("letter", metavar="PARTITION:OFFSET")
@click.option("--value", "only_value", is_flag=True, help="Print the document's bytes alone, as they are.")
@settings_options(*SETTINGS)
@json_option
def show(*, letter: str, only_value: bool, settings: Settings, as_json: bool) -> None:
    """Show one dead letter in full: its headers, its error and its document.

    With several input topics, name one before it: TOPIC/PARTITION/OFFSET.
    """
    from fewnerd_stream.terminal import print_json, write

    match = _PLACE.fullmatch(letter)
    if match is None:
        raise click.BadParameter(f"{letter!r} is not PARTITION:OFFSET, as in 3:1042", param_hint="LETTER")
    meant = inputs(settings, match["topic"])
    if len(meant) > 1:
        raise click.BadParameter("with several input topics, name one: TOPIC/3/1042", param_hint="LETTER")
    place = (int(match["partition"]), int(match["offset"]))
    found, replayed = run(_one(settings, meant[0], place))
    if only_value:
        write(found.record.value or b"")
    elif as_json:
        print_json(found.full() | {"replayed": replayed})
    else:
        _print_letter(found, replayed=replayed)


async def _one(settings: Settings, input_topic: str, place: tuple[int, int]) -> tuple[Letter, bool]:
    partition, offset = place
    wanted = Filter(offsets=parse_offsets([f"{partition}:{offset}"]))
    async with aclosing(_chosen_letters(settings, input_topic, wanted)) as found:
        async for letter, replayed in found:
            return letter, replayed
    raise NotFound(
        f"there is no dead letter {partition}:{offset} on {settings.topology.input(input_topic).dead}"
    )


def _print_letter(letter: Letter, *, replayed: bool) -> None:
    from fewnerd_stream.terminal import console

    out = console()

    def line(name: str, value: object) -> None:
        if value is not None and value != "":
            out.field(name, value)

    full = letter.full()
    line("letter", f"{full['topic']}/{full['partition']}/{full['offset']}")
    line("died", full["time"])
    line("reason", f"{full['reason']}, at {full['stage']}" if full["stage"] else full["reason"])
    line("tried", f"{full['attempts']} times, replayed {full['replay']} times before")
    line("replayed", "yes, since it died" if replayed else "not since it died")
    line("origin", full["origin"])
    line("read from", full["read_from"])
    line("model", full["model"])
    line("error", ": ".join(filter(None, (full["error"], full["message"]))))
    if full["stacktrace"]:
        out.block(full["stacktrace"].rstrip(), style="dim")
    line("key", "null" if full["key"] is None else full["key"])
    for name, value in full["headers"]:
        if not name.startswith("__fewnerd.errors."):
            line("header", f"{name}: {value}")
    size = "null, a tombstone" if full["bytes"] is None else f"{full['bytes']} bytes"
    line("value", size)
    if full["value"] is not None:
        out.block(str(full["value"]))


command.add_command(replay)
