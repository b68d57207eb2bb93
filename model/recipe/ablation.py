"""What each choice in training is worth: finished runs, FP32, held against each other on the held-out sentences."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch

from model.decoding import Decoding
from model.evaluate import join
from model.recipe import fit
from model.recipe.data import encode
from model.recipe.train import CHECKPOINT, log_probabilities

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tokenizers import Tokenizer

    from model.recipe.data import Sentence
    from model.recipe.network import CasedDistilBertForTokenClassification
    from model.recipe.runs import Workplace

ABLATION: Final = "ablation.json"
LAST_WEIGHTS: Final = "weights not averaged"


def measured(place: Workplace, name: str) -> list[dict[str, Any]]:
    """Return two rows of a finished run, its averaged weights and its last: the plan, F1 arg-max and decoded.

    They are kept in the place's folder, and measured anew when the run was made anew.

    Decoded, each half of the sentences is read as the other half would have it, so no figure is flattered.

    Raises:
        PlanError: a run is not finished.
    """
    facts = place.facts(name)
    kept = [row for row in read(place.folder) if row["run"] == name and row["marks"] == facts["marks"]]
    if kept:
        return kept
    decoding = fit.transitions(place.train, place.labels)
    rows = []
    for variant, network, tokenizer in _variants(place, name):
        scored = score(network, tokenizer, place.held_out, place.labels)
        rows.append(
            {
                "run": name,
                "variant": variant,
                "marks": facts["marks"],
                "plan": facts["plan"],
                "teachers": sorted(facts["teachers"]),
                "steps": facts["steps"],
                "argmax": round(fit.find(scored, Decoding.plain(place.labels)).f1, 5),
                "decoded": round(fit.cross_fitted(scored, decoding)["f1"], 5),
            }
        )
    write(rows, place.folder)
    return rows


def _variants(
    place: Workplace, name: str
) -> Iterator[tuple[str, CasedDistilBertForTokenClassification, Tokenizer]]:
    network, tokenizer = place.finished(name)
    yield "", network, tokenizer
    path = place.folder / name / CHECKPOINT
    if path.is_file():
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["step"] == state["total"]:
            names = [parameter for parameter, _ in network.named_parameters()]
            network.load_state_dict(dict(zip(names, state["weights"], strict=True)))
            yield LAST_WEIGHTS, network, tokenizer


def score(
    network: CasedDistilBertForTokenClassification,
    tokenizer: Tokenizer,
    sentences: Sequence[Sentence],
    labels: Sequence[str],
) -> fit.Scored:
    """Score sentences in torch, word by word as Few-NERD splits them."""
    most = network.config.max_position_embeddings - 2
    data = encode(sentences, tokenizer, labels, most)
    found = log_probabilities(network, data, tokenizer).astype(np.float32)
    encodings = tokenizer.encode_batch(
        [list(s.tokens) for s in sentences], is_pretokenized=True, add_special_tokens=False
    )
    places = [join(sentence.tokens)[1] for sentence in sentences]
    firsts = np.cumsum([0, *map(len, places)])
    # A word without pieces, or past the last position, was not scored: it is an O.
    scores = np.full((firsts[-1], len(labels)), -20.0, np.float32)
    scores[:, 0] = 0.0
    scored = [
        first + word
        for first, encoding in zip(firsts.tolist(), encodings, strict=False)
        for word in sorted({word for word in encoding.word_ids[:most] if word is not None})
    ]
    scores[scored] = found
    linked = np.ones(firsts[-1], np.bool_)
    linked[firsts[:-1]] = False
    spans = np.array([place for own in places for place in own], np.int64)
    return fit.Scored(
        scores,
        linked,
        spans[:, 0],
        spans[:, 1],
        np.repeat(np.arange(len(places)), np.diff(firsts)),
        [fit.gold_spans(sentence) for sentence in sentences],
    )


def read(folder: Path) -> list[dict[str, Any]]:
    """Return the rows that are kept in a folder, none where there is no file."""
    path = folder / ABLATION
    return list(json.loads(path.read_bytes())) if path.is_file() else []


def write(rows: Sequence[dict[str, Any]], folder: Path) -> None:
    """Keep rows in a folder, in place of those of the same runs."""
    named = {row["run"] for row in rows}
    kept = [row for row in read(folder) if row["run"] not in named]
    (folder / ABLATION).write_text(json.dumps([*kept, *rows], indent=1) + "\n", "utf-8")
