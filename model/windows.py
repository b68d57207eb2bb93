"""Windows over long texts, which of them speaks for a word, and batches of like length."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]


class Window(NamedTuple):
    """A run of pieces that the graph sees at once, and the words in it whose scores are taken from it.

    All are indices into all texts' pieces and words: pieces ``start`` to ``end``, words ``word`` to ``past``.
    """

    start: int
    end: int
    word: int
    past: int


def cover(start: int, end: int, first: Ints, word: int, longest: int, overlap: int) -> list[Window]:
    """Cover a text's pieces ``start`` to ``end`` by windows of at most ``longest`` pieces.

    Windows begin and end between words where a word boundary is near, overlap by about ``overlap`` pieces,
    and every word is given to the window that shows more around its first piece: the smaller of what is on
    its left and on its right counts, a text's own beginning and end count as enough, and the earlier window
    has a tie.

    Args:
        start: the text's first piece.
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
        *((left[1] - 1 + right[0]) // 2 + 1 for left, right in zip(bounds, bounds[1:], strict=False)),
        end,
    ]
    words = word + np.searchsorted(first, cuts)
    return [
        Window(*span, int(words[i]), int(words[i + 1]))
        for i, span in enumerate(bounds)
        if words[i] < words[i + 1]
    ]


def _boundary(first: Ints, piece: int, slack: int) -> int:
    """Return the last word beginning at or before ``piece``, or ``piece`` when none is within ``slack`` of it."""
    place = int(np.searchsorted(first, piece, side="right")) - 1
    if place >= 0 and piece - first[place] <= slack:
        return int(first[place])
    return piece


def batches(lengths: Sequence[int], budget: int, most: int) -> list[list[int]]:
    """Group windows, longest first, so that rows times the longest row stays within ``budget`` pieces.

    Args:
        lengths: pieces of each window, [CLS] and [SEP] counted.
        budget: padded pieces in a batch; a single longer window is a batch of its own.
        most: rows in a batch.
    """
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    groups: list[list[int]] = []
    for index in order:
        if groups and len(groups[-1]) < min(most, budget // lengths[groups[-1][0]]):
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups
