"""Evaluation reads what it should, joins as it should, and scores a tagger by code points."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.entity import Entity
from model.evaluate import DataError, Sentence, evaluate, join, read_sentences
from model.scores import Routing, spans_of
from model.tagger import Least

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model.tagger import Tagger

SENTENCE = Sentence(
    (
        "``",
        "Hamlet",
        "''",
        "(",
        "1603",
        ")",
        "is",
        "n't",
        "Shakespeare",
        "'s",
        ",",
        "a",
        "£",
        "$",
        "5",
        "%",
        ".",
    ),
    ("O", "art-writtenart", *["O"] * 6, "person-artist/author", *["O"] * 8),
)


class Oracle:
    """A tagger that knows the answers; it may be told to answer otherwise."""

    def __init__(self, sentences: Sequence[Sentence], *, prose: bool, shift: int = 0) -> None:
        self.answers: dict[str, list[Entity]] = {}
        labels = sorted({tag for sentence in sentences for tag in sentence.tags} - {"O"})
        self.bundle = self
        self.labels = ("O", *labels)
        self.types = (("", ""), *(tuple(label.split("-", 1)) for label in labels))
        for sentence in sentences:
            text, places = join(sentence.tokens, prose=prose)
            self.answers[text] = [
                self.entity(text, places[span.start][0], places[span.end - 1][1] - shift, span.label)
                for span in spans_of(sentence.tags)
            ]

    @staticmethod
    def entity(text: str, start: int, end: int, label: str) -> Entity:
        """Return an entity of a text."""
        coarse, fine = label.split("-", 1)
        return Entity(text[start:end], start, end, coarse, fine, label, 1.0, 1.0)

    def tag(self, texts: Sequence[str]) -> list[list[Entity]]:
        """Return the answers."""
        return [self.answers[text] for text in texts]


def measured(sentences: Sequence[Sentence], *, prose: bool, shift: int = 0) -> dict[str, Any]:
    """Evaluate an oracle."""
    oracle: Any = Oracle(sentences, prose=prose, shift=shift)
    return evaluate(oracle, sentences, prose=prose)


def test_tokens_are_joined_by_spaces() -> None:
    """Each token is parted from the next by one space, and stands where the places say."""
    text, places = join(SENTENCE.tokens)
    assert text == " ".join(SENTENCE.tokens)
    assert [text[start:end] for start, end in places] == list(SENTENCE.tokens)


def test_prose_is_joined_as_a_newspaper_would() -> None:
    """Punctuation and contractions are close to the word before, brackets and quotes to what they enclose."""
    text, places = join(SENTENCE.tokens, prose=True)
    assert text == "\"Hamlet\" (1603) isn't Shakespeare's, a £ $5%."
    assert [text[start:end] for start, end in places] == ['"', "Hamlet", '"', *SENTENCE.tokens[3:]]


def test_a_quote_that_is_written_as_if_opening_closes_an_open_one() -> None:
    """Few-NERD has closing quotes as two backticks too."""
    assert join(["a", "``", "b", "``", "c", "''", "d"], prose=True)[0] == 'a "b" c" d'


@given(
    st.lists(st.text(st.characters(exclude_categories=("Zs", "Zl", "Zp", "Cc")), min_size=1), max_size=12),
    st.booleans(),
)
def test_joined_tokens_stand_where_the_places_say(tokens: list[str], prose: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
    """Places are in order, in code points, and hold each token, quotes of any kind as straight ones."""
    text, places = join(tokens, prose=prose)
    previous = 0
    for token, (start, end) in zip(tokens, places, strict=True):
        assert previous <= start <= previous + 1
        assert text[start:end] == ('"' if prose and token in {"``", "''"} else token)
        previous = end
    assert previous == len(text)


@pytest.mark.parametrize("prose", [False, True])
def test_a_tagger_that_knows_all_scores_one(prose: bool) -> None:  # noqa: FBT001 - the parameter under test
    """Gold spans by code points are what the joined text holds, in both ways of joining."""
    emoji = Sentence(
        ("👩‍👩‍👧", "Zu\u0308rich", "Zu\u0308rich", "!"), ("O", "location-GPE", "location-other", "O")
    )
    report = measured([SENTENCE, emoji] * 200, prose=prose)
    assert report["sentences"] == 400
    assert report["fine"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 800}
    assert report["coarse"]["f1"] == report["boundary"]["f1"] == report["tokens"]["accuracy"] == 1.0


def test_spans_that_cut_tokens_are_wrong() -> None:
    """A tagger whose spans all end one code point early scores zero, at full count."""
    report = measured([SENTENCE], prose=False, shift=1)
    assert report["fine"]["f1"] == report["boundary"]["f1"] == 0.0
    assert report["fine"]["support"] == 2


def test_progress_adds_up_to_all_sentences() -> None:
    """Each call tells what was done since the last."""
    oracle: Any = Oracle([SENTENCE], prose=False)
    done: list[int] = []
    evaluate(oracle, [SENTENCE] * 600, progress=done.append)
    assert sum(done) == 600
    assert len(done) > 1


def test_json_lines_are_read(tmp_path: Path) -> None:
    """A sentence a line; blank lines and other fields do no harm."""
    path = tmp_path / "sentences.jsonl"
    row = {"tokens": list(SENTENCE.tokens), "tags": list(SENTENCE.tags), "id": 1}
    path.write_text(f"{json.dumps(row)}\n\n{json.dumps(row)}\n", "utf-8")
    assert read_sentences(path) == [SENTENCE, SENTENCE]


def test_parquet_is_read(tmp_path: Path) -> None:
    """Where pyarrow is installed, parquet gives the same."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "sentences.parquet"
    rows = [{"tokens": list(SENTENCE.tokens), "tags": list(SENTENCE.tags), "natural": True}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    assert read_sentences(path) == [SENTENCE]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.jsonl", b"", "no sentence in it"),
        ("a.jsonl", b'{"tokens": ["a"]', "line 1: not JSON"),
        ("a.jsonl", b'{"tokens": ["a"], "tags": []}', "line 1: needs `tokens` and `tags`"),
        ("a.jsonl", b'\n{"tokens": "a", "tags": "O"}', "line 2: needs `tokens` and `tags`"),
        ("a.jsonl", b"[1]", "line 1: needs"),
        ("a.jsonl", b'{"tokens": [], "tags": []}', "line 1: needs"),
        ("a.parquet", b"no parquet", "a.parquet"),
    ],
)
def test_a_malformed_file_is_refused_with_its_place(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    """The message names the file, the line and what is missing."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason):
        read_sentences(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """What is not there is said to be not there."""
    with pytest.raises(DataError, match="no such file"):
        read_sentences(tmp_path / "nothing.jsonl")


@pytest.mark.parametrize("prose", [False, True])
def test_the_bundle_finds_names_in_tokens_and_in_prose(tagger: Tagger, prose: bool) -> None:  # noqa: FBT001 - the parameter under test
    """A person and a city are found however the sentence is spaced, and end where their tokens end."""
    tokens = "Angela Merkel did n't speak in Berlin 's `` Olympiastadion '' ( 1936 ) .".split()
    text, places = join(tokens, prose=prose)
    (entities,) = tagger.tag([text])
    found = {(entity.start, entity.end, entity.coarse) for entity in entities}
    assert (places[0][0], places[1][1], "person") in found
    assert (*places[6], "location") in found


def test_routing_asks_for_categories_whatever_the_type() -> None:
    """A sentence with the right category and the wrong type is on the right topic; the curve has what is not told."""
    routing = Routing()
    routing.add({"person", "art"}, {"person"}, {"person": 0.9, "art": 0.3})
    routing.add(set(), {"event"}, {"event": 0.5})
    found = routing.report()
    assert (found["precision"], found["recall"], found["support"]) == (0.5, 0.5, 2)
    assert found["categories"]["person"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 1}
    assert found["categories"]["art"]["recall"] == found["categories"]["event"]["precision"] == 0.0
    curve = {row["threshold"]: (row["precision"], row["recall"]) for row in found["curve"]}
    assert (curve[0.0], curve[0.5], curve[0.6]) == ((2 / 3, 1.0), (0.5, 0.5), (1.0, 0.5))


def test_what_thresholds_hold_back_is_for_the_curve_alone() -> None:
    """An entity under its category's threshold counts neither as found nor as routed."""
    sentences = [Sentence(("Berlin",), ("location-GPE",))]
    oracle: Any = Oracle(sentences, prose=False)
    least = Least(oracle.labels, np.array([0, 2], np.float32), np.array([0, 0], np.float32))
    report = evaluate(oracle, sentences, least=least)
    assert report["fine"]["recall"] == report["routing"]["recall"] == 0.0
    assert report["routing"]["curve"][0]["recall"] == 1.0
    assert evaluate(oracle, sentences)["routing"]["f1"] == 1.0
