"""What turns scores into entities, as a bundle keeps it: transitions, their weight, temperatures, thresholds."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]
    Ints = npt.NDArray[np.int64]

DEFAULT_WEIGHT: Final = 0.15
DEFAULT_SMOOTHING: Final = 10.0
# Rounding of float32 sums must not rule out a category that ties with the best.
_SLACK: Final = 1e-3


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How word scores become entities.

    Attributes:
        labels: all labels in the graph's order, ``O`` first.
        counts: how often label ``j`` follows label ``i`` in training, [labels, labels].
        weight: what a unit of transition log-ratio counts against one of the model's log-probability; 0
            takes each word's likeliest category.
        temperature: divides the categories' scores before a probability is told; it never changes which wins.
        smoothing: how many transitions' worth of the plain frequencies are mixed into each row.
        stay: added where an entity goes on; below 0 undoes what frequent types gain by following themselves.
        switch: added where one entity follows another of a different category without a word between.
        least: the lowest coarse score that is told of categories that ``thresholds`` does not name.
        sharpness: divides the types' scores within a category before a probability is told.
        categories: the category of each label, in their order, the first empty; None for the part of each
            before its first ``-``.
        thresholds: by category, the lowest coarse score that is told. F1 is highest
            where all that is told is likelier right than half of F1 (Lipton, Elkan, Naryanaswamy: Optimal
            Thresholding of Classifiers to Maximize F1 Measure, 2014).
        types: by label, the lowest score that is told.
    """

    labels: tuple[str, ...]
    counts: Ints
    weight: float = DEFAULT_WEIGHT
    temperature: float = 1.0
    smoothing: float = DEFAULT_SMOOTHING
    stay: float = 0.0
    switch: float = 0.0
    least: float = 0.0
    sharpness: float = 1.0
    categories: tuple[str, ...] | None = None
    thresholds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    types: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @classmethod
    def plain(cls, labels: Sequence[str], categories: Sequence[str] | None = None) -> Decoding:
        """Return the decoding that knows no transitions: each word its likeliest category."""
        named = None if categories is None else tuple(categories)
        nothing = np.zeros((len(labels), len(labels)), np.int64)
        return cls(tuple(labels), nothing, weight=0.0, categories=named)

    @functools.cached_property
    def category_of(self) -> tuple[str, ...]:
        """The category of each label; empty for ``O``."""
        return self.categories or ("", *(label.partition("-")[0] for label in self.labels[1:]))

    @functools.cached_property
    def names(self) -> tuple[str, ...]:
        """The categories in the order of their numbers, ``O`` as an empty one first."""
        return tuple(dict.fromkeys(("", *self.category_of[1:])))

    @functools.cached_property
    def group(self) -> Ints:
        """The number of each label's category, [labels]; 0 for ``O``."""
        number = {name: i for i, name in enumerate(self.names)}
        return np.array([number[name] for name in self.category_of], np.int64)

    @functools.cached_property
    def order(self) -> Ints:
        """The labels sorted by category, [labels]."""
        return np.argsort(self.group, kind="stable")

    @functools.cached_property
    def bounds(self) -> Ints:
        """Where each category begins in `order`, [categories]."""
        return np.searchsorted(self.group[self.order], np.arange(len(self.names)))

    @functools.cached_property
    def matrix(self) -> Floats:
        """The weighted log-ratio of each transition, [from, to] by category, float32; finite throughout."""
        size = len(self.names)
        counts = np.zeros((size, size))
        np.add.at(counts, (self.group[:, None], self.group[None, :]), self.counts)
        prior = counts.sum(0) + 1.0
        prior /= prior.sum()
        rows = (counts + self.smoothing * prior) / (counts.sum(1, keepdims=True) + self.smoothing)
        matrix = self.weight * np.log(rows / prior)
        same = np.eye(size, dtype=np.bool_)[1:, 1:]
        matrix[1:, 1:] += np.where(same, self.stay, self.switch)
        found: Floats = matrix.astype(np.float32)
        return found

    @functools.cached_property
    def margins(self) -> Floats:
        """By how much transitions can favour category ``j`` over category ``k`` at one word, [k, j].

        Let ``y`` be any sequence with ``y[t] = j``, ``a`` and ``b`` its categories before and after. Putting
        ``k`` at ``t`` gains ``log p(k) - log p(j)`` and loses at most
        ``max over a of (M[a, j] - M[a, k]) + max(0, max over b of (M[j, b] - M[k, b]))``, the 0 for the last
        word, which has no ``b``. If the gain is the larger, no best sequence has ``j`` at ``t``, whatever
        surrounds it. A word left with one candidate cuts the chain in two.
        """
        into = self.matrix.T  # [to, from]
        out = self.matrix
        size = len(self.names)
        margins = np.empty((size, size), np.float32)
        for k in range(size):
            margins[k] = (into - into[k]).max(1) + np.maximum((out - out[k]).max(1), 0)
        return margins + np.float32(_SLACK)

    @functools.cached_property
    def reach(self) -> Floats:
        """By how much the score of ``O`` must be above a label's for its category to be out, [labels].

        A category's mass is at most that of its likeliest type times their number.
        """
        several = np.log(np.bincount(self.group)).astype(np.float32)
        found: Floats = (self.margins[0] + several)[self.group]
        return found

    def save(self, folder: str | Path) -> None:
        """Write ``decoding.json`` into a bundle's folder; only transitions that occurred are listed."""
        transitions = {
            label: {self.labels[j]: int(row[j]) for j in np.flatnonzero(row)}
            for label, row in zip(self.labels, self.counts, strict=True)
            if row.any()
        }
        content = {
            "weight": self.weight,
            "temperature": self.temperature,
            "smoothing": self.smoothing,
            "stay": self.stay,
            "switch": self.switch,
            "least": self.least,
            "sharpness": self.sharpness,
            "thresholds": {"categories": dict(self.thresholds), "types": dict(self.types)},
            "transitions": transitions,
        }
        (Path(folder) / "decoding.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")

    @classmethod
    def load(
        cls, path: str | Path, labels: Sequence[str], categories: Sequence[str] | None = None
    ) -> Decoding:
        """Read what `save` wrote, or an older version of it did.

        Raises:
            ValueError: a number is out of range, or a transition or threshold names what the model lacks.
        """
        content = json.loads(Path(path).read_bytes())
        if not isinstance(content, dict) or not isinstance(content.get("transitions"), dict):
            raise ValueError("no object with `transitions` in it")  # noqa: TRY004 - one error for the file
        numbers: dict[str, Any] = {
            name: _number(content, name) for name in ("weight", "temperature", "smoothing")
        }
        later = ("stay", "switch", "least", "sharpness")
        numbers |= {name: _number(content, name) for name in later if name in content}
        if numbers["weight"] < 0 or numbers["temperature"] <= 0 or numbers["smoothing"] <= 0:
            raise ValueError("weight must be at least 0, temperature and smoothing more than 0")
        if not 0 <= numbers.get("least", 0) < 1:
            raise ValueError("least must be at least 0 and less than 1")
        if numbers.get("sharpness", 1) <= 0:
            raise ValueError("sharpness must be more than 0")
        index = {label: i for i, label in enumerate(labels)}
        counts = np.zeros((len(labels), len(labels)), np.int64)
        for before, row in content["transitions"].items():
            for after, count in row.items():
                if before not in index or after not in index:
                    raise ValueError(f"transition {before!r} to {after!r} names a label that the model lacks")
                counts[index[before], index[after]] = count
        named = None if categories is None else tuple(categories)
        found = cls(tuple(labels), counts, categories=named, **numbers)
        given = content.get("thresholds", {})
        if not isinstance(given, dict):
            raise ValueError("thresholds must be an object")  # noqa: TRY004 - one error for the file
        thresholds = _scores(given, "categories", found.names[1:])
        return dataclasses.replace(found, thresholds=thresholds, types=_scores(given, "types", labels[1:]))


