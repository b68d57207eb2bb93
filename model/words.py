"""Words of raw text, split as Few-NERD's sentences are, because the model was taught at their first pieces.

Few-NERD's text went through a Penn Treebank tokenizer: brackets, quotes and most punctuation stand alone,
``Merkel's`` is two words, ``U.S.`` is one except where a text ends, ``Rolls-Royce`` and ``10,000`` are one.
Text that is already split so, with spaces between, comes out as it went in.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# A run of whitespace-free text falls into these; what is none of the first lines is a word's core.
_PARTS: Final = re.compile(
    r"""
      (?P<mark> \.{2,} | … | -{2,} | —+ | ―+ | `` | ''
        | [()\[\]{}<>"“”„«»‹›;@\#$%&!?]
        | [,:](?!\d) | (?<!\d)[,:] )
    | (?: [^()\[\]{}<>"“”„«»‹›;@\#$%&!?,:.…—―`'-]+
        | (?<=\d)[,:](?=\d) | \.(?!\.) | -(?!-) | '(?!') | `(?!`) )++
    """,
    re.VERBOSE,
)
# What may follow the period that ends a text.
_CLOSING: Final = re.compile(r"""[)\]}>"”’'»]*""")
_SINGLE_QUOTES: Final = "'’‘‚`"
_CONTRACTION: Final = re.compile(r"(?:n['’]t|['’](?:s|m|d|ll|re|ve))$", re.IGNORECASE)
_KEEPS_LEADING_QUOTE: Final = re.compile(r"['’](?:\d|(?:em|n|til|tis|twas)$)", re.IGNORECASE)
# Few-NERD parts "London -based" where the name alone is an entity.
_COMPOUND: Final = re.compile(
    r"""
    (?<=[^\W\d_]|\.)-(?: affiliated | aligned | approved | area | backed | based | born | brokered | controlled
        | dependent | designed | directed | dominated | educated | era | funded | held | inspired | language
        | led | like | linked | listed | made | nominated | occupied | operated | owned | powered | produced
        | registered | related | run | sanctioned | speaking | sponsored | style | supported | themed | trained
        | wide | winning )$
    """,
    re.VERBOSE | re.IGNORECASE,
)
_LONGEST_COMPOUND: Final = 12
# Single letters with a period each ("U.S.", "J.", "Ph.D."), and what else has one in mid-sentence.
_ABBREVIATION: Final = re.compile(
    r"""
      (?: [^\W\d_]{1,2}\. )+ (?<![a-z]{2}\.)
    | (?: .*- )? (?: st | ste | mt | ft | mr | mrs | ms | dr | jr | sr | prof | rev | hon | messrs | co | corp
        | inc | ltd | bros | dept | univ | assn | gen | lt | col | maj | capt | cpt | sgt | cmdr | adm | gov
        | sen | rep | pres | jan | feb | mar | apr | aug | sept | sep | oct | nov | dec | vs | etc | al | ave
        | blvd | rd | cf | ca | ed | eds | vol | pp | fig | approx | est | spp | viz | calif | conn | ill
        | mass | tenn )\.
    """,
    re.VERBOSE | re.IGNORECASE,
)
_LONGEST_ABBREVIATION: Final = 32
# Typographers' marks, which the training text hardly has, as it writes them. A straight quote stays one: that
# text has `` around titles, `` and '' around speech, and either, read for it, scores lower.
_READ_AS: Final = {
    "’": "'",
    "‘": "'",
    "‚": "'",
    "“": '"',
    "”": '"',
    "„": '"',
    "«": '"',
    "»": '"',
    "…": "...",
}
# Of a longer word the tokenizer reads this much. The word's label is asked at its first piece, and a megabyte of
# dashes or of a path's parts would be a million pieces of no use to its neighbours.
_LONGEST_READ: Final = 512
# A run of marks longer than this names nothing; so much is read of it at either end.
_LONGEST_RUN: Final = 64
_READ_OF_A_RUN: Final = 16
_LONG_RUN: Final = re.compile(rf"[\W_]{{{_LONGEST_RUN + 1},}}")
# More closing marks than this do not come at a chunk's end, as `without_long_runs` leaves it.
SIDE: Final = _LONGEST_RUN + 1


_SENTENCE_END: Final = frozenset({".", "!", "?", "…", "...", "?!", "!!"})
_CLOSES: Final = frozenset("\"”’'»)]}")
_OPENS: Final = "\"“‘'«([{`„¿¡"


class Sides(NamedTuple):
    """What a chunk says of sentences: it ends one, may begin one, is but closing quotes and brackets."""

    ends: bool
    begins: bool
    closes: bool


class Word(NamedTuple):
    """A word within its chunk: first code point, one past the last, and what the tokenizer reads for it."""

    start: int
    end: int
    read: str


