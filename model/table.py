"""The table of the chunks met, each a run of text without whitespace, with their words and pieces."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]

_Item = TypeVar("_Item", bound=np.generic)
# What the index takes for a key beside its text: an entry, its slot, the empty slots, and the number.
_BYTES_OF_ENTRY: Final = 128


class Table:
    """Chunks with their pieces and words, in flat arrays that only grow."""

    def __init__(self) -> None:
        self.index: dict[str, int] = {}
        # Per chunk: first piece, pieces, first word, words; and its three `Sides`.
        self.chunks = np.zeros((4, 1024), np.int64)
        self.sides = np.zeros((3, 1024), np.bool_)
        # Per word: its first piece's place within the chunk, start and end within the chunk.
        self.words = np.zeros((3, 1024), np.int32)
        self.ids = np.zeros(2048, np.int32)
        self._used_words = self._used_pieces = self._key_bytes = 0

    @property
    def bytes(self) -> int:
        """How much memory it takes, keys and empty room included."""
        arrays = (self.chunks, self.sides, self.words, self.ids)
        return self._key_bytes + sum(array.nbytes for array in arrays)

    def add(
        self, keys: Sequence[str], sides: npt.NDArray[np.bool_], counts: Ints, places: Ints, ids: Ints
    ) -> None:
        """Add chunks.

        Args:
            keys: their texts, none of them here yet.
            sides: their `Sides`, [3, keys].
            counts: how many words each has, [keys].
            places: each word's first piece among ``ids``, start and end in its chunk, and pieces, [4, words].
            ids: all words' pieces.
        """
        here = len(self.index)
        owner = np.repeat(np.arange(len(keys)), counts)
        piece_counts = np.zeros(len(keys), np.int64)
        np.add.at(piece_counts, owner, places[3])
        self.chunks = _grown(self.chunks, here + len(keys))
        self.sides = _grown(self.sides, here + len(keys))
        self.words = _grown(self.words, self._used_words + places.shape[1])
        self.ids = _grown(self.ids, self._used_pieces + ids.size)
        pieces_before = before(piece_counts)[:-1]
        self.sides[:, here : here + len(keys)] = sides
        self.chunks[:, here : here + len(keys)] = (
            self._used_pieces + pieces_before,
            piece_counts,
            self._used_words + before(counts)[:-1],
            counts,
        )
        words = self.words[:, self._used_words : self._used_words + places.shape[1]]
        words[0] = places[0] - pieces_before[owner]
        words[1:] = places[1:3]
        self.ids[self._used_pieces : self._used_pieces + ids.size] = ids
        self._used_words += places.shape[1]
        self._used_pieces += ids.size
        self._key_bytes += sum(map(sys.getsizeof, keys)) + _BYTES_OF_ENTRY * len(keys)
        # Last, so that a thread which finds a chunk finds its arrays filled.
        self.index.update(zip(keys, range(here, here + len(keys)), strict=True))


def before(counts: Ints) -> Ints:
    """Return how much comes before each, and at the end the sum."""
    return np.concatenate(([0], np.cumsum(counts)))


def _grown(array: npt.NDArray[_Item], size: int) -> npt.NDArray[_Item]:
    """Return the array, or a copy of it at least twice as long when ``size`` columns do not fit."""
    if size <= array.shape[-1]:
        return array
    larger = np.zeros((*array.shape[:-1], max(size, 2 * array.shape[-1])), array.dtype)
    larger[..., : array.shape[-1]] = array
    return larger