def _scores(given: dict[str, Any], kind: str, known: Collection[str]) -> dict[str, float]:
    """Return the lowest scores of one kind, by name."""
    scores = given.get(kind, {})
    if not isinstance(scores, dict):
        raise ValueError(f"thresholds.{kind} must be an object")  # noqa: TRY004 - one error for the file
    for name in scores:
        if name not in known:
            raise ValueError(f"thresholds.{kind} names {name!r}, which the model lacks")
        if not 0 <= _number(scores, name) <= 1:
            raise ValueError(f"thresholds.{kind}: {name} must be 0 to 1")
    return {name: float(score) for name, score in scores.items()}


def _number(content: dict[str, Any], name: str) -> float:
    value = content.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}, must be a number")
    return float(value)


def fit_transitions(
    sequences: Iterable[Sequence[str]],
    labels: Sequence[str],
    *,
    weight: float = DEFAULT_WEIGHT,
    temperature: float = 1.0,
    smoothing: float = DEFAULT_SMOOTHING,
    stay: float = 0.0,
    switch: float = 0.0,
) -> Decoding:
    """Count transitions in tag sequences (one a sentence, in the IO scheme), each beginning after an ``O``.

    Count on sentences with a natural mix of types: others distort what is frequent.

    Raises:
        KeyError: a tag is not among ``labels``.
    """
    index = {label: i for i, label in enumerate(labels)}
    pairs: Counter[tuple[str, str]] = Counter()
    for tags in sequences:
        pairs.update(pairwise((labels[0], *tags)))
    counts = np.zeros((len(labels), len(labels)), np.int64)
    for (before, after), count in pairs.items():
        counts[index[before], index[after]] = count
    return Decoding(tuple(labels), counts, weight, temperature, smoothing, stay, switch)
