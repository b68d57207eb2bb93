"""Other people's annotated texts, read by category: where their types have a counterpart in Few-NERD's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from model.evaluate import DataError, join
from model.scores import Count

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from model.tagger import Tagger

COUNTERPARTS: Final = {
    "person": "person", "politician": "person", "writer": "person", "musicalartist": "person", "scientist": "person",
    "location": "location", "country": "location",
    "corporation": "organization", "group": "organization", "organisation": "organization", "band": "organization",
    "politicalparty": "organization", "university": "organization",
    "creative-work": "art", "song": "art", "album": "art", "book": "art", "poem": "art", "magazine": "art",
    "product": "product", "event": "event", "election": "event",
}  # fmt: skip
"""Their types to categories; a type that is not here is left out, and so is what is found in its place."""
_TEXTS_A_CALL: Final = 256

Spans = set[tuple[int, int, str]]


def read(path: Path) -> list[tuple[str, Spans, Spans]]:
    """Read JSON lines with tokens and BIO tags: each text, its entities by category, and those left out.

    Raises:
        DataError: the file is missing or malformed.
    """
    try:
        rows = [json.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
        return [_read(row["tokens"], row["tags"]) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not JSON lines with `tokens` and BIO `tags`: {error}") from error


def _read(tokens: Sequence[str], tags: Sequence[str]) -> tuple[str, Spans, Spans]:
    text, places = join(tokens)
    known: Spans = set()
    left: Spans = set()
    start = 0
    for number, (tag, after) in enumerate(zip(tags, [*tags[1:], "O"], strict=True)):
        if tag.startswith("B-"):
            start = number
        if tag != "O" and not after.startswith("I-"):
            category = COUNTERPARTS.get(tag[2:])
            span = places[start][0], places[number][1]
            (left if category is None else known).add((*span, category or tag[2:]))
    return text, known, left


def by_category(tagger: Tagger, texts: Sequence[tuple[str, Spans, Spans]]) -> dict[str, Any]:
    """Return F1 of exact extents with their category, and of routing, over the categories that the texts have.

    What is found where something of no counterpart stands is left out, and so are categories without one. A building
    may be what others call a location.
    """
    categories = {category for _, known, _ in texts for *_, category in known}
    spans, routing = Count(), Count()
    for first in range(0, len(texts), _TEXTS_A_CALL):
        part = texts[first : first + _TEXTS_A_CALL]
        for (_, known, left), entities in zip(part, tagger.tag([text for text, *_ in part]), strict=True):
            found = {
                (entity.start, entity.end, "location" if entity.coarse == "building" else entity.coarse)
                for entity in entities
                if not any(entity.start < end and start < entity.end for start, end, _ in left)
            }
            found = {span for span in found if span[2] in categories}
            _add(spans, known, found)
            _add(routing, {category for *_, category in known}, {category for *_, category in found})
    return {"texts": len(texts), "spans": spans.as_dict(), "routing": routing.as_dict()}


def _add(count: Count, gold: Iterable[object], found: Iterable[object]) -> None:
    gold, found = set(gold), set(found)
    count.right += len(gold & found)
    count.predicted += len(found)
    count.gold += len(gold)
