"""Texts to word pieces, in arrays: what the graph reads, and where each word stands in its text.

A word's pieces depend on nothing but the run of non-whitespace characters it stands in. So each distinct
run of bounded length is split and tokenized once and kept in a table of bounded size; a text is then a few
array look-ups, which takes a tenth of the time of tokenizing it anew.
"""

from __future__ import annotations

import dataclasses
import os
import re
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

import numpy as np
from tokenizers import Tokenizer

from model.case import case_classes
from model.pool import silent
from model.table import Table, before
from model.words import SIDE, Sides, Word, sides, split_chunk, without_long_runs

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from model.pool import Beat

    Ints = npt.NDArray[np.int64]

_OTHER_SPACE: Final = re.compile(r"[^\S ]")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_BLANK_LINE: Final = re.compile(r"\n[^\S\n]*\n|\r[^\S\r\n]*\r|[\u2029\f]")
# Past this the table of the chunks met is thrown away and begun anew.
_MOST_BYTES: Final = 24 * 2**20
# Longer chunks, and texts with more than this that is new, in code points, go into no table that is kept.
_LONGEST_KEY: Final = 256
_MOST_NEW: Final = 131_072
# Marks a chunk that ends its text; no chunk holds a space.
_LAST: Final = " "
# New chunks added in one go: what they need on the way, lists of tuples, is dear in large numbers.
_KEYS_AT_ONCE: Final = 2048
_WORDS_AT_ONCE: Final = 4096
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


