"""Workers that are killed, stopped, joined and frozen on Apache Kafka: nothing is lost, and little is done twice."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from tests.support.clients import New
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.flows import Flow

IN_FLIGHT = 8 * 3
SMALL = {"window_size": 8, "windows_in_flight": 3, "partitions": 3}


def raw(text: str, name: str = "d", **fields: object) -> bytes:
    """Write a raw document."""
    return json.dumps({"id": name, "text": text, **fields}).encode()


def load(count: int, text: str = "Angela Merkel in Paris {n} !slow=0.08") -> list[New]:
    """Write documents over all partitions, each enriched twice and slowly."""
    return [New(raw(text.replace("{n}", str(n)), f"d{n}"), f"k{n}".encode()) for n in range(count)]


def test_kill_9_in_a_window_loses_nothing(flow: Callable[..., Flow]) -> None:
    """After each of three kills under load all is done; twice at most what was in flight when it was killed."""
    stream = flow(**SMALL)
    stream.send(load(400))
    worker = stream.worker()
    for done in (60, 130, 200):
        stream.wait_committed(done)
        stream.kill(worker)
        stream.start(worker)
    stream.wait_done()
    account = stream.account()
    assert account.duplicates <= 3 * 2 * IN_FLIGHT
    stream.stop(worker)


def test_sigterm_in_a_window_does_nothing_twice(flow: Callable[..., Flow]) -> None:
    """Three SIGTERMs under load: each ends with 0, and all is done exactly once."""
    stream = flow(**SMALL)
    stream.send(load(400))
    worker = stream.worker()
    for done in (60, 130, 200):
        stream.wait_committed(done)
        stream.stop(worker)
        stream.start(worker)
    stream.wait_done()
    assert stream.account().duplicates == 0
    stream.stop(worker)


def test_workers_that_join_and_leave_do_nothing_twice(flow: Callable[..., Flow]) -> None:
    """A second and a third worker join under load and one leaves: all have a share, and all is done exactly once."""
    stream = flow(**SMALL)
    stream.send(load(600))
    first = stream.worker()
    stream.wait_committed(50)
    second = stream.worker()
    stream.wait_committed(150)
    third = stream.worker()
    until("each has a share", lambda: all(len(w.health()["assigned"]) == 4 for w in stream.workers), 90)
    stream.send(load(300, "Hamlet {n}"))
    until("each does its share", lambda: all(w.health()["in"] > 0 for w in stream.workers), 90)
    stream.stop(second)
    stream.wait_done()
    assert stream.account().duplicates == 0
    for worker in (first, third):
        stream.stop(worker)


def test_kills_of_one_of_three_workers_lose_nothing(flow: Callable[..., Flow]) -> None:
    """The others take over from a killed worker once its session is over, and it joins again."""
    stream = flow(**SMALL)
    stream.send(load(600))
    workers = [stream.worker(start=False) for _ in range(3)]
    for worker in workers:
        worker.start(wait=False)
    for victim, done in zip(workers, (50, 150, 250), strict=True):
        stream.wait_committed(done)
        stream.kill(victim)
        stream.start(victim)
    stream.wait_done()
    assert stream.account().duplicates <= 3 * 2 * IN_FLIGHT
    for worker in workers:
        stream.stop(worker)


def test_a_hundred_waiting_retries_survive_a_rolling_restart(flow: Callable[..., Flow]) -> None:
    """Retries that wait while all workers are replaced come when they are due, once, and hold up no fresh document."""
    stream = flow(**SMALL, retry_delays="25")
    stream.send(New(raw(f"Siemens {n} !fail", f"r{n}"), f"r{n}".encode()) for n in range(100))
    old = [stream.worker(start=False) for _ in range(2)]
    for worker in old:
        worker.start(wait=False)
    stream.wait_committed(100)
    began = time.time()
    assert stream.count(*stream.retries) == 100
    for worker in old:
        new = stream.worker()
        stream.stop(worker)
        fresh = stream.committed()
        stream.send(load(50, "Hamlet {n}"))
        stream.wait_committed(fresh + 50)
        assert new.process.status is None
    waiting = stream.count(stream.topology.input(stream.input).dead) == 0
    stream.wait_done()
    account = stream.account()
    assert account.duplicates == 0
    assert account.retried.total() == 100
    dead = stream.dead()
    assert len(dead) == 100
    due = {m.key: int(m.header("__fewnerd.not-before") or 0) for m in stream.observer.read(stream.retries)}
    assert all(letter.timestamp >= due[letter.key] for letter in dead), "some came before they were due"
    assert waiting or time.time() - began > 25
    for worker in stream.workers[2:]:
        stream.stop(worker)


def test_a_frozen_worker_publishes_and_commits_nothing_of_what_is_not_its_any_more(
    flow: Callable[..., Flow],
) -> None:
    """A worker frozen for longer than its session finds its partitions gone: it drops its windows and joins again."""
    stream = flow(**SMALL)
    stream.send(load(400))
    frozen = stream.worker()
    stream.wait_committed(50)
    frozen.pause()
    other = stream.worker()
    stream.wait_committed(stream.committed() + 60)
    before = stream.committed()
    frozen.resume()
    until("it has partitions again", lambda: _assigned_since(frozen, other), 90)
    assert stream.committed() >= before
    stream.wait_done()
    # What it had handed to its socket before it was frozen may be stored, and that is all.
    assert stream.account().duplicates <= 2 * IN_FLIGHT
    for worker in stream.workers:
        stream.stop(worker)


def _assigned_since(first: object, second: object) -> bool:
    return all(bool(worker.health().get("assigned")) for worker in (first, second))  # type: ignore[attr-defined]
