"""Section 4: more workers, more and longer documents, and a cold start."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import psutil

from benchmarks import machine
from benchmarks.stage import Outcome, Stage
from benchmarks.stats import Spread, ratio
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.context import Context
    from model.tagger import Tagger

_WORKERS: Final = (1, 2, 4)
# Sentences of a document: 1, 10 and 100 times the length.
_LENGTHS: Final = (1, 10, 100)


def run(context: Context) -> dict[str, Any]:
    """Run the section."""
    result: dict[str, Any] = {"load_before": machine.load()}
    with context.tagger() as tagger:
        result["number"] = _numbers(context, tagger)
        result["length"] = _lengths(context, tagger)
    result["cold"] = _cold(context)
    with Stage(context) as stage:
        result["cold"] |= _cold_worker(stage)
        result["workers"] = _workers(stage)
    result["load_after"] = machine.load()
    return result


def _numbers(context: Context, tagger: Tagger) -> dict[str, Any]:
    """Return the cost of a document as there are 1, 10 and 100 times as many of them in a call."""
    base = context.choose(400, 4)
    tagger.tag(context.texts.sentences(base))
    costs: dict[str, list[float]] = {str(base * times): [] for times in _LENGTHS}
    for number in range(context.choose(3, 1)):
        for times in _LENGTHS if number % 2 else reversed(_LENGTHS):
            # As many documents are tagged at each size, so that all are measured as long.
            calls = context.choose(max(1, 20 // times), 1)
            took = cpu = 0.0
            for _ in range(calls):
                texts = context.texts.sentences(base * times)
                pieces = context.pieces(texts)
                spent, start = time.process_time(), time.perf_counter()
                tagger.tag(texts)
                took += (time.perf_counter() - start) / pieces
                cpu += (time.process_time() - spent) / pieces
            costs[str(base * times)].append(1e6 * cpu / calls)
    context.say(f"number: {costs}")
    first = costs[str(base)]
    return {
        "cpu_us_per_piece": {size: Spread.of(values).as_dict() for size, values in costs.items()},
        "against_first": {size: ratio(values, first).as_dict() for size, values in costs.items()},
    }


def _lengths(context: Context, tagger: Tagger) -> dict[str, Any]:
    """Return the cost of a piece as documents grow to 10 and 100 times the length."""
    sentences = context.choose(8_000, 100)
    costs: dict[str, list[float]] = {str(times): [] for times in _LENGTHS}
    for number in range(context.choose(3, 1)):
        for times in _LENGTHS if number % 2 else reversed(_LENGTHS):
            texts = context.texts.of_pieces(sentences // times, times)
            pieces = context.pieces(texts)
            spent = time.process_time()
            tagger.tag(texts)
            costs[str(times)].append(1e6 * (time.process_time() - spent) / pieces)
    context.say(f"length: {costs}")
    return {
        "cpu_us_per_piece": {times: Spread.of(values).as_dict() for times, values in costs.items()},
        "against_first": {times: ratio(values, costs["1"]).as_dict() for times, values in costs.items()},
    }


def _cold(context: Context) -> dict[str, Any]:
    """Return the seconds from a program's start to its first entities, no broker near."""
    program = (
        "import sys; from model.tagger import Tagger; t = Tagger.load(sys.argv[1]);"
        "t.tag(['Angela Merkel flew to Paris.']); t.close()"
    )
    took = []
    for _ in range(context.choose(5, 1)):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", program, str(context.bundle.folder)], check=True)
        took.append(time.perf_counter() - start)
    return {"tagger_seconds": Spread.of(took).as_dict()}


def _cold_worker(stage: Stage) -> dict[str, Any]:
    """Return the seconds from a worker's start to the first enriched message."""
    took = []
    for _ in range(stage.context.choose(3, 1)):
        flow = stage.flow()
        stage.preload(flow.input, stage.context.texts.sentences(64))
        start = time.time()
        with stage.worker(flow) as worker:
            until("some is enriched", lambda w=worker: w.health().get("in", 0) > 0, 120)  # type: ignore[misc]
            worker.terminate()
        first = min(message.timestamp for message in stage.observer.read(flow.outputs))
        took.append(first / 1000 - start)
    return {"worker_seconds": Spread.of(took).as_dict()}


def _workers(stage: Stage) -> dict[str, Any]:
    """Return the rate of 1, 2 and 4 workers of one thread on as many partitions, and of two pinned to a core each."""
    context = stage.context
    rates: dict[str, list[float]] = {}
    brokers: dict[str, list[float]] = {}
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    plans: list[tuple[str, int, bool]] = [(str(count), count, False) for count in _WORKERS]
    if len(cores) >= 2:
        plans += [("1, on one core", 1, True), ("2, on a core each", 2, True)]
    for number in range(context.choose(3, 1)):
        texts = context.texts.sentences(context.choose(8_000, 80))
        for name, count, pinned in plans if number % 2 else reversed(plans):
            made = _fleet(stage, texts, count, cores if pinned else [])
            rates.setdefault(name, []).append(made.documents_per_second)
            brokers.setdefault(name, []).append(1000 * made.broker_cpu / made.documents)
        context.say(f"workers: { {name: round(values[-1]) for name, values in rates.items()} }")
    return {
        "documents_per_second": {name: Spread.of(values).as_dict() for name, values in rates.items()},
        "against_one": {
            name: ratio(values, rates["1, on one core" if "core" in name else "1"]).as_dict()
            for name, values in rates.items()
        },
        "four_against_two": ratio(rates["4"], rates["2"]).as_dict(),
        "broker_ms_per_document": {name: Spread.of(values).as_dict() for name, values in brokers.items()},
    }


def _fleet(stage: Stage, texts: Sequence[str], count: int, cores: Sequence[int]) -> Outcome:
    """Let so many workers of one thread share preloaded texts, all members of the group before the first is read."""
    flow = stage.flow(count)
    workers = [
        stage.worker(flow, f"w{number}", {cores[number]} if cores else None, threads=1)
        for number in range(count)
    ]
    try:
        for worker in workers:
            worker.start(wait=False)
        for worker in workers:
            worker.wait_state("assigned", seconds=120)
        before = stage.broker_cpu()
        stage.preload(flow.input, texts)
        until(
            "all are enriched",
            lambda: sum(worker.health().get("in", 0) for worker in workers) >= len(texts),
            900,
            0.25,
        )
        cpu = sum(sum(psutil.Process(worker.pid).cpu_times()[:2]) for worker in workers)
        broker = stage.broker_cpu() - before
        for worker in workers:
            worker.terminate()
    finally:
        for worker in workers:
            with contextlib.suppress(AssertionError):  # it was never started
                worker.kill()
    return stage.outcome(flow.outputs, len(texts), cpu, broker, 0.0)


__all__ = ["run"]
