"""The precision to expect: it is the mean of the latest scores, and text unlike the evaluation's lowers it."""

from __future__ import annotations

import json
from importlib.resources import files
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.tagger import bands, load_tagger
from fewnerd_stream.contract.taxonomy import CATEGORIES
from fewnerd_stream.settings import load_settings
from fewnerd_stream.telemetry.precision import WINDOW, Band, Expected, ExpectedPrecision
from tests.support.taggers import Info, WordTagger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from agents.tagger import TaggerLike


@pytest.fixture(scope="module")
def tagger() -> Iterator[TaggerLike]:
    """Load the bundled model."""
    made = load_tagger(load_settings())
    try:
        yield made
    finally:
        made.close()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=WINDOW + 50))
def test_it_is_the_mean_of_the_latest(scores: list[float]) -> None:
    """Older ones fall out of the window."""
    expected = ExpectedPrecision()
    expected.add(("person", score) for score in scores)
    latest = scores[-WINDOW:]
    [(category, found)] = expected.read().items()
    assert (category, found.entities) == ("person", len(latest))
    assert found.precision == pytest.approx(sum(latest) / len(latest))


@given(st.floats(0, 1), st.integers(0, 10_000), st.floats(0, 0.2))
def test_a_band_holds_its_precision(precision: float, found: int, error: float) -> None:
    """It lies within 0..1 and around what was measured, wider where less was found."""
    band = Band.around(precision, found, error)
    assert 0 <= band.low <= precision <= band.high <= 1
    assert Band.around(precision, found + 100, error).low >= band.low


def test_another_model_starts_anew() -> None:
    """Its own scores against its own bands."""
    expected = ExpectedPrecision({"person": Band(0.5, 0.6)})
    expected.add([("person", 0.9)])
    expected.begin({"person": Band(0.7, 0.8)})
    assert expected.read() == {}
    assert expected.bands == {"person": Band(0.7, 0.8)}


def test_every_category_of_the_bundle_has_a_band(tagger: TaggerLike) -> None:
    """The bundle's evaluation gives one; where other entities are told than evaluated it gives none."""
    assert set(bands(tagger, load_settings())) == set(CATEGORIES)
    assert bands(tagger, load_settings(thresholds=0.9)) == {}
    assert bands(tagger, load_settings(labels="person")) == {}
    assert bands(WordTagger(), load_settings()) == {}
    assert Info().precision


@pytest.mark.parametrize(
    "report",
    [
        "",
        "[]",
        "{",
        '{"cross_fitted": {"ece": 0.1}, "int8": {"categories": []}}',
        '{"cross_fitted": {"ece": 0.1}, "int8": {"categories": {"person": {"precision": "1"}}}}',
        '{"cross_fitted":{"ece":0},"int8": {"categories": {"person": {"precision": 7, "recall": 1, "support": 9}}}}',
    ],
)
def test_a_report_that_cannot_be_read_gives_no_band(tmp_path: Path, report: str) -> None:
    """A stranger's bundle may say anything there; the worker goes on without bands."""
    (tmp_path / "evaluation.json").write_text(report)
    made = SimpleNamespace(bundle=SimpleNamespace(folder=tmp_path))
    assert bands(made, load_settings()) == {}


def means(tagger: TaggerLike, change: Callable[[str], str]) -> dict[str, Expected]:
    """Tag the demonstration's news, changed."""
    lines = files("fewnerd_stream.demo").joinpath("feed.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [change(json.loads(line)["text"]) for line in lines]
    expected = ExpectedPrecision()
    for entities in tagger.tag(texts):
        expected.add((entity.coarse, entity.coarse_score) for entity in entities)
    return expected.read()


def test_text_in_capitals_makes_it_fall(tagger: TaggerLike) -> None:
    """News as it is written stays within the bands; in capitals the mean of all falls, and that of persons."""
    expected = bands(tagger, load_settings())
    plain, capitals = means(tagger, str), means(tagger, str.upper)
    assert all(plain[category].precision > expected[category].low for category in plain)
    assert capitals["person"].precision < plain["person"].precision
    assert overall(capitals) < overall(plain)


def overall(found: Mapping[str, Expected]) -> float:
    """Give the mean over the entities of all categories."""
    total = sum(each.entities for each in found.values())
    return sum(each.precision * each.entities for each in found.values()) / total
