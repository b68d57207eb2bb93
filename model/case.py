"""Letter case as input: an uncased word piece and its case class share one integer id.

The packaged weights are uncased, names are not. An id is ``piece + vocabulary size * case class``; the
graph takes the two apart again, so it keeps its two inputs, and a runtime that sends plain uncased ids
sends the class *lower*, which training has seen on whole sentences too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

LOWER, CAPITALISED, UPPER, MIXED = range(4)
CASE_CLASSES = 4


_UPPER, _LETTER = 1, 2
_PAGE = 256
_flags = np.zeros(0x110000, np.uint8)
_known = np.zeros(0x110000 // _PAGE, np.bool_)


def _flags_of(codes: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
    """Return each code point's upper-case and letter bits, looked up a page at a time as texts need them.

    All code points at once would cost a first call 0.3 s. Two threads may fill a page twice, with the
    same values; a page is known only once it is filled.
    """
    pages = np.bincount(codes // _PAGE)
    for page in np.flatnonzero(pages):
        if not _known[page]:
            first = int(page) * _PAGE
            characters = [chr(code) for code in range(first, first + _PAGE)]
            _flags[first : first + _PAGE] = [
                (_UPPER if c.isupper() or c.istitle() else 0) | (_LETTER if c.isalpha() else 0)
                for c in characters
            ]
            _known[page] = True
    return _flags[codes]


def case_classes(
    text: str, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return the case class of each span ``text[starts[i]:ends[i]]``.

    Args:
        text: any text, unpaired surrogates included.
        starts: first code point of each span, shape [spans].
        ends: one past the last code point of each span, shape [spans].

    Returns:
        ``LOWER`` (no upper-case letter), ``CAPITALISED`` (only the first letter is upper-case),
        ``UPPER`` (every letter is, at least two) or ``MIXED``, shape [spans]. Empty spans are ``LOWER``.
    """
    if not starts.size or not text or text.islower():
        return np.zeros(starts.shape, np.int64)
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    flags = _flags_of(codes)
    upper = (flags & _UPPER) != 0
    uppers_before = np.concatenate(([0], np.cumsum(upper, dtype=np.int32)))
    letters_before = np.concatenate(([0], np.cumsum((flags & _LETTER) != 0, dtype=np.int32)))
    uppers = uppers_before[ends] - uppers_before[starts]
    letters = letters_before[ends] - letters_before[starts]
    first_is_upper = upper[np.minimum(starts, codes.size - 1)]
    classes = np.full(starts.shape, MIXED, np.int64)
    classes[(uppers == letters) & (uppers >= 2)] = UPPER  # noqa: PLR2004 - one capital letter is CAPITALISED
    classes[(uppers == 1) & first_is_upper] = CAPITALISED
    classes[uppers == 0] = LOWER
    return classes
