"""A bundle is validated before it is used, and refused with a message that says what to do."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from model import bundle as module
from model.bundle import BundleError, digest, find, open_bundle
from tests.unit.model.conftest import write_small
from tests.unit.model.test_outside import graph

if TYPE_CHECKING:
    from pathlib import Path


def test_a_bundle_says_what_it_is(small: Path) -> None:
    """Labels, types, sizes and defaults are read from the folder."""
    bundle = open_bundle(small)
    assert bundle.labels == ("O", "person-other", "location-GPE")
    assert bundle.types == (("", ""), ("person", "other"), ("location", "GPE"))
    assert (bundle.info.name, bundle.info.precision) == ("small", "fp32")
    assert (bundle.window, bundle.overlap) == (62, 15)
    assert bundle.specials == (2, 3, 0)
    assert bundle.decoding.weight == 0.0


def test_its_own_settings_are_read(tmp_path: Path) -> None:
    """Name, precision, windows and categories come from the `fewnerd` object."""
    own = {"name": "mine", "precision": "int8", "window": 30, "overlap": 10, "categories": {"PER": "person"}}
    bundle = open_bundle(write_small(tmp_path / "b", id2label={"0": "O", "1": "PER"}, fewnerd=own))
    assert (bundle.info.name, bundle.info.precision) == ("mine", "int8")
    assert (bundle.window, bundle.overlap) == (30, 10)
    assert bundle.types == (("", ""), ("person", "PER"))


def test_only_the_first_dash_parts_category_and_type(tmp_path: Path) -> None:
    """A type may hold dashes and slashes; a mapped label may keep its type's name."""
    labels = {"0": "O", "1": "event-attack/battle-war", "2": "loc-GPE", "3": "person-actor"}
    own = {"categories": {"loc-GPE": "location", "person-actor": "person"}}
    bundle = open_bundle(write_small(tmp_path / "b", id2label=labels, fewnerd=own))
    assert bundle.types[1:] == (("event", "attack/battle-war"), ("location", "loc-GPE"), ("person", "actor"))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"id2label": None}, "no id2label"),
        ({"id2label": {"0": "O"}}, "no type beside"),
        ({"id2label": {"0": "person-other", "1": "O"}}, "label 0 is 'person-other'"),
        ({"id2label": {"0": "O", "2": "person-other"}}, "each index from 0 on"),
        ({"id2label": {"0": "O", "1": "a-b", "2": "a-b"}}, "each by its own label"),
        ({"id2label": {"0": "O", "1": "PER"}}, "label 'PER' is not of the form category-type; map it"),
        ({"id2label": {"0": "O", "1": "-x"}}, "not of the form"),
        ({"fewnerd": []}, "`fewnerd` must be an object"),
        ({"fewnerd": {"categories": ["x"]}}, "must map labels to categories"),
        ({"fewnerd": {"precision": "int4"}}, "'int8' or 'fp32'"),
        ({"fewnerd": {"window": 63}}, "window is 63, must be 8 to 62"),
        ({"fewnerd": {"window": 4}}, "window is 4"),
        ({"fewnerd": {"window": 20, "overlap": 11}}, "more than half the window"),
        ({"case_classes": 3}, "case_classes is 3, must be 0 or 4"),
        ({"vocab_size": "many"}, "vocab_size is 'many'"),
        ({"max_position_embeddings": None}, "max_position_embeddings is None"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(tmp_path: Path, config: dict[str, Any], reason: str) -> None:
    """The message names the key and what it must be."""
    with pytest.raises(BundleError, match=reason):
        open_bundle(write_small(tmp_path / "b", **config))


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "config.json"])
def test_a_missing_file_is_named(small: Path, name: str) -> None:
    """Which of the three is not there is said."""
    (small / name).unlink()
    with pytest.raises(BundleError, match=f"no {name} in it"):
        open_bundle(small)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("config.json", "{", "not readable as JSON"),
        ("config.json", "[]", "must hold a JSON object"),
        ("tokenizer.json", "{}", "not a BERT word-piece tokenizer"),
        ("decoding.json", "{}", "write it anew"),
    ],
)
def test_a_malformed_file_is_refused(small: Path, name: str, content: str, reason: str) -> None:
    """Files that are no JSON, or not what they should be, are refused by name."""
    (small / name).write_text(content, "utf-8")
    with pytest.raises(BundleError, match=reason) as caught:
        open_bundle(small)
    assert name in str(caught.value)


def test_a_vocabulary_without_special_pieces_is_refused(small: Path) -> None:
    """A tokenizer that cannot begin and end a row is of no use."""
    path = small / "tokenizer.json"
    content = json.loads(path.read_bytes())
    del content["model"]["vocab"]["[CLS]"]
    path.write_text(json.dumps(content), "utf-8")
    with pytest.raises(BundleError, match=r"lacks \[CLS\]"):
        open_bundle(small)


def test_the_digest_is_of_what_decides_a_result(small: Path) -> None:
    """Graph, tokenizer, config and decoding change it, their names too; card and evaluation do not."""
    seen = {digest(small)}
    (small / "MODEL_CARD.md").write_text("a card")
    (small / "evaluation.json").write_text("{}")
    (small / "parity.json").write_text("{}")
    assert {digest(small)} == seen
    for name in (
        "model.onnx",
        "fused.onnx",
        "config.json",
        "decoding.json",
        "tokenizer.json",
        "model.onnx.data",
    ):
        (small / name).write_bytes(b"changed")
        seen.add(digest(small))
    assert len(seen) == 7
    assert all(value.startswith("sha256:") and len(value) == 71 for value in seen)


