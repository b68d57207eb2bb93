"""What commands print on a terminal: entities in colour, tables, progress bars. Plain where nobody looks."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from fewnerd_stream.operations.dead.letters import json_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

COLOURS: Final = {
    "art": "magenta",
    "building": "dark_orange",
    "event": "red",
    "location": "green",
    "organization": "blue",
    "other": "bright_black",
    "person": "yellow",
    "product": "cyan",
    "none": "dim",
}
"""The colour of each category."""

_WIDE: Final = 10_000
_CONTROLS: Final = {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"} | {
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
    **dict.fromkeys(range(0xD800, 0xE000), 0xFFFD),
}


class Span(Protocol):
    """Where an entity stands, and what it is."""

    @property
    def start(self) -> int:
        """Code points before it."""

    @property
    def end(self) -> int:
        """Code points up to its end."""

    @property
    def coarse(self) -> str:
        """Its category."""

    @property
    def label(self) -> str:
        """Category and fine type."""


def console(*, stderr: bool = False) -> Console:
    """Make a console for standard output or error; where it is no terminal, lines are as long as they are."""
    plain = bool(os.environ.get("NO_COLOR"))
    made = Console(stderr=stderr, highlight=False, color_system=None if plain else "auto")
    if not made.is_terminal:
        made.width = _WIDE
    return made


def harmless(text: str) -> str:
    """Put a sign in place of each control character: what a document holds must not steer a terminal."""
    return text.translate(_CONTROLS)


def painted(text: str, entities: Iterable[Span], *, colours: bool) -> Text:
    """Mark entities in a text: in their category's colour with the fine type after it, or in brackets."""
    shown, out, at = harmless(text), Text(), 0
    for entity in sorted(entities, key=lambda entity: (entity.start, entity.end)):
        if entity.start < at:
            continue  # within the one before
        out.append(shown[at : entity.start])
        found = shown[entity.start : entity.end]
        if colours:
            colour = COLOURS.get(entity.coarse, "white")
            out.append(found, f"bold {colour}")
            out.append(f" {entity.label.removeprefix(f'{entity.coarse}-')}", f"dim italic {colour}")
        else:
            out.append(f"[{found}|{entity.label}]")
        at = entity.end
    out.append(shown[at:])
    return out


def table(*columns: str, right: Sequence[str] = (), title: str | None = None) -> Table:
    """Begin a table; columns named in ``right`` hold numbers."""
    made = Table(box=None, pad_edge=False, title=title, title_justify="left", title_style="bold")
    for name in columns:
        made.add_column(
            name, justify="right" if name in right else "left", no_wrap=name in right, overflow="fold"
        )
    return made


def print_json(value: object) -> None:
    """Write a line of JSON to standard output."""
    write(json_line(value))


def write(data: bytes) -> None:
    """Write bytes to standard output as they are, at once."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


@contextmanager
def progress(what: str, total: int | None = None, *, shown: bool = True) -> Iterator[Callable[..., Any]]:
    """Show a progress bar on standard error, if that is a terminal.

    Yields:
        A function that takes ``advance``, ``total`` or ``description``.
    """
    err = console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=err,
        transient=True,
        disable=not (shown and err.is_terminal),
    ) as bar:
        task = bar.add_task(what, total=total)
        yield lambda **changes: bar.update(task, **changes)
