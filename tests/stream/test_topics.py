"""Topics on real brokers: created, created again, and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fewnerd_stream.contract import topology
from fewnerd_stream.errors import BrokerError, TopicsError
from fewnerd_stream.kafka import topics
from fewnerd_stream.settings import load_settings
from tests.support import clients

if TYPE_CHECKING:
    from fewnerd_stream.kafka.embedded import EmbeddedBroker
    from tests.support.kafka import KafkaCluster


async def test_on_the_embedded_broker_topics_are_created_once(broker: EmbeddedBroker) -> None:
    """What it does not know of Kafka's administration keeps nobody from looking."""
    settings = load_settings(bootstrap_servers=broker.bootstrap)
    assert len(await topics.check_topics(settings)) >= 15
    assert set((await topics.create_topics(settings)).values()) == {True}
    assert set((await topics.create_topics(settings)).values()) == {False}
    assert [problem for problem in await topics.check_topics(settings) if problem.severity == "error"] == []


async def test_on_apache_kafka_topics_are_created_once_and_checked(kafka: KafkaCluster, unique: str) -> None:
    """Missing ones are named, made, left alone the second time, and found to be as they must be."""
    settings = load_settings(
        bootstrap_servers=kafka.bootstrap, input_topics=unique, output_prefix=f"{unique}-out"
    )
    missing = await topics.check_topics(settings)
    assert [problem.message for problem in missing if problem.topic == f"fewnerd-stream.{unique}.dead"] == [
        f"fewnerd-stream.{unique}.dead: there is no such topic"
    ]
    assert len(missing) == 15
    assert clients.Observer(kafka.bootstrap).partitions([unique]) == []
    created = await topics.create_topics(settings)
    assert created == {spec.name: True for spec in topology.all_topics(settings)}
    assert await topics.check_topics(settings) == []
    assert not any((await topics.create_topics(settings)).values())


async def test_on_apache_kafka_a_topic_that_would_lose_documents_is_named(
    kafka: KafkaCluster, unique: str
) -> None:
    """What somebody else made is left as it is, and what is wrong with it is said."""
    settings = load_settings(
        bootstrap_servers=kafka.bootstrap, input_topics=unique, output_prefix=f"{unique}-out"
    )
    clients.create_topics(
        kafka.bootstrap, {f"fewnerd-stream.{unique}.dead": 1}, config={"cleanup.policy": "compact"}
    )
    created = await topics.create_topics(settings)
    assert [name for name, new in created.items() if not new] == [f"fewnerd-stream.{unique}.dead"]
    problems = await topics.check_topics(settings)
    assert {problem.topic for problem in problems} == {f"fewnerd-stream.{unique}.dead"}
    said = "\n".join(map(str, problems))
    for name in ("cleanup.policy", "max.message.bytes", "retention.ms"):
        assert name in said


async def test_on_apache_kafka_what_cannot_be_created_is_named_with_its_reason(
    kafka: KafkaCluster, unique: str
) -> None:
    """One broker cannot hold three replicas."""
    settings = load_settings(
        bootstrap_servers=kafka.bootstrap, input_topics=unique, output_prefix=f"{unique}-out", replication=3
    )
    with pytest.raises(TopicsError, match=rf"fewnerd-stream\.{unique}\.dead.*replication factor"):
        await topics.create_topics(settings)


async def test_without_a_broker_it_is_said() -> None:
    """The message names where nobody answers."""
    settings = load_settings(bootstrap_servers="127.0.0.1:1")
    with pytest.raises(BrokerError, match=r"127\.0\.0\.1:1"):
        await topics.check_topics(settings)
