"""Texts become pieces and words whose places in the text are exact, whatever the text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model import pieces as module
from model.bundle import open_bundle
from model.pieces import Encoder
from model.words import split_chunk
from tests.unit.model.conftest import WORDS, write_small

if TYPE_CHECKING:
    from pathlib import Path

ODD = (
    "emoji 👩‍👩‍👧 and 🇩🇪 end",
    "Cafe\u0301 Zu\u0308rich A\u030a",
    "שלום עולם, مرحبا بالعالم.",
    "zero\u200bwidth \ufeffmark\u2060s",
    "one\r\ntwo\r\n\r\nthree\tfour",
    "nul\x00l \x00 \x00end",
    "İstanbul ß ŉ ﬁ Ǆ",
    "東京タワー 北京。",
    "a\u00a0b\u2009c\u3000d\u2028e\x85f",
    "un\ud800paired \udfff",
    "[SEP] [CLS] [PAD] x",
    "",
    " \n ",
    "b" * 300,
)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """Make an encoder of fifteen pieces and four case classes."""
    bundle = open_bundle(write_small(tmp_path_factory.mktemp("bundles") / "small"))
    return Encoder(bundle.tokenizer, bundle.vocabulary, bundle.case_classes)


def whole(encoder: Encoder, text: str) -> list[tuple[int, int]]:
    """Return the words' places in a text."""
    pieces = encoder.encode([text])
    return list(zip(pieces.start.tolist(), pieces.end.tolist(), strict=True))


texts = st.one_of(
    st.sampled_from(ODD),
    st.text(st.one_of(st.characters(), st.sampled_from(" \n.'’\"-\u200d\u0301\x00\ud800İß"))),
    st.text("aAbBs .'\n", max_size=80),
)


@given(st.lists(texts, max_size=6))
def test_words_lie_in_order_within_their_texts(encoder: Encoder, given_texts: list[str]) -> None:
    """Spans never overlap, are never empty, hold no space, and every piece belongs to one word."""
    pieces = encoder.encode(given_texts)
    assert len(pieces.text_words) == len(given_texts) + 1
    assert pieces.text_words[-1] == pieces.start.size
    assert pieces.text_pieces[-1] == pieces.ids.size
    for number, text in enumerate(given_texts):
        place = slice(pieces.text_words[number], pieces.text_words[number + 1])
        previous = 0
        for start, end in zip(pieces.start[place].tolist(), pieces.end[place].tolist(), strict=True):
            assert previous <= start < end <= len(text)
            assert not any(character.isspace() for character in text[start:end])
            previous = end
        first = pieces.first[place]
        assert np.all(np.diff(first) > 0)
        if first.size:
            assert first[0] == pieces.text_pieces[number]
            assert first[-1] < pieces.text_pieces[number + 1]
        else:
            assert pieces.text_pieces[number] == pieces.text_pieces[number + 1]


@given(st.lists(texts, min_size=1, max_size=5), st.integers(0, 4))
def test_a_texts_pieces_depend_on_it_alone(encoder: Encoder, given_texts: list[str], which: int) -> None:
    """A text among others, in a table full of others' words, gives what it gives by itself."""
    number = which % len(given_texts)
    among, alone = encoder.encode(given_texts), encoder.encode([given_texts[number]])
    words = slice(among.text_words[number], among.text_words[number + 1])
    own = slice(among.text_pieces[number], among.text_pieces[number + 1])
    assert among.ids[own].tolist() == alone.ids.tolist()
    assert (among.first[words] - among.text_pieces[number]).tolist() == alone.first.tolist()
    for name in ("start", "end", "sentence", "apart"):
        assert getattr(among, name)[words].tolist() == getattr(alone, name).tolist()


def test_a_sentence_ends_with_its_text(encoder: Encoder) -> None:
    """A quote that begins a text closes no sentence of the text before."""
    assert encoder.encode([".", "' Berlin"]).sentence.tolist() == [True, True, False]
    assert encoder.encode([".\n\n' Berlin"]).sentence.tolist() == [True, True, False]
    assert encoder.encode([". ' Berlin"]).sentence.tolist() == [True, False, True]


