"""The precision to expect of what is found now, without labels: scores are calibrated, so it is their mean."""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

WINDOW: Final = 1000
"""The latest entities of a category over which the mean is taken."""

ENOUGH: Final = 200
"""Entities from which on the mean is one to go by: of fewer, chance alone leads it out of the band."""

_DEVIATIONS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Band:
    """Where a category's mean score lies as long as documents are like those of the evaluation."""

    low: float
    high: float

    @classmethod
    def around(cls, precision: float, found: int, error: float) -> Band:
        """Say what an evaluation leads one to expect.

        Args:
            precision: the category's there, 0..1.
            found: entities of the category found there, from which it was reckoned.
            error: how far scores and precision lie apart there (the expected calibration error).
        """
        # Chance in what was evaluated, and in the fewest that are judged.
        variance = precision * (1 - precision) * (1 / max(1, found) + 1 / ENOUGH)
        width = error + _DEVIATIONS * math.sqrt(variance)
        return cls(max(0.0, precision - width), min(1.0, precision + width))


@dataclass(frozen=True, slots=True)
class Expected:
    """A category's precision as its latest scores lead one to expect it, and over how many entities."""

    precision: float
    entities: int


class ExpectedPrecision:
    """The latest scores of each category."""

    def __init__(self, bands: Mapping[str, Band] | None = None) -> None:
        """Start with nothing found; without bands where nobody has evaluated what is found."""
        self._lock = threading.Lock()
        self._scores: dict[str, deque[float]] = {}
        self.bands: Mapping[str, Band] = dict(bands or {})

    def add(self, scores: Iterable[tuple[str, float]]) -> None:
        """Count entities, each by its category and score."""
        with self._lock:
            for category, score in scores:
                found = self._scores.get(category)
                if found is None:
                    found = self._scores[category] = deque(maxlen=WINDOW)
                found.append(score)

    def begin(self, bands: Mapping[str, Band]) -> None:
        """Forget all scores: another model finds entities from now on, with bands of its own."""
        with self._lock:
            self._scores.clear()
            self.bands = dict(bands)

    def read(self) -> dict[str, Expected]:
        """Return each category of which something was found."""
        with self._lock:
            found = {category: tuple(scores) for category, scores in self._scores.items()}
        return {
            category: Expected(math.fsum(scores) / len(scores), len(scores))
            for category, scores in sorted(found.items())
        }
