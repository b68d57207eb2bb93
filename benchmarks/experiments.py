"""Section 5: what was tried to be faster and what it gave, each measured alone; losses are kept here too.

Every experiment is a small change to how the graph is run, against the tagger's own way, in interleaved
rounds of single batches by one thread's processor time: that is what is least disturbed by neighbours.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks import machine, rivals, telemetry
from benchmarks.stats import Spread
from model.bundle import FUSED, GRAPH

if TYPE_CHECKING:
    from collections.abc import Callable

    from onnxruntime import InferenceSession

    from benchmarks.context import Context

    Batch = dict[str, np.ndarray[Any, Any]]
    Call = Callable[[Batch], object]

# Rows and length of the batches.
_SHAPES: Final = ((8, 32), (16, 32), (2, 128))
_WORDS: Final = 0.77  # of the pieces of news are a word's first

TRIED: Final = (
    (
        "GELU by table, INT8 to INT8",
        "ONNX Runtime has no such operator: the nearest, QLinearSigmoid, takes 0.16 ms where GELU and the "
        "quantization after it take 0.55 ms (512 pieces), but x * sigmoid(1.702 x) needs another training; "
        "a Gather over 256 entries needs 32-bit indices first.",
    ),
    (
        "ReLU in place of GELU",
        "The quantization's zero point does it for nothing: the graph would be 1.16 times as fast. It needs a model that is trained so.",
    ),
    (
        "tanh GELU, QuickGELU, FastGELU",
        "0.46 to 0.48 ms against 0.46 ms for the exact one in this ONNX Runtime (512 x 1,536, one thread): no gain.",
    ),
    (
        "SkipLayerNormalization",
        "0.86 ms where a Sum and a LayerNormalization take 0.11 ms (512 x 384): so sums are kept from being fused.",
    ),
    (
        "MultiHeadAttention and QAttention of ONNX Runtime",
        "0.82 to 0.99 ms and 1.94 ms for 16 x 32 pieces, where the operator of ONNX's opset 23 takes 0.34 ms.",
    ),
    (
        "one product for query, key and value",
        "0.34 ms against 3 x 0.097 ms apart (512 pieces): its output leaves the core's own cache.",
    ),
    (
        "lz4 against no compression of the outputs",
        "no difference that can be seen: 1.80 s and 1.84 s of the loop's thread for 8,000 documents.",
    ),
)


def run(context: Context) -> dict[str, Any]:
    """Run the section."""
    folder = context.bundle.folder
    graph = folder / FUSED if (folder / FUSED).is_file() else folder / GRAPH
    calls: dict[str, Call] = {"the tagger's way": _onnx(graph)}
    if graph.name == FUSED:
        calls["plain graph (model.onnx)"] = _onnx(folder / GRAPH)
    calls |= {
        "memory pattern on": _onnx(graph, pattern=True),
        "no memory arena": _onnx(graph, arena=False),
        "denormals as zero": _onnx(graph, entries={"session.set_denormal_as_zero": "1"}),
        "weights not packed beforehand": _onnx(graph, entries={"session.disable_prepacking": "1"}),
    }
    result: dict[str, Any] = {
        "load_before": machine.load(),
        "tried": [list(each) for each in TRIED],
        "skipped": {},
    }
    try:
        made = rivals.export(context.bundle)
        calls["dynamic INT8, plain export"] = _onnx(made / rivals.DYNAMIC / "model_quantized.onnx")
        calls["FP32, plain export"] = _onnx(made / rivals.FP32 / "model.onnx")
    except ImportError as error:
        result["skipped"]["exports"] = f"not installed: {error.name}"
    try:
        calls["OpenVINO on model.onnx"] = _openvino(folder / GRAPH)
    except Exception as error:  # noqa: BLE001 - another runtime may refuse a graph in any way
        result["skipped"]["OpenVINO"] = f"{type(error).__name__}: {str(error)[:300]}"
    result["graphs"] = _alone(context, calls)
    result["threads"] = _threads(context, graph)
    result["batches"] = _batches(context, graph)
    result["tagger"] = _stages(context)
    result["profile"] = _profile(context, graph)
    result["telemetry"] = telemetry.measure(context)
    result["load_after"] = machine.load()
    return result


def _alone(context: Context, calls: dict[str, Call]) -> dict[str, Any]:
    """Return every way's rate against the first one's, shape by shape, by one thread's processor time."""
    out: dict[str, Any] = {}
    for rows, length in _SHAPES:
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(context.choose(12, 1)):
            for name, call in calls.items():
                best = min(_spent(call, rows, length) for _ in range(context.choose(4, 1)))
                times[name].append(best)
        first = times["the tagger's way"]
        out[f"{rows} x {length}"] = {
            name: {
                "pieces_per_second": rows * length / Spread.of(values).median,
                "against_tagger": Spread.of([a / b for a, b in zip(first, values, strict=True)]).as_dict(),
            }
            for name, values in times.items()
        }
    context.say(
        f"graphs: { {n: round(v['against_tagger']['median'], 2) for n, v in out['16 x 32'].items()} }"
    )
    return out


def _spent(call: Call, rows: int, length: int) -> float:
    batch = _batch(rows, length)
    start = time.process_time()
    call(batch)
    return time.process_time() - start


