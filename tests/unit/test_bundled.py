"""The bundle that ships: its digest, card, config and evaluation belong together, and it is good enough."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fewnerd_stream.contract.taxonomy import LABELS
from model.bundle import BUNDLED, Bundle, digest, open_bundle
from model.tagger import Tagger


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    """Open the bundle that ships, without its graph."""
    return open_bundle()


@pytest.fixture(scope="module")
def evaluation() -> dict[str, Any]:
    """Read the bundle's evaluation."""
    return dict(json.loads((BUNDLED / "evaluation.json").read_bytes()))


@pytest.fixture(scope="module")
def card() -> str:
    """Read the bundle's card."""
    return (BUNDLED / "MODEL_CARD.md").read_text("utf-8")


def test_digest_evaluation_and_card_are_of_one_bundle(
    bundle: Bundle, evaluation: dict[str, Any], card: str
) -> None:
    """What was measured is what ships, and the card names it."""
    assert digest(BUNDLED) == bundle.info.digest == evaluation["digest"]
    assert f"`{bundle.info.digest}`" in card


def test_the_card_says_what_the_config_says(bundle: Bundle, card: str) -> None:
    """Name, precision, licence and all labels are in the card."""
    config = json.loads((BUNDLED / "config.json").read_bytes())
    assert card.startswith(f"# {bundle.info.name}\n")
    assert bundle.info.precision == "int8"
    assert "| Precision | INT8" in card
    assert config["fewnerd"]["license"] == "CC-BY-SA-4.0"
    assert "| Licence | CC BY-SA 4.0 |" in card
    assert bundle.labels == ("O", *LABELS)
    assert all(f"`{label}`" in card for label in LABELS)


@pytest.mark.parametrize("side", ["int8", "fp32"])
@pytest.mark.parametrize(
    ("part", "text"), [("fine", "66 types"), ("coarse", "8 categories"), ("boundary", "boundaries alone")]
)
def test_the_cards_figures_are_the_evaluations(
    evaluation: dict[str, Any], card: str, side: str, part: str, text: str
) -> None:
    """Each row of the benchmark is the evaluation's."""
    figures = [f"{100 * evaluation[side][part][name]:.2f}" for name in ("precision", "recall", "f1")]
    assert f"| {text}, {side.upper()} | {' | '.join(figures)} |" in card


def test_the_bundle_is_good_enough(evaluation: dict[str, Any]) -> None:
    """INT8 reaches the F1 it must, loses little to FP32, and reads prose as well as tokens."""
    fine = evaluation["int8"]["fine"]["f1"]
    assert fine >= 0.655  # category first: what routes best gives up a little of the type
    assert fine >= evaluation["fp32"]["fine"]["f1"] - 0.003
    assert abs(fine - evaluation["int8"]["prose"]["fine"]["f1"]) <= 0.005
    assert evaluation["independence"]["differing"] == 0


def test_the_bundle_is_small() -> None:
    """The whole folder is at most 25 MB."""
    assert sum(path.stat().st_size for path in Path(BUNDLED).iterdir()) <= 25e6


def test_the_bundle_loads_and_finds_the_obvious() -> None:
    """Loaded as a worker loads it, parity check included, it finds what nobody would dispute."""
    with Tagger.load(threads=1) as tagger:
        (found,) = tagger.tag(["Barack Obama spoke in Berlin."])
    assert ("Berlin", "location-GPE") in {(entity.text, entity.label) for entity in found}
    assert ("Barack Obama", "person") in {(entity.text, entity.coarse) for entity in found}
