"""Whole entities out of word scores: extent and category first, exactly and cheaply, then the type within it.

Few-NERD scores runs of one label, and taking each word's likeliest label breaks names into pieces of rival
types. What is wanted first is the category, and many types that are each unlikely may make one category
certain. So a word's score for a category is the mass of its types (the log of their summed probability), and
the sequence ``y`` of categories is chosen that maximises

    sum over words of  log p(y[t]) + weight * (log P(y[t] | y[t - 1]) - log P(y[t])) + stay or switch

where ``P`` is counted on training tags, ``stay`` is for a word that goes on with an entity, and ``switch``
for one that follows another category's entity at once. Words are the chain's links; a text begins after an
``O``. Each run of one category is an entity, and its type is the one with the highest summed log-probability.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from model.decoding import Decoding

    Floats = npt.NDArray[np.float32]
    Ints = npt.NDArray[np.int64]

# Log-probabilities below this are as good as none; their exponentials stay finite.
_LEAST: Final = np.float32(-80)


def masses(logits: Floats, decoding: Decoding) -> Floats:
    """Return the log of each category's mass at each word, [words, categories], up to a constant per word."""
    top = logits.max(1, keepdims=True)
    parts = np.exp(np.maximum(logits - top, _LEAST))[:, decoding.order]
    found: Floats = np.log(np.add.reduceat(parts, decoding.bounds, axis=1))
    return found


def candidates(scores: Floats, decoding: Decoding) -> tuple[npt.NDArray[np.bool_], Ints]:
    """Return which categories may be in a best sequence at each word, [words, categories], and how many."""
    best = scores.argmax(1)
    gap = scores.max(1, keepdims=True) - scores
    possible = gap <= decoding.margins[best]
    return possible, np.count_nonzero(possible, axis=1)


def undecided(logits: Floats, decoding: Decoding) -> Ints:
    """Return the rows, in order, of the words that are not certainly ``O``; the others need no decoding."""
    # Most words are O by far. What O's margin over every category holds, no transition can overturn. A bound
    # from single labels settles most of them in one comparison, the masses themselves the rest.
    possible = logits[:, 1:] >= logits[:, :1] - decoding.reach[1:]
    rows = np.flatnonzero(possible.any(1))
    scores = masses(logits[rows], decoding)
    possible = scores[:, 1:] >= scores[:, :1] - decoding.margins[0, 1:]
    return rows[possible.any(1)]


def best_path(
    scores: Floats, linked: npt.NDArray[np.bool_], closed: npt.NDArray[np.bool_], decoding: Decoding
) -> Ints:
    """Return the number of the best sequence's category at each word, [words].

    Args:
        scores: `masses` of the undecided words, in order, [words, categories].
        linked: whether a word directly follows the one before it here; if not, an ``O`` or the beginning of
            its text comes before it.
        closed: whether a word that none is linked to is followed by an ``O``; if not, its text ends with it.
        decoding: the transitions.
    """
    possible, counts = candidates(scores, decoding)
    # Words with one candidate are settled; it, put into their neighbours' scores, cuts the chain.
    path = np.where(counts == 1, possible.argmax(1), 0)
    open_rows = np.flatnonzero(counts > 1)
    if not open_rows.size:
        return path
    last = linked.size - 1
    joined = linked[open_rows] & (counts[open_rows - 1] > 1)
    before = np.where(linked[open_rows], path[open_rows - 1], 0)
    after_row = np.minimum(open_rows + 1, last)
    followed = linked[after_row] & (open_rows < last)
    goes_on = followed & (counts[after_row] > 1)
    after = np.where(followed, path[after_row], 0)
    matrix = decoding.matrix
    scores = scores[open_rows] - scores[open_rows].max(1, keepdims=True)
    scores += np.where(joined[:, None], 0, matrix[before])
    ends = ~goes_on & (followed | closed[open_rows])
    scores += np.where(ends[:, None], matrix.T[after], 0)
    # Where each chain of undecided words begins, among those.
    lengths = np.diff(np.flatnonzero(~joined), append=open_rows.size)
    names, values = _narrow(scores, possible[open_rows], counts[open_rows], int(counts.max()))
    path[open_rows] = _walk(names, values, lengths, matrix)
    return path


def _narrow(scores: Floats, possible: npt.NDArray[np.bool_], counts: Ints, width: int) -> tuple[Ints, Floats]:
    """Return each word's candidates and their scores, both [words, width], filled up with impossible ones."""
    word, label = np.nonzero(possible)
    place = np.arange(word.size) - np.repeat(np.cumsum(counts) - counts, counts)
    names = np.zeros((len(counts), width), np.int64)
    values = np.full((len(counts), width), -np.inf, np.float32)
    names[word, place] = label
    values[word, place] = scores[word, label]
    return names, values


