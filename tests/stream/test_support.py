"""The tests' own tools: Apache Kafka that can be ended and frozen, and an eye on it from outside."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from fewnerd_stream.kafka.embedded import answers
from tests.support import clients
from tests.support.kafka import KafkaUnavailable, jars, java
from tests.support.processes import Process, until

if TYPE_CHECKING:
    from pathlib import Path

    from fewnerd_stream.kafka.embedded import EmbeddedBroker
    from tests.support.kafka import KafkaCluster


def test_what_is_written_is_read_back(broker: EmbeddedBroker) -> None:
    """The observer reads what the producer wrote, headers in their order and repeated ones too."""
    clients.create_topics(broker.bootstrap, {"a": 2})
    headers = (("x", b"1"), ("x", b"2"), ("y", None))
    places = clients.produce(broker.bootstrap, "a", [clients.New(b"v", b"k", headers, partition=1), b"w"])
    found = {message.place: message for message in clients.Observer(broker.bootstrap).read(["a", "missing"])}
    assert set(found) == set(places)
    assert found["a", 1, 0].headers == headers
    assert (found["a", 1, 0].key, found["a", 1, 0].value) == (b"k", b"v")


def test_an_aborted_transaction_is_not_seen(kafka: KafkaCluster, unique: str) -> None:
    """Apache Kafka is there for what the embedded broker cannot do: transactions."""
    clients.create_topics(kafka.bootstrap, {unique: 1})
    clients.produce(kafka.bootstrap, unique, [b"no"], transactional=f"{unique}-a", abort=True)
    clients.produce(kafka.bootstrap, unique, [b"yes"], transactional=f"{unique}-a")
    seen = clients.Observer(kafka.bootstrap).read([unique])
    assert [message.value for message in seen] == [b"yes"]


def test_a_missing_topic_stays_missing(kafka: KafkaCluster, unique: str) -> None:
    """No topic makes itself on Apache Kafka as the tests run it."""
    from confluent_kafka import KafkaException

    with pytest.raises((KafkaException, AssertionError)):
        clients.produce(kafka.bootstrap, unique, [b"x"], message_timeout_ms="3000")
    assert clients.Observer(kafka.bootstrap).partitions([unique]) == []


def test_three_brokers_lose_one_and_go_on(kafka3: KafkaCluster) -> None:
    """A killed broker comes back with its data, a frozen one does not answer, and the others take over."""
    clients.create_topics(kafka3.bootstrap, {"a": 3}, replication=3, config={"min.insync.replicas": "2"})
    clients.produce(kafka3.bootstrap, "a", [b"1"] * 30, acks="all")
    kafka3.kill(0)
    clients.produce(kafka3.bootstrap, "a", [b"2"] * 30, acks="all")
    kafka3.start(0)
    kafka3.pause(1)
    assert not answers("127.0.0.1", kafka3.ports[1].client)
    clients.produce(kafka3.bootstrap, "a", [b"3"] * 30, acks="all")
    kafka3.resume(1)
    until("the frozen broker answers again", lambda: answers("127.0.0.1", kafka3.ports[1].client))
    observer = clients.Observer(kafka3.bootstrap)
    # A leader that was frozen learns of its followers' progress, and so of the end that may be read, only now.
    until("all is read", lambda: len(observer.read(["a"])) == 90, 60)


def test_a_child_ends_with_its_group(tmp_path: Path) -> None:
    """Killing a process ends what it has started, too."""
    program = (
        "import subprocess as s, sys, time; sleep = 'import time; time.sleep(60)'; "
        "child = s.Popen([sys.executable, '-c', sleep]); print(child.pid, flush=True); time.sleep(60)"
    )
    with Process([sys.executable, "-c", program], tmp_path / "log") as process:
        until("the child is there", lambda: process.log.read_text().strip())
        child = int(process.log.read_text())
    # Nobody of ours reaps the grandchild: dead is gone, or a zombie.
    until("the child is dead", lambda: _dead(child), 10)


def _dead(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout.strip().startswith("Z") or not done.stdout.strip()


def test_brokers_end_with_whoever_started_them(kafka_ready: None, tmp_path: Path) -> None:
    """`make kafka` says where it listens, and a killed one leaves no broker behind."""
    assert kafka_ready is None
    with Process([sys.executable, "-u", "-m", "tests.support.kafka"], tmp_path / "log") as process:
        until("it listens", lambda: "export" in process.log.read_text(), 90)
        host, port = process.log.read_text().split("FEWNERD_BOOTSTRAP_SERVERS=")[1].split()[0].split(":")
        assert answers(host, int(port))
        process.signal(signal.SIGKILL)  # itself alone: its children are in groups of their own
        process.wait(10)
    until("the broker is gone", lambda: not answers(host, int(port)), 20)
    shutil.rmtree(_folder_of(process), ignore_errors=True)


def _folder_of(process: Process) -> str:
    match = re.search(r"logs in (\S+);", process.log.read_text())
    assert match is not None
    return match[1]


def test_what_is_missing_for_kafka_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without Java, with one that is too old, or without Maven the reason is told: tests skip with it."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(KafkaUnavailable, match="no Java"):
        java()
    with pytest.raises(KafkaUnavailable, match="no Maven"):
        jars()
    old = tmp_path / "java"
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    old.chmod(0o755)
    with pytest.raises(KafkaUnavailable, match=r'too old.*version "11'):
        java()