class Encoder:
    """Turns texts into pieces; threads may share one."""

    def __init__(self, tokenizer: str, vocabulary: int, case_classes: int) -> None:
        """Read a tokenizer's JSON; ``case_classes`` 0 leaves the ids plain.

        Raises:
            ValueError: it is none.
        """
        # The runner threads are the parallelism; the tokenizer's own pool would compete with them.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        try:
            self._tokenizer = Tokenizer.from_str(tokenizer)
        except Exception as error:
            raise ValueError(f"the tokenizers library cannot read tokenizer.json: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        # "[SEP]" in a text is five characters and a word, not the end of the input.
        self._tokenizer.encode_special_tokens = True
        self._vocabulary = vocabulary if case_classes else 0
        self._table = Table()
        self._lock = threading.Lock()

    def encode(self, texts: Sequence[str], beat: Beat = silent) -> Pieces:
        """Return the texts' pieces and words; any text will do, unpaired surrogates and NUL included.

        ``beat`` is called again and again while a long text is read, to show that it goes on.
        """
        plain: list[str] = []
        blank: list[tuple[int, int]] = []
        for number, given in enumerate(texts):
            text, gaps = _plain(given)
            plain.append(text)
            if given is not text:
                blank.extend((number, match.end()) for match in _BLANK_LINE.finditer(given))
                blank.extend((number, end) for end in gaps)
        joined = " ".join(plain)
        keys = joined.split()
        spaces = np.frombuffer(joined.encode("utf-32-le"), "<u4") == ord(" ")
        starts = np.flatnonzero(~spaces & np.append(True, spaces[:-1])[: spaces.size])
        # A space follows each text, here and in `joined`.
        text_at = before(np.array([len(text) + 1 for text in plain], np.int64))
        chunks = np.searchsorted(starts, text_at)
        for last in (chunks[1:] - 1)[np.diff(chunks) > 0].tolist():
            if "." in keys[last]:
                keys[last] += _LAST
        table, found = self._find(keys, beat)
        starts -= np.repeat(text_at[:-1], np.diff(chunks))
        return _gather(table, found, starts, chunks, blank)

    def _find(self, keys: Sequence[str], beat: Beat) -> tuple[Table, Ints]:
        """Return a table and each key's index in it, adding those that are new to it."""
        table = self._table
        indices = list(map(table.index.get, keys))
        if None not in indices:
            return table, np.array(indices, np.int64)
        # What is long comes once; a text of nothing but news would drive out all that comes again.
        new = [key for key in dict.fromkeys(keys) if key not in table.index]
        sizes = list(map(len, new))
        if max(sizes) > _LONGEST_KEY or sum(sizes) > _MOST_NEW:
            table = Table()
            self._fill(table, list(dict.fromkeys(keys)), beat)
        else:
            with self._lock:
                table = self._table
                self._fill(table, [key for key in dict.fromkeys(keys) if key not in table.index], beat)
                if table.bytes > _MOST_BYTES:
                    self._table = Table()
        return table, np.array(list(map(table.index.get, keys)), np.int64)

    def _fill(self, table: Table, keys: Sequence[str], beat: Beat) -> None:
        for first in range(0, len(keys), _KEYS_AT_ONCE):
            self._add(table, keys[first : first + _KEYS_AT_ONCE], beat)

    def _add(self, table: Table, keys: Sequence[str], beat: Beat) -> None:
        facts: list[Sides] = []
        counts: list[int] = []
        read: list[tuple[Ints, Ints, npt.NDArray[np.bool_]]] = []
        words: list[Word] = []
        for key in keys:
            chunk = key.removesuffix(_LAST)
            tail: deque[Word] = deque(maxlen=SIDE)
            count = 0
            for word in split_chunk(chunk, last=chunk is not key):
                tail.append(word)
                words.append(word)
                count += 1
                if len(words) == _WORDS_AT_ONCE:
                    read.append(self._read(words))
                    words.clear()
                    beat()
            facts.append(sides(chunk, tail))
            counts.append(count)
        read.append(self._read(words))
        beat()
        before_part = np.cumsum([0, *(ids.size for _, ids, _ in read)])
        for (places, _, _), so_far in zip(read, before_part.tolist(), strict=False):
            places[0] += so_far
        kept = np.concatenate([part for _, _, part in read])
        # A word that leaves no piece (control characters only) is none: nothing can be said of it.
        owner = np.repeat(np.arange(len(keys)), counts)[kept]
        table.add(
            keys,
            np.array(facts, np.bool_).T,
            np.bincount(owner, minlength=len(keys)),
            np.concatenate([part for part, _, _ in read], axis=1),
            np.concatenate([part for _, part, _ in read]),
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


def _plain(given: str) -> tuple[str, list[int]]:
    """Return a text to be read in another's stead, code point for code point, and what it has apart.

    It has spaces for all whitespace and for the middle of long runs of marks, which end at the places returned,
    and no unpaired surrogate.
    """
    text = given
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = _SURROGATE.sub("\ufffd", text)
    text, gaps = without_long_runs(text)
    return (_OTHER_SPACE.sub(" ", text) if _OTHER_SPACE.search(text) else text), gaps


def _gather(
    table: Table, found: Ints, starts: Ints, bounds: Ints, blank: Sequence[tuple[int, int]]
) -> Pieces:
    """Put the texts' arrays together.

    Args:
        table: knows all their chunks.
        found: each chunk's index in it, [chunks].
        starts: where each chunk begins in its text, [chunks].
        bounds: text ``t`` has the chunks ``bounds[t]:bounds[t + 1]``.
        blank: texts, and places in them that part what is before from what is behind.
    """
    piece_at, pieces, word_at, words = table.chunks[:4, found]
    ends, begins, closes = table.sides[:, found]
    pieces_before, words_before = before(pieces), before(words)
    ids = table.ids[_ranges(piece_at, pieces, pieces_before)]
    place, start, end = table.words[:, _ranges(word_at, words, words_before)].astype(np.int64)
    text_words = words_before[bounds]
    chunk_at = np.repeat(starts, words)
    start += chunk_at
    end += chunk_at
    apart = np.zeros(start.size + 1, np.bool_)
    apart[text_words[:-1]] = True
    for text, position in blank:
        first, past = text_words[text], text_words[text + 1]
        word = first + np.searchsorted(start[first:past], position)
        if word < past:
            apart[word] = True
    apart = apart[:-1]
    sentence = apart.copy()
    # Chunks without words (control characters only) are looked over.
    spoken = np.flatnonzero(words)
    ended = ends[spoken]
    # A quote that is closed after a sentence's end belongs to it, but to none of another text.
    ended[1:] |= closes[spoken[1:]] & ended[:-1] & ~apart[words_before[spoken[1:]]]
    beginning = spoken[1:][ended[:-1] & begins[spoken[1:]]]
    sentence[words_before[beginning]] = True
    first_piece = place + np.repeat(pieces_before[:-1], words)
    return Pieces(ids, pieces_before[bounds], text_words, first_piece, start, end, sentence, apart)


def _ranges(starts: Ints, counts: Ints, before: Ints) -> Ints:
    """Return the concatenation of ``range(start, start + count)``."""
    return np.repeat(starts - before[:-1], counts) + np.arange(before[-1])
