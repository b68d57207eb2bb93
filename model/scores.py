"""Strict scores of predicted spans: exact begin, exact end, full label; and the looser readings beside it.

An entity is a maximal run of one full label. Labels are compared whole: ``person-other`` and
``organization-other`` are two, where conlleval and seqeval, which split at the first ``-``, make them one.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

OUTSIDE: Final = "O"


class Span(NamedTuple):
    """An entity: its first unit, one past its last (tokens or code points), and its full label."""

    start: int
    end: int
    label: str


def spans_of(tags: Sequence[str]) -> list[Span]:
    """Return the maximal runs of one label other than ``O``, in tokens."""
    spans: list[Span] = []
    start = 0
    for place in range(1, len(tags) + 1):
        if place == len(tags) or tags[place] != tags[start]:
            if tags[start] != OUTSIDE:
                spans.append(Span(start, place, tags[start]))
            start = place
    return spans


@dataclasses.dataclass(slots=True)
class Count:
    """How many were right, predicted and in the gold."""

    right: int = 0
    predicted: int = 0
    gold: int = 0

    def as_dict(self) -> dict[str, float]:
        """Return precision, recall and F1 in 0..1 (0 over 0 is 0), and how many the gold has."""
        precision = self.right / self.predicted if self.predicted else 0.0
        recall = self.right / self.gold if self.gold else 0.0
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        return {"precision": precision, "recall": recall, "f1": f1, "support": self.gold}


STEPS: Final = tuple(round(0.05 * step, 2) for step in range(20))
"""The coarse scores at which the curve of routing is told."""


class Routing:
    """Adds up which categories' topics texts belong on, and how sure their entities make that."""

    def __init__(self) -> None:
        self._counts: dict[str, Count] = {}
        self._curve = [Count() for _ in STEPS]

    def add(self, belongs: AbstractSet[str], told: AbstractSet[str], sure: Mapping[str, float]) -> None:
        """Add a text.

        Args:
            belongs: the categories that it has an entity of.
            told: those that it is told to have one of.
            sure: the highest coarse score of each category that was found at all, told or not.
        """
        for name in belongs | told:
            count = self._counts.setdefault(name, Count())
            count.gold += name in belongs
            count.predicted += name in told
            count.right += name in belongs and name in told
        for least, count in zip(STEPS, self._curve, strict=True):
            _add(count, set(belongs), {name for name, score in sure.items() if score >= least})

    def report(self) -> dict[str, Any]:
        """Return precision, recall and F1 over all topics and by category, and at each of `STEPS`."""
        return {
            **_sum(self._counts.values()).as_dict(),
            "categories": {name: count.as_dict() for name, count in sorted(self._counts.items())},
            "curve": [
                {"threshold": least, **count.as_dict()}
                for least, count in zip(STEPS, self._curve, strict=True)
            ],
        }


class Scorer:
    """Adds up sentences; `report` gives the figures.

    ``coarse`` maps a full label to its category.
    """

    def __init__(self, coarse: Mapping[str, str]) -> None:
        self._coarse = coarse
        self._sentences = 0
        self._types: dict[str, Count] = {}
        self._categories: dict[str, Count] = {}
        self._boundary = Count()
        self._lenient = Count()
        self._tokens: dict[str, Count] = {}
        self.routing = Routing()

    def add(self, gold: Sequence[Span], predicted: Sequence[Span], tokens: Sequence[tuple[int, int]]) -> None:
        """Add a sentence.

        Args:
            gold: its entities.
            predicted: the entities found in it; one that fits no token's ends is wrong like any other.
            tokens: where its tokens begin and end, in the units of the spans.
        """
        self._sentences += 1
        _add_by(self._types, gold, predicted, lambda span: span.label)
        _add_by(self._categories, gold, predicted, self._of_category)
        _add(self._boundary, {span[:2] for span in gold}, {span[:2] for span in predicted})
        gold_tags, tags = _tags(gold, tokens), _tags(predicted, tokens)
        for wanted, found in zip(gold_tags, tags, strict=True):
            self._tokens.setdefault(wanted, Count()).gold += 1
            count = self._tokens.setdefault(found, Count())
            count.predicted += 1
            count.right += wanted == found
        lenient = [
            set(spans_of([tag if tag == OUTSIDE else tag.partition("-")[2] or tag for tag in side]))
            for side in (gold_tags, tags)
        ]
        _add(self._lenient, *lenient)

    def report(self) -> dict[str, Any]:
        """Return everything as one object that JSON can hold."""
        tokens = {label: count.as_dict() for label, count in sorted(self._tokens.items())}
        total = sum(count.gold for count in self._tokens.values())
        seen = [label for label, count in self._tokens.items() if count.gold]
        names = ("precision", "recall", "f1")
        return {
            "sentences": self._sentences,
            "fine": _sum(self._types.values()).as_dict(),
            "coarse": _sum(self._categories.values()).as_dict(),
            "boundary": self._boundary.as_dict(),
            "routing": self.routing.report(),
            "types": {label: count.as_dict() for label, count in sorted(self._types.items())},
            "categories": {label: count.as_dict() for label, count in sorted(self._categories.items())},
            "lenient": self._lenient.as_dict(),
            "tokens": {
                "accuracy": sum(count.right for count in self._tokens.values()) / total if total else 0.0,
                "support": total,
                "macro": {n: sum(tokens[label][n] for label in seen) / (len(seen) or 1) for n in names},
                "weighted": {
                    n: sum(tokens[label][n] * tokens[label]["support"] for label in seen) / (total or 1)
                    for n in names
                },
                "labels": tokens,
            },
        }

    def _of_category(self, span: Span) -> str:
        return self._coarse.get(span.label) or span.label.partition("-")[0]


def _add(count: Count, gold: set[Any], predicted: set[Any]) -> None:
    count.right += len(gold & predicted)
    count.predicted += len(predicted)
    count.gold += len(gold)


def _add_by(
    counts: dict[str, Count], gold: Iterable[Span], predicted: Iterable[Span], name: Callable[[Span], str]
) -> None:
    """Add to one count a name, spans compared by begin, end and that name."""
    wanted = {(span.start, span.end, name(span)) for span in gold}
    found = {(span.start, span.end, name(span)) for span in predicted}
    for which, spans in (("gold", wanted), ("predicted", found), ("right", wanted & found)):
        for label, number in Counter(span[2] for span in spans).items():
            count = counts.setdefault(label, Count())
            setattr(count, which, getattr(count, which) + number)


def _sum(counts: Iterable[Count]) -> Count:
    total = Count()
    for count in counts:
        total.right += count.right
        total.predicted += count.predicted
        total.gold += count.gold
    return total


def _tags(spans: Sequence[Span], tokens: Sequence[tuple[int, int]]) -> list[str]:
    """Return each token's label: that of the span which holds its first unit."""
    tags = [OUTSIDE] * len(tokens)
    ordered = sorted(spans)
    place = 0
    for number, (start, _) in enumerate(tokens):
        while place < len(ordered) and ordered[place].end <= start:
            place += 1
        if place < len(ordered) and ordered[place].start <= start:
            tags[number] = ordered[place].label
    return tags
