"""Windows over long texts, which of them speaks for a word, and batches of like length."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]


# Padded pieces in a batch: more are no faster, and their activations leave a core's own cache.
BATCH_PIECES: Final = 384
# Fitted to run times of the INT8 graph, in one thread and in two, on batches as they come; the unit is a piece.
COST_OF_BATCH: Final = 30.0
_COST_OF_LENGTH: Final = 0.0033


class Window(NamedTuple):
    """A run of pieces that the graph sees at once, and the words in it whose scores are taken from it.

    All are indices into all texts' pieces and words: pieces ``start`` to ``end``, words ``word`` to ``past``.
    """

    start: int
    end: int
    word: int
    past: int


def plan(
    first: Ints, sentence: npt.NDArray[np.bool_], pieces: int, *, longest: int, overlap: int
) -> list[Window]:
    """Return the windows over some texts: a sentence each, or several where it is too long for one.

    Args:
        first: the first pieces of all words, increasing.
        sentence: whether a word begins a sentence.
        pieces: how many pieces there are.
        longest: pieces in a window.
        overlap: pieces that neighbouring windows of one sentence share.
    """
    begin = np.flatnonzero(sentence)
    words = [*begin.tolist(), len(first)]
    bounds = [*first[begin].tolist(), pieces]
    out: list[Window] = []
    for start, end, word, past in zip(bounds, bounds[1:], words, words[1:], strict=False):
        if end - start <= longest:
            out.append(Window(start, end, word, past))
        else:
            out += cover(start, end, first[word:past], word, longest=longest, overlap=overlap)
    return out


def cover(start: int, end: int, first: Ints, word: int, *, longest: int, overlap: int) -> list[Window]:
    """Cover a sentence's pieces ``start`` to ``end`` by windows of at most ``longest`` pieces.

    Windows begin and end between words where a word boundary is near, overlap by about ``overlap`` pieces,
    and every word is given to the window that shows more around its first piece: the smaller of what is on
    its left and on its right counts, the sentence's own beginning and end count as enough, and the earlier
    window has a tie.

    Args:
        start: the sentence's first piece.
        end: one past its last.
        first: the first pieces of its words, increasing.
        word: its first word.
        longest: pieces in a window, at least 8.
        overlap: at most half of ``longest``.
    """
    if end - start <= longest:
        return [Window(start, end, word, word + len(first))] if len(first) else []
    bounds = [(start, _boundary(first, start + longest, longest // 4))]
    while bounds[-1][1] < end:
        begin = _boundary(first, bounds[-1][1] - overlap, longest // 8)
        past = begin + longest
        bounds.append((begin, end if past >= end else _boundary(first, past, longest // 4)))
    # The last piece that the earlier of two neighbours speaks for is the middle of what they share.
    cuts = [
        start,
        *((left[1] - 1 + right[0]) // 2 + 1 for left, right in pairwise(bounds)),
        end,
    ]
    words = word + np.searchsorted(first, cuts)
    return [
        Window(*span, int(words[i]), int(words[i + 1]))
        for i, span in enumerate(bounds)
        if words[i] < words[i + 1]
    ]


def _boundary(first: Ints, piece: int, slack: int) -> int:
    """Return the last word's beginning up to ``piece``, or ``piece`` when none is within ``slack`` of it."""
    place = int(np.searchsorted(first, piece, side="right")) - 1
    if place >= 0 and piece - first[place] <= slack:
        return int(first[place])
    return piece


def batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Group windows into the batches that together cost least, the longest first.

    A batch costs what it takes to start one, and its padded pieces, each the dearer the longer the row.

    Args:
        lengths: pieces of each window, [CLS] and [SEP] counted.
        budget: padded pieces in a batch; a single longer window is a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    ordered = [lengths[i] for i in order]
    # least[i]: the cost of the first i windows, in batches of neighbours; cut[i]: where the last one begins.
    least = [0.0] + [float("inf")] * len(order)
    cut = [0] * (len(order) + 1)
    for begin, longest in enumerate(ordered):
        row = longest * (1 + longest * _COST_OF_LENGTH)
        cost = least[begin] + COST_OF_BATCH
        for past in range(begin + 1, min(len(order), begin + max(1, budget // longest)) + 1):
            cost += row
            if cost < least[past]:
                least[past], cut[past] = cost, begin
    groups: list[list[int]] = []
    past = len(order)
    while past:
        groups.append(order[cut[past] : past])
        past = cut[past]
    return groups[::-1]
