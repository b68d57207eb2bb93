"""The news test's annotation: drawn, read from its compact form, compared between its passes, and written out.

python -m tests.support.agreement              how far the two passes agree
python -m tests.support.agreement --write      news.jsonl from final.txt, and the figures in docs/annotation.md
python -m tests.support.agreement --draw FILE  the news items anew, from the portal's text (news.jsonl.xz)
"""

from __future__ import annotations

import argparse
import hashlib
import json
import lzma
import random
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

from model.scores import spans_of
from model.words import split_chunk

NEWS: Final = Path(__file__).parents[1] / "data" / "news.jsonl"
FOLDER: Final = NEWS.with_suffix("")
PASSES: Final = ("first", "second")
DOCS: Final = Path(__file__).parents[2] / "docs" / "annotation.md"
PORTAL: Final = {
    "source": "https://en.wikipedia.org/wiki/Portal:Current_events",
    "licence": "CC BY-SA 4.0",
}
OWN: Final = {"source": "written for this test", "licence": "Apache-2.0"}
_SEED: Final = 20260101
_DRAWN: Final = 200
_FIGURES: Final = re.compile(r"(?<=<!-- agreement -->\n).*?(?=<!-- end -->)", re.DOTALL)

Row = dict[str, Any]


def split(text: str) -> list[str]:
    """Split a text into words as the worker does."""
    chunks = text.split()
    return [
        chunk[word.start : word.end]
        for number, chunk in enumerate(chunks)
        for word in split_chunk(chunk, last=number == len(chunks) - 1)
    ]


def draw(path: Path) -> tuple[list[Row], list[str]]:
    """Draw news items by the seed; return rows without tags, and the digests of the texts taken."""
    with lzma.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    random.Random(_SEED).shuffle(rows)
    once: dict[str, Row] = {}
    for row in rows:
        once.setdefault(row["text"], row)
    taken = list(once.values())[:_DRAWN]
    items = [
        {"id": f"n{number:03}", **PORTAL, "date": row["date"], "tokens": split(row["text"])}
        for number, row in enumerate(taken, 1)
    ]
    return items, sorted(digest(row["text"]) for row in taken)


def digest(text: str) -> str:
    """Return what a withheld text is known by."""
    return hashlib.sha256(text.encode()).hexdigest()


def own() -> list[Row]:
    """Return the texts that were written for this test, without tags."""
    lines = (FOLDER / "own.txt").read_text("utf-8").splitlines()
    return [
        {"id": name, **OWN, "tokens": split(text)}
        for name, _, text in (line.partition("\t") for line in lines)
    ]


def rows() -> list[Row]:
    """Return the rows of the news test."""
    return [json.loads(line) for line in NEWS.read_text("utf-8").splitlines()]


def annotation(name: str, tokens: dict[str, list[str]]) -> dict[str, list[str]]:
    """Read one of the compact files: the tags of each text.

    Raises:
        ValueError: a text is missing or there twice, or an entity is not where it should be.
    """
    tags: dict[str, list[str]] = {}
    for line in (FOLDER / f"{name}.txt").read_text("utf-8").splitlines():
        of, _, entities = line.partition(":")
        if of in tags:
            raise ValueError(f"{name}: {of} is there twice")
        tags[of] = placed(tokens[of], entities, f"{name}: {of}")
    if tags.keys() != tokens.keys():
        raise ValueError(f"{name}: lacks {sorted(tokens.keys() - tags.keys())}")
    return tags


def placed(tokens: list[str], entities: str, where: str) -> list[str]:
    """Return the tags of ``surface=label; ...``, each surface the first after the one before, spaces aside.

    Raises:
        ValueError: a surface is not there, or not whole words.
    """
    joined = "".join(tokens)
    starts = [0]
    for token in tokens:
        starts.append(starts[-1] + len(token))
    tags = ["O"] * len(tokens)
    place = 0
    for entity in filter(None, map(str.strip, entities.split("; "))):
        surface, _, label = entity.rpartition("=")
        wanted = "".join(surface.split())
        begin = joined.find(wanted, place)
        while begin >= 0 and not {begin, begin + len(wanted)} <= set(starts):
            begin = joined.find(wanted, begin + 1)
        if begin < 0:
            raise ValueError(f"{where}: no {surface!r} after the entity before")
        first, past = starts.index(begin), starts.index(begin + len(wanted))
        tags[first:past] = [label] * (past - first)
        place = begin + len(wanted)
    return tags


def agreement(one: dict[str, list[str]], other: dict[str, list[str]]) -> dict[str, float]:
    """Compare two annotations: texts that differ, F1 of whole entities, of categories and of extents, and kappa."""
    found: dict[str, float] = {
        "texts": len(one),
        "texts that differ": sum(one[name] != other[name] for name in one),
    }
    sides = [[(name, *span) for name in one for span in spans_of(side[name])] for side in (one, other)]
    found["entities, first"], found["entities, second"] = map(len, sides)
    found["entities that one pass alone has"] = len(set(sides[0]) ^ set(sides[1]))
    for title, cut in (
        ("F1, extent and type", lambda entity: entity),
        ("F1, extent and category", lambda entity: (*entity[:3], entity[3].partition("-")[0])),
        ("F1, extent", lambda entity: entity[:3]),
    ):
        left, right = ({cut(entity) for entity in side} for side in sides)
        found[title] = 2 * len(left & right) / (len(left) + len(right))
    pairs = [pair for name in one for pair in zip(one[name], other[name], strict=True)]
    same = sum(left == right for left, right in pairs) / len(pairs)
    counts = [Counter(side) for side in zip(*pairs, strict=True)]
    chance = sum(counts[0][tag] * counts[1][tag] for tag in counts[0]) / len(pairs) ** 2
    found["Cohen's kappa, words"] = (same - chance) / (1 - chance)
    return found


def figures() -> str:
    """Write the agreement of the two passes as a table."""
    tokens = {row["id"]: row["tokens"] for row in rows()}
    found = agreement(*(annotation(name, tokens) for name in PASSES))
    lines = [
        f"| {name} | {value if isinstance(value, int) else f'{value:.3f}'} |" for name, value in found.items()
    ]
    return "\n".join(["| | |", "|---|---|", *lines]) + "\n"


def main(arguments: list[str]) -> None:
    """Do what is asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--draw", type=Path)
    asked = parser.parse_args(arguments)
    if asked.draw or asked.write:
        items = [row for row in rows() if row["licence"] == PORTAL["licence"]] if not asked.draw else None
        if items is None:
            items, withheld = draw(asked.draw)
            (FOLDER / "withheld.txt").write_text("\n".join(withheld) + "\n", "utf-8")
        items += own()
        tags = annotation("final", {row["id"]: row["tokens"] for row in items})
        lines = [json.dumps(row | {"tags": tags[row["id"]]}, ensure_ascii=False) for row in items]
        NEWS.write_text("\n".join(lines) + "\n", "utf-8")
        DOCS.write_text(_FIGURES.sub(lambda _: figures(), DOCS.read_text("utf-8")), "utf-8")
    sys.stdout.write(figures())


if __name__ == "__main__":
    main(sys.argv[1:])