def _walk(names: Ints, values: Floats, lengths: Ints, matrix: Floats) -> Ints:
    """Viterbi over chains laid end to end, all at once, a step a word; longest first, so none is padded."""
    starts = np.cumsum(lengths) - lengths
    order = np.argsort(-lengths, kind="stable")
    starts, lengths = starts[order], lengths[order]
    steps = int(lengths[0])
    # How many chains are longer than each step.
    alive = np.searchsorted(-lengths, -np.arange(steps), side="left")
    back = np.zeros(names.shape, np.int8)
    total = values[starts]
    final = np.empty(names.shape, np.float32)
    final[starts] = total
    for step in range(1, steps):
        rows = starts[: alive[step]] + step
        moves = matrix[names[rows - 1][:, :, None], names[rows][:, None, :]]
        moves += final[rows - 1][:, :, None]
        back[rows] = moves.argmax(1)
        final[rows] = moves.max(1) + values[rows]
    place = np.zeros(len(starts), np.int64)
    labels = np.zeros(len(names), np.int64)
    for step in range(steps - 1, -1, -1):
        rows = starts[: alive[step]] + step
        here = place[: alive[step]]
        ending = lengths[: alive[step]] == step + 1
        here[ending] = final[rows[ending]].argmax(1)
        labels[rows] = names[rows, here]
        if step:
            place[: alive[step]] = back[rows, here]
    return labels


def runs(labels: Ints, linked: npt.NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Return the first rows of the runs of one label other than ``O``, and one past their last rows."""
    change = np.ones(labels.size, np.bool_)
    change[1:] = ~linked[1:] | (labels[1:] != labels[:-1])
    firsts = np.flatnonzero(change)
    pasts = np.append(firsts[1:], labels.size)
    named = labels[firsts] != 0
    return firsts[named], pasts[named]


def scores(
    mass: Floats,
    linked: npt.NDArray[np.bool_],
    path: Ints,
    firsts: Ints,
    pasts: Ints,
    *,
    temperature: float,
) -> Floats:
    """Return how probable it is that each run is an entity of just this extent and category, in 0..1.

    That is the probability of its category at its least sure word, times that of the words on either side not
    going on with it. Against the mean over its words it tells right from wrong better (on validation, area
    under the curve 0.78 for 0.76), and is nearer to how often it is right.

    Args:
        mass: `masses` of the undecided words, [words, categories].
        linked: as in `best_path`.
        path: what `best_path` found, [words].
        firsts: the runs' first rows, as `runs` gives them.
        pasts: one past their last ones.
        temperature: `Decoding.temperature`.
    """
    if not firsts.size:
        return np.zeros(0, np.float32)
    rows, starts = _rows(firsts, pasts)
    inside = np.exp(log_probabilities(mass[rows], temperature)[np.arange(rows.size), path[rows]])
    found: Floats = np.minimum.reduceat(inside, starts)
    # Where the neighbour is not here, it is certainly O, or there is none.
    for beside, there in (
        (firsts - 1, linked[firsts]),
        (np.minimum(pasts, path.size - 1), np.append(linked, False)[pasts]),
    ):
        outside = beside[there]
        goes_on = np.exp(
            log_probabilities(mass[outside], temperature)[np.arange(outside.size), path[firsts[there]]]
        )
        found[there] *= 1 - goes_on
    return found


def types(logits: Floats, path: Ints, firsts: Ints, pasts: Ints, decoding: Decoding) -> tuple[Ints, Floats]:
    """Return the likeliest label of each run within its category, and how probable it is there, in 0..1.

    The runs' words have one type together: the sum of their log-probabilities chooses it. They are anything
    but independent of each other, so it is the mean over them that tells how sure it is.
    """
    if not firsts.size:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    rows, starts = _rows(firsts, pasts)
    summed = np.add.reduceat(logits[rows], starts, axis=0)
    summed /= (pasts - firsts)[:, None]
    summed[decoding.group != path[firsts][:, None]] = -np.inf
    labels = summed.argmax(1)
    shares = np.exp(log_probabilities(summed, decoding.sharpness)[np.arange(labels.size), labels])
    return labels, shares


def _rows(firsts: Ints, pasts: Ints) -> tuple[Ints, Ints]:
    """Return the rows of all runs, one run after the other, and where each begins among them."""
    sizes = pasts - firsts
    starts = np.cumsum(sizes) - sizes
    return np.repeat(firsts - starts, sizes) + np.arange(sizes.sum()), starts


def log_probabilities(logits: Floats, temperature: float = 1.0) -> Floats:
    """Return log-probabilities [words, labels] of logits divided by a temperature."""
    scaled = (logits - logits.max(1, keepdims=True)) / np.float32(temperature)
    found: Floats = scaled - np.log(np.exp(scaled).sum(1, keepdims=True))
    return found
