"""A flow: one input topic with all that belongs to it on a broker, its workers, and the account of both."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from fewnerd_stream.kafka import topics
from fewnerd_stream.settings import Settings, load_settings
from tests.support import clients
from tests.support.processes import until
from tests.support.workers import QUICK, UNCHECKED, WORDS, Worker

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from tests.support.clients import Account, Message, New, Place
    from tests.support.tally import Tally

DONE_SECONDS = 150.0


class Flow:
    """A flow from its topics' creation to its workers' end; its account goes into the run's tally."""

    def __init__(
        self,
        bootstrap: str,
        name: str,
        folder: Path,
        tally: Tally,
        *,
        inputs: Sequence[str] = ("in",),
        partitions: int = 2,
        **settings: object,
    ) -> None:
        """Name its topics and create them.

        Args:
            bootstrap: the brokers.
            name: what its topics and its group begin with; no other flow's may on these brokers.
            folder: for its workers' logs and health files.
            tally: sums up what all flows saw.
            inputs: its input topics, without the name that they begin with.
            partitions: of every topic.
            settings: for its workers, as text or numbers; they win over ``QUICK``.
        """
        self.bootstrap = bootstrap
        self.folder = folder
        self._own = QUICK | {
            "input_topics": ",".join(f"{name}-{topic}" for topic in inputs),
            "output_prefix": f"{name}-out",
            "group": f"{name}-group",
            "partitions": str(partitions),
            **{key: str(value) for key, value in settings.items()},
        }
        self.settings: Settings = load_settings(bootstrap_servers=bootstrap, **self._own)
        self.topology = self.settings.topology
        self.group = self.settings.group
        self.inputs = self.settings.input_topics
        self.input = self.inputs[0]
        self.outputs = tuple(self.topology.outputs.values())
        self.retries = tuple(name for one in self.topology.inputs for name in one.retries)
        self.observer = clients.Observer(bootstrap)
        self.workers: list[Worker] = []
        self._tally = tally
        asyncio.run(topics.create_topics(self.settings))

    def worker(
        self, *, tagger: str | None = WORDS, start: bool = True, checked: bool = True, **settings: object
    ) -> Worker:
        """Make a worker of this flow, by default started, with partitions assigned, and its topics checked."""
        own: dict[str, Any] = self._own | {key: str(value) for key, value in settings.items()}
        environment = None if checked else {UNCHECKED: "1"}
        worker = Worker(self.bootstrap, self.folder, tagger=tagger, environment=environment, **own)
        self.workers.append(worker)
        if start:
            self.start(worker)
        return worker

    @staticmethod
    def start(worker: Worker) -> None:
        """Start a worker, again or for the first time, and wait for its partitions."""
        worker.start(wait=False)
        worker.wait_state("assigned", seconds=90)

    def send(
        self, records: Iterable[New | bytes | None], topic: str | None = None, **options: Any
    ) -> list[Place]:
        """Write records to an input topic, by default the first."""
        return clients.produce(self.bootstrap, topic or self.input, records, **options)

    def kill(self, worker: Worker) -> None:
        """End a worker with SIGKILL, and count it."""
        worker.kill()
        self._tally.kills += 1

    def count_kills(self, kills: int) -> None:
        """Count kills that documents brought about."""
        self._tally.kills += kills

    def stop(self, worker: Worker, seconds: float = 60) -> None:
        """End a worker with SIGTERM, count it, and see that it ends well."""
        status = worker.terminate(seconds)
        self._tally.stops += 1
        assert status == 0, f"status {status} after SIGTERM:\n{worker.process.tail()}"

    def close(self) -> None:
        """Kill what still runs."""
        for worker in self.workers:
            if worker.started:
                worker.kill()

    def __enter__(self) -> Self:
        """Do nothing: all is there."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    # -- looking at it from outside --------------------------------------------------------------------

    def committed(self, topic: str | None = None) -> int:
        """Sum up the committed offsets of an input topic, by default the first."""
        found = self.observer.committed(self.group, [topic or self.input])
        return sum(max(0, offset) for offset in found.values())

    def count(self, *topic: str) -> int:
        """Count the records on topics."""
        return len(self.observer.read(topic))

    def category(self, name: str) -> list[Message]:
        """Read an output topic."""
        return self.observer.read([self.topology.outputs[name]])

    def dead(self, topic: str | None = None) -> list[Message]:
        """Read an input topic's dead letters."""
        return self.observer.read([self.topology.input(topic or self.input).dead])

    def dead_by_id(self) -> dict[bytes | None, Message]:
        """Read the first input topic's dead letters by key."""
        return {message.key: message for message in self.dead()}

    def lag(self) -> int:
        """Count what is not committed, waiting retries included."""
        return self.observer.lag(self.group, [*self.inputs, *self.retries])

    def wait_done(self, seconds: float = DONE_SECONDS) -> None:
        """Wait until everything is committed, retries included."""
        self._wait("all is committed", lambda: self.lag() == 0, seconds)

    def wait_committed(self, offsets: int, seconds: float = DONE_SECONDS) -> None:
        """Wait until so many offsets of the first input topic are committed."""
        self._wait(f"{offsets} offsets are committed", lambda: self.committed() >= offsets, seconds)

    def wait_count(self, records: int, *topic: str, seconds: float = DONE_SECONDS) -> None:
        """Wait until topics hold so many records together."""
        self._wait(f"{records} records on {topic}", lambda: self.count(*topic) >= records, seconds)

    def wait_said(self, worker: Worker, words: str, seconds: float = DONE_SECONDS) -> None:
        """Wait until a worker has logged some words."""
        self._wait(f"{worker.name} says {words!r}", lambda: words in worker.said(), seconds)

    def _wait(self, what: str, check: Any, seconds: float) -> None:
        try:
            until(what, check, seconds, every=0.25)
        except AssertionError as error:
            offsets = self.observer.committed(self.group, [*self.inputs, *self.retries])
            error.add_note(f"committed: {offsets}")
            for worker in self.workers:
                if worker.started:
                    error.add_note(f"{worker.name}: {worker.health()}\n{worker.process.tail()}")
            raise

    def account(self) -> Account:
        """Hold what came of each input against the inputs; nothing may be lost, or both dead and enriched."""
        found = clients.account(self.observer, self.topology)
        self._tally.add(found)
        assert not found.lost, f"lost {len(found.lost)}: {found.lost[:10]}"
        assert not found.torn, f"torn: {found.torn[:10]}"
        return found
