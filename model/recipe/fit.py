"""Choose how word scores become entities, and which of them are told.

Transitions are counted on training sentences; all other numbers are chosen on held-out ones.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from model import decode
from model.decoding import Decoding, fit_transitions
from model.evaluate import join
from model.recipe.calibration import reliability
from model.scores import Count, spans_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from model.recipe.data import Sentence
    from model.tagger import Tagger

    Floats = npt.NDArray[np.float32]
    Ints = npt.NDArray[np.int64]

WEIGHTS = tuple(round(0.05 * step, 2) for step in range(9))
LEASTS = tuple(round(0.02 * step, 2) for step in range(31))
THRESHOLDS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PRECISIONS = (0.8, 0.9)
TEMPERATURES = tuple(float(t) for t in np.geomspace(0.5, 3.0, 61))
# Fewer entities say little of a type's own threshold.
_ENOUGH = 20
# What a category's own threshold must be worth, in F1.
_PAYS = 0.01

Spans = set[tuple[int, int, str]]


@dataclasses.dataclass(frozen=True)
class Scored:
    """A tagger's undecoded scores of the words of some sentences, and what is right about them.

    Attributes:
        scores: log-probabilities, [words, labels].
        linked: whether a word follows another of its sentence, [words].
        start: each word's first code point in its sentence's joined tokens, [words].
        end: one past its last, [words].
        sentence: the sentence each word is of, [words].
        gold: each sentence's entities.
    """

    scores: Floats
    linked: npt.NDArray[np.bool_]
    start: Ints
    end: Ints
    sentence: Ints
    gold: list[Spans]

    def part(self, only: npt.NDArray[np.bool_]) -> Scored:
        """Return the chosen sentences alone."""
        rows = only[self.sentence]
        number = np.cumsum(only) - 1
        return Scored(
            self.scores[rows],
            self.linked[rows],
            self.start[rows],
            self.end[rows],
            number[self.sentence[rows]],
            [spans for spans, chosen in zip(self.gold, only, strict=True) if chosen],
        )


@dataclasses.dataclass(frozen=True)
class Found:
    """What a decoding finds in some sentences, [entities] each, and what there was.

    Attributes:
        score: how sure extent and label are.
        coarse_score: how sure extent and category are.
        right: whether extent and label are right.
        coarse_right: whether extent and category are.
        label: the label's index.
        category: the category's number.
        sentence: where it is.
        gold: how many entities there are, by label's index, [labels].
        belongs: which categories a sentence has an entity of, [sentences, categories].
    """

    score: Floats
    coarse_score: Floats
    right: npt.NDArray[np.bool_]
    coarse_right: npt.NDArray[np.bool_]
    label: Ints
    category: Ints
    sentence: Ints
    gold: Ints
    belongs: npt.NDArray[np.bool_]

    def kept(self, told: npt.NDArray[np.bool_]) -> Found:
        """Return what of it is told."""
        own = {name: getattr(self, name)[told] for name in _OF_ENTITIES}
        return dataclasses.replace(self, **own)

    def told(self, decoding: Decoding) -> Found:
        """Return what of it the decoding's thresholds tell."""
        coarse = np.array(
            [0.0, *(decoding.thresholds.get(name, decoding.least) for name in decoding.names[1:])]
        )
        fine = np.array([decoding.types.get(label, 0.0) for label in decoding.labels])
        return self.kept((self.coarse_score >= coarse[self.category]) & (self.score >= fine[self.label]))

    @property
    def f1(self) -> float:
        """Micro-averaged F1 of exact (start, end, label) matches, 0..1."""
        return _f1(self.right.sum(), self.right.size, self.gold.sum())

    @property
    def coarse_f1(self) -> float:
        """The same of (start, end, category) matches."""
        return _f1(self.coarse_right.sum(), self.right.size, self.gold.sum())

    def routing(self) -> Count:
        """Count the sentences that belong on a category's topic, and those that came there, over all topics."""
        came = np.zeros_like(self.belongs)
        came[self.sentence, self.category] = True
        return Count(int((came & self.belongs).sum()), int(came.sum()), int(self.belongs.sum()))


