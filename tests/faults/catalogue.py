"""The catalogue of scenarios: each module of ``tests.faults.scenarios`` enters its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.stage import Stage

    Play = Callable[[Stage], None]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario.

    Attributes:
        number: of the list in the issue that asked for it.
        name: what its topics begin with.
        title: what it does, for the report.
        play: does it.
        kind: of cluster that it needs.
        documents: least number of documents in the long form.
        few: the same in the short form.
        settings: that it must have otherwise than shipped, in the long form.
        quick: the same in the short form.
    """

    number: int
    name: str
    title: str
    play: Play
    kind: str = "one"
    documents: int = 20_000
    few: int = 1_000
    settings: dict[str, str] = field(default_factory=dict)
    quick: dict[str, str] = field(default_factory=dict)


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    number: int,
    name: str,
    title: str,
    *,
    kind: str = "one",
    documents: int = 20_000,
    few: int = 1_000,
    settings: dict[str, str] | None = None,
    quick: dict[str, str] | None = None,
) -> Callable[[Play], Play]:
    """Enter a function into the catalogue; see :class:`Scenario`."""

    def enter(play: Play) -> Play:
        SCENARIOS[name] = Scenario(
            number,
            name,
            title,
            play,
            kind,
            documents,
            few,
            settings or {},
            settings or {} if quick is None else quick,
        )
        return play

    return enter


def load_all() -> list[Scenario]:
    """Give all scenarios in their order."""
    from tests.faults.scenarios import brokers, inputs, model, network, partitions, replay, topics, workers

    assert all((brokers, inputs, model, network, partitions, replay, topics, workers))
    return sorted(SCENARIOS.values(), key=lambda one: one.number)
