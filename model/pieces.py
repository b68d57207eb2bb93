"""Texts to word pieces, in arrays: what the graph reads, and where each word stands in its text.

A word's pieces depend on nothing but the run of non-whitespace characters it stands in. So each distinct
run is split and tokenized once and kept in a table; a text is then a few array look-ups, which takes a
tenth of the time of tokenizing it anew.
"""

from __future__ import annotations

import dataclasses
import os
import re
import threading
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
from tokenizers import Tokenizer

from model.case import case_classes
from model.words import Word, sides, split_chunk

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Ints = npt.NDArray[np.int64]

_Item = TypeVar("_Item", bound=np.generic)
_OTHER_SPACE: Final = re.compile(r"[^\S ]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_BLANK_LINE: Final = re.compile(r"\n[^\S\n]*\n|\r[^\S\r\n]*\r|[\u2029\f]")
# Past these a table is thrown away and begun anew: about 15 MB, at English averages.
_MOST_CHUNKS: Final = 65_536
_MOST_PIECES: Final = 262_144
# ReplayedOffsets a chunk that ends its text; no chunk holds a space.
_LAST: Final = " "
# New chunks added in one go: what they need on the way, lists of tuples, is dear in large numbers.
_KEYS_AT_ONCE: Final = 2048
# Words tokenized in one call.
_WORDS_A_CALL: Final = 512


@dataclasses.dataclass(frozen=True, slots=True)
class Pieces:
    """Some texts' pieces and words, one after the other.

    Attributes:
        ids: what the graph reads, case classes folded in, [pieces].
        text_pieces: text ``t`` has the pieces ``text_pieces[t]:text_pieces[t + 1]``.
        text_words: text ``t`` has the words ``text_words[t]:text_words[t + 1]``.
        first: the index in ``ids`` of each word's first piece, [words], increasing.
        start: each word's first code point in its own text, [words].
        end: one past each word's last code point, [words].
        sentence: whether a word begins a sentence, or its text, [words].
        apart: whether a word begins its text, or a blank line separates it from the one before, [words].
    """

    ids: npt.NDArray[np.int32]
    text_pieces: Ints
    text_words: Ints
    first: Ints
    start: Ints
    end: Ints
    sentence: npt.NDArray[np.bool_]
    apart: npt.NDArray[np.bool_]


class _Table:
    """Every chunk met so far, with its pieces and words, in flat arrays that only grow."""

    def __init__(self) -> None:
        self.index: dict[str, int] = {}
        # Per chunk: length in code points, first piece, pieces, first word, words, and its three `Sides`.
        self.chunks = np.zeros((8, 1024), np.int64)
        # Per word: its first piece's place within the chunk, start and end within the chunk.
        self.words = np.zeros((3, 1024), np.int64)
        self.ids = np.zeros(2048, np.int32)
        self.used_words = self.used_pieces = 0

    @property
    def full(self) -> bool:
        return len(self.index) > _MOST_CHUNKS or self.used_pieces > _MOST_PIECES

    def add(self, keys: Sequence[str], facts: Ints, words: Sequence[int], places: Ints, ids: Ints) -> None:
        """Add chunks: lengths and sides [4, keys], words each has, and of each word what `_read` makes."""
        here = len(self.index)
        word_counts = np.array(words, np.int64)
        piece_counts = np.zeros(len(keys), np.int64)
        owner = np.repeat(np.arange(len(keys)), word_counts)
        np.add.at(piece_counts, owner, places[3])
        self.chunks = _grown(self.chunks, here + len(keys))
        self.words = _grown(self.words, self.used_words + places.shape[1])
        self.ids = _grown(self.ids, self.used_pieces + ids.size)
        fresh = self.chunks[:, here : here + len(keys)]
        fresh[0], fresh[5:] = facts[0], facts[1:]
        fresh[1] = self.used_pieces + np.cumsum(piece_counts) - piece_counts
        fresh[2] = piece_counts
        fresh[3] = self.used_words + np.cumsum(word_counts) - word_counts
        fresh[4] = word_counts
        new_words = self.words[:, self.used_words : self.used_words + places.shape[1]]
        new_words[0] = places[0] - (fresh[1] - self.used_pieces)[owner]
        new_words[1:] = places[1:3]
        self.ids[self.used_pieces : self.used_pieces + ids.size] = ids
        self.used_words += places.shape[1]
        self.used_pieces += ids.size
        # Last, so that a thread which finds a chunk finds its arrays filled.
        self.index.update(zip(keys, range(here, here + len(keys)), strict=True))


def _grown(array: npt.NDArray[_Item], size: int) -> npt.NDArray[_Item]:
    """Return the array, or a copy of it at least twice as long when ``size`` columns do not fit."""
    if size <= array.shape[-1]:
        return array
    larger = np.zeros((*array.shape[:-1], max(size, 2 * array.shape[-1])), array.dtype)
    larger[..., : array.shape[-1]] = array
    return larger


class Encoder:
    """Turns texts into pieces; threads may share one."""

    def __init__(self, tokenizer: str, vocabulary: int, case_classes: int) -> None:
        """Read a tokenizer's JSON; ``case_classes`` 0 leaves the ids plain."""
        # The runner threads are the parallelism; the tokenizer's own pool would compete with them.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self._tokenizer = Tokenizer.from_str(tokenizer)
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        # "[SEP]" in a text is five characters and a word, not the end of the input.
        self._tokenizer.encode_special_tokens = True
        self._vocabulary = vocabulary if case_classes else 0
        self._table = _Table()
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str]) -> Pieces:
        """Return the texts' pieces and words; any text will do, unpaired surrogates and NUL included."""
        keys: list[str] = []
        counts: list[int] = []
        blank: list[tuple[int, int]] = []
        for number, given in enumerate(texts):
            text = _plain(given)
            chunks = text.rstrip().split(" ")
            if "." in chunks[-1]:
                chunks[-1] += _LAST
            keys.extend(chunks)
            counts.append(len(chunks))
            if given is not text:
                blank.extend((number, match.end()) for match in _BLANK_LINE.finditer(given))
        table, found = self._find(keys)
        return _gather(table, found, np.array(counts, np.int64), blank)

    def _find(self, keys: Sequence[str]) -> tuple[_Table, Ints]:
        """Return the table and each key's index in it, adding those that are new."""
        table = self._table
        indices = list(map(table.index.get, keys))
        if None in indices:
            with self._lock:
                if self._table.full:
                    self._table = _Table()
                table = self._table
                new = [key for key in dict.fromkeys(keys) if key not in table.index]
                for first in range(0, len(new), _KEYS_AT_ONCE):
                    self._add(table, new[first : first + _KEYS_AT_ONCE])
            indices = list(map(table.index.get, keys))
        return table, np.array(indices, np.int64)

    def _add(self, table: _Table, keys: Sequence[str]) -> None:
        facts: list[tuple[int, ...]] = []
        words: list[Word] = []
        counts = []
        for key in keys:
            chunk = key.removesuffix(_LAST)
            of_key = split_chunk(chunk, last=chunk is not key)
            facts.append((len(chunk), *sides(chunk, of_key)))
            words.extend(of_key)
            counts.append(len(of_key))
        places, ids, kept = self._read(words)
        # A word that leaves no piece (control characters only) is none: nothing can be said of it.
        owner = np.repeat(np.arange(len(keys)), counts)[kept]
        table.add(
            keys, np.array(facts, np.int64).T, np.bincount(owner, minlength=len(keys)).tolist(), places, ids
        )

    def _read(self, words: Sequence[Word]) -> tuple[Ints, Ints, npt.NDArray[np.bool_]]:
        """Tokenize words one by one.

        Returns:
            Per word that leaves pieces its first piece, start, end and number of pieces, [4, kept];
            all pieces' ids; and which words were kept, [words].
        """
        ids: list[int] = []
        owners: list[int] = []
        spans: list[tuple[int, int]] = []
        read = [word.read for word in words]
        for first in range(0, len(read), _WORDS_A_CALL):
            part = read[first : first + _WORDS_A_CALL]
            encoding = self._tokenizer.encode_batch([part], is_pretokenized=True, add_special_tokens=False)[0]
            ids.extend(encoding.ids)
            owners.extend(first + word for word in encoding.word_ids)
            spans.extend(encoding.offsets)
        owner = np.array(owners, np.int64)
        pieces = np.bincount(owner, minlength=len(words)).astype(np.int64)
        kept = pieces > 0
        all_ids = np.array(ids, np.int64)
        if self._vocabulary and ids:
            shift = np.cumsum([0, *map(len, read)])[owner]
            offsets = np.array(spans, np.int64)
            classes = case_classes("".join(read), offsets[:, 0] + shift, offsets[:, 1] + shift)
            all_ids += self._vocabulary * classes
        starts = np.array([word.start for word in words], np.int64)
        ends = np.array([word.end for word in words], np.int64)
        places = np.stack([np.cumsum(pieces) - pieces, starts, ends, pieces])[:, kept]
        return places, all_ids, kept