_OF_ENTITIES = ("score", "coarse_score", "right", "coarse_right", "label", "category", "sentence")


def _f1(right: float, found: float, gold: float) -> float:
    return float(2 * right / max(1, found + gold))


def _likelihood(score: Floats, right: npt.NDArray[np.bool_]) -> float:
    """Return the mean log-likelihood of entities' being right or wrong under their scores."""
    p = np.clip(score.astype(np.float64), 1e-6, 1 - 1e-6)
    return float(np.log(np.where(right, p, 1 - p)).mean()) if p.size else 0.0


def gold_spans(sentence: Sentence) -> Spans:
    """Return a sentence's entities as code points of its tokens joined by spaces."""
    places = join(sentence.tokens)[1]
    return {(places[span.start][0], places[span.end - 1][1], span.label) for span in spans_of(sentence.tags)}


def score(tagger: Tagger, sentences: Sequence[Sentence]) -> Scored:
    """Score sentences as the tagger reads them, their tokens joined by spaces."""
    words = tagger.log_probabilities([join(s.tokens)[0] for s in sentences])
    counts = [len(spans) for spans, _ in words]
    spans = np.concatenate([spans for spans, _ in words])
    linked = np.ones(len(spans), np.bool_)
    linked[np.cumsum([0, *counts])[:-1][np.array(counts) > 0]] = False
    return Scored(
        np.concatenate([scores for _, scores in words]),
        linked,
        spans[:, 0],
        spans[:, 1],
        np.repeat(np.arange(len(words)), counts),
        [gold_spans(s) for s in sentences],
    )


def find(scored: Scored, decoding: Decoding) -> Found:
    """Decode the words and hold all that is found, told or not, against the gold."""
    mass = decode.masses(scored.scores, decoding)
    path = decode.best_path(mass, scored.linked, np.zeros(len(mass), np.bool_), decoding)
    firsts, pasts = decode.runs(path, scored.linked)
    coarse = decode.scores(mass, scored.linked, path, firsts, pasts, temperature=decoding.temperature)
    labels, shares = decode.types(scored.scores, path, firsts, pasts, decoding)
    number = {label: i for i, label in enumerate(decoding.labels)}
    at = {
        (sentence, start, end): number[label]
        for sentence, spans in enumerate(scored.gold)
        for start, end, label in spans
    }
    places = zip(scored.sentence[firsts], scored.start[firsts], scored.end[pasts - 1], strict=True)
    # No label has the number -1, nor has its category.
    wanted = np.array([at.get((int(i), int(s), int(e)), -1) for i, s, e in places], np.int64)
    group = np.append(decoding.group, -1)
    gold = np.array([*at.values()], np.int64)
    belongs = np.zeros((len(scored.gold), len(decoding.names)), np.bool_)
    belongs[np.array([sentence for sentence, _, _ in at], np.int64), decoding.group[gold]] = True
    return Found(
        score=coarse * shares,
        coarse_score=coarse,
        right=wanted == labels,
        coarse_right=group[wanted] == path[firsts],
        label=labels,
        category=path[firsts],
        sentence=scored.sentence[firsts],
        gold=np.bincount(gold, minlength=len(decoding.labels)),
        belongs=belongs,
    )


