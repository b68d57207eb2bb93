"""One digest of every message that comes of 5,000 fixed inputs: what a change of the house's shape must leave alone.

    python -m tests.support.outcomes

The inputs are malformed, retried, long and odd ones as well as good ones; the tagger is the tests' own, so that a new
model changes nothing here. A change that means to alter messages alters the digest: say so where it is made.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest

from fewnerd_stream.contract.records import Record
from fewnerd_stream.delivery.process import Processor
from fewnerd_stream.delivery.pulse import silent
from fewnerd_stream.settings import load_settings
from tests.faults.fuzz import POISON
from tests.support.taggers import WordTagger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fewnerd_stream.contract.records import Headers, Outgoing
    from fewnerd_stream.delivery.pulse import Beat

INPUTS: Final = 5_000
WINDOW: Final = 32
_NOW: Final = 1_764_000_000.0
_ODD: Final = (
    "\u202eevil",
    "a\u0000b",
    "東京",
    "e\u0301",
    "😀",
    "\x1b[31m",
    "\n",
    "[bold]",
    "\ufeff",
    "ß",
    "\u2028",
)
_NAMES: Final = ("Anna", "Oslo", "Berlin", "Siemens", "Paris", "Lima", "Toyota", "Beethoven")


class Fussy(WordTagger):
    """Fails on every text that holds the word *cursed*, as a model does on a text that it cannot bear."""

    def tag(self, texts: Sequence[str], beat: Beat = silent) -> list[list[Any]]:
        """Find each text's entities, or fail."""
        if any("cursed" in text for text in texts):
            raise RuntimeError("cursed")
        return list(super().tag(texts, beat))


def records(count: int = INPUTS) -> Iterator[Record]:
    """Yield the inputs, always the same."""
    draw = random.Random(20261127)
    settings = load_settings()
    retries = sorted(settings.topology.retries)
    for number in range(count):
        kind = draw.random()
        topic, headers = settings.input_topics[0], _headers(draw)
        value: bytes | None
        if kind < 0.2:
            value = POISON[number % len(POISON)][1]
        else:
            size = draw.choice((1, 5, 20, 60)) if kind < 0.97 else 4_000
            words = [draw.choice((*_NAMES, *_ODD, "went", "to", "the", ".")) for _ in range(size)]
            if draw.random() < 0.05:
                words.append("cursed")
            value = json.dumps({"id": f"d{number}", "text": " ".join(["x", *words]), "n": number}).encode()
        if draw.random() < 0.1:
            topic = draw.choice(retries)
            place = {
                "topic": settings.input_topics[0],
                "partition": "3",
                "offset": str(number),
                "attempt": "1",
            }
            headers += tuple((f"__fewnerd.{name}", text.encode()) for name, text in place.items())
        key = None if draw.random() < 0.3 else f"k{number % 7}".encode()
        yield Record(topic, number % 4, number, 1_763_000_000_000 + number, key, value, headers)


def _headers(draw: random.Random) -> Headers:
    chosen = draw.choice(
        ((), (("traceparent", b"00-1-2-01"),), (("ce_id", b"mine"), ("x", None), ("x", b"\xff")))
    )
    return tuple(chosen)


def digest() -> str:
    """Return the digest of all that comes of the inputs, in order."""
    total = hashlib.sha256()
    processor = Processor(load_settings(), Fussy())
    everything = list(records())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.time", lambda: _NOW)
        for first in range(0, len(everything), WINDOW):
            for outcome in processor.process(everything[first : first + WINDOW]):
                total.update(f"{outcome.kind} {outcome.reason} {len(outcome.outgoing)}\n".encode())
                for made in outcome.outgoing:
                    total.update(_line(made))
    return total.hexdigest()


def _line(made: Outgoing) -> bytes:
    # A trace names files and lines, which a move changes and nobody reads by machine.
    headers = [(name, value) for name, value in made.headers if not name.endswith("stacktrace")]
    return repr((made.topic, made.key, made.value, headers)).encode()


if __name__ == "__main__":
    print(digest())
    sys.exit(0)
