"""The load: numbered, distinct documents of 15 to 40 words, the same ones for the same seed, written here.

A document is found again by its ``traceparent``, which holds its number. Numbers from ``SPECIAL`` on belong to
records that a scenario makes itself (poison, fuzz); all below are documents of this module.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Final

from tests.support.clients import New

if TYPE_CHECKING:
    from collections.abc import Iterator

SPECIAL: Final = 1 << 32
FEWEST_WORDS: Final = 15
MOST_WORDS: Final = 40

_SYLLABLES: Final = tuple(
    "ba bel da dor el fen ga hal is jo kar len mar nor ol per ran sel tor ul ven wil yan zor".split()
)
_FIRST: Final = tuple(
    "Anna Boris Clara David Elena Farid Greta Hugo Ines Jonas Keiko Lars Maria Nadia Omar Paula".split()
)
_PLACES: Final = tuple(
    "Paris Berlin Lisbon Nairobi Toronto Osaka Chile Norway Bavaria Kenya Vienna Oslo Lima Texas Cairo Delhi".split()
)
_KINDS: Final = {
    "company": ("{} Motors", "{} Energy", "{} Airlines", "the {} Bank", "{} Systems", "{} Foods"),
    "club": ("{} United", "FC {}", "{} Rovers", "the {} Tigers"),
    "school": ("the University of {}", "{} College", "the {} Institute of Technology"),
    "building": ("the {} Theatre", "{} Castle", "the {} Hotel", "{} Airport", "the {} Museum"),
    "water": ("the {} River", "Lake {}", "Mount {}", "the Gulf of {}"),
    "event": ("the Battle of {}", "the {} Film Festival", "the {} Open", "the {} World Cup"),
    "work": (
        'the novel "The {} Garden"',
        'the film "Return to {}"',
        'the opera "{}"',
        'the song "{} at Night"',
    ),
    "product": ("the {} X4 sedan", "the {} 320 airliner", "the {} Pro tablet", "the game {} Quest"),
    "other": ("the {} Prize", "the {} Act", "the {} language", "the asteroid {}"),
}
# {p} a person, {c} a place, {n} a number; the rest by its kind.
_SENTENCES: Final = (
    "{p} moved from {c} to {c} last spring and now works there for {company}.",
    "In {c} the board of {company} met for {n} minutes and chose {p} as its chair.",
    "{club} beat {club} by {n} goals on a wet evening, and {p} scored twice.",
    "A road along {water} was closed after {n} trees had fallen near {c}.",
    "Students of {school} counted {n} birds on the shore of {water} in a single week.",
    "{p} wrote {work} in a small room in {c} within {n} days.",
    "The roof of {building} in {c} will be repaired for {n} thousand euros.",
    "Visitors came to {event} from {c} and bought {n} tickets on the first day.",
    "{company} showed {product} to {n} guests and took orders until late.",
    "For a study of {other} {p} received a grant and {n} hours of computing time.",
    "The old market was quiet in the morning, and only {n} stalls had opened by noon.",
    "Nobody had expected rain, so the {n} chairs in the garden were wet by the evening.",
    "Prices rose a little over the month, while {n} shops kept theirs as they were.",
)
_PLAIN: Final = 3  # the last so many sentences name nothing


def _name(chance: random.Random) -> str:
    return "".join(chance.choice(_SYLLABLES) for _ in range(chance.randint(2, 3))).capitalize()


def _filled(sentence: str, chance: random.Random) -> str:
    parts = sentence.split("{")
    out = [parts[0]]
    for part in parts[1:]:
        kind, _, rest = part.partition("}")
        if kind == "p":
            out.append(f"{chance.choice(_FIRST)} {_name(chance)}")
        elif kind == "c":
            out.append(chance.choice(_PLACES) if chance.random() < 0.7 else _name(chance))
        elif kind == "n":
            out.append(str(chance.randint(2, 990)))
        else:
            out.append(chance.choice(_KINDS[kind]).format(_name(chance)))
        out.append(rest)
    text = "".join(out)
    return text[0].upper() + text[1:]


def text(seed: int, number: int) -> str:
    """Write document ``number``: its number stands in it, so no two are alike; mostly near 15 words."""
    chance = random.Random(seed * 1_000_003 + number)
    wanted = FEWEST_WORDS if chance.random() < 0.8 else chance.randint(FEWEST_WORDS, MOST_WORDS - 20)
    sentences = [f"Note {number}:"]
    words = 2
    while words < wanted:
        pick = chance.choice(_SENTENCES if chance.random() < 0.85 else _SENTENCES[-_PLAIN:])
        sentences.append(_filled(pick, chance))
        words += len(sentences[-1].split())
    return " ".join(sentences)


def document(seed: int, number: int) -> bytes:
    """Write a document's value; with members that a round trip through Python's objects would change."""
    fields = json.dumps({"id": f"n-{number}", "text": text(seed, number)}, ensure_ascii=False)
    return f'{fields[:-1]}, "price": 1.10, "serial": {10**20 + number}}}'.encode()


def traceparent(seed: int, number: int) -> bytes:
    """Write the header by which a document is found again."""
    return b"00-%016x%016x-%016x-01" % (seed + 1, number, number + 1)


def number_of(traceparent: bytes | None) -> int | None:
    """Read a document's number, None where there is none."""
    try:
        return int((traceparent or b"")[19:35], 16)
    except ValueError:
        return None


def record(seed: int, number: int, value: bytes | None = None) -> New:
    """Make a document's record, one in ten without a key; ``value`` in place of its own."""
    key = None if number % 10 == 0 else b"k%d" % (number % 4096)
    return New(
        document(seed, number) if value is None else value,
        key,
        (("traceparent", traceparent(seed, number)), ("tag", b"a"), ("tag", b"b")),
    )


def records(seed: int, first: int = 0) -> Iterator[tuple[int, New]]:
    """Make documents without end, each with its number."""
    number = first
    while True:
        yield number, record(seed, number)
        number += 1
