"""Section 4, memory: a worker at its defaults under the mix, for ten minutes and on until 500,000 documents."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

import psutil
from confluent_kafka import Producer

from benchmarks import machine
from benchmarks.stage import Stage, records
from benchmarks.stats import slope, slope_error

if TYPE_CHECKING:
    from benchmarks.context import Context
    from benchmarks.stage import Flow
    from tests.support.workers import Worker

# Documents ahead of the worker: enough that it never waits for more.
_AHEAD: Final = 8_000
_CHUNK: Final = 500
_SETTLED: Final = 100_000
_ENOUGH: Final = 500_000


def run(context: Context) -> dict[str, Any]:
    """Run the section."""
    seconds = context.choose(600.0, 6.0)
    most = context.choose(900.0, 0.0)
    points: list[tuple[float, float, float]] = []
    with Stage(context) as stage:
        flow = stage.flow()
        with stage.worker(flow) as worker:
            stop = threading.Event()
            feeder = threading.Thread(target=_feed, args=(stage, flow, worker, stop))
            feeder.start()
            process = psutil.Process(worker.pid)
            start = time.monotonic()
            settled, enough = context.choose(_SETTLED, 1), context.choose(_ENOUGH, 2)
            try:
                # Ten minutes, and then on until the slope has something to stand on, within reason.
                while (passed := time.monotonic() - start) < seconds or (
                    worker.health().get("in", 0) < enough and passed < seconds + most
                ):
                    done = worker.health().get("in", 0)
                    points.append((round(passed, 1), done, process.memory_info().rss / 2**20))
                    time.sleep(min(5.0, seconds / 6))
            finally:
                stop.set()
                feeder.join()
            worker.terminate()
    later = [(documents / 100_000, mib) for _, documents, mib in points if documents >= settled]
    at_ten = [mib for passed, _, mib in points if passed <= seconds]
    error = slope_error(later)
    result = {
        "points": points,
        "documents": points[-1][1],
        "mib_after_ten_minutes": round(at_ten[-1], 1),
        "most_mib": round(max(mib for *_, mib in points), 1),
        "mib_per_100_000_documents": round(slope(later), 2) if len(later) > 3 else None,
        "standard_error": None if error is None else round(error, 2),
        "load_after": machine.load(),
    }
    context.say(f"memory: { {name: value for name, value in result.items() if name != 'points'} }")
    return result


def _feed(stage: Stage, flow: Flow, worker: Worker, stop: threading.Event) -> None:
    """Keep the worker in documents, without filling the disk."""
    producer = Producer(
        {"bootstrap.servers": stage.bootstrap, "linger.ms": 20, "compression.type": "lz4", "log_level": 0}
    )
    sent = 0
    while not stop.is_set():
        if sent - worker.health().get("in", 0) > _AHEAD:
            time.sleep(0.2)
            continue
        for record in records(stage.context.texts.mix(_CHUNK), sent):
            producer.produce(flow.input, record.value, record.key)
        sent += _CHUNK
        producer.flush(30)
