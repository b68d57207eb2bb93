"""Contenders on the same texts, in interleaved rounds: so that a machine that changes changes for all of them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from benchmarks.stats import Spread, ratio

if TYPE_CHECKING:
    from collections.abc import Mapping

Say = Callable[[str], None]

# Texts that warm a contender up, and those that tell how many fit.
_FIRST: Final = 64


class Contender(Protocol):
    """Something that finds entities in texts."""

    def run(self, texts: Sequence[str], /) -> float | None:
        """Do the work; return the seconds it took, or None to have them measured from outside."""


@dataclasses.dataclass(slots=True)
class Figures:
    """What a contender did, round by round."""

    documents: list[float] = dataclasses.field(default_factory=list)
    pieces: list[float] = dataclasses.field(default_factory=list)
    cores: list[float] = dataclasses.field(default_factory=list)

    def add(self, documents: int, pieces: int, seconds: float, cpu: float) -> None:
        """Add a round, in documents, pieces and processor seconds a second."""
        self.documents.append(documents / seconds)
        self.pieces.append(pieces / seconds)
        self.cores.append(cpu / seconds)

    def as_dict(self) -> dict[str, Any]:
        """Return an object that JSON can hold."""
        return {
            "documents_per_second": Spread.of(self.documents).as_dict(),
            "pieces_per_second": Spread.of(self.pieces).as_dict(),
            "cores": Spread.of(self.cores).as_dict(),
            "rounds": {"documents_per_second": self.documents, "pieces_per_second": self.pieces},
        }


def rounds(
    contenders: Mapping[str, Contender],
    draw: Callable[[int], list[str]],
    pieces: Callable[[Sequence[str]], int],
    *,
    count: int,
    seconds: float,
    most: int,
    say: Say,
) -> dict[str, Figures]:
    """Let every contender tag the head of each round's texts, as many as it does in about ``seconds``.

    Args:
        contenders: by name; the order turns by one each round.
        draw: gives so many texts that were never given before.
        pieces: counts texts' word pieces.
        count: rounds, after one that only warms up and finds out how many texts fit.
        seconds: for each contender in each round.
        most: texts in a round.
        say: told what is done.
    """
    first = draw(min(most, _FIRST))
    sizes: dict[str, int] = {}
    for name, contender in contenders.items():
        timed(contender, first)  # loads, compiles, fills caches
        again = draw(min(most, _FIRST))
        took, _ = timed(contender, again)
        sizes[name] = max(min(8, most), min(most, round(len(again) * seconds / max(took, 1e-6))))
    figures = {name: Figures() for name in contenders}
    names = list(contenders)
    for number in range(count):
        texts = draw(max(sizes.values()))
        for name in names[number % len(names) :] + names[: number % len(names)]:
            part = texts[: sizes[name]]
            took, cpu = timed(contenders[name], part)
            figures[name].add(len(part), pieces(part), took, cpu)
        shown = ", ".join(f"{name} {f.documents[-1]:,.0f}" for name, f in figures.items())
        say(f"round {number + 1} of {count}, documents/s: {shown}")
    return figures


def timed(contender: Contender, texts: Sequence[str]) -> tuple[float, float]:
    """Run a contender once; return wall and processor seconds (of this process and its threads)."""
    cpu, start = time.process_time(), time.perf_counter()
    told = contender.run(texts)
    took = time.perf_counter() - start if told is None else told
    return took, time.process_time() - cpu


def against(
    figures: Mapping[str, Figures], ours: str, unit: str = "documents", others: Sequence[str] | None = None
) -> dict[str, dict[str, Any]]:
    """Return ours over each other's rate, round by round, as spreads."""
    mine = getattr(figures[ours], unit)
    return {
        name: ratio(mine, getattr(theirs, unit)).as_dict()
        for name, theirs in figures.items()
        if name != ours and (others is None or name in others)
    }
