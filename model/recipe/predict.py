"""A teacher's distributions over a training file, written resumably."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from model.recipe.train import log_probabilities

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt
    from tokenizers import Tokenizer

    from model.recipe.data import Encoded
    from model.recipe.network import CasedDistilBertForTokenClassification

SENTENCES_A_PART = 2048


def write_teacher(
    networks: Sequence[CasedDistilBertForTokenClassification],
    data: Encoded,
    tokenizer: Tokenizer,
    path: Path,
    *,
    most: int | None = None,
) -> bool:
    """Write the networks' mean probabilities at every labelled word, float16 [words, labels], as ``.npy``.

    Goes on where an earlier call for the same networks and data stopped.

    Args:
        networks: at least one; all read the same pieces and tell the same labels in the same order.
        data: the encoded sentences that a student will be trained on.
        tokenizer: their word pieces.
        path: the file; it appears only when it is whole.
        most: stop after so many parts of sentences; None for the end.

    Returns:
        whether the file is whole.
    """
    marks = {"data": data.digest, "networks": [weights_digest(network) for network in networks]}
    mark = path.with_suffix(".json")
    if path.exists() and _read(mark).get("marks") == marks:
        return True
    part, progress = path.with_suffix(".part"), path.with_suffix(".progress")
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (int((data.target >= 0).sum()), networks[0].config.num_labels)
    state = _read(progress)
    going_on = state.get("marks") == marks and part.exists()
    done = int(state["done"]) if going_on else 0
    # Scored in bfloat16: three times as fast where the processor has it, and a teacher is no measurement.
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    scorers = [network.to(device, torch.bfloat16).eval() for network in networks]
    out = np.lib.format.open_memmap(part, "r+" if going_on else "w+", np.float16, shape)
    words_before = np.concatenate(([0], np.cumsum(data.target >= 0)))
    with tqdm(total=len(data), initial=done, unit="sentence", mininterval=5.0) as bar:
        parts = 0
        while done < len(data) and (most is None or parts < most):
            past = min(done + SENTENCES_A_PART, len(data))
            rows = slice(words_before[data.bounds[done]], words_before[data.bounds[past]])
            out[rows] = _mean(scorers, data.part(done, past), tokenizer)
            out.flush()
            bar.update(past - done)
            done, parts = past, parts + 1
            progress.write_text(json.dumps({"marks": marks, "done": done}))
    del out
    if done < len(data):
        return False
    part.replace(path)
    mark.write_text(json.dumps({"marks": marks}))
    progress.unlink()
    return True


def _mean(
    networks: Sequence[CasedDistilBertForTokenClassification], data: Encoded, tokenizer: Tokenizer
) -> npt.NDArray[np.float16]:
    total: npt.NDArray[np.float32] | float = 0.0
    for network in networks:
        total = total + np.exp(log_probabilities(network, data, tokenizer).astype(np.float32))
    return np.asarray(total / len(networks), np.float16)


def weights_digest(network: CasedDistilBertForTokenClassification) -> str:
    """Return a short name of the network's weights."""
    total = hashlib.sha256()
    for name, value in network.state_dict().items():
        total.update(name.encode() + value.float().cpu().numpy().tobytes())
    return total.hexdigest()[:12]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
