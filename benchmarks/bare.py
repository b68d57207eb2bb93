"""What the tagger is held against from below: the bare loop around a graph, and the arithmetic alone."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Sequence

THREADS: Final = 2
ROWS: Final = 16
# Multiply-adds with weights that a word piece takes: 6 layers of 12 x 384 x 384.
MULTIPLY_ADDS: Final = 6 * 12 * 384 * 384
_LONGEST: Final = 256
_STRIDE: Final = 64


def open_session(path: Path, threads: int = 1, **entries: str) -> onnxruntime.InferenceSession:
    """Open a graph as the tagger does, on ``threads`` threads a call."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    for name, value in entries.items():
        options.add_session_config_entry(name, value)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


class BareLoop:
    """Threads of one core each, texts sorted by length, 16 a batch, tokenizing included, nothing decoded.

    Piece ids carry no letter case: a graph is no faster or slower for it. Longer texts than a graph can see
    go in windows, as the tokenizer library cuts them.
    """

    def __init__(self, graph: Path, tokenizer: Path, threads: int = THREADS, rows: int = ROWS) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        self._session = open_session(graph)
        self._fused = len(self._session.get_inputs()) > 2
        self._tokenizer = Tokenizer.from_file(str(tokenizer))
        self._tokenizer.enable_truncation(_LONGEST, stride=_STRIDE)
        self._tokenizer.enable_padding()
        self._threads, self._rows = threads, rows

    def run(self, texts: Sequence[str]) -> None:
        """Compute all texts' scores and drop them."""
        order = sorted(texts, key=len, reverse=True)
        batches = iter([order[i : i + self._rows] for i in range(0, len(order), self._rows)])
        lock = threading.Lock()

        def work() -> None:
            while True:
                with lock:
                    batch = next(batches, None)
                if batch is None:
                    return
                self._batch(batch)

        threads = [threading.Thread(target=work) for _ in range(self._threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _batch(self, batch: Sequence[str]) -> None:
        found = self._tokenizer.encode_batch(list(batch))
        rows = [window for encoding in found for window in (encoding, *encoding.overflowing)]
        for first in range(0, len(rows), self._rows):
            part = rows[first : first + self._rows]
            width = max(len(row.ids) for row in part)
            ids, mask = np.zeros((len(part), width), np.int64), np.zeros((len(part), width), np.int64)
            for number, row in enumerate(part):
                ids[number, : len(row.ids)], mask[number, : len(row.ids)] = row.ids, row.attention_mask
            feed: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
            if self._fused:
                feed["words"] = np.flatnonzero(mask)
            self._session.run(["logits"], feed)


class Limit:
    """A 512 x 384 x 1536 product of INT8 in each of two threads, over and over, and nothing else.

    ``run`` takes texts like the others and pretends to have done the products that they take; ``pieces`` says
    how many a round came to.
    """

    def __init__(self, threads: int = THREADS) -> None:
        import onnx  # noqa: PLC0415 - only needed to write this graph
        from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

        draw = np.random.default_rng(0)
        weights = draw.integers(-127, 127, (384, 1536)).astype(np.int8)
        node = helper.make_node("MatMulInteger", ["a", "b", "zero"], ["y"])
        graph = helper.make_graph(
            [node],
            "limit",
            [helper.make_tensor_value_info("a", TensorProto.UINT8, [512, 384])],
            [helper.make_tensor_value_info("y", TensorProto.INT32, [512, 1536])],
            [numpy_helper.from_array(weights, "b"), numpy_helper.from_array(np.uint8(128), "zero")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "limit.onnx")
            onnx.save(model, str(path))
            self._session = open_session(path)
        self._input = draw.integers(0, 255, (512, 384)).astype(np.uint8)
        self._threads = threads

    def pieces_per_second(self, seconds: float) -> float:
        """Return how many pieces' products were done a second."""
        counts = [0] * self._threads
        start = time.perf_counter()

        def work(number: int) -> None:
            binding: Any = self._session.io_binding()
            binding.bind_cpu_input("a", self._input)
            binding.bind_output("y")
            while time.perf_counter() - start < seconds:
                self._session.run_with_iobinding(binding)
                counts[number] += 1

        threads = [threading.Thread(target=work, args=(number,)) for number in range(self._threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.perf_counter() - start
        return sum(counts) * 512 * 384 * 1536 / MULTIPLY_ADDS / took