def split_chunk(chunk: str, *, last: bool = False) -> Iterator[Word]:
    """Yield the words of a run of text without whitespace, in order; they never overlap.

    Args:
        chunk: text without whitespace, possibly empty.
        last: whether the text ends with this chunk, so that its last period ends a sentence.
    """
    if chunk.isalnum():
        yield Word(0, len(chunk), chunk[:_LONGEST_READ])
        return
    words: list[Word] = []
    for match in _PARTS.finditer(chunk):
        start, end = match.span()
        if match["mark"]:
            _add(chunk, start, end, words)
        else:
            final = last and _CLOSING.fullmatch(chunk, end) is not None
            _split_core(chunk, start, end, words, final=final)
        yield from words
        words.clear()


def without_long_runs(text: str) -> tuple[str, list[int]]:
    """Put spaces for the middle of each long run of what is neither letter nor digit.

    A ruler, dot leaders, a megabyte of brackets: each mark would be a word of its own, name nothing, and cost as
    much as any. The first and the last few of such a run are read as they are.

    Returns:
        The text, as long as before, and where each middle ended: what follows is apart from what was before.
    """
    ends: list[int] = []

    def shortened(match: re.Match[str]) -> str:
        run = match[0]
        middle = run[_READ_OF_A_RUN:-_READ_OF_A_RUN]
        if middle.isspace():
            return run
        ends.append(match.end() - _READ_OF_A_RUN)
        return run[:_READ_OF_A_RUN] + " " * len(middle) + run[-_READ_OF_A_RUN:]

    return _LONG_RUN.sub(shortened, text), ends


def sides(chunk: str, words: Iterable[Word]) -> Sides:
    """Return whether sentences end and begin at a chunk's two sides.

    ``U.S.`` ends none, as its period belongs to the word, and ``5`` after ``No.`` begins none: rather is an
    end missed than seen where there is none.

    Args:
        chunk: text without whitespace.
        words: its words, or the last `SIDE` of them.
    """
    texts = [chunk[word.start : word.end] for word in words]
    some = bool(texts)
    while texts and _CLOSES.issuperset(texts[-1]):
        texts.pop()
    first = chunk.lstrip(_OPENS)[:1]
    return Sides(
        ends=bool(texts) and texts[-1] in _SENTENCE_END,
        begins=first.isalpha() and not first.islower(),
        closes=some and not texts,
    )


def _split_core(chunk: str, start: int, end: int, words: list[Word], *, final: bool) -> None:
    """Add the words of one part: quotes off both ends; period, contraction and ``-based`` off the end."""
    start, end = _trim(chunk, start, end)
    while end - start > 1 and chunk[start] in _SINGLE_QUOTES:
        if _CONTRACTION.fullmatch(chunk, start, end) or _KEEPS_LEADING_QUOTE.match(chunk, start, end):
            break
        _add(chunk, start, start + 1, words)
        start += 1
    tail: list[tuple[int, int]] = []
    while end - start > 1:
        period = chunk[end - 1] == "." and (final or not _is_abbreviation(chunk, start, end))
        if not period and chunk[end - 1] not in _SINGLE_QUOTES:
            break
        end -= 1
        tail.append((end, end + 1))
    contraction = _CONTRACTION.search(chunk, max(start, end - 4), end)
    if contraction and contraction.start() > start:
        tail.append((contraction.start(), end))
        end = contraction.start()
    compound = _COMPOUND.search(chunk, max(start, end - _LONGEST_COMPOUND), end)
    if compound and compound.start() > start:
        tail.append((compound.start(), end))
        end = compound.start()
    _add(chunk, start, end, words)
    for first, past in reversed(tail):
        _add(chunk, first, past, words)


def _is_abbreviation(chunk: str, start: int, end: int) -> bool:
    return end - start <= _LONGEST_ABBREVIATION and _ABBREVIATION.fullmatch(chunk, start, end) is not None


def _add(chunk: str, start: int, end: int, words: list[Word]) -> None:
    start, end = _trim(chunk, start, end)
    if start == end:
        return
    read = chunk[start : min(end, start + _LONGEST_READ)]
    if not read.isascii():
        read = "".join(_READ_AS.get(character, character) for character in read)
    words.append(Word(start, end, read))


def _trim(chunk: str, start: int, end: int) -> tuple[int, int]:
    """Leave control and format characters (zero-width ones, NUL, marks of direction) out at both ends."""
    while start < end and _invisible(chunk[start]):
        start += 1
    while start < end and _invisible(chunk[end - 1]):
        end -= 1
    return start, end


def _invisible(character: str) -> bool:
    return not character.isalnum() and unicodedata.category(character) in {"Cc", "Cf"}
