"""The recipe end to end, on a tiny model: trained, exported, quantized, tagged with, measured, described."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner, Result

from model.bundle import digest, open_bundle
from model.recipe import export as exporting
from model.recipe.cli import main
from model.recipe.network import CasedDistilBertForTokenClassification
from model.tagger import Tagger

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXTS = ("Ada Karlsson moved from Norrvik to Tallmere last spring .", "Helvex hired Chen Weiss", "")
PASSES = ",".join(["all"] * 12)


def recipe(*words: str | Path) -> Result:
    """Run a command of the recipe."""
    return CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture(scope="module")
def options(
    checkpoint: Path, files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    """Give the options that every command takes, and train and bundle a run ``tiny`` with them."""
    work = tmp_path_factory.mktemp("work")
    given = ["--work", str(work), "--train", str(files[0]), "--held-out", str(files[1])]
    train = ["train", "tiny", "--start", str(checkpoint), "--passes", PASSES, "--peak", "3e-3"]
    assert recipe(*given, *train).exit_code == 0
    result = recipe(*given, "card", "tiny")
    assert result.exit_code == 0, result.output
    return given


@pytest.fixture(scope="module")
def run(options: Sequence[str]) -> Path:
    """Give the finished run's folder."""
    return Path(options[1]) / "tiny"


def test_the_graph_is_what_other_runtimes_expect(run: Path) -> None:
    """Two int64 inputs and one output, batch and length free, standard operators only."""
    for name in ("fp32.onnx", "int8.onnx"):
        graph = onnx.load(str(run / name))
        onnx.checker.check_model(graph, full_check=True)
        assert {operator.domain for operator in graph.opset_import} <= {"", "ai.onnx"}
        session = onnxruntime.InferenceSession(str(run / name), providers=["CPUExecutionProvider"])
        inputs = {value.name: (value.type, value.shape) for value in session.get_inputs()}
        assert inputs == dict.fromkeys(
            ("input_ids", "attention_mask"), ("tensor(int64)", ["batch", "length"])
        )
        (logits,) = session.get_outputs()
        assert (logits.name, logits.shape) == ("logits", ["batch", "length", 5])


def test_the_fp32_graph_is_torchs(run: Path) -> None:
    """The exported logits are torch's to 1e-4, for ragged masks and every case class."""
    network = CasedDistilBertForTokenClassification.from_pretrained(run / "finished").eval()
    assert exporting.largest_difference(network, run / "fp32.onnx") < exporting.TOLERANCE


def test_a_graph_that_differs_is_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export that is not torch's to the tolerance leaves no file."""
    network = CasedDistilBertForTokenClassification.from_pretrained(run / "finished").eval()
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    with pytest.raises(exporting.ExportError, match="differ from torch's"):
        exporting.export(network, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_every_weighted_product_is_int8_and_nothing_else(run: Path, tmp_path: Path) -> None:
    """ONNX Runtime fuses each weighted product into one integer kernel, and dequantizes nothing else."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(str(run / "int8.onnx"), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(str(tmp_path / "optimized.onnx")).graph.node]
    # Six products a layer in two layers, and the classifier.
    assert kinds.count("MatMulIntegerToFloat") == 13
    assert "DequantizeLinear" not in kinds
    assert "SkipLayerNormalization" not in kinds


def test_the_word_table_is_int8_rows(run: Path) -> None:
    """The largest table is stored as INT8 with a scale a row, within half a step of what it was."""
    tables = {}
    for name in ("fp32.onnx", "int8.onnx"):
        graph = onnx.load(str(run / name)).graph
        tables[name] = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    (name,) = [n for n in tables["int8.onnx"] if n.endswith("word_embeddings.weight_quantized")]
    rows, scale = tables["int8.onnx"][name], tables["int8.onnx"][name.replace("_quantized", "_scale")]
    original = tables["fp32.onnx"][name.removesuffix("_quantized")]
    assert rows.dtype == np.int8
    assert np.all(np.abs(rows * scale - original) <= scale * 0.5001)


def test_int8_logits_depend_on_neither_neighbours_nor_padding(run: Path) -> None:
    """A sentence's INT8 logits alone and among longer ones agree to rounding."""
    session = onnxruntime.InferenceSession(str(run / "int8.onnx"), providers=["CPUExecutionProvider"])
    config = CasedDistilBertForTokenClassification.from_pretrained(run / "finished").config
    ids, mask = exporting.random_inputs(config, 6, 40, 8)
    (together,) = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})
    for row, length in enumerate(mask.sum(1)):
        feed = {"input_ids": ids[row : row + 1, :length], "attention_mask": mask[row : row + 1, :length]}
        (alone,) = session.run(["logits"], feed)
        np.testing.assert_allclose(alone[0], together[row, :length], atol=1e-4)


def test_the_bundle_tags(run: Path) -> None:
    """The INT8 bundle, opened as a user opens it, passes its parity check and finds what it was taught."""
    with Tagger.load(run / "int8") as tagger:
        assert tagger.info.precision == "int8"
        found = tagger.tag(TEXTS)
    assert {(e.text, e.label) for e in found[0]} >= {
        ("Norrvik", "location-GPE"),
        ("Tallmere", "location-GPE"),
    }
    assert found[2] == []


def test_the_evaluation_holds_both_sides(run: Path) -> None:
    """``evaluation.json`` has INT8 and FP32 side by side, and INT8 loses little."""
    evaluation = json.loads((run / "int8" / "evaluation.json").read_bytes())
    for side in ("int8", "fp32"):
        assert {"fine", "coarse", "boundary", "types", "tokens", "prose", "lower", "upper"} <= set(
            evaluation[side]
        )
    assert evaluation["independence"]["differing"] == 0
    assert evaluation["fp32"]["fine"]["f1"] > 0.5
    assert evaluation["int8"]["fine"]["f1"] > evaluation["fp32"]["fine"]["f1"] - 0.1


