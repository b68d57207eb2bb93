"""A tagger that needs no model, and does what a text tells it to: fail, hang, take the process with it.

No production worker is ever given it; ``tests.support.workers`` puts it in.
"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fewnerd_stream.contract.taxonomy import LABELS
from fewnerd_stream.delivery.pulse import silent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fewnerd_stream.delivery.pulse import Beat

WORDS: Final = {
    "Angela Merkel": "person-politician",
    "Paris": "location-GPE",
    "Louvre": "building-other",
    "Siemens": "organization-company",
    "Hamlet": "art-writtenart",
    "World Cup": "event-sportsevent",
    "Airbus A380": "product-airplane",
    "Nobel Prize": "other-award",
}
"""What it finds, one for each category, wherever it stands."""

STATE: Final = "TEST_TAGGER_STATE"
"""Names the folder in which ``!fail=N`` counts, so that a count survives its process."""

_PATTERN: Final = re.compile("|".join(map(re.escape, WORDS)))
_ORDER: Final = re.compile(r"!(fail|slow|hang|die|segv)(?:=([0-9.]+))?")


@dataclass(frozen=True, slots=True)
class Found:
    """An entity."""

    text: str
    start: int
    end: int
    coarse: str
    fine: str
    label: str
    score: float = 0.9
    coarse_score: float = 0.95


@dataclass(frozen=True, slots=True)
class Info:
    """What it says of itself."""

    name: str = "words"
    digest: str = "sha256:" + hashlib.sha256(repr(WORDS).encode()).hexdigest()
    precision: str = "int8"


class WordTagger:
    """Finds ``WORDS``, and obeys ``!`` orders in a text.

    - ``!fail``: raises; ``!fail=N``: raises the first N times that it sees this text, over all processes;
    - ``!slow=S``: takes S seconds;
    - ``!hang``: does not come back;
    - ``!die``: the process is killed; ``!segv``: it dies of a bad memory access.
    """

    info = Info()
    labels = LABELS

    def tag(self, texts: Sequence[str], beat: Beat = silent) -> list[list[Found]]:
        """Tag each text, orders first."""
        for text in texts:
            beat()
            for order, argument in _ORDER.findall(text):
                _obey(order, argument, text)
        return [[_found(match) for match in _PATTERN.finditer(text)] for text in texts]

    def close(self) -> None:
        """Have nothing to close."""


def _found(match: re.Match[str]) -> Found:
    label = WORDS[match[0]]
    coarse, _, fine = label.partition("-")
    return Found(match[0], match.start(), match.end(), coarse, fine, label)


def _obey(order: str, argument: str, text: str) -> None:
    if order == "slow":
        time.sleep(float(argument))
    elif order == "hang":
        time.sleep(3600)
    elif order == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    elif order == "segv":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif not argument or _seen(text) < int(argument):
        message = f"told to fail by {text[:40]!r}"
        raise RuntimeError(message)


def _seen(text: str) -> int:
    """Count how often a text was seen before, and that it was seen now."""
    name = hashlib.sha256(text.encode()).hexdigest()
    with Path(os.environ[STATE], name).open("ab") as marks:
        before = marks.tell()
        marks.write(b".")
    return before


class BrokenTagger(WordTagger):
    """Fails on every text, while a file named ``broken`` lies in the state's folder."""

    def tag(self, texts: Sequence[str], beat: Beat = silent) -> list[list[Found]]:
        """Raise, or tag."""
        if Path(os.environ[STATE], "broken").exists():
            message = "the model is broken"
            raise RuntimeError(message)
        return super().tag(texts, beat)


class NamedTagger(WordTagger):
    """Says that it is the model that the file at ``FEWNERD_MODEL`` names; cannot be loaded while that is ``bad``."""

    def __init__(self) -> None:
        """Read the file."""
        name = Path(os.environ["FEWNERD_MODEL"]).read_text()
        if name == "bad":
            raise ValueError("a bad model")
        self.info = Info(digest=name)
