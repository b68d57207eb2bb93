"""The bundle that ships, held to the tagger's promises; skipped where none is there."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import windows
from model.bundle import FUSED, BundleError
from model.parity import write_parity
from model.tagger import Tagger

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from model.entity import Entity

NAMES = (
    "Angela Merkel", "Berlin", "the Eiffel Tower", "Siemens", "World War II", "the Nobel Prize", "Hamlet",
    "a Boeing 747", "İstanbul", "Zu\u0308rich", "O'Brien", "U.S. Army", "東京", "مصر", "Манхэттен", "J. R. R. Tolkien",
)  # fmt: skip
GLUE = (
    " met ", " in ", ", ", ". ", " and ", "\r\n", "\n\n", " 👩‍👩‍👧 ", "\u200b", " (", ") ", "’s ", " said: “", "” ",
    " \x00 ", " the price rose by 5% at ", " was founded by ", "! ", " — ", "\u200f",
)  # fmt: skip


def sentence(draw: random.Random) -> str:
    """Return a text of names and glue."""
    return "".join(draw.choice(NAMES) + draw.choice(GLUE) for _ in range(draw.randint(1, 14)))


def facts(found: Sequence[Sequence[Entity]]) -> list[list[tuple[int, int, str]]]:
    """Return the entities without their scores."""
    return [[(entity.start, entity.end, entity.label) for entity in entities] for entities in found]


def assert_same(one: Sequence[Sequence[Entity]], other: Sequence[Sequence[Entity]]) -> None:
    """Hold two results together: the same entities, scores within 1e-3."""
    assert facts(one) == facts(other)
    for left, right in zip(one, other, strict=True):
        assert [e.score for e in left] == pytest.approx([e.score for e in right], abs=1e-3)


@settings(max_examples=15)
@given(st.integers(0, 2**32), st.integers(2, 24), st.integers(30, 1500))
def test_a_documents_result_does_not_depend_on_its_batch(
    tagger: Tagger, seed: int, count: int, budget: int
) -> None:
    """Alone, among others in any order, padded much or little, a text gets the same entities and scores."""
    draw = random.Random(seed)
    texts = [sentence(draw) for _ in range(count)]
    together = tagger.tag(texts)
    assert_same([tagger.tag([text])[0] for text in texts], together)
    order = draw.sample(range(count), count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(windows, "BATCH_PIECES", budget)
        shuffled = tagger.tag([texts[place] for place in order])
    assert_same([shuffled[order.index(place)] for place in range(count)], together)


@settings(max_examples=30)
@given(st.one_of(st.text(), st.integers(0, 2**32).map(lambda seed: sentence(random.Random(seed)))))
def test_an_entitys_text_is_where_it_says(tagger: Tagger, text: str) -> None:
    """``text[start:end]`` is the entity's text in code points, for any Unicode."""
    (found,) = tagger.tag([text])
    for entity in found:
        assert text[entity.start : entity.end] == entity.text
        assert entity.label in tagger.labels
        assert f"{entity.coarse}-{entity.fine}" == entity.label
        assert 0 <= entity.score <= 1


def test_windows_of_many_callers_get_their_own_answers(tagger: Tagger) -> None:
    """Six callers with windows of up to 32 texts at once get what each gets alone."""
    draw = random.Random(7)
    windows = [[sentence(draw) for _ in range(draw.randint(1, 32))] for _ in range(12)]
    with ThreadPoolExecutor(6) as callers:
        together = list(callers.map(tagger.tag, windows))
    for window, found in zip(windows, together, strict=True):
        assert_same(tagger.tag(window), found)


def test_the_end_of_a_long_text_is_read_like_its_beginning(tagger: Tagger) -> None:
    """A name stands out after 100,000 code points of prose, and inside a sentence of 20,000 without an end."""
    prose = "The committee met again on Monday and nothing was decided. " * 1700
    endless = "and then they walked on along the road for a while, " * 400
    for filler in (prose, endless):
        (found,) = tagger.tag([f"{filler}Angela Merkel lives in Berlin."])
        assert [e.text for e in found if e.label == "location-GPE"][-1:] == ["Berlin"]
        assert found[-1].start == len(filler) + len("Angela Merkel lives in ")


def test_the_parity_check_passes_here(bundled: Path) -> None:
    """The bundle gives on this processor the scores that it was shipped with."""
    Tagger.load(bundled, threads=1).close()


def test_a_processor_that_scores_otherwise_is_refused(copy: Path) -> None:
    """Other scores than those kept, other words, and a malformed file each say what to do."""
    path = copy / "parity.json"
    kept = json.loads(path.read_bytes())

    def refused(content: Any, reason: str) -> None:
        path.write_text(json.dumps(content), "utf-8")
        with pytest.raises(BundleError, match=reason):
            Tagger.load(copy, threads=1)
        Tagger.load(copy, threads=1, check=False).close()

    off = json.loads(json.dumps(kept))
    for word in off["sentences"][0]["words"]:
        word[3] = 0.0
    off["tolerance"] = 0.001
    refused(off, "probabilities differ by .* VNNI")
    off = json.loads(json.dumps(kept))
    off["sentences"][0]["words"][0][1] += 1
    refused(off, "other words")
    refused({"sentences": []}, "malformed")
    refused(kept | {"sentences": [{"text": "a", "words": [[0, 1, "no-label", 0.5]]}]}, "malformed")


def test_written_parity_passes_its_own_check(copy: Path) -> None:
    """What `write_parity` keeps of any texts, the check accepts."""
    write_parity(copy, ["Angela Merkel flew to Paris.", "", "İstanbul 👩‍👩‍👧"])
    Tagger.load(copy, threads=1).close()


def test_a_fused_graph_of_other_weights_is_not_used(copy: Path) -> None:
    """A second graph beside changed weights, or one that cannot be opened, gives way to the plain one."""
    if not (copy / FUSED).is_file():
        pytest.skip("the bundle has no fused graph")
    text = "Angela Merkel lives in Berlin."
    with Tagger.load(copy, threads=1) as fused:
        assert fused._graph.fused
        ((_, expected),) = fused.log_probabilities([text])
    (copy / FUSED).unlink()
    (copy / FUSED).write_bytes(b"no graph")
    with Tagger.load(copy, threads=1) as plain:
        assert not plain._graph.fused
        ((_, found),) = plain.log_probabilities([text])
    assert np.abs(np.exp(found) - np.exp(expected)).max() < 0.1
