"""A scenario's stage: brokers, topics, workers, load and watch; and what it takes down for the record."""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from confluent_kafka import KafkaException

from fewnerd_stream.kafka import topics
from fewnerd_stream.settings import Settings, load_settings
from tests.faults import load, tagger
from tests.faults.clusters import AS_WORKER
from tests.faults.expected import Expected
from tests.faults.loader import Loader, Watch
from tests.faults.outside import Group, KafkaTopics, Tail, alter, delete_topics, patient
from tests.faults.verdict import Names
from tests.faults.verifier import Verifier
from tests.support.processes import until
from tests.support.workers import QUICK, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.faults.clusters import Clusters
    from tests.faults.outside import Commit
    from tests.faults.reference import Reference
    from tests.faults.verdict import Verdict
    from tests.support.clients import Message, New

QUIET_SECONDS: Final = 60.0
"""Within which lag must be 0 after the last fault."""

STORM_SECONDS: Final = 60.0
"""Within which something must be committed, whatever happens to the workers."""

MEMORY_MIB: Final = 600
DESCRIPTORS: Final = 500

# The form in which everything is seen once, in minutes.
_SHORT: Final = {**QUICK, "session_timeout": "4", "heartbeat_interval": "0.5", "retry_delays": "1,2,3"}


def shipped() -> dict[str, str]:
    """Give, of the settings that tests make quicker, the values that the product ships with."""
    described = {name: field.default for name, field in Settings.model_fields.items()}
    out = {}
    for name in QUICK:
        value = described[name]
        out[name] = ",".join(f"{one:g}" for one in value) if isinstance(value, tuple) else f"{value:g}"
    return out


@dataclass(slots=True)
class Kill:
    """A worker's death, and where its partitions stood."""

    at: int
    worker: str
    committed: dict[tuple[str, int], int]
    counts: bool


