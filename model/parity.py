"""A few sentences whose scores are kept in the bundle, so that a processor where INT8 goes wrong is noticed.

Processors without VNNI add pairs of 8-bit products in 16 bits and saturate; the graph then runs and answers
differently. Other differences between processors are rounding, and stay well below the tolerance.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from model.bundle import PARITY, BundleError, read_bounded, shown
from model.graph import ScoresError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.tagger import Tagger

# The mean over all words of how far the likeliest label's probability may be off.
TOLERANCE: Final = 0.02


def write_parity(folder: str | Path, texts: Sequence[str]) -> None:
    """Write ``parity.json`` into a bundle's folder: each word's likeliest label and its probability.

    Run it where the graph is known to be right: FP32, or INT8 on a processor with VNNI.
    """
    from model.tagger import Tagger  # noqa: PLC0415 - a tagger checks parity itself

    with Tagger.load(folder, threads=1, check=False) as tagger:
        sentences = []
        for text, (spans, scores) in zip(texts, tagger.log_probabilities(texts), strict=True):
            best = scores.argmax(1)
            words = [
                [int(start), int(end), tagger.bundle.labels[label], round(math.exp(row[label]), 4)]
                for (start, end), label, row in zip(spans, best, scores, strict=True)
            ]
            sentences.append({"text": text, "words": words})
    content = {"tolerance": TOLERANCE, "sentences": sentences}
    Path(folder, PARITY).write_text(json.dumps(content, ensure_ascii=False) + "\n", "utf-8")


def check(tagger: Tagger) -> None:
    """Compare the bundle's ``parity.json``, where it has one, with what this processor gives.

    Raises:
        BundleError: the words or their scores differ, or the file is malformed.
    """
    path = tagger.bundle.folder / PARITY
    if not path.is_file():
        return
    try:
        content = json.loads(read_bounded(path))
        tolerance = float(content["tolerance"])
        texts = [str(sentence["text"]) for sentence in content["sentences"]]
        words = [sentence["words"] for sentence in content["sentences"]]
        index = {label: i for i, label in enumerate(tagger.bundle.labels)}
        kept = [
            [(int(s), int(e), index[label], float(p)) for s, e, label, p in sentence] for sentence in words
        ]
    except BundleError:
        raise
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise BundleError(
            f"{path}: malformed ({shown(str(error))}); write it anew with model.parity.write_parity"
        ) from error
    off: list[float] = []
    try:
        given = tagger.log_probabilities(texts)
    except ScoresError as error:
        raise BundleError(f"{tagger.bundle.folder}: {error}") from error
    for sentence, (spans, scores) in zip(kept, given, strict=True):
        if [(start, end) for start, end, _, _ in sentence] != [tuple(span) for span in spans.tolist()]:
            raise BundleError(
                f"{path}: the text is split into other words than when the bundle was made; tokenizer.json "
                "and parity.json do not belong together"
            )
        labels = [label for _, _, label, _ in sentence]
        found = np.exp(scores[np.arange(len(labels)), labels])
        off.extend(np.abs(found - [p for *_, p in sentence]).tolist())
    mean = float(np.mean(off)) if off else 0.0
    if not mean <= tolerance:
        raise BundleError(
            f"{tagger.bundle.folder}: on this processor the model's probabilities differ by {mean:.3f} on "
            f"average from those it was shipped with (at most {tolerance} is rounding). An INT8 model needs "
            "VNNI or the like (see `lscpu`); use an FP32 bundle here, or pass check=False to take what comes"
        )
