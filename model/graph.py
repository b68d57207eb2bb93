"""The bundle's graph, opened for threads that each call it on one core."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from model import outside
from model.bundle import FUSED, GRAPH, WEIGHTS_KEY, Bundle, BundleError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    import onnxruntime

    Floats = npt.NDArray[np.float32]
    Ints = npt.NDArray[np.int64]

_INPUTS: Final = ("attention_mask", "input_ids")


class ScoresError(RuntimeError):
    """The graph gave scores that mean nothing: not numbers, infinite, or of another number than asked for."""


class Graph:
    """A session that any number of threads may call at once."""

    def __init__(self, session: onnxruntime.InferenceSession, labels: int) -> None:
        self._session = session
        self._labels = labels
        self.fused = len(session.get_inputs()) > len(_INPUTS)

    @classmethod
    def open(cls, bundle: Bundle) -> Self:
        """Open ``fused.onnx`` if it is of these weights and its steps are known here, else ``model.onnx``.

        Raises:
            BundleError: ``model.onnx`` cannot be opened, or takes or gives something else than it should; or a graph
                reads files that the bundle's digest does not cover.
        """
        path, fused = bundle.folder / GRAPH, bundle.folder / FUSED
        if not _refuse_outside(path):
            raise BundleError(f"{path}: onnxruntime cannot open it: it is no ONNX graph")
        if fused.is_file() and _refuse_outside(fused):
            with path.open("rb") as file:
                weights = hashlib.file_digest(file, "sha256").hexdigest()
            # An older ONNX Runtime lacks an operator; the plain graph gives the same, later.
            with contextlib.suppress(Exception):
                session = _open(fused)
                if session.get_modelmeta().custom_metadata_map.get(WEIGHTS_KEY) == weights:
                    return cls(session, len(bundle.labels))
        try:
            session = _open(path)
        except Exception as error:
            raise BundleError(f"{path}: onnxruntime cannot open it: {error}") from error
        inputs = sorted(value.name for value in session.get_inputs())
        outputs = {value.name: value.shape for value in session.get_outputs()}
        if tuple(inputs) != _INPUTS or "logits" not in outputs:
            raise BundleError(
                f"{path}: takes {inputs} and gives {sorted(outputs)}; "
                "a bundle's graph takes input_ids and attention_mask and gives logits"
            )
        last = outputs["logits"][-1]
        if isinstance(last, int) and last != len(bundle.labels):
            raise BundleError(
                f"{path}: gives {last} scores a piece; config.json names {len(bundle.labels)} labels"
            )
        return cls(session, len(bundle.labels))

    def scores(self, ids: Ints, mask: Ints, words: Ints) -> Floats:
        """Return the scores of some pieces of a batch, [words, labels].

        Args:
            ids: [batch, length].
            mask: 1 where there is a piece and 0 where there is padding, [batch, length].
            words: places in batch x length of the pieces wanted, [words].

        Raises:
            ScoresError: they are no finite numbers, or not one for each word and label.
        """
        feed = {"input_ids": ids, "attention_mask": mask}
        scores: Floats
        if self.fused:
            (scores,) = self._session.run(["logits"], feed | {"words": words})
        else:
            (logits,) = self._session.run(["logits"], feed)
            if logits.shape != (*ids.shape, self._labels):
                raise ScoresError(f"the model's scores are {logits.shape}, not {(*ids.shape, self._labels)}")
            scores = logits.reshape(-1, self._labels)[words]
        if scores.shape != (words.size, self._labels):
            raise ScoresError(f"the model's scores are {scores.shape}, not {(words.size, self._labels)}")
        if not np.isfinite(scores).all():
            raise ScoresError("the model's scores are not finite: its weights are broken, or it overflows")
        return scores


def _refuse_outside(path: Path) -> bool:
    """Refuse a graph that reads what it must not; return whether it is one at all."""
    try:
        outside.files(path)
    except outside.NoGraphError:
        return False
    except (outside.OutsideError, OSError) as error:
        raise BundleError(f"{path}: {error}") from error
    return True


def _open(path: Path) -> onnxruntime.InferenceSession:
    """Open a graph for callers that bring their own threads."""
    import onnxruntime  # noqa: PLC0415 - a quarter of a second, and only a loaded tagger needs it

    options = onnxruntime.SessionOptions()
    # Two threads with one core each are faster than one thread that borrows a second.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    # A pattern is kept for each shape ever seen: with texts of all lengths that only grows.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
