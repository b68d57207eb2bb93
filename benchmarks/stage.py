"""Apache Kafka with preloaded topics, workers on it, and what came out, by the outputs' own times."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import orjson
import psutil

from benchmarks.stats import rate_between
from fewnerd_stream.contract.taxonomy import CATEGORIES, NONE
from fewnerd_stream.kafka import topics
from fewnerd_stream.settings import load_settings
from tests.support.clients import New, Observer, produce
from tests.support.kafka import KafkaCluster
from tests.support.processes import Process, until
from tests.support.workers import Worker

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.context import Context

PARTITIONS: Final = 4
# The head of a run is not counted: a worker's first windows find its tables empty and its code cold. Nor is as much at
# its end: windows are at work side by side, so at any time some are half done, and at the end none is.
_LEFT_OUT: Final = 0.15
# The tests' impatience, taken back: a worker as it is by default.
_DEFAULTS: Final[dict[str, str]] = {
    "session_timeout": "10",
    "heartbeat_interval": "3",
    "rebalance_timeout": "60",
    "drain": "10",
    "request_timeout": "30",
    "retry_delays": "5,60,600",
}
_numbers = itertools.count(1)


@dataclasses.dataclass(frozen=True, slots=True)
class Flow:
    """Topics of their own for one measurement."""

    input: str
    prefix: str
    group: str

    @property
    def outputs(self) -> list[str]:
        """The topics of enriched documents."""
        return [f"{self.prefix}.{category}" for category in (*CATEGORIES, NONE)]


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What a run through the broker came to, its head not counted."""

    documents_per_second: float
    documents: int
    records: int
    worker_cpu: float
    broker_cpu: float
    memory_mib: float

    def as_dict(self) -> dict[str, Any]:
        """Return an object that JSON can hold."""
        return dataclasses.asdict(self)


class Stage:
    """A broker for a section; everything that it starts ends with it."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._cluster = KafkaCluster(heap="1g", properties={"log.retention.check.interval.ms": "30000"})
        self._scratch = tempfile.TemporaryDirectory(prefix="fewnerd-bench-")
        self.folder = Path(self._scratch.name)

    def __enter__(self) -> Self:
        """Start the broker."""
        self._cluster.__enter__()
        self.observer = Observer(self.bootstrap)
        return self

    def __exit__(self, *_: object) -> None:
        """End the broker and forget its data."""
        self._cluster.close()
        self._scratch.cleanup()

    @property
    def bootstrap(self) -> str:
        """Where the broker listens."""
        return self._cluster.bootstrap

    def broker_cpu(self) -> float:
        """Return the processor seconds that the broker has taken."""
        times = psutil.Process(self._cluster.pid(0)).cpu_times()
        return float(times.user + times.system)

    def flow(self, partitions: int = PARTITIONS) -> Flow:
        """Make topics for one measurement."""
        number = next(_numbers)
        flow = Flow(f"raw-{number}", f"found-{number}", f"group-{number}")
        settings = load_settings(
            bootstrap_servers=self.bootstrap,
            input_topics=flow.input,
            output_prefix=flow.prefix,
            group=flow.group,
            partitions=partitions,
            health_file=self.folder / "none.json",
        )
        asyncio.run(topics.create_topics(settings))
        return flow

    def preload(self, topic: str, texts: Sequence[str]) -> None:
        """Write texts as raw documents."""
        produce(self.bootstrap, topic, records(texts), compression_type="lz4")

    def worker(
        self, flow: Flow, name: str = "worker", cores: set[int] | None = None, **settings: object
    ) -> Worker:
        """Return a worker at its defaults, not started."""
        chosen = _DEFAULTS | {"input_topics": flow.input, "output_prefix": flow.prefix, "group": flow.group}
        if self.context.model is not None:
            chosen["model"] = str(self.context.model)
        worker = Worker(
            self.bootstrap,
            self.folder,
            tagger=None,
            name=f"{flow.group}-{name}",
            **(chosen | {key: str(value) for key, value in settings.items()}),  # type: ignore[arg-type]
        )
        if cores:
            _pin(worker, cores)
        return worker

    def through_worker(self, texts: Sequence[str], seconds: float = 600, **settings: object) -> Outcome:
        """Preload texts, start one worker, and return what it did."""
        flow = self.flow()
        self.preload(flow.input, texts)
        before = self.broker_cpu()
        with self.worker(flow, **settings) as worker:  # type: ignore[arg-type]
            process = psutil.Process(worker.pid)
            until("all are enriched", lambda: worker.health().get("in", 0) >= len(texts), seconds, 0.25)
            times = process.cpu_times()
            memory = process.memory_info().rss / 2**20
            worker.terminate()
        broker = self.broker_cpu() - before
        return self.outcome(flow.outputs, len(texts), float(times.user + times.system), broker, memory)

    def outcome(
        self, outputs: Sequence[str], count: int, worker_cpu: float, broker_cpu: float, memory: float
    ) -> Outcome:
        """Read outputs, and return at which rate inputs were done by the times on them."""
        done: dict[Any, int] = {}
        number = 0
        for message in self.observer.read(outputs, 300):
            number += 1
            assert message.value is not None
            value = orjson.loads(message.value)
            source = value.get("source")
            place = value["id"] if source is None else (source["partition"], source["offset"])
            done[place] = max(message.timestamp, done.get(place, 0))
        assert len(done) == count, f"{len(done)} of {count} documents came out"
        rate = rate_between(sorted(done.values()), _LEFT_OUT)
        return Outcome(rate, count, number, worker_cpu, broker_cpu, memory)

    def process(self, arguments: Sequence[str], name: str, python: str = sys.executable) -> Process:
        """Start a Python program that ends with this one."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FEWNERD_")}
        environment["PYTHONUNBUFFERED"] = "1"
        return Process([python, *arguments], self.folder / f"{name}.log", environment)


def records(texts: Iterable[str], first: int = 0) -> Iterable[New]:
    """Make raw documents of texts, each with a key, as a feed would have them."""
    for number, text in enumerate(texts, first):
        value = {"id": f"n-{number}", "text": text, "url": f"https://example.org/news/{number}"}
        yield New(json.dumps(value, ensure_ascii=False).encode(), key=f"n-{number}".encode())


def _pin(worker: Worker, cores: set[int]) -> None:
    """Let a worker run on some cores only, from its start."""
    program = "import os, sys; os.sched_setaffinity(0, {cores}); os.execv(sys.argv[1], sys.argv[1:])"
    worker._arguments = [  # noqa: SLF001 - the tests' worker has no option for it
        sys.executable,
        "-c",
        program.replace("{cores}", repr(sorted(cores))),
        *worker._arguments,  # noqa: SLF001
    ]
