"""Raw text is split into words as Few-NERD's sentences are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.words import sides, split_chunk


def split(chunk: str, *, last: bool = False) -> list[str]:
    """Return a chunk's words as they stand in it."""
    return [chunk[word.start : word.end] for word in split_chunk(chunk, last=last)]


@pytest.mark.parametrize(
    ("chunk", "words"),
    [
        ("Berlin,", ["Berlin", ","]),
        ("10,000", ["10,000"]),
        ("(U.S.)", ["(", "U.S.", ")"]),
        ("Merkel's", ["Merkel", "'s"]),
        ("Merkel’s", ["Merkel", "’s"]),
        ("don't", ["do", "n't"]),
        ("O'Brien", ["O'Brien"]),
        ("Rolls-Royce", ["Rolls-Royce"]),
        ("London-based", ["London", "-based"]),
        ("U.S.-led.", ["U.S.", "-led", "."]),
        ("Nobel-winning", ["Nobel", "-winning"]),
        ("-based", ["-based"]),
        ("AT&T", ["AT", "&", "T"]),
        ('"Hamlet"?', ['"', "Hamlet", '"', "?"]),
        ("“Hamlet”", ["“", "Hamlet", "”"]),
        ("'Times'", ["'", "Times", "'"]),
        ("'90s", ["'90s"]),
        ("$5", ["$", "5"]),
        ("2–1", ["2–1"]),
        ("war—the", ["war", "—", "the"]),
        ("Inc.", ["Inc."]),
        ("Ph.D.", ["Ph.D."]),
        ("J.", ["J."]),
        ("war.", ["war", "."]),
        ("is.", ["is", "."]),
        ("so...", ["so", "..."]),
        ("10:30", ["10:30"]),
        ("", []),
    ],
)
def test_a_chunk_falls_into_few_nerds_words(chunk: str, words: list[str]) -> None:
    """Punctuation, quotes and contractions stand alone; abbreviations, numbers and hyphens hold together."""
    assert split(chunk) == words


@pytest.mark.parametrize(
    "token",
    [
        "``",
        "''",
        "'s",
        "n't",
        "'ll",
        "...",
        "--",
        "-based",
        "U.S",
        "St.",
        "U.S.",
        "and/or",
        "I-A",
        "°C",
        "2+2",
    ],
)
def test_few_nerds_own_tokens_stay_whole(token: str) -> None:
    """Text that is split already comes out as it went in."""
    assert split(token) == [token]


@pytest.mark.parametrize(
    ("chunk", "words"),
    [("U.S.", ["U.S", "."]), ("Inc.”", ["Inc", ".", "”"]), ("(Inc.).", ["(", "Inc.", ")", "."])],
)
def test_the_period_that_ends_the_text_stands_alone(chunk: str, words: list[str]) -> None:
    """At a text's end a period is the sentence's, as in Few-NERD."""
    assert split(chunk, last=True) == words


def test_typographers_marks_are_read_as_the_training_text_writes_them() -> None:
    """The tokenizer is given straight quotes and three periods for curly ones and an ellipsis."""
    assert [word.read for word in split_chunk("“Merkel’s…")] == ['"', "Merkel", "'s", "..."]


def test_of_a_very_long_word_only_the_beginning_is_read() -> None:
    """Its place is its whole extent; the tokenizer is spared the rest."""
    for long in ("a" * 5000, "—" * 5000, "a/" * 2500):
        (word,) = split_chunk(long)
        assert (word.start, word.end) == (0, 5000)
        assert long.startswith(word.read)
        assert len(word.read) == 512


def test_invisible_characters_at_a_words_ends_are_not_of_it() -> None:
    """Zero-width marks, NUL and marks of direction are left out at the ends and kept within."""
    assert split("\u200bMer\u200dkel\x00") == ["Mer\u200dkel"]
    assert split("\u200f\u200b") == []


@given(
    st.text(st.characters(exclude_categories=("Zs", "Zl", "Zp")), max_size=40).map(
        lambda s: "".join(s.split())
    )
)
def test_words_are_in_order_within_the_chunk_and_lose_no_letter(chunk: str) -> None:
    """Words never overlap, and what stands between them is neither letter nor digit."""
    words = list(split_chunk(chunk))
    ends = [0, *(word.end for word in words)]
    starts = [*(word.start for word in words), len(chunk)]
    for end, start in zip(ends, starts, strict=True):
        assert end <= start
        assert not any(character.isalnum() for character in chunk[end:start])


@pytest.mark.parametrize("part", ["1,", "’", "'", "’s", ".", "-", "a.", "a'", ".'", "\u200b", "`", "a—"])
def test_a_long_chunk_of_anything_is_split(part: str) -> None:
    """No chunk takes time that grows with its square: a hundred thousand repeats are done."""
    chunk = part * 100_000
    assert sum(word.end - word.start for word in split_chunk(chunk, last=True)) in {0, len(chunk)}


@pytest.mark.parametrize(
    ("chunk", "expected"),
    [
        ("war.", (True, False, False)),
        ("war.”", (True, False, False)),
        ("U.S.", (False, True, False)),
        ("“The", (False, True, False)),
        (")", (False, False, True)),
        ("5", (False, False, False)),
        ("why?!", (True, False, False)),
    ],
)
def test_a_chunk_says_whether_sentences_end_and_begin(chunk: str, expected: tuple[bool, bool, bool]) -> None:
    """A period of the word itself ends no sentence; a capital letter may begin one."""
    assert tuple(sides(chunk, split_chunk(chunk))) == expected
