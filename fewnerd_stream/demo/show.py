"""How the demonstration looks: documents as they come out of the topics, and the account in the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
from rich.text import Text

from fewnerd_stream.contract.documents import unwrapped
from fewnerd_stream.contract.harmless import harmless
from fewnerd_stream.contract.taxonomy import CATEGORIES, NONE
from fewnerd_stream.demo.account import Fate, header, place_of
from fewnerd_stream.terminal import COLOURS, painted, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from fewnerd_stream.contract.records import Record
    from fewnerd_stream.demo.account import Account, Place
    from fewnerd_stream.settings import Settings

_EXCERPT: Final = 220
_RAW: Final = 60


@dataclass(frozen=True, slots=True)
class _Entity:
    """An entity as it stands in an enriched message."""

    start: int
    end: int
    coarse: str
    label: str


class Screen:
    """Prints each document once all topics that it belongs to have it, and whatever else happens at once."""

    def __init__(self, console: Console, settings: Settings) -> None:
        """Print to a console."""
        self._console = console
        self._settings = settings
        self._entities: dict[Place, dict[str, list[_Entity]]] = {}
        self.fates: dict[Place, Fate] = {}

    @property
    def settled(self) -> int:
        """How many inputs are in every topic that they belong to."""
        return sum(fate.complete for fate in self.fates.values())

    def say(self, message: str) -> None:
        """Print a line of our own."""
        self._console.print(Text(message, "bold"))

    def see(self, record: Record) -> None:
        """Take in a record from any topic but the inputs."""
        place = place_of(record, self._settings)
        fate = self.fates.setdefault(place, Fate())
        before = fate.complete
        fate.add(record, self._settings)
        if record.topic in self._settings.topology.retries:
            names = self._settings.topology.input(place[0]).retries
            delay = self._settings.retry_delays[names.index(record.topic)]
            self._line(f"↻ {record.topic}", "yellow", record, f"the model failed on it, waits {delay:g} s")
        elif record.topic == self._settings.topology.input(place[0]).dead:
            self._line(f"✗ {record.topic}", "red", record, header(record, "reason"))
        else:
            message = unwrapped(orjson.loads(record.value or b""))
            found = [_Entity(e["start"], e["end"], e["coarse"], e["label"]) for e in message["entities"]]
            self._entities.setdefault(place, {})[record.topic] = found
            if fate.complete and not before:
                self._document(place, fate, message)

    def _line(self, where: str, colour: str, record: Record, what: str) -> None:
        value = "null" if record.value is None else harmless(record.value[:_RAW].decode(errors="replace"))
        more = "…" if record.value and len(record.value) > _RAW else ""
        self._console.print(Text.assemble((where, colour), f"  {what}  ", (value + more, "dim")))

    def _document(self, place: Place, fate: Fate, message: dict[str, Any]) -> None:
        text: str = message["document"][self._settings.text_field]
        entities = sorted(
            (entity for found in self._entities.pop(place).values() for entity in found),
            key=lambda entity: entity.start,
        )
        cut = _cut(text, entities)
        line = Text(f"{harmless(message['id'])}  ", "bold")
        shown = [entity for entity in entities if entity.end <= cut]
        colours = self._console.is_terminal and not self._console.no_color
        line.append_text(painted(text[:cut].rstrip(), shown, colours=colours))
        if cut < len(text):
            line.append(f" … ({len(text):,} characters, {len(entities)} entities)", "dim")
        line.append("  →", "dim")
        for topic in sorted(fate.wanted):
            category = topic.removeprefix(f"{self._settings.output_prefix}.")
            line.append(f" {category}", COLOURS.get(category, "white"))
        if fate.attempt:
            line.append(f"  (at attempt {fate.attempt + 1})", "yellow")
        self._console.print(line)

    def table(self, account: Account) -> None:
        """Print what each topic holds, and what that makes for the inputs."""
        settings = self._settings
        title = "What went where, read back from the topics"
        made = table("topic", "records", "", right=["records"], title=title)
        for one in settings.topology.inputs:
            made.add_row(Text(one.input, "bold"), str(account.records[one.input]), "sent")
            for name in one.retries:
                made.add_row(Text(name, "yellow"), str(account.records[name]), "")
            dead = ", ".join(f"{reason} {count}" for reason, count in sorted(account.dead.items()))
            made.add_row(Text(one.dead, "red"), str(account.records[one.dead]), dead)
        for category in (*CATEGORIES, NONE):
            name = settings.topology.outputs[category]
            made.add_row(Text(name, COLOURS[category]), str(account.records[name]), "")
        self._console.print()
        self._console.print(made)
        self._console.print(Text(_sum(account, settings), "bold red" if account.lost else "bold green"))


def _sum(account: Account, settings: Settings) -> str:
    fates = account.fates.values()
    dead = sum(fate.reason is not None for fate in fates)
    none = sum(settings.topology.outputs[NONE] in fate.results for fate in fates)
    enriched = sum(fate.complete for fate in fates) - dead - none
    return (
        f"{len(account.fates)} inputs: {enriched} with entities, {none} without, {dead} dead letters, "
        f"{len(account.lost)} lost, {account.duplicates} duplicates; {account.committed} committed"
    )


def _cut(text: str, entities: Sequence[_Entity]) -> int:
    """Choose where a long text is cut off: not within an entity."""
    if len(text) <= _EXCERPT:
        return len(text)
    within = [entity.start for entity in entities if entity.start < _EXCERPT < entity.end]
    return within[0] if within else _EXCERPT
