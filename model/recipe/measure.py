"""Measure a bundle and its FP32 twin, as a user runs them; the result is the bundle's ``evaluation.json``."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from tqdm import tqdm

from model.bundle import FUSED, GRAPH
from model.evaluate import evaluate, join
from model.pieces import Encoder
from model.recipe import fit
from model.recipe.forms import WholeTagger, long_documents, tweet
from model.tagger import Tagger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from model.recipe.data import Sentence

EVALUATION = "evaluation.json"
SPEED_SENTENCES = 256
SPEED_BATCH = 16
SPEED_ROUNDS = 5
_CHOSEN = ("weight", "temperature", "sharpness")
_BRIEF = ("fine", "coarse", "boundary", "routing")


def measure(
    bundle: Path,
    twin: Path,
    held_out: Sequence[Sentence],
    *,
    name: str,
    speed: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Return the evaluation of a bundle, its FP32 twin beside it.

    Args:
        bundle: the INT8 bundle's folder.
        twin: the FP32 bundle's, with the same decoding.
        held_out: sentences that nothing was trained on.
        name: what the evaluation calls them.
        speed: more graphs to time beside the two.
    """
    out: dict[str, Any] = {"data": {"name": name, "sentences": len(held_out), "split": "validation"}}
    with Tagger.load(bundle) as tagger:
        decoding = tagger.bundle.decoding
        out["digest"] = tagger.info.digest
        out["int8"] = _side(bundle, held_out, "int8")
        out["decoding"] = {name: getattr(decoding, name) for name in _CHOSEN}
        out["decoding"]["thresholds"] = dict(decoding.thresholds)
        out["independence"] = independence(tagger, held_out)
        scored = fit.score(tagger, held_out)
        out["cross_fitted"] = fit.cross_fitted(scored, decoding)
        out["thresholds"] = fit.thresholds(scored, decoding)
        batches = speed_batches(tagger, held_out)
        with WholeTagger.load(bundle) as whole:
            out["long"] = long_documents({"sentences": tagger, "whole": whole}, held_out)
    out["fp32"] = _side(twin, held_out, "fp32")
    graphs = {"fp32": twin / GRAPH, "int8": bundle / GRAPH, "fused": bundle / FUSED, **(speed or {})}
    out["speed"] = relative_speed(graphs, batches)
    return out


def _side(folder: Path, held_out: Sequence[Sentence], name: str) -> dict[str, Any]:
    tweets = [tweet(sentence, number) for number, sentence in enumerate(held_out)]
    with (
        tqdm(total=7 * len(held_out), desc=name, unit="sentence", mininterval=5.0) as bar,
        Tagger.load(folder) as tagger,
        Tagger.load(folder, thresholds=0) as telling,
    ):

        def measured(
            change: Callable[[str], str] = str,
            *,
            prose: bool = False,
            by: Tagger = tagger,
            of: Sequence[Sentence] = held_out,
        ) -> dict[str, Any]:
            return evaluate(by, _plain(of, change), prose=prose, progress=bar.update)

        report = measured()
        others = {
            "prose": measured(prose=True),
            "lower": measured(str.lower),
            "upper": measured(str.upper),
            "tweets": measured(of=tweets),
            "told": measured(by=telling),
        }
        plain = dataclasses.replace(telling.bundle.decoding, weight=0.0)
        telling.bundle = dataclasses.replace(telling.bundle, decoding=plain)
        others["argmax"] = measured(by=telling)
    return report | {form: {part: found[part] for part in _BRIEF} for form, found in others.items()}


def _plain(sentences: Sequence[Sentence], change: Callable[[str], str]) -> list[Any]:
    return [dataclasses.replace(s, tokens=tuple(change(token) for token in s.tokens)) for s in sentences]


def independence(tagger: Tagger, held_out: Sequence[Sentence], most: int = 400) -> dict[str, float]:
    """Return how many sentences are tagged otherwise alone than among others, and how far scores differ."""
    texts = [join(s.tokens)[0] for s in held_out[:most]]
    together = tagger.tag(texts)
    differing, largest = 0, 0.0
    for text, among in zip(texts, together, strict=True):
        (alone,) = tagger.tag([text])
        if [(e.start, e.end, e.label) for e in alone] != [(e.start, e.end, e.label) for e in among]:
            differing += 1
        else:
            gaps = [abs(a.score - b.score) for a, b in zip(alone, among, strict=True)]
            largest = max([largest, *gaps])
    return {"sentences": len(texts), "differing": differing, "largest_difference": largest}


def speed_batches(tagger: Tagger, held_out: Sequence[Sentence]) -> list[dict[str, Any]]:
    """Return graph inputs: every so manieth sentence, sorted by length, a few to a batch."""
    bundle = tagger.bundle
    begin, end, _ = bundle.specials
    step = max(1, len(held_out) // SPEED_SENTENCES)
    encoder = Encoder(bundle.tokenizer, bundle.vocabulary, bundle.case_classes)
    texts = [encoder.encode([join(s.tokens)[0]]) for s in held_out[::step]]
    texts.sort(key=lambda pieces: len(pieces.ids))
    out = []
    for first in range(0, len(texts), SPEED_BATCH):
        rows = texts[first : first + SPEED_BATCH]
        shape = (len(rows), len(rows[-1].ids) + 2)
        ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for row, pieces in enumerate(rows):
            size = len(pieces.ids) + 2
            ids[row, :size], mask[row, :size] = [begin, *pieces.ids.tolist(), end], 1
        words = np.concatenate([pieces.first + row * shape[1] + 1 for row, pieces in enumerate(rows)])
        out.append({"input_ids": ids, "attention_mask": mask, "words": words})
    return out


def relative_speed(graphs: Mapping[str, Path], batches: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return each graph's pieces per second on one core over the first one's; only ratios mean anything.

    The graphs take turns, processor time is counted, and each one's best round, so that what else runs on the
    machine matters little.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.enable_mem_pattern, options.log_severity_level = 1, False, 3
    sessions = {
        name: onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        for name, path in graphs.items()
    }
    best = dict.fromkeys(graphs, float("inf"))
    for _ in tqdm(range(SPEED_ROUNDS), desc="speed", unit="round"):
        for name, session in sessions.items():
            taken = {value.name for value in session.get_inputs()}
            begun = time.thread_time()
            for batch in batches:
                session.run(["logits"], {key: value for key, value in batch.items() if key in taken})
            best[name] = min(best[name], time.thread_time() - begun)
    first = next(iter(best.values()))
    return {name: round(first / taken, 2) for name, taken in best.items()}


def write(evaluation: dict[str, Any], folder: Path) -> None:
    """Write ``evaluation.json``, figures rounded to what 2,900 sentences can tell."""
    (folder / EVALUATION).write_text(json.dumps(_rounded(evaluation), indent=1) + "\n", "utf-8")


def _rounded(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value
