"""Sends the load while the scenario does its harm, always a little ahead of the workers; and watches them."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer

from tests.faults.load import SPECIAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.faults.outside import Group
    from tests.support.clients import New
    from tests.support.workers import Worker

_BATCH: Final = 100
_PAGE_MIB: Final = 4096 / 1048576


class Loader:
    """Sends records from a thread of its own, no more ahead of the group's commits than ``backlog``."""

    def __init__(self, bootstrap: str, topic: str, records: Iterator[tuple[int, New]], watch: Watch) -> None:
        """Prepare; the records come with their numbers, those of the load ascending from 0."""
        self.backlog = 1000
        self.rate = 0.0
        self.limit: int | None = None
        self.documents = 0
        self.specials = 0
        self._topic = topic
        self._records = records
        self._watch = watch
        self._failures: list[str] = []
        self._flowing = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "compression.type": "lz4",
                "linger.ms": 20,
                "delivery.timeout.ms": 900_000,
                "topic.metadata.refresh.interval.ms": 5_000,
                "log_level": 0,
            }
        )

    @property
    def sent(self) -> int:
        """How many records were sent."""
        return self.documents + self.specials

    def start(self, *, backlog: int = 1000, rate: float = 0, limit: int | None = None) -> None:
        """Begin, or go on after a pause: at most ``rate`` a second, up to ``limit`` in all."""
        self.backlog, self.rate, self.limit = backlog, rate, limit
        self._flowing.set()
        if not self._thread.is_alive():
            self._thread.start()

    def pause(self) -> None:
        """Send no more for now."""
        self._flowing.clear()

    def done(self) -> bool:
        """Whether the limit is reached."""
        return self.limit is not None and self.sent >= self.limit

    def stop(self) -> None:
        """Send no more, and have all stored; raises AssertionError when a record was not."""
        self._over.set()
        self._flowing.set()
        if self._thread.ident is not None:
            self._thread.join()
        left = self._producer.flush(120)
        assert not left, f"{left} records of the load were not stored"
        assert not self._failures, f"the load was not stored whole: {self._failures[:3]}"

    def _run(self) -> None:
        started, begun = time.monotonic(), 0
        while not self._over.is_set():
            if not self._flowing.is_set():
                self._producer.flush(30)
                self._flowing.wait(1)
                started, begun = time.monotonic(), self.sent
                continue
            room = min(_BATCH, self.backlog - (self.sent - self._watch.committed))
            if self.limit is not None:
                room = min(room, self.limit - self.sent)
            if self.rate:
                room = min(room, int((time.monotonic() - started) * self.rate) - (self.sent - begun))
            for _ in range(room):
                self._send(*next(self._records))
            self._producer.poll(0.0 if room > 0 else 0.05)

    def _send(self, number: int, record: New) -> None:
        while True:
            try:
                self._producer.produce(
                    self._topic,
                    record.value,
                    record.key,
                    record.partition,
                    on_delivery=self._stored,
                    headers=list(record.headers) or None,
                )
                break
            except BufferError:
                self._producer.poll(0.1)
        if number >= SPECIAL:
            self.specials += 1
        else:
            self.documents += 1

    def _stored(self, error: KafkaError | None, _message: Any) -> None:
        if error is not None:
            self._failures.append(str(error))


@dataclass(frozen=True, slots=True)
class Sample:
    """How a worker was at a time."""

    at: float
    worker: str
    memory: float
    descriptors: int
    lag: int


class Watch:
    """Looks at commits, lag, memory and descriptors, twice a second, from a thread of its own."""

    def __init__(self, group: Group, topics: Sequence[str]) -> None:
        """Watch a group's topics; the first is the input."""
        self.committed = 0
        self.lag: int | None = None
        self.workers: list[Worker] = []
        self.samples: list[Sample] = []
        self.most_memory = 0.0
        self.most_descriptors = 0
        self._group = group
        self._topics = tuple(topics)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.5):
            with suppress(KafkaException):
                self._look()
            for worker in list(self.workers):
                self._measure(worker)

    def _look(self) -> None:
        committed = self._group.committed(self._topics, timeout=3)
        ends = self._group.ends(committed, timeout=3)
        self.lag = sum(end - committed[part] for part, end in ends.items())
        self.committed = sum(offset for (topic, _), offset in committed.items() if topic == self._topics[0])

    def _measure(self, worker: Worker) -> None:
        try:
            folder = Path(f"/proc/{worker.pid}")
            memory = int((folder / "statm").read_text().split()[1]) * _PAGE_MIB
            descriptors = sum(1 for _ in (folder / "fd").iterdir())
        except (OSError, IndexError, AssertionError):  # it has just ended, or was never started
            return
        self.most_memory = max(self.most_memory, memory)
        self.most_descriptors = max(self.most_descriptors, descriptors)
        self.samples.append(Sample(time.time(), worker.name, memory, descriptors, self.lag or 0))
