"""Brokers for tests: one in a process of its own for each test, and Apache Kafka for what is to count."""

from __future__ import annotations

import os
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from fewnerd_stream.kafka.embedded import EmbeddedBroker, EmbeddedBrokerError, find_binary
from tests.support.kafka import KafkaCluster, KafkaUnavailable, jars, java

if TYPE_CHECKING:
    from collections.abc import Iterator

# Sums up what the stream tests saw, for the last lines of the run.
pytest_plugins = ["tests.support.tally"]

# No test is timed: a machine may be busy. CI draws the same examples each time, so that it says the same.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("default"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")

_names = count(1)
_KAFKA = {"kafka", "kafka3", "kafka_ready"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by the brokers that they ask for, and by where they stand."""
    for item in items:
        asked = set(getattr(item, "fixturenames", ()))
        if asked & _KAFKA:
            item.add_marker(pytest.mark.kafka)
        if asked & {*_KAFKA, "broker"}:
            item.add_marker(pytest.mark.stream)
        if "deploy" in item.path.relative_to(Path(__file__).parent).parts:
            item.add_marker(pytest.mark.deploy)
        if "browser" in item.path.relative_to(Path(__file__).parent).parts:
            item.add_marker(pytest.mark.browser)
        if "subscribers" in item.path.relative_to(Path(__file__).parent).parts:
            item.add_marker(pytest.mark.subscribers)
        if "recipe" in item.path.relative_to(Path(__file__).parent).parts:
            item.add_marker(pytest.mark.recipe)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test depends on what the user's shell has set for a worker."""
    for name in [name for name in os.environ if name.startswith("FEWNERD_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    """Start an empty embedded broker; skips where its binary does not exist."""
    try:
        find_binary()
    except EmbeddedBrokerError as error:
        pytest.skip(str(error))
    with EmbeddedBroker() as embedded:
        yield embedded


@pytest.fixture(scope="session")
def kafka_ready() -> None:
    """Have Java and Kafka's jars; skips with the reason, or fails where ``CI_REQUIRE_KAFKA`` is set."""
    try:
        java()
        jars()
    except KafkaUnavailable as error:
        if os.environ.get("CI_REQUIRE_KAFKA"):
            pytest.fail(str(error))
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def kafka(kafka_ready: None) -> Iterator[KafkaCluster]:  # noqa: ARG001 - asked for its skip
    """Run one broker of Apache Kafka for all tests: name topics by ``unique``, and leave it running."""
    with KafkaCluster() as cluster:
        yield cluster


@pytest.fixture
def kafka3(kafka_ready: None) -> Iterator[KafkaCluster]:  # noqa: ARG001 - asked for its skip
    """Run three brokers of Apache Kafka for one test, to be stopped, killed and frozen."""
    with KafkaCluster(3) as cluster:
        yield cluster


@pytest.fixture
def unique() -> str:
    """Give a name that no other test of this run has: for topics, prefixes and groups on a shared broker."""
    return f"t{next(_names)}"