def test_pieces_are_those_of_each_word_by_itself(encoder: Encoder) -> None:
    """The table gives what the tokenizer gives for the words one by one, case class folded in."""
    pieces = encoder.encode(["A Berlin bb's BERLIN ."])
    size = len(WORDS)
    names = [(WORDS[piece % size], piece // size) for piece in pieces.ids.tolist()]
    assert names == [
        ("a", 1),
        ("berlin", 1),
        ("b", 0),
        ("##b", 0),
        ("'", 0),
        ("s", 0),
        ("berlin", 2),
        (".", 0),
    ]
    assert pieces.first.tolist() == [0, 1, 2, 4, 6, 7]


def test_a_special_pieces_name_in_a_text_is_text(encoder: Encoder) -> None:
    """No text can end the graph's input early by writing [SEP]."""
    assert not {2, 3, 0} & set(encoder.encode(["[SEP] [CLS][PAD]"]).ids % len(WORDS))


def test_a_plain_bundle_has_plain_ids(small: Path) -> None:
    """Without case classes the ids are the tokenizer's own."""
    bundle = open_bundle(small)
    plain = Encoder(bundle.tokenizer, bundle.vocabulary, 0)
    assert [WORDS[piece] for piece in plain.encode(["A BERLIN"]).ids] == ["a", "berlin"]


def test_a_word_of_a_million_letters_is_one_word(encoder: Encoder) -> None:
    """BERT reads it as unknown; its place is exact, and so are its neighbours'."""
    size = 1_000_000
    text = "a " + "b" * size + " a."
    assert whole(encoder, text) == [(0, 1), (2, size + 2), (size + 3, size + 4), (size + 4, size + 5)]


def test_lowercasing_that_changes_length_shifts_nothing(encoder: Encoder) -> None:
    """After İ, which lowercases to two code points, words stand where they stand in the text."""
    text = "İİİ berlin"
    assert [text[start:end] for start, end in whole(encoder, text)] == ["İİİ", "berlin"]


def test_a_combining_mark_belongs_to_its_word(encoder: Encoder) -> None:
    """The accent that the tokenizer strips is still inside the span."""
    assert whole(encoder, "cafe\u0301 a") == [(0, 5), (6, 7)]


def test_sentences_begin_after_a_period_and_a_capital(encoder: Encoder) -> None:
    """Abbreviations, initials, small letters and digits begin none; a blank line parts texts."""
    text = 'A bb. Berlin is "bb." A U.S. Berlin. no. 5 bb.\n\nb J. Berlin'
    pieces = encoder.encode([text])
    starts = pieces.start[pieces.sentence].tolist()
    assert [text[start:].split(maxsplit=1)[0] for start in starts] == ["A", "Berlin", "A", "b"]
    assert pieces.start[pieces.apart].tolist() == [0, text.index("b J.")]


@pytest.mark.parametrize("gap", ["\n\n", "\r\n\r\n", "\n \t\n", "\u2029", "\f"])
def test_a_blank_line_is_one_however_it_is_written(encoder: Encoder, gap: str) -> None:
    """The word after it is apart from the one before."""
    assert encoder.encode([f"a{gap}b"]).apart.tolist() == [True, True]
    assert encoder.encode(["a\nb"]).apart.tolist() == [True, False]


def test_a_full_table_begins_anew(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept is bounded in bytes, and what is forgotten is read again alike."""
    monkeypatch.setattr(module, "_MOST_BYTES", 120_000)
    bundle = open_bundle(small)
    encoder = Encoder(bundle.tokenizer, bundle.vocabulary, bundle.case_classes)
    before = encoder.encode(["a b s berlin"])
    kept: list[int] = []
    for number in range(200):
        encoder.encode([" ".join(f"{'ab' * 20}{number}-{each}" for each in range(10))])
        assert encoder._table.bytes <= 120_000
        kept.append(len(encoder._table.index))
    assert max(kept) > 100
    assert min(kept[20:]) < 20
    assert encoder.encode(["a b s berlin"]).ids.tolist() == before.ids.tolist()


@pytest.mark.parametrize("chunk", ["x", "\U00020000", "a-", "a(", "1,", "\u0301b"])
def test_the_table_keeps_no_long_chunk(small: Path, chunk: str) -> None:
    """However many documents of one endless word come, nothing of them is kept; their words are as exact."""
    bundle = open_bundle(small)
    encoder = Encoder(bundle.tokenizer, bundle.vocabulary, bundle.case_classes)
    encoder.encode(["a b"])
    size = encoder._table.bytes
    for number in range(5):
        text = f"berlin {number:03}{chunk * 40_000} b"
        words = whole(encoder, text)
        assert (words[0], words[-1]) == ((0, 6), (len(text) - 1, len(text)))
    assert encoder._table.bytes < size + 2_000
    assert encoder._table.index.keys() <= {"a", "b", "berlin"}


def test_a_text_of_nothing_but_news_drives_out_nothing(small: Path) -> None:
    """A megabyte of distinct short words goes through a table of its own."""
    bundle = open_bundle(small)
    encoder = Encoder(bundle.tokenizer, bundle.vocabulary, bundle.case_classes)
    encoder.encode(["a b berlin"])
    size = encoder._table.bytes
    pieces = encoder.encode([" ".join(f"b{number}" for number in range(100_000))])
    assert pieces.start.size == 100_000
    assert encoder._table.bytes == size
    assert encoder._table.index.keys() == {"a", "b", "berlin"}


def test_reading_a_long_text_shows_that_it_goes_on(encoder: Encoder) -> None:
    """There is a sign of life for every few thousand words, in one chunk or in many."""
    for text in ("a(" * 20_000, " ".join(f"b{number}" for number in range(40_000))):
        beats: list[int] = []
        encoder.encode([text], lambda beats=beats: beats.append(1))  # type: ignore[misc]
        assert len(beats) >= 9


@pytest.mark.parametrize(
    "run",
    [
        "(" * 70_000,
        "( " * 30_000,
        "()[]" * 20_000,
        "-" * 5000,
        "= " * 5000,
        "😀" * 999,
        "\n.\n" * 999,
        "@," * 500,
    ],
)
def test_of_a_long_run_of_marks_only_the_ends_are_read(encoder: Encoder, run: str) -> None:
    """However long a run of neither letters nor digits is, it costs next to nothing, and parts its two sides."""
    text = f"a berlin {run} berlin a"
    pieces = encoder.encode([text])
    assert pieces.ids.size <= 4 + 2 * 17
    places = list(zip(pieces.start.tolist(), pieces.end.tolist(), strict=True))
    assert places[:2] == [(0, 1), (2, 8)]
    assert places[-2:] == [(len(text) - 8, len(text) - 2), (len(text) - 1, len(text))]
    assert pieces.apart[1:].any()


def test_a_short_run_of_marks_is_read_whole(encoder: Encoder) -> None:
    """Up to 64 marks are words like any other."""
    assert len(whole(encoder, "a " + "(" * 60 + " b")) == 62


def test_spaces_cost_nothing(encoder: Encoder) -> None:
    """A megabyte of spaces between two words leaves two words, and no break where there is no blank line."""
    pieces = encoder.encode(["a" + " " * 1_000_000 + "b"])
    assert pieces.start.tolist() == [0, 1_000_001]
    assert pieces.apart.tolist() == [True, False]


@given(texts)
def test_every_letter_of_a_known_script_is_in_some_word(encoder: Encoder, text: str) -> None:
    """What the splitter calls a word and the tokenizer can read is never lost."""
    covered = {place for start, end in whole(encoder, text) for place in range(start, end)}
    for place, character in enumerate(text):
        if character.isascii() and character.isalnum():
            assert place in covered


def test_the_splitter_and_the_table_agree(encoder: Encoder) -> None:
    """A chunk's words in a text are the splitter's, moved to where the chunk stands."""
    text = "a  'berlin' b—s  (a.b) berlin's"
    expected = []
    place = 0
    for chunk in text.split(" "):
        expected += [(word.start + place, word.end + place) for word in split_chunk(chunk)]
        place += len(chunk) + 1
    assert whole(encoder, text) == expected
