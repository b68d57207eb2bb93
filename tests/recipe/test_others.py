"""Other people's types are read as categories, and what has no counterpart is left out on both sides."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from model.entity import Entity
from model.evaluate import DataError
from model.recipe import others

if TYPE_CHECKING:
    from pathlib import Path


def test_types_are_read_as_categories(tmp_path: Path) -> None:
    """Neighbours of one type are two entities; a type without a counterpart is kept apart."""
    path = tmp_path / "a.jsonl"
    row = {
        "tokens": ["Bo", "Li", "won", "Oslo", "Prize"],
        "tags": ["B-writer", "B-person", "O", "B-award", "I-award"],
    }
    path.write_text(json.dumps(row) + "\n")
    assert others.read(path) == [
        ("Bo Li won Oslo Prize", {(0, 2, "person"), (3, 5, "person")}, {(10, 20, "award")})
    ]


def test_what_has_no_counterpart_counts_on_neither_side() -> None:
    """What is found in an award is left out, an event where the texts have none too; a building is a location."""
    text = "Bo visited Oslo Hall for the Oslo Prize and the Games"
    found = [
        Entity("Bo", 0, 2, "person", "actor", "person-actor", 0.9, 0.9),
        Entity("Oslo Hall", 11, 20, "building", "other", "building-other", 0.9, 0.9),
        Entity("Oslo", 29, 33, "location", "GPE", "location-GPE", 0.9, 0.9),
        Entity("Games", 48, 53, "event", "other", "event-other", 0.9, 0.9),
    ]

    class One:
        @staticmethod
        def tag(texts: list[str]) -> list[list[Entity]]:
            return [found for _ in texts]

    tagger: Any = One()
    gold = {(0, 2, "person"), (11, 20, "location")}
    report = others.by_category(tagger, [(text, gold, {(29, 39, "award")})])
    assert report["spans"] == report["routing"] == {"precision": 1.0, "recall": 1.0, "f1": 1.0, "support": 2}
    missed = others.by_category(tagger, [(text, {(0, 4, "person")}, set())])
    assert (missed["spans"]["f1"], missed["routing"]["f1"]) == (0.0, 1.0)


@pytest.mark.parametrize("content", ["{", '{"tokens": ["a"]}', '{"tokens": ["a"], "tags": 1}', "[]"])
def test_a_malformed_file_is_named(tmp_path: Path, content: str) -> None:
    """The message has the file's name."""
    (tmp_path / "b.jsonl").write_text(content)
    with pytest.raises(DataError, match=r"b\.jsonl"):
        others.read(tmp_path / "b.jsonl")
