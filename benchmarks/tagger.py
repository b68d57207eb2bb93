"""Section 1: the tagger against pipelines, bare loops and the arithmetic limit, decoding included."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from benchmarks import machine, rivals
from benchmarks.bare import BareLoop, Limit
from benchmarks.compare import Contender, Figures, against, rounds, timed
from benchmarks.context import FEW_NERD, KINDS, Context
from benchmarks.stats import Spread, ratio
from model.bundle import FUSED, GRAPH, TOKENIZER

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from model.tagger import Tagger

OURS, PLAIN = "tagger", "tagger, plain graph"
BARE_OWN, BARE_FUSED, BARE_DYNAMIC = (
    "bare loop, own graph",
    "bare loop, fused graph",
    "bare loop, dynamic INT8",
)
TORCH, OPTIMUM = "pipeline, torch FP32", "pipeline, Optimum INT8"
LIMIT = "arithmetic limit"
_BATCHES = (1, 8, 32)
_THREADS = (1, 2)


class Ours:
    """The tagger as its users call it."""

    def __init__(self, tagger: Tagger) -> None:
        self._tagger = tagger

    def run(self, texts: Sequence[str]) -> None:
        """Tag the texts in one call."""
        self._tagger.tag(texts)


def run(context: Context) -> dict[str, Any]:
    """Run the section."""
    result: dict[str, Any] = {"load_before": machine.load(), "skipped": {}, "tuning": {}, "kinds": {}}
    fixed, folder = _fixed(context, result)
    limit: Limit | None = None
    try:
        limit = Limit()
    except ImportError as error:
        result["skipped"][LIMIT] = f"not installed: {error.name}"
    kinds = [*KINDS, FEW_NERD] if context.data else list(KINDS)
    for kind in kinds:
        context.say(f"tagger on {kind}")
        draw = context.draw(kind)
        chosen = dict(fixed)
        if folder is not None and kind != FEW_NERD:  # there are only so many real ones
            tuned = result["tuning"][kind] = {}
            chosen[TORCH], tuned[TORCH] = _best_torch(context, kind, folder)
            chosen[OPTIMUM], tuned[OPTIMUM] = _best_optimum(context, kind, folder)
        limits: list[float] = []
        figures = rounds(
            chosen,
            draw,
            context.pieces,
            count=context.choose(2 if kind == FEW_NERD else context.rounds, 1),
            seconds=context.choose(1.0 if kind == FEW_NERD else context.seconds, 0.2),
            most=context.choose({"articles": 1_000, "mix": 4_000, FEW_NERD: 900}.get(kind, 12_000), 4),
            say=_saying(context, limit, limits),
        )
        result["kinds"][kind] = _summary(figures, limits)
    result["load_after"] = machine.load()
    return result


def _saying(context: Context, limit: Limit | None, limits: list[float]) -> Callable[[str], None]:
    """Return what is told of each round, and measures the limit at its end."""

    def say(message: str) -> None:
        if limit is not None:
            limits.append(limit.pieces_per_second(context.choose(1.0, 0.1)))
            message += f", limit {limits[-1]:,.0f} pieces/s"
        context.say(message)

    return say


def _summary(figures: dict[str, Figures], limits: list[float]) -> dict[str, Any]:
    return {
        "contenders": {name: each.as_dict() for name, each in figures.items()},
        "ratios": against(figures, OURS),
        "limit": {
            "pieces_per_second": Spread.of(limits or [0.0]).as_dict(),
            "share": {name: ratio(each.pieces, limits).as_dict() for name, each in figures.items() if limits},
        },
    }


def _fixed(context: Context, result: dict[str, Any]) -> tuple[dict[str, Contender], Path | None]:
    """Return the contenders that are the same for all kinds of texts, and the folder of the exports."""
    bundle = context.bundle
    tokenizer = bundle.folder / TOKENIZER
    found: dict[str, Contender] = {
        OURS: Ours(context.tagger()),
        BARE_OWN: BareLoop(bundle.folder / GRAPH, tokenizer),
    }
    if (bundle.folder / FUSED).is_file():
        found[PLAIN] = Ours(context.tagger(fused=False))
        found[BARE_FUSED] = BareLoop(bundle.folder / FUSED, tokenizer)
    try:
        folder = rivals.export(bundle)
    except ImportError as error:
        result["skipped"] |= dict.fromkeys((BARE_DYNAMIC, TORCH, OPTIMUM), f"not installed: {error.name}")
        return found, None
    found[BARE_DYNAMIC] = BareLoop(folder / rivals.DYNAMIC / "model_quantized.onnx", tokenizer)
    return found, folder


def _best_torch(context: Context, kind: str, folder: Path) -> tuple[Contender, dict[str, Any]]:
    return _best(context, kind, lambda threads, batch: rivals.TorchPipeline(folder, threads, batch))


def _best_optimum(context: Context, kind: str, folder: Path) -> tuple[Contender, dict[str, Any]]:
    own = context.bundle.folder / GRAPH
    dynamic, tried = _best(
        context, kind, lambda threads, batch: rivals.OptimumPipeline(folder, threads, batch)
    )
    static, tried_static = _best(
        context, kind, lambda threads, batch: rivals.OptimumPipeline(folder, threads, batch, own)
    )
    both = {"dynamic INT8": tried, "the bundle's own graph": tried_static}
    better = (
        dynamic if tried["best_documents_per_second"] >= tried_static["best_documents_per_second"] else static
    )
    return better, both


def _best(
    context: Context, kind: str, make: Callable[[int, int], rivals.TorchPipeline | rivals.OptimumPipeline]
) -> tuple[Contender, dict[str, Any]]:
    """Return the fastest of all thread counts and batch sizes on a kind of texts, and what each did."""
    draw = context.draw(kind)
    count = {"sentences": 128, "mix": 60, "articles": 12}[kind]
    rates: dict[str, float] = {}
    best: tuple[float, int, int] = (0.0, 0, 0)
    for threads in context.choose(_THREADS, (2,)):
        pipeline = make(threads, 1)
        timed(pipeline, context.texts.sentences(4))
        for batch in context.choose(_BATCHES, (4,)):
            pipeline.batch = batch
            texts = draw(context.choose(count, 4))
            start = time.perf_counter()
            pipeline.run(texts)
            rate = len(texts) / (time.perf_counter() - start)
            rates[f"{threads} threads, batch {batch}"] = round(rate, 1)
            best = max(best, (rate, threads, batch))
    context.say(f"tried {rates}")
    _, threads, batch = best
    chosen = {"threads": threads, "batch": batch, "best_documents_per_second": best[0], "tried": rates}
    return make(threads, batch), chosen