def test_card_config_and_digest_agree(run: Path) -> None:
    """The card names the digest, licence and labels of the bundle it lies in, and its evaluation's F1."""
    folder = run / "int8"
    card = (folder / "MODEL_CARD.md").read_text("utf-8")
    evaluation = json.loads((folder / "evaluation.json").read_bytes())
    bundle = open_bundle(folder)
    assert digest(folder) == bundle.info.digest == evaluation["digest"]
    assert bundle.info.digest in card
    assert bundle.info.name in card
    assert "CC BY-SA 4.0" in card
    assert all(f"`{label}`" in card for label in bundle.labels)
    assert f"**{100 * evaluation['int8']['fine']['f1']:.2f}**" in card
    assert not re.search(r"\{\w+\}", card)


def test_a_card_of_another_bundle_is_refused(options: Sequence[str], run: Path) -> None:
    """A bundle that changed after it was measured gets no card until it is measured again."""
    path = run / "int8" / "config.json"
    kept = path.read_bytes()
    try:
        path.write_bytes(kept.replace(b'"n_layers": 2', b'"n_layers":  2'))
        result = recipe(*options, "card", "tiny")
        assert result.exit_code == 1
        assert "`evaluate` it anew" in result.output
    finally:
        path.write_bytes(kept)


def test_what_is_done_is_not_done_again(options: Sequence[str], run: Path, checkpoint: Path) -> None:
    """A repeated command writes no graph, weights or evaluation anew."""
    made = (
        "finished/model.safetensors",
        "fp32.onnx",
        "int8.onnx",
        "int8/model.onnx",
        "int8/evaluation.json",
    )
    before = [(run / name).stat().st_mtime_ns for name in made]
    train = ["train", "tiny", "--start", str(checkpoint), "--passes", PASSES, "--peak", "3e-3"]
    assert recipe(*options, *train).exit_code == 0
    assert recipe(*options, "card", "tiny").exit_code == 0
    assert [(run / name).stat().st_mtime_ns for name in made] == before


def test_all_makes_teacher_and_student_and_delivers(
    options: Sequence[str], checkpoint: Path, tmp_path: Path
) -> None:
    """``all`` makes a plan file's runs in order, a student from its teacher, and delivers the bundle."""
    plans = tmp_path / "plans.toml"
    plans.write_text(
        f"""
        [[runs]]
        name = "teacher"
        start = "{checkpoint}"
        passes = ["all"]
        [[runs]]
        name = "student"
        start = "{checkpoint}"
        passes = ["all", "natural"]
        teachers = ["teacher"]
        """
    )
    result = recipe(*options, "all", "--plans", plans, "--bundle", tmp_path / "bundle")
    assert result.exit_code == 0, result.output
    with Tagger.load(tmp_path / "bundle") as tagger:
        assert len(tagger.labels) == 4
    assert "Teacher `teacher`" in (tmp_path / "bundle" / "MODEL_CARD.md").read_text("utf-8")
    assert not list((tmp_path / "bundle").glob("*.made"))


def test_choices_are_measured_and_the_card_shows_them(
    options: Sequence[str], run: Path, checkpoint: Path, tmp_path: Path
) -> None:
    """``ablate`` makes the runs of several files and keeps their F1, once; the next card has a row for each."""
    first, second = tmp_path / "first.toml", tmp_path / "second.toml"
    first.write_text(f"[[runs]]\nname = 'long'\nstart = '{checkpoint}'\npasses = ['all', 'natural']\n")
    second.write_text(
        f"[[runs]]\nname = 'taught'\nstart = '{checkpoint}'\npasses = ['natural']\nteachers = ['long']\n"
    )
    result = recipe(*options, "ablate", "--plans", first, "--plans", second)
    assert result.exit_code == 0, result.output
    assert re.search(r"^long +F1 arg-max \d", result.output, re.MULTILINE), result.output
    kept = (Path(options[1]) / "ablation.json").read_bytes()
    rows = [(row["run"], row["variant"]) for row in json.loads(kept)]
    assert rows == [
        (name, variant) for name in ("long", "taught") for variant in ("", "weights not averaged")
    ]
    recipe(*options, "ablate", "--plans", first)
    assert (Path(options[1]) / "ablation.json").read_bytes() == kept
    assert recipe(*options, "card", "tiny").exit_code == 0
    card = (run / "int8" / "MODEL_CARD.md").read_text("utf-8")
    assert "| `long`, weights not averaged | from " in card


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["card", "nobody"], "no finished run"),
        (["train", "x", "--passes", "some"], "passes are all, complete, natural"),
        (["train", "x", "--teacher", "nobody", "--start", "{checkpoint}"], "no finished run"),
    ],
)
def test_wrong_input_is_said_in_a_line(
    options: Sequence[str], checkpoint: Path, words: Sequence[str], reason: str
) -> None:
    """What cannot be done is refused with a line and an exit code, without a traceback."""
    result = recipe(*options, *(word.format(checkpoint=checkpoint) for word in words))
    assert result.exit_code == 1
    assert result.output.splitlines()[-1].startswith("Error: ")
    assert reason in result.output


def test_training_on_held_out_sentences_is_refused(
    files: tuple[Path, Path], checkpoint: Path, tmp_path: Path
) -> None:
    """``train`` does not begin when a training sentence is in the evaluation file."""
    options = ("--work", tmp_path, "--train", files[0], "--train", files[1], "--held-out", files[1])
    result = recipe(*options, "train", "x", "--start", checkpoint)
    assert result.exit_code == 1
    assert "40 training sentences are in the evaluation file" in result.output
    assert not list(tmp_path.iterdir())
