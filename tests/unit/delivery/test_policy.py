"""The error policy: the culprit alone is singled out, and a broken model hands nothing over."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewnerd_stream.delivery.policy import KNOWN_GOOD, Failed, tag_all
from fewnerd_stream.errors import Stop

if TYPE_CHECKING:
    from collections.abc import Sequence


def entities(text: str) -> list[str]:
    """Stand for a text's entities by the text itself."""
    return [text]


@given(st.lists(st.integers(0, 50), max_size=40, unique=True), st.sets(st.integers(0, 50)))
def test_exactly_the_culprits_fail(numbers: list[int], bad: set[int]) -> None:
    """Documents on which the model always raises fail alone; every other keeps its own result."""

    def tag(texts: Sequence[str]) -> list[list[str]]:
        if any(text.isdigit() and int(text) in bad for text in texts):
            raise RuntimeError("boom")
        return [entities(text) for text in texts]

    texts = [str(n) for n in numbers]
    found: list[Any] = tag_all(texts, tag)  # type: ignore[arg-type]  # strings stand for entities
    for number, result in zip(numbers, found, strict=True):
        if number in bad:
            assert isinstance(result, Failed)
            assert "boom" in str(result)
        else:
            assert result == [str(number)]


def test_a_model_that_always_raises_stops_everything() -> None:
    """It fails on a known-good sentence too, so no document is to blame."""

    def tag(_: Sequence[str]) -> list[list[str]]:
        raise OSError("no model")

    with pytest.raises(Stop, match="known-good sentence"):
        tag_all(["a", "b"], tag)  # type: ignore[arg-type]  # strings stand for entities


def test_a_model_that_finds_nothing_in_a_known_good_sentence_stops_everything() -> None:
    """It is as broken as one that raises; but a bundle of one's own may know neither person nor place."""

    def tag(texts: Sequence[str]) -> list[list[str]]:
        if "culprit" in texts:
            raise RuntimeError("boom")
        return [[] for _ in texts]

    with pytest.raises(Stop, match=f"it finds nothing in {KNOWN_GOOD!r}"):
        tag_all(["a", "culprit"], tag)  # type: ignore[arg-type]  # strings stand for entities
    good, bad = tag_all(["a", "culprit"], tag, must_find=False)  # type: ignore[arg-type]  # the same
    assert good == []
    assert isinstance(bad, Failed)


def test_a_model_that_fails_at_random_costs_no_document() -> None:
    """With 5 % of calls failing, 4,000 documents in windows of 32 come out with their own results."""
    chance = random.Random(7)

    def tag(texts: Sequence[str]) -> list[list[str]]:
        if chance.random() < 0.05:
            raise RuntimeError("now and then")
        return [entities(text) for text in texts]

    failed = 0
    for first in range(0, 4000, 32):
        texts = [str(n) for n in range(first, first + 32)]
        found: list[Any] = tag_all(texts, tag)  # type: ignore[arg-type]  # strings stand for entities
        for text, result in zip(texts, found, strict=True):
            failed += isinstance(result, Failed)
            assert isinstance(result, Failed) or result == [text]
    assert failed <= 1


def test_a_tagger_that_gives_the_wrong_number_of_results_is_broken() -> None:
    """A result too few must never be matched to the wrong document."""

    def tag(texts: Sequence[str]) -> list[list[str]]:
        return [entities(text) for text in texts][:-1]

    with pytest.raises(Stop, match="0 results for 1 texts"):
        tag_all(["a", "b"], tag)  # type: ignore[arg-type]  # strings stand for entities


def test_no_text_needs_no_model() -> None:
    """A window of rejected documents does not call the tagger."""
    assert tag_all([], lambda texts: pytest.fail(f"called with {texts}")) == []


def test_the_known_good_sentence_is_plain() -> None:
    """It is short, so that asking costs little."""
    assert len(KNOWN_GOOD) < 60
