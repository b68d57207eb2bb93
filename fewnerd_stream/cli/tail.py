"""`tail`: enriched documents as they come, entities in colour, or their raw values for programs."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click
import orjson

from fewnerd_stream.cli._group import examples, run
from fewnerd_stream.cli._options import CONNECTION, settings_options
from fewnerd_stream.contract.documents import unwrapped
from fewnerd_stream.contract.harmless import harmless
from fewnerd_stream.contract.jsonlines import compact_line, json_line
from fewnerd_stream.contract.taxonomy import CATEGORIES, NONE
from fewnerd_stream.operations.dead.letters import readable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from aiokafka import AIOKafkaConsumer
    from rich.console import Console
    from rich.text import Text

    from fewnerd_stream.contract.records import Record
    from fewnerd_stream.settings import Settings

_POLL_MS: Final = 200
_MOST_CHARACTERS: Final = 600


@dataclass(frozen=True, slots=True)
class _Found:
    """An entity as an enriched document writes it."""

    text: str
    start: int
    end: int
    coarse: str
    label: str

    @classmethod
    def of(cls, one: dict[str, Any]) -> _Found:
        """Read one.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        found = cls(one["text"], one["start"], one["end"], one["coarse"], one["label"])
        numbers = type(found.start) is int and type(found.end) is int
        texts = all(isinstance(each, str) for each in (found.text, found.coarse, found.label))
        if not numbers or not texts or not 0 <= found.start <= found.end:
            raise ValueError("it is no entity")
        return found


@click.command(
    "tail",
    epilog=examples(
        "fewnerd-stream tail person",
        "fewnerd-stream tail all --from beginning --limit 20",
        "fewnerd-stream tail organization --json | jq -r '.entities[].text'",
        "fewnerd-stream tail none --from beginning --idle 5",
    ),
)
@click.argument("category", type=click.Choice([*CATEGORIES, NONE, "all"]))
@click.option(
    "--from",
    "start",
    type=click.Choice(["now", "beginning"]),
    default="now",
    show_default=True,
    help="Where to begin.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Stop after so many documents.")
@click.option("--idle", type=click.FloatRange(min=0), help="Stop when nothing has come for so many seconds.")
@click.option("--full", is_flag=True, help="Show long texts whole.")
@click.option("--json", "as_json", is_flag=True, help="Print the values, one a line.")
@settings_options(*CONNECTION, "output_prefix", "isolation")
def command(
    *,
    category: str,
    start: str,
    limit: int | None,
    idle: float | None,
    full: bool,
    as_json: bool,
    settings: Settings,
) -> None:
    """Watch a category's enriched documents as they come, or those of all categories and of none.

    It reads in no consumer group: nobody's offsets move, and any number may watch. Ctrl-C ends it, with exit
    code 0.
    """
    from fewnerd_stream.terminal import console, write

    out = console()
    outputs = settings.topology.outputs
    topics = tuple(outputs.values()) if category == "all" else (outputs[category],)

    async def watch() -> None:
        count = 0
        async with aclosing(_records(settings, topics, start=start, idle=idle)) as records:
            async for record in records:
                if as_json:
                    write(as_line(record))
                else:
                    show(out, record, settings, full=full)
                count += 1
                if count == limit:
                    return

    try:
        run(watch())
    except KeyboardInterrupt:
        click.get_current_context().exit(0)


async def _records(
    settings: Settings, topics: tuple[str, ...], *, start: str, idle: float | None
) -> AsyncGenerator[Record, None]:
    from aiokafka import TopicPartition

    from fewnerd_stream.kafka import clients

    async with clients.admin(settings) as admin:
        there = await clients.partitions(admin)
        hidden = await admin.forbidden([topic for topic in topics if topic not in there])
        seen = tuple(topic for topic in topics if topic not in hidden)
        if hidden and seen:
            click.echo(f"no right to see {', '.join(sorted(hidden))}: the others are shown", err=True)
        await clients.require(admin, there, seen or topics)
    topics = seen
    async with clients.consumer(settings, follow=True) as reader:
        bounds = await clients.bounds(reader, {topic: there[topic] for topic in topics})
        reader.assign([TopicPartition(*place) for place in bounds])
        for place, (first, end) in bounds.items():
            reader.seek(TopicPartition(*place), first if start == "beginning" else end)
        async for record in _until_idle(reader, idle):
            yield record


async def _until_idle(reader: AIOKafkaConsumer, idle: float | None) -> AsyncIterator[Record]:
    from fewnerd_stream.kafka import clients

    heard = time.monotonic()
    while idle is None or time.monotonic() - heard < idle:
        batches = await reader.getmany(timeout_ms=_POLL_MS)
        for batch in batches.values():
            for message in batch:
                yield clients.to_record(message)
        if batches:
            heard = time.monotonic()
        await asyncio.sleep(0)


def show(out: Console, record: Record, settings: Settings, *, full: bool = False) -> None:
    """Print an enriched document: where it is from, and its text with this category's entities marked.

    What is no enriched document is shown as far as it can be.
    """
    from rich.padding import Padding
    from rich.text import Text

    from fewnerd_stream.terminal import COLOURS

    category = record.topic.removeprefix(f"{settings.output_prefix}.")
    value = _object(record.value)
    source = value.get("source") if isinstance(value.get("source"), dict) else None
    head = Text()
    head.append(f"{category:<13}", f"bold {COLOURS.get(category, 'white')}")
    head.append(harmless(str(value.get("id", "?")))[:_MOST_CHARACTERS], "bold")
    if source:
        place = "/".join(str(source.get(name, "?")) for name in ("topic", "partition", "offset"))
        head.append(f"  {harmless(place)[:_MOST_CHARACTERS]}", "dim")
    out.print(head)
    body = _body(value, settings, colours=out.color_system is not None and not out.no_color, full=full)
    if body is None:
        body = Text(harmless((record.value or b"null").decode(errors="replace"))[:_MOST_CHARACTERS])
    out.print(Padding(body, (0, 0, 0, 2), expand=False))


def as_line(record: Record) -> bytes:
    """Write a record's value as one compact line; what is no JSON as an object that tells where it lies.

    Numbers, repeats and the order of members stay as they are.
    """
    value = b"null" if record.value is None else record.value
    line = compact_line(value)
    if line is not None:
        return line
    place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
    return json_line({"error": "not JSON", **place, "value": readable(value)})


def _object(data: bytes | None) -> dict[str, Any]:
    try:
        value = orjson.loads(data or b"null")
    except orjson.JSONDecodeError:
        return {}
    return unwrapped(value) if isinstance(value, dict) else {}


def _body(value: dict[str, Any], settings: Settings, *, colours: bool, full: bool) -> Text | None:
    from rich.text import Text

    from fewnerd_stream.terminal import painted

    try:
        entities = [_Found.of(one) for one in value["entities"]]
        text = value["document"].get(settings.text_field)
    except (KeyError, TypeError, AttributeError, ValueError):
        return None
    if not isinstance(text, str):
        named = ", ".join(f"{one.text} ({one.label})" for one in entities)
        return Text(harmless(named or "no text, no entities")[:_MOST_CHARACTERS])
    text = text.replace("\n", " ").replace("\r", " ").replace("\t", " ")
    if not full and len(text) > _MOST_CHARACTERS:
        kept = [one for one in entities if one.end <= _MOST_CHARACTERS]
        rest = len(entities) - len(kept)
        shown = painted(text[:_MOST_CHARACTERS], kept, colours=colours)
        return shown.append(f" … {len(text) - _MOST_CHARACTERS} characters, {rest} entities more", "dim")
    return painted(text, entities, colours=colours)
