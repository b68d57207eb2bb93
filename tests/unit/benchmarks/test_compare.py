"""Interleaved rounds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.compare import against, rounds

if TYPE_CHECKING:
    from collections.abc import Sequence


class _Fixed:
    """Says that each text takes so many seconds."""

    def __init__(self, seconds: float, log: list[tuple[str, int]], name: str) -> None:
        self._seconds, self._log, self._name = seconds, log, name

    def run(self, texts: Sequence[str]) -> float:
        self._log.append((self._name, len(texts)))
        return self._seconds * len(texts)


def _rounds(log: list[tuple[str, int]], count: int = 3) -> dict[str, dict[str, float]]:
    numbers = iter(range(10**6))
    given: list[str] = []

    def draw(size: int) -> list[str]:
        given.extend(str(next(numbers)) for _ in range(size))
        return given[-size:]

    contenders = {"fast": _Fixed(0.001, log, "fast"), "slow": _Fixed(0.01, log, "slow")}
    figures = rounds(
        contenders, draw, lambda texts: 10 * len(texts), count=count, seconds=2, most=5000, say=lambda _: None
    )
    assert len(set(given)) == len(given)
    return against(figures, "fast")


def test_each_contender_gets_what_it_does_in_its_time() -> None:
    """A contender that takes ten times as long is given a tenth of the texts, and the ratio is right."""
    log: list[tuple[str, int]] = []
    ratios = _rounds(log)
    assert ("fast", 2000) in log
    assert ("slow", 200) in log
    assert ratios["slow"]["median"] == 10


def test_the_order_turns() -> None:
    """No contender is always the first."""
    log: list[tuple[str, int]] = []
    _rounds(log, count=2)
    assert [name for name, _ in log[-4:]] == ["fast", "slow", "slow", "fast"]
