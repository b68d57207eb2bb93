"""Choose how word scores become entities.

Transitions are counted on training sentences; weight and temperature are chosen on held-out ones.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from model import decode
from model.evaluate import join
from model.scores import spans_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from model.recipe.data import Sentence
    from model.tagger import Tagger

    Floats = npt.NDArray[np.float32]
    Ints = npt.NDArray[np.int64]

WEIGHTS = tuple(round(0.01 * step, 2) for step in range(41))
PRICES = tuple((stay, switch) for stay in (0.0, -0.1, -0.2, -0.3, -0.4) for switch in (0.0, -0.25, -0.5))
LEASTS = tuple(round(0.02 * step, 2) for step in range(26))
THRESHOLDS = (0.0, 0.3, 0.5, 0.7, 0.9)
PRECISIONS = (0.8, 0.9)
TEMPERATURES = tuple(float(t) for t in np.geomspace(0.5, 3.0, 181))

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


@dataclasses.dataclass(frozen=True)
class Found:
    """What a decoding finds: each entity's score, label and whether it is right; and how many there were."""

    score: Floats
    right: npt.NDArray[np.bool_]
    label: Ints
    gold: int

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many are right, found, and in the gold."""
        return int(self.right.sum()), self.right.size, self.gold

    @property
    def f1(self) -> float:
        """Micro-averaged F1 of exact (start, end, label) matches, 0..1."""
        right, found, gold = self.counts
        return 2 * right / max(1, found + gold)

    def above(self, least: float) -> Found:
        """Return what of it has at least this score."""
        told = self.score >= least
        return Found(self.score[told], self.right[told], self.label[told], self.gold)

    @property
    def likelihood(self) -> float:
        """Mean log-likelihood of the entities' being right or wrong under their scores."""
        p = np.clip(self.score.astype(np.float64), 1e-6, 1 - 1e-6)
        return float(np.log(np.where(self.right, p, 1 - p)).mean()) if p.size else 0.0


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


def find(scored: Scored, decoding: decode.Decoding, only: npt.NDArray[np.bool_] | None = None) -> Found:
    """Decode the words, or those of the chosen sentences only, and hold what is told against the gold."""
    chosen = np.ones(len(scored.gold), np.bool_) if only is None else only
    rows = chosen[scored.sentence]
    scores, linked = scored.scores[rows], scored.linked[rows]
    labels = decode.best_labels(scores, linked, np.zeros(len(scores), np.bool_), decoding)
    firsts, pasts = decode.runs(labels, linked)
    score = decode.scores(scores, linked, labels, firsts, pasts, temperature=decoding.temperature)
    start, end, sentence = scored.start[rows], scored.end[rows], scored.sentence[rows]
    spans = zip(
        sentence[firsts].tolist(),
        start[firsts].tolist(),
        end[pasts - 1].tolist(),
        labels[firsts].tolist(),
        strict=True,
    )
    right = [(s, e, decoding.labels[label]) in scored.gold[i] for i, s, e, label in spans]
    gold = sum(len(spans) for spans, counts in zip(scored.gold, chosen, strict=True) if counts)
    return Found(score, np.array(right, np.bool_), labels[firsts].astype(np.int64), gold).above(
        decoding.least
    )


