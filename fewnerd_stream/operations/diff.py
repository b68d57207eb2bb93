"""How far two models agree on the same documents: counted as they come, with a few examples kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from fewnerd_stream.contract.documents import EntityLike

EXAMPLES: Final = 10
"""Documents that differ of which the first are kept."""

_AROUND: Final = 40


@dataclass(frozen=True, slots=True)
class Agreement:
    """How many entities both have found, and how many one of them alone."""

    both: int
    first: int
    second: int

    @property
    def share(self) -> float:
        """Twice what both have over all that they have, in 0..1; 1 where neither has anything."""
        total = 2 * self.both + self.first + self.second
        return 2 * self.both / total if total else 1.0

    def as_dict(self) -> dict[str, float]:
        """Return it as JSON holds it."""
        return {"both": self.both, "first": self.first, "second": self.second, "agreement": self.share}


class Example(NamedTuple):
    """An entity that only one of them has found, with the text around it."""

    document: str
    found_by: str
    label: str
    text: str
    around: str


class Comparison:
    """Adds documents up. Entities are the same if they begin and end alike, and have the same category or label."""

    def __init__(self, examples: int = EXAMPLES) -> None:
        """Begin with no document; keep so many examples."""
        self.documents = 0
        self.same = 0
        self.examples: list[Example] = []
        self._most = examples
        self._categories: dict[str, Counter[str]] = {
            "both": Counter(),
            "first": Counter(),
            "second": Counter(),
        }
        self._labels: dict[str, Counter[str]] = {"both": Counter(), "first": Counter(), "second": Counter()}

    def add(self, name: str, text: str, first: Sequence[EntityLike], second: Sequence[EntityLike]) -> None:
        """Add what the two have found in a document; ``name`` says which one it is."""
        self.documents += 1
        _count(self._categories, first, second, lambda entity: entity.coarse)
        alone = _count(self._labels, first, second, lambda entity: entity.label)
        self.same += not alone
        for found_by, entity in alone[: self._most - len(self.examples)]:
            begin, end = max(0, entity.start - _AROUND), entity.end + _AROUND
            self.examples.append(Example(name, found_by, entity.label, entity.text, text[begin:end]))

    def categories(self) -> dict[str, Agreement]:
        """Return the agreement on extent and category, by category."""
        return _agreements(self._categories)

    def labels(self) -> dict[str, Agreement]:
        """Return the agreement on extent and label, by label."""
        return _agreements(self._labels)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as JSON holds it."""
        return {
            "documents": self.documents,
            "same": self.same,
            "categories": {name: each.as_dict() for name, each in self.categories().items()},
            "labels": {name: each.as_dict() for name, each in self.labels().items()},
            "examples": [example._asdict() for example in self.examples],
        }


def _count(
    counts: dict[str, Counter[str]],
    first: Sequence[EntityLike],
    second: Sequence[EntityLike],
    kind: Callable[[EntityLike], str],
) -> list[tuple[str, EntityLike]]:
    """Add to the counts; return the entities that only one has, in their order."""

    def key(entity: EntityLike) -> Hashable:
        return entity.start, entity.end, kind(entity)

    ours, theirs = {key(entity): entity for entity in first}, {key(entity): entity for entity in second}
    counts["both"].update(kind(entity) for place, entity in ours.items() if place in theirs)
    alone = [("first", entity) for place, entity in ours.items() if place not in theirs]
    alone += [("second", entity) for place, entity in theirs.items() if place not in ours]
    for found_by, entity in alone:
        counts[found_by][kind(entity)] += 1
    return sorted(alone, key=lambda each: each[1].start)


def _agreements(counts: dict[str, Counter[str]]) -> dict[str, Agreement]:
    names = sorted(set().union(*counts.values()))
    return {
        name: Agreement(counts["both"][name], counts["first"][name], counts["second"][name]) for name in names
    }