class Stage:
    """What a scenario works with. It begins with topics and no worker, and ends with everything ended."""

    def __init__(
        self,
        clusters: Clusters,
        kind: str,
        name: str,
        reference: Reference,
        *,
        short: bool,
        documents: int,
        rate: float = 0,
        say: Callable[[str], object],
        progress: Callable[[int, int], object] = lambda _done, _of: None,
        **settings: object,
    ) -> None:
        """Set the stage.

        Args:
            clusters: of this run.
            kind: of cluster that the scenario needs.
            name: the scenario's, which its topics begin with.
            reference: what to expect, and the seed.
            short: whether times are scaled down.
            documents: least number of documents of the load in this scenario.
            rate: documents a second where the scenario leaves it open; 0: as many as the workers take.
            say: tells a person what happens.
            progress: is told how much of it is done.
            settings: that the scenario must have otherwise than shipped.
        """
        self.clusters, self.kind = clusters, kind
        self.cluster = clusters.get(kind)
        self.rate = rate
        self.short, self.documents, self.say, self.progress = short, documents, say, progress
        self.reference = reference
        self.seed = reference.seed
        self.chance = random.Random(f"{self.seed}/{name}")
        self.folder = clusters.folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        three = self.cluster.brokers == 3
        self.changed = {key: str(value) for key, value in settings.items()}
        self.own: dict[str, str] = {
            **(_SHORT if short else shipped()),
            "input_topics": f"{name}-raw",
            "output_prefix": f"{name}-entities",
            "group": f"{name}-group",
            "replication": "3" if three else "1",
            "min_insync_replicas": "2" if three else "1",
            **({"model": reference.model} if reference.model else {}),
            **self.changed,
        }
        mine: dict[str, Any] = {key: value for key, value in self.own.items() if key not in AS_WORKER}
        self.settings = load_settings(bootstrap_servers=self.cluster.direct, **mine)
        self.at_work = self.settings.window_size * self.settings.windows_in_flight
        """Most documents that a worker has at work: what a kill may bring out again."""
        (own,) = self.settings.topology.inputs
        self.names = Names(
            own.input,
            self.settings.output_prefix,
            own.retries,
            own.dead,
            self.settings.group,
        )
        self.create_topics()
        self.group = Group(self.cluster.direct, self.names.group)
        self._tail = Tail(self.cluster.direct, self.names.group)
        self._watched = Group(self.cluster.direct, self.names.group)
        self.watch = Watch(self._watched, self.names.consumed)
        self.watch.start()
        self.expected = Expected(reference, 0)
        self.loader = self._loader(load.records(self.seed))
        self.orders = self.folder / "orders.json"
        self.workers: list[Worker] = []
        self._counter = itertools.count(1)
        # What the record says of it.
        self.kills: list[Kill] = []
        self.broker_restarts = 0
        self.most_duplicates: int | None = None
        self.figures: dict[str, Any] = {}
        self.faults: list[str] = []
        self.last_fault = time.time()
        self.storm = False
        self.began = time.time()
        self.archive: dict[str, list[Message]] = {}
        self.objections: list[tuple[str, str]] = []

    # -- topics and load -------------------------------------------------------------------------------

    def create_topics(self) -> None:
        """Create the topics that are missing; all that the product writes bear the broker's own time."""
        made = asyncio.run(topics.create_topics(self.settings))
        for topic, new in made.items():
            if new and topic not in self.settings.input_topics:
                alter(self.cluster.direct, topic, {"message.timestamp.type": "LogAppendTime"})

    def mix(self, records: Iterator[tuple[int, New]]) -> None:
        """Send other records than the plain load; before it starts."""
        self.loader = self._loader(records)

    def load(self, *, backlog: int = 1000, rate: float = 0, limit: int | None = None) -> None:
        """Begin to send, or go on, at this rate or the run's; 0 is as fast as the workers take it."""
        rate = rate or self.rate
        self.loader.start(backlog=backlog, rate=rate, limit=limit)

    def _loader(self, records: Iterator[tuple[int, New]]) -> Loader:
        return Loader(self.cluster.direct, self.names.input, records, self.watch)

    def pick(self, long: float, short: float) -> float:
        """Choose by form."""
        return short if self.short else long

    # -- workers ---------------------------------------------------------------------------------------

    def worker(self, *, faulty: bool = False, own: Mapping[str, object] | None = None) -> Worker:
        """Make a worker, not started: the real command, or the one whose tagger takes orders."""
        changed: dict[str, Any] = self.own | {key: str(value) for key, value in (own or {}).items()}
        worker = Worker(
            self.cluster.bootstrap,
            self.folder,
            tagger=tagger.ENTRY if faulty else None,
            environment={tagger.ORDERS: str(self.orders)},
            name=f"worker-{next(self._counter)}",
            **changed,
        )
        self.workers.append(worker)
        self.watch.workers.append(worker)
        return worker

    def start(self, count: int, *, faulty: bool = False, **settings: object) -> list[Worker]:
        """Start workers, and wait until each has its share."""
        made = [self.worker(faulty=faulty, own=settings) for _ in range(count)]
        for worker in made:
            worker.start(wait=False)
        for worker in made:
            worker.wait_state("assigned", seconds=120)
        return made

    def order(self, **orders: float) -> None:
        """Tell the workers' taggers how to fail."""
        tagger.order(self.orders, **orders)

    # -- harm ------------------------------------------------------------------------------------------

    def fault(self, what: str) -> None:
        """Take down that harm was done, or undone, now."""
        self.last_fault = time.time()
        if what:
            self.faults.append(what)
            self.say(what)

    def kill(self, worker: Worker) -> Kill:
        """Kill a worker; it counts if it held an unfinished window, as its last commits tell."""
        parts = {_place(each) for each in worker.health().get("assigned", [])}
        at = int(time.time() * 1000)
        worker.kill()
        found = self.ask(self._tail.update)
        mine = {part: commit for part, commit in found.items() if part in parts}
        kill = Kill(
            at,
            worker.name,
            {part: commit.offset or 0 for part, commit in mine.items() if part[0] == self.names.input},
            # A start is stored just before a window at an unmoved head is tried.
            any(commit.metadata.startswith("fewnerd:1;starts=") for commit in mine.values()),
        )
        self.kills.append(kill)
        self.last_fault = time.time()
        return kill

    def wait_moved(self, kill: Kill, seconds: float = 90) -> None:
        """Wait until each partition of a dead worker has moved on."""

        def moved() -> bool:
            now = patient(lambda: self.group.committed([self.names.input]), {})
            return all(now.get(part, 0) > offset for part, offset in kill.committed.items())

        until(f"the partitions of {kill.worker} move again", moved, seconds, every=0.2)

    def wait_stable(self) -> None:
        """Wait until every partition has an owner, and the workers have written down which are theirs."""
        self.until("every partition has an owner", lambda: not self._unowned())
        time.sleep(1.2)  # they write once a second

    def _unowned(self) -> list[tuple[str, int]]:
        parts = self.ask(lambda: self.group.partitions(self.names.consumed))
        owners = self.ask(self.group.owners)
        return sorted({(part.topic, part.partition) for part in parts} - set(owners))

    def stop_worker(self, worker: Worker) -> float:
        """End a worker with SIGTERM; return the seconds that it took."""
        return self.stop_workers([worker])

    def stop_workers(self, workers: Sequence[Worker]) -> float:
        """End workers with SIGTERM, all at once; return the seconds that the last one took."""
        limit = float(self.own["drain"])
        ready = {worker.name for worker in workers if worker.health().get("state") not in {None, "starting"}}
        began = time.monotonic()
        for worker in workers:
            worker.process.signal(signal.SIGTERM)
        took = 0.0
        for worker in workers:
            status = worker.wait(limit + 60)
            took = time.monotonic() - began
            # One that has not joined yet has nothing to finish, and may end however it likes.
            if status != 0 and worker.name in ready:
                self.objections.append(("I8", f"{worker.name} ended with status {status} after SIGTERM"))
            if took > limit + 5:
                self.objections.append(("I8", f"{worker.name} took {took:.1f} s to end, drain {limit:g} s"))
        self.last_fault = time.time()
        return took

    def ask(self, question: Callable[[], Any], seconds: float = 60) -> Any:
        """Ask the brokers until they answer."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                return question()
            except KafkaException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.3)

    # -- waiting ---------------------------------------------------------------------------------------

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        time.sleep(seconds)

    def flow(self, documents: int, seconds: float = 600) -> None:
        """Wait until so many more inputs are committed."""
        goal = self.watch.committed + documents
        self.until(f"{documents} more documents are committed", lambda: self.watch.committed >= goal, seconds)

    def until(self, what: str, check: Callable[[], object], seconds: float = 120) -> None:
        """Wait for something; when it does not come, the workers' last words go with the error."""
        try:
            until(what, check, seconds, every=0.25)
        except AssertionError as error:
            for worker in self.workers:
                if worker._process is not None and worker.process.status is None:
                    error.add_note(f"{worker.name}: {worker.health()}\n{worker.process.tail(15)}")
            raise

    def said(self, words: str) -> bool:
        """Whether some worker has said this."""
        return any(
            words in worker.log.read_text(errors="replace") for worker in self.workers if worker.log.exists()
        )

    def committed(self) -> int:
        """Count the committed inputs, as the brokers say now."""
        found = self.ask(lambda: self.group.committed([self.names.input]))
        return sum(found.values())

    def read(self, topic: str) -> list[Message]:
        """Read a topic as it is now."""
        return list(KafkaTopics(self.cluster.direct).read(topic))

    def settle(self, seconds: float = QUIET_SECONDS, extra: float = 0) -> None:
        """End the load, wait until all is committed, look at the group, and end the workers in good order.

        Args:
            seconds: within which lag must be 0 after the last fault.
            extra: seconds more, for retries that are due later.
        """
        self.loader.stop()
        self.expected.documents = self.loader.documents
        self.say(f"{self.loader.sent:,} sent; waiting for the rest")
        since = time.time()
        limit = seconds + extra
        self.until("lag is 0", self._quiet, limit + 240)
        took = time.time() - since
        self.figures["seconds_to_lag_0"] = round(took, 1)
        if took > limit:
            self.objections.append(("I7", f"lag was 0 only {took:.0f} s after the last fault"))
        try:
            until("every partition has an owner", lambda: not self._unowned(), seconds)
        except AssertionError:
            self.objections.append(("I7", f"nobody owns {self._unowned()}"))
        self.stop_workers(
            [one for one in self.workers if one._process is not None and one.process.status is None]
        )
        self.figures["seconds"] = round(time.time() - self.began, 1)

    def cut_short(self) -> None:
        """End a scenario that went wrong, so that what there is can be judged."""
        with suppress(AssertionError):
            self.loader.stop()
        self.expected.documents = self.loader.documents
        for worker in self.workers:
            if worker._process is not None:
                worker.kill()

    def _quiet(self) -> bool:
        lag: int | None = patient(lambda: self.group.lag(self.names.consumed))
        return lag == 0

    # -- the end ---------------------------------------------------------------------------------------

    def verify(self) -> Verdict:
        """Hold all against the reference, and the watch against its bounds."""
        self.watch.stop()
        source = Archived(KafkaTopics(self.cluster.direct), self.archive)
        attempts = len(self.settings.retry_delays)
        verifier = Verifier(source, self.names, self.expected, seed=self.seed, attempts=attempts)
        verdict = verifier.run()
        for invariant, what in self.objections:
            verdict.object(invariant, what)
        lines = [
            f"{one.timestamp} {one.partition}/{one.offset} attempt {one.attempt} on {one.place}\n"
            for one in sorted(verdict.duplicates, key=lambda one: one.timestamp)
        ]
        (self.folder / "duplicates.txt").write_text("".join(lines))
        if self.watch.most_memory > MEMORY_MIB:
            verdict.object("I8", f"a worker took {self.watch.most_memory:.0f} MiB")
        if self.watch.most_descriptors > DESCRIPTORS:
            verdict.object("I8", f"a worker had {self.watch.most_descriptors} descriptors open")
        if self.storm and (gap := longest_gap(verdict.history, self.names.input)) > STORM_SECONDS:
            verdict.object("I7", f"nothing was committed for {gap:.0f} s")
        documents = len({(one.partition, one.offset) for one in verdict.duplicates})
        if self.most_duplicates is not None and documents > self.most_duplicates:
            verdict.object(
                "I6", f"{documents} documents came out again, {self.most_duplicates} at most should"
            )
        return verdict

    def close(self) -> None:
        """End everything of this scenario, and take its topics away."""
        self.loader._over.set()
        self.loader._flowing.set()
        for worker in self.workers:
            if worker._process is not None:
                worker.kill()
        self.watch.stop()
        for client in (self.group, self._watched, self._tail):
            client.close()
        everything = [name for name, _ in self.settings.topology.roles()]
        with suppress(KafkaException):
            delete_topics(self.cluster.direct, everything)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()


def longest_gap(history: Mapping[tuple[str, int], Sequence[Commit]], topic: str) -> float:
    """Give the longest time in seconds in which nothing was committed, of all partitions of a topic together."""
    times = sorted(one.timestamp for (name, _), all_ in history.items() if name == topic for one in all_)
    return max((later - earlier for earlier, later in itertools.pairwise(times)), default=0) / 1000


class Archived:
    """Topics, with what was on some of them before they were deleted."""

    def __init__(self, topics: KafkaTopics, archive: dict[str, list[Message]]) -> None:
        """Put the archive before what there is now."""
        self._topics, self._archive = topics, archive
        self.commits = topics.commits

    def read(self, topic: str) -> Iterator[Message]:
        """Give a topic's records, of all its lives."""
        yield from self._archive.get(topic, ())
        yield from self._topics.read(topic)


def _place(written: str) -> tuple[str, int]:
    topic, _, partition = written.rpartition("/")
    return topic, int(partition)
