"""Section 2: one worker through Apache Kafka, against the tagger alone and against consumers a user would write."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

from benchmarks import machine, rivals
from benchmarks.stage import Outcome, Stage
from benchmarks.stats import Spread, ratio
from model.bundle import GRAPH
from tests.support.clients import create_topics

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.context import Context
    from model.tagger import Tagger

WORKER, ALONE = "worker", "tagger alone"
NAIVE_TORCH, NAIVE_OPTIMUM = "consumer, torch FP32", "consumer, Optimum INT8"
# Texts that a round takes of each kind, 10 to 30 seconds of work; the slower consumers take the first of them.
_COUNTS = {"sentences": 12_000, "articles": 2_400}
_NAIVE = {
    NAIVE_TORCH: {"sentences": 800, "articles": 48},
    NAIVE_OPTIMUM: {"sentences": 2_000, "articles": 128},
}
_BEST = {NAIVE_TORCH: (2, 8), NAIVE_OPTIMUM: (2, 8)}


def run(context: Context) -> dict[str, Any]:
    """Run the section."""
    result: dict[str, Any] = {"load_before": machine.load(), "skipped": {}, "kinds": {}}
    folder: Path | None = None
    try:
        folder = rivals.export(context.bundle)
    except ImportError as error:
        result["skipped"] |= dict.fromkeys((NAIVE_TORCH, NAIVE_OPTIMUM), f"not installed: {error.name}")
    with Stage(context) as stage, context.tagger() as tagger:
        tagger.tag(context.texts.sentences(64))
        for kind in _COUNTS:
            result["kinds"][kind] = _kind(stage, tagger, kind, folder)
    result["load_after"] = machine.load()
    return result


def _kind(stage: Stage, tagger: Tagger, kind: str, folder: Path | None) -> dict[str, Any]:
    context = stage.context
    count = context.choose(_COUNTS[kind], 40)
    done: dict[str, list[Outcome]] = {WORKER: [], ALONE: []}
    for number in range(context.choose(3, 1)):
        texts = context.draw(kind)(count)
        for name in (ALONE, WORKER) if number % 2 else (WORKER, ALONE):
            done[name].append(_alone(tagger, texts) if name == ALONE else stage.through_worker(texts))
        if folder is not None:
            for name in _NAIVE:
                part = texts[: context.choose(_NAIVE[name][kind], 16)]
                done.setdefault(name, []).append(_naive(stage, name, part, folder))
        shown = ", ".join(f"{name} {each[-1].documents_per_second:,.0f}" for name, each in done.items())
        context.say(f"end to end, {kind}, round {number + 1}, documents/s: {shown}")
    rates = {name: [each.documents_per_second for each in outcomes] for name, outcomes in done.items()}
    workers = done[WORKER]
    return {
        "outcomes": {name: [each.as_dict() for each in outcomes] for name, outcomes in done.items()},
        "documents_per_second": {name: Spread.of(values).as_dict() for name, values in rates.items()},
        "ratios": {
            name: ratio(rates[WORKER], values).as_dict() for name, values in rates.items() if name != WORKER
        },
        "broker_ms_per_document": Spread.of([1000 * o.broker_cpu / o.documents for o in workers]).as_dict(),
        "worker_ms_per_document": Spread.of([1000 * o.worker_cpu / o.documents for o in workers]).as_dict(),
        "tagger_ms_per_document": Spread.of(
            [1000 * o.worker_cpu / o.documents for o in done[ALONE]]
        ).as_dict(),
        "records_per_document": Spread.of([o.records / o.documents for o in workers]).as_dict(),
    }


def _alone(tagger: Tagger, texts: Sequence[str]) -> Outcome:
    """Tag the documents with no broker near; like a worker's, the first of them are not counted."""
    head = len(texts) * 3 // 20
    tagger.tag(texts[:head])
    cpu, start = time.process_time(), time.perf_counter()
    tagger.tag(texts[head:])
    took, spent = time.perf_counter() - start, time.process_time() - cpu
    count = len(texts) - head
    return Outcome(count / took, count, 0, spent, 0.0, 0.0)


def _naive(stage: Stage, name: str, texts: Sequence[str], folder: Path) -> Outcome:
    flow = stage.flow()
    output = f"{flow.prefix}.naive"
    create_topics(stage.bootstrap, {output: 4})
    stage.preload(flow.input, texts)
    threads, batch = _BEST[name]
    arguments = ["-m", "benchmarks.naive", "--bootstrap", stage.bootstrap, "--input", flow.input]
    arguments += ["--output", output, "--group", flow.group, "--folder", str(folder)]
    arguments += ["--count", str(len(texts)), "--threads", str(threads), "--batch", str(batch)]
    arguments += ["--pipeline", "torch" if name == NAIVE_TORCH else "optimum"]
    if name == NAIVE_OPTIMUM:
        arguments += ["--graph", str(stage.context.bundle.folder / GRAPH)]
    before = stage.broker_cpu()
    with stage.process(arguments, f"naive-{flow.group}") as process:
        status = process.wait(600)
        assert status == 0, process.tail()
    made = stage.outcome([output], len(texts), 0.0, stage.broker_cpu() - before, 0.0)
    return dataclasses.replace(made, worker_cpu=0.0)
