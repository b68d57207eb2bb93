"""`tag`: entities in a text, in colour; no broker."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import orjson

from fewnerd_stream.cli._group import examples
from fewnerd_stream.cli._options import json_option, settings_options
from fewnerd_stream.errors import FewnerdError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fewnerd_stream.settings import Settings

_SLAB: Final = 64
_FIELDS: Final = ("text", "start", "end", "coarse", "fine", "label", "score", "coarse_score")
_JSON_LINES: Final = (".jsonl", ".ndjson")
_FILES: Final = (*_JSON_LINES, ".json", ".md", ".text", ".txt")
"""What a word with such an end is likely meant to be: a file, and no text to tag."""


class NoText(FewnerdError):  # noqa: N818 - what there is not
    """An input in which there is no text."""


@click.command(
    "tag",
    epilog=examples(
        'fewnerd-stream tag "Angela Merkel flew to Paris."',
        "fewnerd-stream tag article.txt",
        "fewnerd-stream tag documents.jsonl --json > entities.jsonl",
        "echo 'The Beatles played in Hamburg.' | fewnerd-stream tag - --labels person,art",
    ),
)
@click.argument("source", metavar="TEXT|FILE|-")
@click.option("--lines", is_flag=True, help="Each line of the file is a text of its own.")
@settings_options("model", "threads", "thresholds", "labels", "id_field", "text_field")
@json_option
def command(*, source: str, lines: bool, settings: Settings, as_json: bool) -> None:
    """Find the entities in a text, a file, or standard input (-), and mark them in it.

    A file is one text, however long; or one a line with --lines; or, if its name ends in .jsonl or .ndjson,
    one JSON object a line with the text in a field (see --text-field). With --json there is an object a line:
    "text", "entities", and "id" where there was one; "start" and "end" count Unicode code points.
    """
    from agents.tagger import load_tagger
    from fewnerd_stream.terminal import console, painted, print_json

    documents = documents_of(source, settings, lines=lines)
    out = console()
    alone = not (
        lines or source.lower().endswith(_JSON_LINES)
    )  # else a text is one line, as its neighbours are
    with closing(load_tagger(settings)) as tagger:
        for slab in slabs_of(documents):
            for document, entities in zip(slab, tagger.tag([each["text"] for each in slab]), strict=True):
                if as_json:
                    found = [{name: getattr(entity, name) for name in _FIELDS} for entity in entities]
                    print_json(document | {"entities": found})
                else:
                    text = document["text"].rstrip("\n")
                    out.print(painted(text, entities, colours=_colours(out), lines=alone))


def _colours(out: Any) -> bool:  # noqa: ANN401 - rich's console, imported late
    return out.color_system is not None and not out.no_color


def slabs_of(documents: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Give so many documents at a time as are worth tagging at once."""
    slab: list[dict[str, Any]] = []
    for document in documents:
        slab.append(document)
        if len(slab) == _SLAB:
            yield slab
            slab = []
    if slab:
        yield slab


def documents_of(source: str, settings: Settings, *, lines: bool) -> Iterator[dict[str, Any]]:
    """Read the texts, each with its id if it has one.

    Raises:
        NoText: an input cannot be read.
    """
    path = Path(source)
    if source == "-":
        data = sys.stdin.buffer.read()
        name, as_objects = "standard input", False
    elif _is_file(path):
        data = path.read_bytes()
        name, as_objects = source, path.suffix.lower() in _JSON_LINES
    else:
        if path.suffix.lower() in _FILES and not any(character.isspace() for character in source):
            raise NoText(f"{source}: no such file")
        yield {"text": source}
        return
    if as_objects:
        yield from _objects(data, name, settings)
        return
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise NoText(f"{name} is not UTF-8: byte {error.start} is {data[error.start]:#04x}") from error
    if lines:
        yield from ({"text": line} for line in text.split("\n") if line.strip())
    else:
        yield {"text": text}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a text may be too long for a name
        return False


def _objects(data: bytes, name: str, settings: Settings) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            fields = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise NoText(f"{name}, line {number}: {error}") from error
        text = fields.get(settings.text_field) if isinstance(fields, dict) else None
        if not isinstance(text, str):
            raise NoText(f"{name}, line {number}: no object with a string {settings.text_field!r}")
        identity = fields.get(settings.id_field)
        yield {"text": text} if identity is None else {"id": identity, "text": text}
