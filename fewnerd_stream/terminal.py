"""What commands print on a terminal: entities in colour, tables, progress bars. Plain where nobody looks.

This is the one way to the terminal. Whatever goes through it is text, never markup, and no character of it
steers; a string is one line, and a cell of a table is, too.
"""

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
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from fewnerd_stream.contract.harmless import harmless, indented
from fewnerd_stream.contract.jsonlines import json_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rich.console import ConsoleOptions, RenderableType

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

_WIDE: Final = 1 << 30


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


class Screen(Console):
    """A console on which what others wrote is only text, however it is printed."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - rich's
        """Take rich's options; neither markup nor emoji codes are read, and nothing is highlighted."""
        super().__init__(**options, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401 - rich's
        """Make a string one harmless line."""
        return super().render_str(harmless(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Make what is left harmless as well: texts that were put together elsewhere."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(harmless(segment.text, lines=True), segment.style)

    def field(self, name: str, value: object, width: int = 10) -> None:
        """Print a name in bold and its value."""
        self.print(Text.assemble((f"{name:<{width}} ", "bold"), harmless(str(value))), soft_wrap=True)

    def block(self, text: str, style: str | None = None) -> None:
        """Print lines as they are, each indented, so that none passes for one of ours."""
        self.print(Text(indented(text)), style=style, soft_wrap=True)


class Rows(Table):
    """A table whose cells are one harmless line each."""

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:  # noqa: ANN401 - rich's
        """Add a row."""
        super().add_row(*(Text(harmless(one)) if isinstance(one, str) else one for one in cells), **options)


def console(*, stderr: bool = False) -> Screen:
    """Make a console for standard output or error; where it is no terminal, lines are as long as they are."""
    plain = bool(os.environ.get("NO_COLOR"))
    made = Screen(stderr=stderr, color_system=None if plain else "auto")
    if not made.is_terminal:
        made.width = _WIDE
    return made


def painted(text: str, entities: Iterable[Span], *, colours: bool, lines: bool = False) -> Text:
    """Mark entities in a text: in their category's colour with the fine type after it, or in brackets.

    Args:
        text: a document's.
        entities: where they stand; one within another is left out.
        colours: whether there are any.
        lines: keep the text's line feeds.
    """
    shown, out, at = harmless(text, lines=lines), Text(), 0
    for entity in sorted(entities, key=lambda entity: (entity.start, entity.end)):
        if entity.start < at:
            continue  # within the one before
        out.append(shown[at : entity.start])
        found = shown[entity.start : entity.end]
        if colours:
            colour = COLOURS.get(entity.coarse, "white")
            out.append(found, f"bold {colour}")
            fine = entity.label.removeprefix(f"{entity.coarse}-")
            out.append(f" {harmless(fine)}", f"dim italic {colour}")
        else:
            out.append(f"[{found}|{harmless(entity.label)}]")
        at = entity.end
    out.append(shown[at:])
    return out


def table(*columns: str, right: Sequence[str] = (), title: str | None = None) -> Rows:
    """Begin a table; columns named in ``right`` hold numbers."""
    made = Rows(box=None, pad_edge=False, title=title, title_justify="left", title_style="bold")
    for name in columns:
        made.add_column(
            name, justify="right" if name in right else "left", no_wrap=name in right, overflow="fold"
        )
    return made


def print_json(value: object) -> None:
    """Write one compact line of JSON to standard output."""
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
        TextColumn("{task.description}", markup=False),
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
