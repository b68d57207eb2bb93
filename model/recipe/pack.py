"""Write a bundle's folder: graph, word pieces, config, decoding and parity sentences."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from model.bundle import CONFIG, FUSED, GRAPH, TOKENIZER
from model.parity import write_parity
from model.recipe.fuse import fuse

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer
    from transformers import DistilBertConfig

    from model.decoding import Decoding

# All eight categories, punctuation, capitals, a number and a word of many pieces; our own sentences.
PARITY_SENTENCES = (
    "Angela Merkel flew from Berlin to Paris on 3 May to meet the board of Air France.",
    "The Guggenheim Museum in Bilbao lent Guernica 's sketches to the Tate Modern .",
    "NASA's Voyager 2 left the Solar System; its golden record carries Beethoven's Fifth Symphony.",
    "After the Battle of Waterloo, Napoleon Bonaparte was sent to Saint Helena.",
    "the bbc said manchester united had sold the player to juventus for 80 million euros",
    "PORSCHE SHOWED THE NEW 911 AT THE GENEVA MOTOR SHOW",
    "She won the Nobel Prize in Chemistry for work on Streptococcus pyogenes at Umeå University.",
    "Nothing was found there.",
)
_KEPT = (
    "model_type",
    "vocab_size",
    "max_position_embeddings",
    "n_layers",
    "n_heads",
    "dim",
    "hidden_dim",
    "activation",
    "dropout",
    "attention_dropout",
    "qa_dropout",
    "seq_classif_dropout",
    "initializer_range",
    "sinusoidal_pos_embds",
    "pad_token_id",
)


def write_bundle(
    folder: Path,
    *,
    graph: Path,
    config: DistilBertConfig,
    tokenizer: Tokenizer,
    decoding: Decoding,
    name: str,
    precision: str,
    facts: dict[str, Any],
) -> None:
    """Write everything of a bundle but its evaluation and card.

    Args:
        folder: made where it is missing; other files in it stay.
        graph: the exported or quantized graph.
        config: the network's config.
        tokenizer: its word pieces.
        decoding: how word scores become entities.
        name: what messages call the model.
        precision: ``int8`` or ``fp32``.
        facts: what else the config's ``fewnerd`` object says: licence, sources, how it was trained.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(graph, folder / GRAPH)
    if precision == "int8":
        fuse(folder, layers=config.n_layers, heads=config.n_heads)
    else:
        (folder / FUSED).unlink(missing_ok=True)
    tokenizer.save(str(folder / TOKENIZER), pretty=False)
    values = config.to_dict()
    labels = [config.id2label[index] for index in range(config.num_labels)]
    content = {
        "architectures": ["DistilBertForTokenClassification"],
        **{key: values[key] for key in _KEPT if key in values},
        "case_classes": getattr(config, "case_classes", 0),
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
        "fewnerd": {"name": name, "precision": precision, **facts},
    }
    (folder / CONFIG).write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    decoding.save(folder)
    write_parity(folder, PARITY_SENTENCES)
