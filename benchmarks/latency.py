"""Section 3: from produced to enriched, at half of the highest load, for several window settings."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import orjson
from confluent_kafka import Consumer, Producer

from benchmarks import machine
from benchmarks.stage import Stage
from benchmarks.stats import percentile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.context import Context
    from benchmarks.stage import Flow

# Window size and time in seconds; the first is a worker's default, whatever that is.
_WINDOWS: Final[tuple[dict[str, float], ...]] = (
    {},
    {"window_size": 32, "window_time": 0.05},
    {"window_size": 128, "window_time": 0.02},
    {"window_size": 128, "window_time": 0.1},
    {"window_size": 256, "window_time": 0.2},
)
_BURST: Final = 0.005


def run(context: Context) -> dict[str, Any]:
    """Run the section."""
    result: dict[str, Any] = {"load_before": machine.load(), "settings": []}
    with Stage(context) as stage:
        highest = stage.through_worker(
            context.texts.sentences(context.choose(12_000, 40))
        ).documents_per_second
        highest = context.choose(highest, 40.0)
        # A broker's first minute of steady traffic has pauses of a second: it is measured, and kept apart.
        result["first"] = _at(stage, highest / 2, {})
        for windows in context.choose(_WINDOWS, _WINDOWS[:1]):
            told = _at(stage, highest / 2, windows)
            told["settings"] = windows or {"default": True}
            context.say(f"latency {windows or 'default'}: {told}")
            result["settings"].append(told)
    result |= {"highest_documents_per_second": highest, "load_after": machine.load()}
    return result


def _at(stage: Stage, rate: float, windows: dict[str, float]) -> dict[str, Any]:
    """Feed a worker at a steady rate, and return the percentiles of what came back, in milliseconds."""
    context = stage.context
    flow = stage.flow()
    warm, seconds = context.choose((5.0, 25.0), (0.5, 1.0))
    texts = context.texts.sentences(int(rate * (warm + seconds)) + 1)
    seen: dict[str, float] = {}
    ready, stop = threading.Event(), threading.Event()
    reader = threading.Thread(target=_read, args=(stage.bootstrap, flow, seen, ready, stop))
    with stage.worker(flow, **windows) as worker:  # type: ignore[arg-type]
        worker.wait_state("assigned")
        reader.start()
        assert ready.wait(60), "the outputs' reader did not start"
        try:
            sent = _feed(stage.bootstrap, flow, texts, rate)
            deadline = time.monotonic() + 60
            while len(seen) < len(texts) and time.monotonic() < deadline:
                time.sleep(0.1)
        finally:
            stop.set()
            reader.join()
        worker.terminate()
    first = int(rate * warm)
    times = [1000 * (seen[name] - at) for name, at in sent[first:] if name in seen]
    return {
        "documents": len(times),
        "missing": len(sent) - len(seen),
        "documents_per_second": rate,
        **{f"p{int(100 * share)}": round(percentile(times, share), 1) for share in (0.5, 0.95, 0.99)},
        "most": round(max(times), 1),
    }


def _feed(bootstrap: str, flow: Flow, texts: Sequence[str], rate: float) -> list[tuple[str, float]]:
    """Produce at a steady rate; return each id with the time at which it was handed to the producer."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 1, "log_level": 0})
    sent: list[tuple[str, float]] = []
    start = time.time()
    while len(sent) < len(texts):
        due = min(len(texts), int((time.time() - start) * rate) + 1)
        for number in range(len(sent), due):
            name = f"n-{number}"
            sent.append((name, time.time()))
            producer.produce(flow.input, json.dumps({"id": name, "text": texts[number]}), name)
        producer.poll(0)
        time.sleep(_BURST)
    producer.flush(30)
    return sent


def _read(
    bootstrap: str, flow: Flow, seen: dict[str, float], ready: threading.Event, stop: threading.Event
) -> None:
    """Note when each document's last message arrived."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"{flow.group}-reader",
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 5,
            "log_level": 0,
        }
    )
    consumer.subscribe(flow.outputs, on_assign=lambda *_: ready.set())
    try:
        while not stop.is_set():
            messages = consumer.consume(500, 0.05)
            now = time.time()
            for message in messages:
                if message.error() is None:
                    seen[orjson.loads(message.value() or b"")["id"]] = now
    finally:
        consumer.close()


__all__ = ["run"]