def choose(
    scored: Scored, decoding: decode.Decoding, only: npt.NDArray[np.bool_] | None = None
) -> tuple[decode.Decoding, dict[float, float]]:
    """Return the best decoding, and each weight's F1 at its prices and its least score.

    Args:
        scored: held-out scores.
        decoding: transitions counted on training sentences.
        only: choose on these sentences alone.
    """
    decoding = dataclasses.replace(decoding, temperature=1.0, least=0.0)

    def by_weight(stay: float, switch: float, weights: Sequence[float]) -> dict[float, float]:
        priced = dataclasses.replace(decoding, stay=stay, switch=switch)
        found = {w: find(scored, dataclasses.replace(priced, weight=w), only) for w in weights}
        return {w: max(_by_least(each).values()) for w, each in found.items()}

    # Three weights in a row, so that a lone peak chooses no price.
    near = {price: sorted(by_weight(*price, WEIGHTS[4:20:2]).values())[-3:] for price in PRICES}
    stay, switch = max(PRICES, key=lambda price: sum(near[price]))
    f1 = by_weight(stay, switch, WEIGHTS)
    # The middle: a lone peak is chance.
    good = _as_good_as_the_best(f1)
    weight = good[len(good) // 2]
    f1[0.0] = find(scored, dataclasses.replace(decoding, weight=0.0), only).f1
    chosen = dataclasses.replace(decoding, weight=weight, stay=stay, switch=switch)
    likelihood = {
        t: find(scored, dataclasses.replace(chosen, temperature=t), only).likelihood for t in TEMPERATURES
    }
    best = max(TEMPERATURES, key=lambda t: likelihood[t])
    chosen = dataclasses.replace(chosen, temperature=round(best, 3))
    # The lowest of what is as good as the best: what is told beside it costs nothing.
    least = min(_as_good_as_the_best(_by_least(find(scored, chosen, only))))
    return dataclasses.replace(chosen, least=least), f1


def _by_least(found: Found) -> dict[float, float]:
    """Return the F1 of what has at least each of `LEASTS`."""
    return {least: found.above(least).f1 for least in LEASTS}


def _as_good_as_the_best(f1: dict[float, float]) -> list[float]:
    """Return the values with the best F1, or next to it, in order."""
    return [value for value in sorted(f1) if f1[value] >= max(f1.values()) - 0.0005]


def transitions(sentences: Iterable[Sentence], labels: Sequence[str]) -> decode.Decoding:
    """Count transitions on the training sentences with Few-NERD's own mix of types."""
    return decode.fit_transitions((s.tags for s in sentences if s.natural), labels)


def cross_fitted(scored: Scored, decoding: decode.Decoding, bins: int = 15) -> dict[str, Any]:
    """Return what the chosen numbers are worth on sentences that did not choose them.

    Each half of the sentences is decoded as the other half would have it.

    Returns:
        ``f1``; of all that is found, whatever its score, ``ece_before`` at temperature 1 and ``ece`` at the
        fitted one, over bins of equal mass; and the two reliability curves.
    """
    half = np.random.default_rng(17).permutation(len(scored.gold)) % 2 == 0
    before: list[Found] = []
    after: list[Found] = []
    counts: list[tuple[int, int, int]] = []
    for chosen_on, told in ((half, ~half), (~half, half)):
        chosen, _ = choose(scored, decoding, chosen_on)
        before.append(find(scored, dataclasses.replace(chosen, temperature=1.0, least=0.0), told))
        after.append(find(scored, dataclasses.replace(chosen, least=0.0), told))
        counts.append(find(scored, chosen, told).counts)
    curves = [
        reliability(np.concatenate([f.score for f in side]), np.concatenate([f.right for f in side]), bins)
        for side in (before, after)
    ]
    right, found, gold = (sum(each) for each in zip(*counts, strict=True))
    return {
        "f1": 2 * right / max(1, found + gold),
        "ece_before": curves[0][0],
        "ece": curves[1][0],
        "curve_before": curves[0][1],
        "curve": curves[1][1],
    }


def thresholds(scored: Scored, decoding: decode.Decoding) -> dict[str, Any]:
    """Return what is left of all entities above some scores, and by label the score that buys a precision.

    Returns:
        ``all``: a row (threshold, precision, recall, f1) for each of `THRESHOLDS`; ``labels``: by label, and by
        precision wanted, the least score at and above which the found entities are that precise, with the recall
        that is left; None where none is.
    """
    found = find(scored, dataclasses.replace(decoding, least=0.0))
    rows = []
    for least in THRESHOLDS:
        told = found.score >= least
        right = int((found.right & told).sum())
        precision, recall = right / max(1, int(told.sum())), right / max(1, found.gold)
        f1 = 2 * right / max(1, int(told.sum()) + found.gold)
        rows.append({"threshold": least, "precision": precision, "recall": recall, "f1": f1})
    gold = Counter(label for spans in scored.gold for _, _, label in spans)
    by_label = {}
    for index, label in enumerate(decoding.labels):
        own = found.label == index
        if gold[label] and index:
            by_label[label] = {
                f"{wanted:g}": _buys(found.score[own], found.right[own], wanted, gold[label])
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


def reliability(
    score: Floats, right: npt.NDArray[np.bool_], bins: int
) -> tuple[float, list[dict[str, float]]]:
    """Return the expected calibration error over bins of equal mass, and the reliability curve."""
    order = np.argsort(score, kind="stable")
    parts = [part for part in np.array_split(order, bins) if part.size]
    curve = [
        {"entities": int(part.size), "score": float(score[part].mean()), "right": float(right[part].mean())}
        for part in parts
    ]
    error = sum(row["entities"] * abs(row["score"] - row["right"]) for row in curve) / max(1, score.size)
    return float(error), curve
