"""Choose how word scores become entities.

Transitions are counted on training sentences; weight and temperature are chosen on held-out ones.
"""

from __future__ import annotations

import dataclasses
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
    """What a decoding finds: each entity's score and whether it is right, and how many there were to find."""

    score: Floats
    right: npt.NDArray[np.bool_]
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
    """Decode the words, or those of the chosen sentences only, and hold them against the gold."""
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
    return Found(score, np.array(right, np.bool_), gold)


def choose(
    scored: Scored, decoding: decode.Decoding, only: npt.NDArray[np.bool_] | None = None
) -> tuple[decode.Decoding, dict[float, float]]:
    """Return the decoding with the best weight, prices and temperature, and each weight's F1 at those prices.

    Args:
        scored: held-out scores.
        decoding: transitions counted on training sentences.
        only: choose on these sentences alone.
    """

    def by_weight(stay: float, switch: float, weights: Sequence[float]) -> dict[float, float]:
        priced = dataclasses.replace(decoding, stay=stay, switch=switch)
        return {w: find(scored, dataclasses.replace(priced, weight=w), only).f1 for w in weights}

    # Three weights in a row, so that a lone peak chooses no price.
    near = {price: sorted(by_weight(*price, WEIGHTS[4:20:2]).values())[-3:] for price in PRICES}
    stay, switch = max(PRICES, key=lambda price: sum(near[price]))
    f1 = by_weight(stay, switch, WEIGHTS)
    f1[0.0] = find(scored, dataclasses.replace(decoding, weight=0.0, stay=0.0, switch=0.0), only).f1
    # The middle of what is as good as the best: a lone peak is chance.
    good = [weight for weight in WEIGHTS if f1[weight] >= max(f1.values()) - 0.0005]
    chosen = dataclasses.replace(decoding, weight=good[len(good) // 2], stay=stay, switch=switch)
    likelihood = {
        t: find(scored, dataclasses.replace(chosen, temperature=t), only).likelihood for t in TEMPERATURES
    }
    best = max(TEMPERATURES, key=lambda t: likelihood[t])
    return dataclasses.replace(chosen, temperature=round(best, 3)), f1


def transitions(sentences: Iterable[Sentence], labels: Sequence[str]) -> decode.Decoding:
    """Count transitions on the training sentences with Few-NERD's own mix of types."""
    return decode.fit_transitions((s.tags for s in sentences if s.natural), labels)


def cross_fitted(scored: Scored, decoding: decode.Decoding, bins: int = 15) -> dict[str, Any]:
    """Return what weight and temperature are worth on sentences that did not choose them.

    Each half of the sentences is decoded as the other half would have it.

    Returns:
        ``f1``; ``ece_before`` at temperature 1 and ``ece`` at the fitted one, over bins of equal mass; and
        the two reliability curves.
    """
    half = np.random.default_rng(17).permutation(len(scored.gold)) % 2 == 0
    before: list[Found] = []
    after: list[Found] = []
    for chosen_on, told in ((half, ~half), (~half, half)):
        chosen, _ = choose(scored, decoding, chosen_on)
        before.append(find(scored, dataclasses.replace(chosen, temperature=1.0), told))
        after.append(find(scored, chosen, told))
    curves = [
        reliability(np.concatenate([f.score for f in side]), np.concatenate([f.right for f in side]), bins)
        for side in (before, after)
    ]
    right, found, gold = (sum(counts) for counts in zip(*(f.counts for f in after), strict=True))
    return {
        "f1": 2 * right / max(1, found + gold),
        "ece_before": curves[0][0],
        "ece": curves[1][0],
        "curve_before": curves[0][1],
        "curve": curves[1][1],
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
