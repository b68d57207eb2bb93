"""The news test is well formed, made from its annotation by command, and its texts are known to the recipe."""

from __future__ import annotations

import re

import pytest

from fewnerd_stream.contract.taxonomy import LABELS
from model.scores import spans_of
from tests.support import agreement
from tests.support.agreement import (
    DOCS,
    FOLDER,
    OWN,
    PASSES,
    PORTAL,
    annotation,
    figures,
    placed,
    rows,
    split,
)

ROWS = rows()
TOKENS = {row["id"]: row["tokens"] for row in ROWS}


def test_there_are_enough_rows_each_whole() -> None:
    """At least 300, each with its source and licence, its words, and a tag for each of them."""
    assert len(ROWS) >= 300
    assert len(TOKENS) == len(ROWS)
    for row in ROWS:
        assert list(row) == [
            "id",
            "source",
            "licence",
            *(["date"] if "date" in row else []),
            "tokens",
            "tags",
        ]
        assert {"source": row["source"], "licence": row["licence"]} in (PORTAL, OWN)
        assert ("date" in row) == (row["licence"] == PORTAL["licence"])
        assert len(row["tokens"]) == len(row["tags"]) > 0
        assert all(token and not re.search(r"\s", token) for token in row["tokens"])
        assert set(row["tags"]) <= {"O", *LABELS}


def test_the_words_are_those_that_the_worker_sees() -> None:
    """With spaces between them the text is split into the same words, so no score is lost to splitting."""
    assert [split(" ".join(row["tokens"])) for row in ROWS] == [row["tokens"] for row in ROWS]


def test_many_types_occur() -> None:
    """Every category does, and more than forty types."""
    labels = {span.label for row in ROWS for span in spans_of(row["tags"])}
    assert len(labels) > 40
    assert {label.partition("-")[0] for label in labels} == {label.partition("-")[0] for label in LABELS}


def test_the_rows_are_what_was_decided() -> None:
    """The file is made from `final.txt`; the texts written for it are those of `own.txt`."""
    assert {row["id"]: row["tags"] for row in ROWS} == annotation("final", TOKENS)
    assert [row["tokens"] for row in ROWS if row["licence"] == OWN["licence"]] == [
        row["tokens"] for row in agreement.own()
    ]


def test_the_agreement_told_is_that_of_the_two_passes() -> None:
    """The table in the guideline is made by the command, from both passes over all texts."""
    assert figures() in DOCS.read_text("utf-8")
    first, second = ([line.partition(":")[0] for line in _lines(name)] for name in PASSES)
    assert sorted(first) == sorted(second) == sorted(TOKENS)
    assert first != second


def test_the_texts_withheld_from_training_are_listed() -> None:
    """One digest for each text that is not our own."""
    withheld = _lines("withheld")
    assert len(set(withheld)) == len(withheld) == sum(row["licence"] == PORTAL["licence"] for row in ROWS)
    assert all(re.fullmatch("[0-9a-f]{64}", each) for each in withheld)


def test_an_entity_is_placed_after_the_one_before() -> None:
    """By whole words, spaces aside."""
    tokens = ["Parish", "Paris", "'s", "Paris", "Match"]
    assert placed(tokens, "Paris=location-GPE; Paris Match=art-other", "") == [
        "O",
        "location-GPE",
        "O",
        "art-other",
        "art-other",
    ]
    assert placed(tokens, "Paris's=other-god", "")[1:3] == ["other-god"] * 2
    assert placed(tokens, "", "") == ["O"] * 5
    for wrong in ("aris=x", "Match=x; Paris=x", "London=x"):
        with pytest.raises(ValueError, match=r"n1: no '"):
            placed(tokens, wrong, "n1")


def test_agreement_counts_what_differs() -> None:
    """Of two entities one differs in type, and one is missed."""
    one = {"a": ["person-actor", "O", "location-GPE"], "b": ["O"]}
    other = {"a": ["person-director", "O", "O"], "b": ["O"]}
    found = agreement.agreement(one, other)
    assert (found["texts"], found["texts that differ"]) == (2, 1)
    assert found["F1, extent and type"] == 0
    assert found["F1, extent and category"] == found["F1, extent"] == pytest.approx(2 / 3)


def _lines(name: str) -> list[str]:
    return (FOLDER / f"{name}.txt").read_text("utf-8").splitlines()