def _batch(rows: int, length: int) -> Batch:
    draw = np.random.default_rng(rows * length)
    words = np.flatnonzero(draw.random(rows * length) < _WORDS)
    return {
        "input_ids": draw.integers(1000, 30_000, (rows, length)),
        "attention_mask": np.ones((rows, length), np.int64),
        "words": words,
    }


def _onnx(path: Path, **options: Any) -> Call:  # noqa: ANN401 - those of `_session`
    session = _session(path, **options)
    taken = [value.name for value in session.get_inputs()]
    return lambda batch: session.run(["logits"], {name: batch[name] for name in taken})


def _session(
    path: Path,
    *,
    pattern: bool = False,
    arena: bool = True,
    entries: dict[str, str] | None = None,
    threads: int = 1,
    profile: Path | None = None,
) -> InferenceSession:
    """Open a graph as the tagger does, but for what is given; with a profile, its file's beginning."""
    import onnxruntime  # noqa: PLC0415 - it takes a second to load, and --help needs none

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.enable_mem_pattern, options.enable_cpu_mem_arena = pattern, arena
    options.log_severity_level = 3
    for name, value in (entries or {}).items():
        options.add_session_config_entry(name, value)
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _openvino(path: Path) -> Call:
    import openvino  # noqa: PLC0415 - a comparison; nothing here needs it

    core = openvino.Core()
    model = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1})
    request = model.create_infer_request()
    return lambda batch: request.infer({name: batch[name] for name in ("input_ids", "attention_mask")})


def _threads(context: Context, graph: Path) -> dict[str, Any]:
    """Return two callers against one on two threads, and one session against two, in wall time."""
    one = _onnx(graph)
    pair = (_onnx(graph), _onnx(graph))
    wide = _onnx(graph, threads=2)
    quiet = _onnx(graph, threads=2, entries={"session.intra_op.allow_spinning": "0"})
    batch = _batch(16, 32)
    count = context.choose(40, 2)

    def beside(first: Call, second: Call) -> None:
        def work(call: Call) -> None:
            for _ in range(count // 2):
                call(batch)

        threads = [threading.Thread(target=work, args=(call,)) for call in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def after_another(call: Call) -> None:
        for _ in range(count):
            call(batch)

    ways: dict[str, Callable[[], None]] = {
        "two callers, one session": lambda: beside(one, one),
        "two callers, a session each": lambda: beside(*pair),
        "one caller, two threads": lambda: after_another(wide),
        "one caller, two threads that do not spin": lambda: after_another(quiet),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(context.choose(8, 1)):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - start)
    first = times["two callers, one session"]
    return {
        name: {
            "pieces_per_second": count * 512 / Spread.of(values).median,
            "against_tagger": Spread.of([a / b for a, b in zip(first, values, strict=True)]).as_dict(),
        }
        for name, values in times.items()
    }


def _batches(context: Context, graph: Path) -> dict[str, Any]:
    """Return the rate by batch size and length, one thread, by processor time."""
    call = _onnx(graph)
    shapes = [
        (rows, length)
        for length in (16, 32, 64, 128, 256)
        for rows in (1, 4, 8, 16, 32)
        if rows * length <= 1024
    ]
    times: dict[tuple[int, int], list[float]] = {shape: [] for shape in shapes}
    for _ in range(context.choose(10, 1)):
        for shape in shapes:
            times[shape].append(_spent(call, *shape))
    return {
        f"{rows} x {length}": rows * length / Spread.of(times[rows, length]).median for rows, length in shapes
    }


def _stages(context: Context) -> dict[str, Any]:
    """Return where the tagger's processor time goes, on sentences seen for the first time."""
    with context.tagger(1) as tagger:
        inside = 0.0
        scores = tagger._graph.scores  # noqa: SLF001 - to time what is inside the graph

        def timed(*arguments: Any) -> Any:  # noqa: ANN401 - handed through
            nonlocal inside
            start = time.thread_time()
            found = scores(*arguments)
            inside += time.thread_time() - start
            return found

        tagger.tag(context.texts.sentences(context.choose(2_000, 16)))
        tagger._graph.scores = timed  # type: ignore[method-assign, assignment]  # noqa: SLF001
        texts = context.texts.sentences(context.choose(4_000, 16))
        start = time.process_time()
        tagger.tag(texts)
        total = time.process_time() - start
        start = time.process_time()
        tagger._encoder.encode(texts[:256])  # noqa: SLF001 - its texts are known by now: the table alone
        again = (time.process_time() - start) / min(256, len(texts)) * len(texts)
    pieces = context.pieces(texts)
    return {
        "us_per_piece": 1e6 * total / pieces,
        "graph_share": inside / total,
        "tokenizing_known_words_share": again / total,
    }


def _profile(context: Context, path: Path) -> dict[str, float]:
    """Return each operator's share of the time in the graph, the largest first, by ONNX Runtime's own profile."""
    with tempfile.TemporaryDirectory() as folder:
        session = _session(path, profile=Path(folder) / "profile")
        batch = _batch(16, 32)
        taken = {value.name: batch[value.name] for value in session.get_inputs()}
        for _ in range(context.choose(60, 2)):
            session.run(["logits"], taken)
        events = json.loads(Path(session.end_profiling()).read_bytes())
    spent: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"]
    total = sum(spent.values()) or 1
    return {name: duration / total for name, duration in spent.most_common()}