def choose(scored: Scored, decoding: Decoding) -> tuple[Decoding, dict[float, float]]:
    """Return the best decoding, and each weight's F1 over all types at the best least coarse score.

    Args:
        scored: held-out scores.
        decoding: transitions counted on training sentences.
    """
    plain = dataclasses.replace(
        decoding, temperature=1.0, sharpness=1.0, least=0.0, stay=0.0, switch=0.0, thresholds={}, types={}
    )
    f1 = {w: max(_by_least(find(scored, dataclasses.replace(plain, weight=w))).values()) for w in WEIGHTS}
    # The middle: a lone peak is chance.
    good = [w for w in WEIGHTS if f1[w] >= max(f1.values()) - _AS_GOOD]
    chosen = dataclasses.replace(plain, weight=good[len(good) // 2])
    chosen = calibrated(scored, chosen)
    found = find(scored, chosen)
    return dataclasses.replace(chosen, thresholds=category_thresholds(found, chosen)), f1


_AS_GOOD = 0.0005


def calibrated(scored: Scored, decoding: Decoding) -> Decoding:
    """Return the decoding with the temperatures under which what is right and wrong is likeliest."""
    likelihood: dict[float, float] = {}
    for value in TEMPERATURES:
        found = find(scored, dataclasses.replace(decoding, temperature=value))
        likelihood[value] = _likelihood(found.coarse_score, found.coarse_right)
    decoding = dataclasses.replace(decoding, temperature=round(_best(likelihood), 3))
    for value in TEMPERATURES:
        found = find(scored, dataclasses.replace(decoding, sharpness=value))
        likelihood[value] = _likelihood(found.score, found.right)
    return dataclasses.replace(decoding, sharpness=round(_best(likelihood), 3))


def _best(likelihood: dict[float, float]) -> float:
    return max(likelihood, key=lambda value: likelihood[value])


def _by_least(found: Found) -> dict[float, float]:
    """Return the F1 over all types of what has at least each of `LEASTS` as its coarse score."""
    return {least: found.kept(found.coarse_score >= least).f1 for least in LEASTS}


def category_thresholds(found: Found, decoding: Decoding) -> dict[str, float]:
    """Return the least coarse score of each category that serves both readers of its topic.

    One wants the documents that belong there, the other the entities in them: so the sum is highest of the F1 of
    routing and the F1 over the category's types. A mean over three neighbours is compared, since a lone peak is
    chance. For the same reason a category has what is best for all together, or what comes next to that, unless
    another threshold is worth more than `_PAYS`.
    """

    def worth(chosen: npt.NDArray[np.bool_], category: int | None) -> npt.NDArray[np.float64]:
        belongs = found.belongs if category is None else found.belongs[:, [category]]
        types = slice(None) if category is None else decoding.group == category
        gold = found.gold[types].sum()
        sums = []
        for least in LEASTS:
            told = chosen & (found.coarse_score >= least)
            came = np.unique(found.sentence[told] * len(decoding.names) + found.category[told])
            right = found.belongs[came // len(decoding.names), came % len(decoding.names)].sum()
            sums.append(_f1(right, came.size, belongs.sum()) + _f1(found.right[told].sum(), told.sum(), gold))
        return np.convolve(np.pad(sums, 1, mode="edge"), np.ones(3) / 3, mode="valid")

    common = int(worth(np.ones(found.label.size, np.bool_), None).argmax())
    out = {}
    for number, name in enumerate(decoding.names[1:], 1):
        sums = worth(found.category == number, number)
        good = np.flatnonzero(sums >= sums.max() - _PAYS)
        out[name] = LEASTS[int(good[np.abs(good - common).argmin()])]
    return out


def type_thresholds(found: Found, decoding: Decoding) -> dict[str, float]:
    """Return the least score of each type at which its F1 is highest, of what the categories' ones tell.

    Types that are best told whatever their score, or that few sentences have, are left out.
    """
    told = found.told(dataclasses.replace(decoding, types={}))
    out = {}
    for number, label in enumerate(decoding.labels[1:], 1):
        own = told.label == number
        if own.sum() < _ENOUGH or found.gold[number] < _ENOUGH:
            continue
        worth = [
            _f1(told.right[kept].sum(), kept.sum(), found.gold[number])
            for kept in (own & (told.score >= least) for least in LEASTS)
        ]
        smooth = np.convolve(np.pad(worth, 1, mode="edge"), np.ones(3) / 3, mode="valid")
        if LEASTS[int(smooth.argmax())]:
            out[label] = LEASTS[int(smooth.argmax())]
    return out


def transitions(sentences: Iterable[Sentence], labels: Sequence[str]) -> Decoding:
    """Count transitions on the training sentences with Few-NERD's own mix of types."""
    return fit_transitions((s.tags for s in sentences if s.natural), labels)


def cross_fitted(scored: Scored, decoding: Decoding, bins: int = 15) -> dict[str, Any]:
    """Return what the chosen numbers are worth on sentences that did not choose them.

    Each half of the sentences is decoded as the other half would have it.

    Returns:
        ``f1`` and ``coarse_f1`` of what is told and its ``routing``; ``with_types``: the same if each type had a
        least score of its own; of all that is found, told or not, ``fine`` and ``coarse``: ``ece_before`` at
        temperatures of 1 and ``ece`` at the fitted ones, over bins of equal mass, and the two reliability curves.
    """
    half = np.random.default_rng(17).permutation(len(scored.gold)) % 2 == 0
    halves = scored.part(half), scored.part(~half)
    before: list[Found] = []
    after: list[Found] = []
    told: list[Found] = []
    typed: list[Found] = []
    for chosen_on, other in (halves, halves[::-1]):
        chosen, _ = choose(chosen_on, decoding)
        before.append(find(other, dataclasses.replace(chosen, temperature=1.0, sharpness=1.0)))
        after.append(find(other, chosen))
        told.append(after[-1].told(chosen))
        types = type_thresholds(find(chosen_on, chosen), chosen)
        typed.append(after[-1].told(dataclasses.replace(chosen, types=types)))
    out: dict[str, Any] = _worth(told) | {"with_types": _worth(typed)}
    for kind, scores, right in (("fine", "score", "right"), ("coarse", "coarse_score", "coarse_right")):
        (ece_before, curve_before), (ece, curve) = (
            reliability(
                np.concatenate([getattr(f, scores) for f in side]),
                np.concatenate([getattr(f, right) for f in side]),
                bins,
            )
            for side in (before, after)
        )
        out[kind] = {"ece_before": ece_before, "ece": ece, "curve_before": curve_before, "curve": curve}
    return out


def _worth(parts: Sequence[Found]) -> dict[str, Any]:
    """Return the F1 over types and categories and the routing of what is told in several parts together."""
    found, gold = sum(f.right.size for f in parts), sum(int(f.gold.sum()) for f in parts)
    routing = Count()
    for part in parts:
        one = part.routing()
        routing.right += one.right
        routing.predicted += one.predicted
        routing.gold += one.gold
    return {
        "f1": _f1(sum(f.right.sum() for f in parts), found, gold),
        "coarse_f1": _f1(sum(f.coarse_right.sum() for f in parts), found, gold),
        "routing": routing.as_dict(),
    }


def thresholds(scored: Scored, decoding: Decoding) -> dict[str, Any]:
    """Return what is left of all entities above some coarse scores, and by label the score that buys a precision.

    Returns:
        ``all``: a row (threshold, precision, recall, f1, and of routing the same) for each of `THRESHOLDS`;
        ``labels``: by label, and by precision wanted, the least score at and above which the found entities are
        that precise, with the recall that is left; None where none is.
    """
    found = find(scored, decoding)
    rows = []
    for least in THRESHOLDS:
        told = found.kept(found.coarse_score >= least)
        fine = Count(int(told.right.sum()), told.right.size, int(found.gold.sum()))
        rows.append({"threshold": least, **fine.as_dict(), "routing": told.routing().as_dict()})
    by_label = {}
    for index, label in enumerate(decoding.labels):
        own = found.label == index
        if found.gold[index] and index:
            by_label[label] = {
                f"{wanted:g}": _buys(found.score[own], found.right[own], wanted, int(found.gold[index]))
                for wanted in PRECISIONS
            }
    return {"all": rows, "labels": by_label}


def _buys(score: Floats, right: npt.NDArray[np.bool_], wanted: float, gold: int) -> dict[str, float] | None:
    """Return the least score above which this precision holds, and the recall that is left."""
    order = np.argsort(-score, kind="stable")
    told = np.arange(1, score.size + 1)
    # Scores that are equal stand or fall together.
    last = np.append(np.diff(score[order]) != 0, True)[: score.size]
    good = np.flatnonzero((np.cumsum(right[order]) >= wanted * told) & last)
    if not good.size:
        return None
    place = int(good[-1])
    return {
        "threshold": float(score[order][place]),
        "recall": float(right[order][: place + 1].sum() / gold),
    }
