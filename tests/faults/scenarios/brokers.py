"""Harm to the brokers: killed, restarted, all gone at once, and one with a full disk."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from confluent_kafka import ElectionType, KafkaException
from confluent_kafka.admin import AdminClient

from tests.faults.catalogue import scenario

if TYPE_CHECKING:
    from tests.faults.stage import Stage
    from tests.support.kafka import KafkaCluster


@scenario(
    4,
    "broker-restarts",
    "brokers killed and restarted in turn, and leaders moved back",
    kind="three",
    documents=60_000,
    few=1_500,
)
def broker_restarts(stage: Stage) -> None:
    """Kill a broker, or stop it in good order; start it again; let its partitions' leaders move back."""
    stage.start(2)
    stage.load(backlog=1000)
    stage.flow(200)
    rounds = int(stage.pick(12, 2))
    for done in range(rounds):
        stage.progress(done, rounds)
        broker = done % 3 if stage.short else stage.chance.randrange(3)
        if done % 2:
            stage.cluster.stop(broker)
        else:
            stage.cluster.kill(broker)
        stage.fault(f"broker {broker + 1} {'stopped' if done % 2 else 'killed'}")
        stage.flow(200)
        stage.sleep(stage.chance.uniform(0, stage.pick(8, 1)))
        stage.cluster.start(broker)
        stage.broker_restarts += 1
        in_sync(stage)
        elect(stage.cluster)
        stage.fault("")
        stage.flow(200)
    while stage.loader.sent < stage.documents:
        stage.sleep(0.5)
    stage.settle()


@scenario(
    4,
    "brokers-down",
    "all brokers killed at once, and away for longer than a session",
    kind="three",
    documents=20_000,
    few=1_000,
)
def brokers_down(stage: Stage) -> None:
    """Kill all brokers at once; start them again after a minute."""
    stage.start(2)
    stage.load(backlog=1000)
    stage.flow(200)
    away = stage.pick(60, 8)
    for broker in range(3):
        stage.cluster.kill(broker)
    stage.fault(f"all brokers killed, and away for {away:g} s")
    stage.sleep(away)
    start_all(stage.cluster)
    stage.broker_restarts += 3
    stage.fault("all brokers are back")
    stage.flow(200)
    in_sync(stage)
    while stage.loader.sent < stage.documents:
        stage.sleep(0.5)
    stage.settle()


@scenario(4, "disk-full", "the disk of one broker of three is full", kind="disk", documents=20_000, few=1_000)
def disk_full(stage: Stage) -> None:
    """Fill a broker's disk until it gives up; make room, and start it again."""
    stage.start(2)
    stage.load(backlog=1000)
    stage.flow(200)
    disk = stage.clusters.disk
    assert disk is not None
    disk.fill(stage.cluster.pid(1))
    stage.fault(f"the disk of broker 2 is full ({disk.kind})")
    process = stage.cluster._running(1)
    stage.until("the broker with the full disk gives up", lambda: process.status is not None, 120)
    stage.flow(300)
    stage.cluster.kill(1)
    disk.free()
    stage.cluster.start(1)
    stage.broker_restarts += 1
    stage.fault("there is room again, and broker 2 is back")
    stage.flow(200)
    in_sync(stage)
    while stage.loader.sent < stage.documents:
        stage.sleep(0.5)
    stage.settle()


def start_all(cluster: KafkaCluster) -> None:
    """Start all brokers side by side: one alone finds no quorum, and answers nobody."""
    for broker in range(cluster.brokers):
        cluster._launch(broker)
    for broker in range(cluster.brokers):
        cluster._wait_ready(broker)
    cluster._wait_members()


def in_sync(stage: Stage, seconds: float = 120) -> None:
    """Wait until every replica of every partition of the scenario is in sync."""
    client = AdminClient({"bootstrap.servers": stage.cluster.direct, "log_level": 0})

    def synced() -> bool:
        try:
            known = client.list_topics(timeout=5).topics
        except KafkaException:
            return False
        parts = [part for topic in known.values() for part in topic.partitions.values()]
        return all(len(part.isrs) == len(part.replicas) for part in parts)

    stage.until("all replicas are in sync", synced, seconds)


def elect(cluster: KafkaCluster) -> None:
    """Let every partition's leader move back to its first replica."""
    client = AdminClient({"bootstrap.servers": cluster.direct, "log_level": 0})
    for _ in range(10):
        try:
            client.elect_leaders(ElectionType.PREFERRED).result(20)
        except KafkaException:
            time.sleep(1)
        else:
            return