@pytest.mark.parametrize("name", ["weights.bin", "model.onnx.data", "a b"])
def test_the_digest_covers_the_weights_that_a_graph_keeps_elsewhere(small: Path, name: str) -> None:
    """Whatever the file is called: other weights, other digest."""
    (small / "model.onnx").write_bytes(graph(name))
    (small / name).write_bytes(b"weights")
    before = digest(small)
    (small / name).write_bytes(b"Weights")
    assert digest(small) != before


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"fewnerd": {"name": "x\x1b[2J"}}, r"fewnerd.name is 'x\\x1b\[2J'"),
        ({"fewnerd": {"name": "x\u202egnp"}}, r"\\u202e"),
        ({"fewnerd": {"name": "x" * 100_000}}, "fewnerd.name is 'xxx"),
        ({"fewnerd": {"name": ["x"]}}, "fewnerd.name is"),
        ({"id2label": {"0": "O", "1": "e\x1b[31mvil-x"}}, r"label 'e\\x1b\[31mvil-x'"),
        ({"id2label": {"0": "O", "1": "a-" + "b" * 100_000}}, "label 'a-bbb"),
        ({"id2label": {"0": "O", "1": "a-b,c"}}, "without commas"),
        ({"id2label": {"0": "O", "1": 7}}, "label 7 is none"),
        ({"id2label": {"0": "O", "1": None}}, "label None is none"),
        ({"id2label": {str(n): f"a-{n}" for n in range(5000)}}, "5000 labels"),
        ({"fewnerd": {"categories": {"person-other": "per\nson"}}}, "must map labels to categories"),
        ({"vocab_size": 10**30}, "more than any"),
        ({"vocab_size": 14}, "none of config.json's vocab_size"),
        ({"max_position_embeddings": 10**6, "fewnerd": {"window": 5000}}, "must be 8 to 4094"),
    ],
)
def test_what_a_stranger_wrote_is_bounded_and_can_be_shown(
    tmp_path: Path, config: dict[str, Any], reason: str
) -> None:
    """A message about a hostile bundle is short, and holds nothing that a terminal obeys."""
    with pytest.raises(BundleError, match=reason) as refused:
        open_bundle(write_small(tmp_path / "b", **config))
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize(
    "content",
    [b"[" * 200_000, b'{"transitions": []}', b'{"a": 1e999}', b"\xff", b'{"a": ' + b"9" * 5000 + b"}"],
    ids=["deep", "shape", "infinite", "bytes", "long"],
)
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "decoding.json"])
def test_a_file_that_is_not_what_it_should_be_is_refused(small: Path, name: str, content: bytes) -> None:
    """With its name, whatever is wrong with it."""
    (small / name).write_bytes(content)
    with pytest.raises(BundleError, match=name.removesuffix(".json")):
        open_bundle(small)


def test_a_file_of_endless_length_is_refused(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is in memory."""
    monkeypatch.setitem(module._MOST_BYTES, "config.json", 1000)
    (small / "config.json").write_bytes(b" " * 1001)
    with pytest.raises(BundleError, match="more than 1,000 bytes"):
        open_bundle(small)


@pytest.mark.parametrize(
    "change",
    [
        {"weight": float("nan")},
        {"temperature": float("inf")},
        {"transitions": {"O": {"O": -5}}},
        {"transitions": {"O": 5}},
        {"transitions": {"O": {"O": 10**400}}},
    ],
)
def test_a_decoding_of_numbers_that_are_none_is_refused(small: Path, change: dict[str, Any]) -> None:
    """It would answer everything with nothing."""
    whole = {"weight": 0.15, "temperature": 1.0, "smoothing": 10.0, "transitions": {"O": {"O": 5}}}
    (small / "decoding.json").write_text(json.dumps(whole | change))
    with pytest.raises(BundleError, match=r"decoding\.json"):
        open_bundle(small)


def test_a_folder_that_is_not_there_is_said_to_be_not_there(tmp_path: Path) -> None:
    """A path is never looked for on the hub, and a file is no bundle."""
    with pytest.raises(BundleError, match="no such folder"):
        find(tmp_path / "nothing")
    file = tmp_path / "model.onnx"
    file.touch()
    with pytest.raises(BundleError, match="a bundle is a folder"):
        find(file)


def test_a_hub_name_without_the_hubs_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without huggingface-hub, a name that is no folder is explained."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(BundleError, match="pip install huggingface-hub"):
        find("someone/some-bundle")


def test_a_hub_name_is_fetched(monkeypatch: pytest.MonkeyPatch, small: Path) -> None:
    """With huggingface-hub, its download's folder is the bundle; what it fails with is told."""

    class Hub:
        """Stands in for the library."""

        @staticmethod
        def snapshot_download(name: str, *, allow_patterns: list[str]) -> str:
            """Give a folder for one name only."""
            assert "model.onnx*" in allow_patterns
            if name != "someone/some-bundle":
                raise OSError("offline")
            return str(small)

    monkeypatch.setitem(sys.modules, "huggingface_hub", Hub)
    assert find("someone/some-bundle") == small
    with pytest.raises(BundleError, match="the hub does not give it: offline"):
        find("someone/other")


def test_an_installation_without_a_bundle_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where none ships and none is named, the message says what to do."""
    monkeypatch.setattr(module, "BUNDLED", tmp_path)
    with pytest.raises(BundleError, match="no bundle ships"):
        open_bundle()