def _plain(text: str) -> str:
    """Return the text with spaces for all whitespace and no unpaired surrogate, code point for code point."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = _SURROGATE.sub("\ufffd", text)
    return _OTHER_SPACE.sub(" ", text) if _OTHER_SPACE.search(text) else text


def _gather(table: _Table, found: Ints, counts: Ints, blank: Sequence[tuple[int, int]]) -> Pieces:
    """Put the texts' arrays together; text ``t`` has the next ``counts[t]`` of the chunks ``found``."""
    sizes, piece_at, pieces, word_at, words, ends, begins, closes = table.chunks[:, found]
    pieces_before, words_before = _before(pieces), _before(words)
    # Within a text, each chunk is followed by one whitespace character.
    chunk_at = _before(sizes + 1)[:-1]
    bounds = _before(counts)
    chunk_at -= np.repeat(chunk_at[bounds[:-1]], counts)
    ids = table.ids[_ranges(piece_at, pieces, pieces_before)]
    place, start, end = table.words[:, _ranges(word_at, words, words_before)]
    text_words = words_before[bounds]
    start += np.repeat(chunk_at, words)
    end += np.repeat(chunk_at, words)
    apart = np.zeros(start.size + 1, np.bool_)
    apart[text_words[:-1]] = True
    for text, position in blank:
        first, past = text_words[text], text_words[text + 1]
        word = first + np.searchsorted(start[first:past], position)
        if word < past:
            apart[word] = True
    apart = apart[:-1]
    sentence = apart.copy()
    # Chunks without words (of adjoining spaces) are looked over.
    spoken = np.flatnonzero(words)
    ended = ends[spoken] > 0
    ended[1:] |= (closes[spoken[1:]] > 0) & ended[:-1]
    beginning = spoken[1:][ended[:-1] & (begins[spoken[1:]] > 0)]
    sentence[words_before[beginning]] = True
    first_piece = place + np.repeat(pieces_before[:-1], words)
    return Pieces(ids, pieces_before[bounds], text_words, first_piece, start, end, sentence, apart)


def _before(counts: Ints) -> Ints:
    """Return how much comes before each, and at the end the sum."""
    return np.concatenate(([0], np.cumsum(counts)))


def _ranges(starts: Ints, counts: Ints, before: Ints) -> Ints:
    """Return the concatenation of ``range(start, start + count)``."""
    return np.repeat(starts - before[:-1], counts) + np.arange(before[-1])
