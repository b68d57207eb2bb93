"""Brokers that refuse, go and come back: workers wait, say so, drop nothing, and go on by themselves."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from fewnerd_stream.delivery.crashes import CONDEMNED
from fewnerd_stream.exits import Exit
from tests.support import clients
from tests.support.clients import New
from tests.support.flows import Flow
from tests.support.kafka import KafkaCluster
from tests.support.processes import until
from tests.support.tally import tally_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SMALL: Final[dict[str, Any]] = {"window_size": 8, "partitions": 2}


def raw(text: str, name: str = "d") -> bytes:
    """Write a raw document."""
    return json.dumps({"id": name, "text": text}).encode()


def load(count: int, text: str = "Angela Merkel in Paris {n} !slow=0.05", partitions: int = 2) -> list[New]:
    """Write documents without keys over the partitions."""
    return [New(raw(text.replace("{n}", str(n)), f"d{n}"), partition=n % partitions) for n in range(count)]


@pytest.fixture
def own_kafka(kafka_ready: None) -> Iterator[KafkaCluster]:  # noqa: ARG001 - asked for its skip
    """Run a broker for one test, to be ended and started again."""
    with KafkaCluster() as cluster:
        yield cluster


def refuse(stream: Flow, topic: str) -> None:
    """Let the broker take nothing for a topic: a compacted one takes no record without a key."""
    clients.alter_topic(stream.bootstrap, topic, {"cleanup.policy": "compact"})


def accept(stream: Flow, topic: str) -> None:
    """Let it take all again."""
    clients.alter_topic(stream.bootstrap, topic, {"cleanup.policy": "delete"})


def test_an_output_topic_that_refuses_for_20_seconds_holds_all_and_loses_nothing(
    flow: Callable[..., Flow],
) -> None:
    """While one category is refused nothing of its documents is committed; then all goes on, nothing stored twice."""
    stream = flow(**SMALL)
    person = f"{stream.settings.output_prefix}.person"
    stream.send(load(300, "Angela Merkel in Paris {n} !slow=0.1"))
    worker = stream.worker()
    stream.wait_committed(40)
    refuse(stream, person)
    worker.wait_state("waiting")
    began, before = time.monotonic(), stream.committed()
    until("20 seconds have passed", lambda: time.monotonic() - began > 20, 30)
    assert "records not" in worker.health()["reason"]
    assert stream.committed() - before <= 8  # a window may have been stored just before
    assert stream.committed() <= stream.count(person)
    accept(stream, person)
    stream.wait_done()
    assert stream.account().duplicates == 0
    worker.wait_state("running")
    stream.stop(worker)


def test_sigterm_while_an_output_topic_refuses_ends_well_and_commits_nothing(
    flow: Callable[..., Flow],
) -> None:
    """A worker that cannot publish ends with 0 within its drain and 5 s, and a later one does what was left."""
    stream = flow(**SMALL, drain=3)
    refuse(stream, f"{stream.settings.output_prefix}.person")
    stream.send(load(50))
    worker = stream.worker(checked=False)
    worker.wait_state("waiting")
    stream.stop(worker, seconds=8)
    assert stream.committed() == 0
    accept(stream, f"{stream.settings.output_prefix}.person")
    stream.start(worker)
    stream.wait_done()
    # What one category took while the other refused was stored, and not committed.
    assert stream.account().duplicates <= 8
    stream.stop(worker)


def test_a_refusing_broker_condemns_no_document_however_often_workers_start(
    flow: Callable[..., Flow],
) -> None:
    """Workers whose patience ends on a refusing broker exit with the watchdog's code, and no document dies of it."""
    stream = flow(
        partitions=1, patience=4, session_timeout=2, request_timeout=3, inference_timeout=3, window_size=4
    )
    person = f"{stream.settings.output_prefix}.person"
    refuse(stream, person)
    stream.send(load(20, "Angela Merkel {n}", partitions=1))
    worker = stream.worker(start=False, checked=False, instance_id="worker-1")
    for _ in range(CONDEMNED + 1):
        worker.start(wait=False)
        assert worker.wait(60) == Exit.WATCHDOG
    assert stream.committed() == 0
    accept(stream, person)
    stream.start(worker)
    stream.wait_done()
    stream.account()
    assert stream.dead() == []
    stream.stop(worker)


def test_an_output_topic_that_is_made_anew_is_written_to_again(flow: Callable[..., Flow]) -> None:
    """A deleted output topic holds what belongs to it until the topic is there again."""
    stream = flow(**SMALL)
    person = f"{stream.settings.output_prefix}.person"
    stream.send(load(20, "Paris {n}"))
    worker = stream.worker()
    stream.wait_done()
    clients.delete_topic(stream.bootstrap, person)
    until("it is gone", lambda: not stream.observer.partitions([person]), 30)
    stream.send(load(20, "Angela Merkel in Paris {n}"))
    worker.wait_state("waiting")
    assert stream.committed() <= 20
    clients.create_topics(stream.bootstrap, {person: 2})
    stream.wait_done()
    account = stream.account()
    assert stream.count(person) - 20 == sum(
        max(0, topics[person] - 1) for topics in account.outcomes.values()
    )
    stream.stop(worker)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_broker_that_restarts_is_waited_for(
    own_kafka: KafkaCluster, unique: str, tmp_path: Path, pytestconfig: pytest.Config, end: str
) -> None:
    """Workers live through the restart of their only broker, and go on by themselves."""
    with Flow(own_kafka.bootstrap, unique, tmp_path, tally_of(pytestconfig), **SMALL) as stream:
        stream.send(load(300))
        workers = [stream.worker(start=False) for _ in range(2)]
        for worker in workers:
            worker.start(wait=False)
        stream.wait_committed(50)
        getattr(own_kafka, end)(0)
        for worker in workers:
            worker.wait_state("waiting")
        own_kafka.start(0)
        stream.wait_done()
        stream.account()
        for worker in workers:
            stream.stop(worker)


def test_sigterm_without_a_broker_ends_well(
    own_kafka: KafkaCluster, unique: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """With the broker gone a worker ends with 0 within its drain and 5 s all the same."""
    with Flow(own_kafka.bootstrap, unique, tmp_path, tally_of(pytestconfig), **SMALL, drain=5) as stream:
        stream.send(load(300))
        worker = stream.worker()
        stream.wait_committed(30)
        own_kafka.kill(0)
        worker.wait_state("waiting")
        stream.stop(worker, seconds=10)


def test_brokers_that_restart_one_by_one_lose_nothing(
    kafka3: KafkaCluster, unique: str, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """Three copies of everything: each broker is ended and started in turn under load, one of them by SIGKILL."""
    own: dict[str, Any] = {**SMALL, "replication": 3, "min_insync_replicas": 2}
    with Flow(kafka3.bootstrap, unique, tmp_path, tally_of(pytestconfig), **own) as stream:
        stream.send(load(600), acks="all")
        workers = [stream.worker(start=False) for _ in range(2)]
        for worker in workers:
            worker.start(wait=False)
        for number, done in enumerate((60, 120, 180)):
            stream.wait_committed(done)
            if number == 1:
                kafka3.kill(number)
            else:
                kafka3.stop(number)
            kafka3.start(number)
        stream.wait_done()
        stream.account()
        for worker in workers:
            stream.stop(worker)
