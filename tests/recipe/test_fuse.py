"""The second graph of a bundle, fused for ONNX Runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import onnxruntime
import pytest

from model.bundle import FUSED, GRAPH, WEIGHTS_KEY
from model.recipe import export as exporting
from model.recipe.fuse import FusionError, fuse
from model.recipe.network import start_from
from model.recipe.quantize import quantize

if TYPE_CHECKING:
    from pathlib import Path

    from model.recipe.network import CasedDistilBertForTokenClassification

LABELS = ("O", "person-other", "location-GPE")


@pytest.fixture(
    scope="module",
    params=[(True, "gelu"), (False, "gelu"), (True, "relu")],
    ids=["cased", "plain ids", "relu"],
)
def network(request: pytest.FixtureRequest, checkpoint: Path) -> CasedDistilBertForTokenClassification:
    """Make an untrained network, with letter case in its ids and without, with GELU and with ReLU."""
    cased, activation = request.param
    return start_from(str(checkpoint), list(LABELS), cased=cased, activation=activation)


@pytest.fixture(scope="module")
def folder(network: CasedDistilBertForTokenClassification, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Export, quantize and fuse it."""
    folder = tmp_path_factory.mktemp("fused")
    exporting.export(network, folder / "fp32.onnx")
    sentences = [exporting.random_inputs(network.config, 1, 20, seed)[0][0] for seed in range(8)]
    quantize(folder / "fp32.onnx", folder / GRAPH, sentences)
    fuse(folder, layers=network.config.n_layers, heads=network.config.n_heads)
    return folder


def _run(path: Path, feed: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found: np.ndarray[Any, np.dtype[np.float32]] = session.run(["logits"], feed)[0]
    return found


def test_it_gives_the_plain_graphs_scores(
    network: CasedDistilBertForTokenClassification, folder: Path
) -> None:
    """The scores of any pieces asked for are those of ``model.onnx``, to the rounding of INT8 steps."""
    ids, mask = exporting.random_inputs(network.config, 5, 30, 3)
    words = np.flatnonzero(mask)[::3]
    plain = _run(folder / GRAPH, {"input_ids": ids, "attention_mask": mask}).reshape(-1, len(LABELS))[words]
    fused = _run(folder / FUSED, {"input_ids": ids, "attention_mask": mask, "words": words})
    assert fused.shape == plain.shape
    assert np.abs(fused - plain).mean() < 0.02 * plain.std()


def test_relu_costs_no_step(network: CasedDistilBertForTokenClassification, folder: Path) -> None:
    """Where the activation is ReLU, quantizing does it; a GELU is one operator."""
    kinds = [node.op_type for node in onnx.load(str(folder / FUSED), load_external_data=False).graph.node]
    assert "Relu" not in kinds
    assert kinds.count("Gelu") == (network.config.n_layers if network.config.activation == "gelu" else 0)


def test_it_depends_on_neither_neighbours_nor_padding(
    network: CasedDistilBertForTokenClassification, folder: Path
) -> None:
    """A sentence's scores alone and among longer ones agree to rounding."""
    ids, mask = exporting.random_inputs(network.config, 6, 40, 8)
    words = np.flatnonzero(mask)
    together = _run(folder / FUSED, {"input_ids": ids, "attention_mask": mask, "words": words})
    for row, length in enumerate(mask.sum(1)):
        feed = {"input_ids": ids[row : row + 1, :length], "attention_mask": mask[row : row + 1, :length]}
        alone = _run(folder / FUSED, feed | {"words": np.arange(length)})
        np.testing.assert_allclose(alone, together[words // mask.shape[1] == row], atol=1e-4)


def test_its_weights_lie_in_the_plain_graph(folder: Path) -> None:
    """It brings no large constant of its own, and names the file whose weights it reads."""
    model = onnx.load(str(folder / FUSED), load_external_data=False)
    shared = [t for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    assert {entry.value for t in shared for entry in t.external_data if entry.key == "location"} == {GRAPH}
    assert (folder / FUSED).stat().st_size < (folder / GRAPH).stat().st_size / 2
    assert WEIGHTS_KEY in {entry.key for entry in model.metadata_props}


def test_another_graph_is_refused(folder: Path, tmp_path: Path) -> None:
    """A graph that the recipe did not quantize is refused by name."""
    (tmp_path / GRAPH).write_bytes((folder / "fp32.onnx").read_bytes())
    with pytest.raises(FusionError, match=r"model\.onnx"):
        fuse(tmp_path, layers=1, heads=2)
