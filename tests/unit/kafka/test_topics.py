"""Topics: their names, their configuration, and what is said of those that are not as they must be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fewnerd_stream.contract import topology
from fewnerd_stream.contract.topology import ROOM
from fewnerd_stream.kafka import topics
from fewnerd_stream.kafka.topics import TopicProblem, TopicState
from fewnerd_stream.settings import load_settings

SETTINGS = load_settings(replication=3, min_insync_replicas=2)
DAY = 86_400_000


def _cluster() -> dict[str, TopicState]:
    """Give a cluster whose topics are as `topics create` makes them."""
    return {
        spec.name: TopicState(spec.name, spec.partitions, spec.replication, (), dict(spec.config))
        for spec in topology.all_topics(SETTINGS)
    }


def _with(name: str, **changes: Any) -> dict[str, TopicState]:
    """Change one topic: a field of its state, or an item of its configuration, dots as underscores."""
    cluster = _cluster()
    state = cluster[name]
    fields = {key: value for key, value in changes.items() if hasattr(state, key)}
    config = {key.replace("_", "."): value for key, value in changes.items() if key not in fields}
    cluster[name] = replace(state, **{"config": {**(state.config or {}), **config}, **fields})
    return cluster


def _problems(cluster: dict[str, TopicState]) -> list[TopicProblem]:
    return list(topics.problems_with(SETTINGS, cluster))


def test_configuration() -> None:
    """Retries wait a week, dead letters for ever, and each topic takes what is put into it."""
    specs = {spec.name: spec for spec in topology.all_topics(SETTINGS)}
    assert specs["fewnerd-stream.raw-documents.retry.3"].config["retention.ms"] == str(7 * DAY)
    assert specs["fewnerd-stream.raw-documents.dead"].config["retention.ms"] == "-1"
    assert specs["fewnerd-stream.raw-documents.dead"].config["max.message.bytes"] == str(
        SETTINGS.max_message_bytes + ROOM
    )
    assert int(specs["entities.none"].config["max.message.bytes"]) >= SETTINGS.max_result_bytes
    assert "cleanup.policy" not in specs["raw-documents"].config
    for spec in specs.values():
        assert (spec.replication, spec.config["min.insync.replicas"]) == (3, "2")


def test_topics_as_they_are_created_have_no_problems() -> None:
    """What `topics create` makes, `topics check` takes."""
    assert _problems(_cluster()) == []


def test_every_missing_topic_is_named() -> None:
    """An empty cluster lacks them all, and foreign topics do not matter."""
    problems = _problems({"other": TopicState("other", 1, 1)})
    assert [problem.topic for problem in problems] == [spec.name for spec in topology.all_topics(SETTINGS)]
    assert {problem.severity for problem in problems} == {"error"}
    assert str(problems[0]) == "raw-documents: there is no such topic"


@pytest.mark.parametrize(
    ("name", "changes", "severity", "said"),
    [
        ("raw-documents", {"partitions": 0}, "error", "has no partitions"),
        ("entities.art", {"leaderless": (1, 3)}, "warning", "without a leader just now: partitions 1, 3"),
        ("entities.art", {"replication": 2}, "warning", "2 replicas, fewer than FEWNERD_REPLICATION (3)"),
        ("entities.art", {"min_insync_replicas": "4"}, "error", "nothing can be written"),
        ("entities.art", {"min_insync_replicas": "1"}, "warning", "min.insync.replicas is 1, less than"),
        ("entities.art", {"cleanup_policy": "compact"}, "error", "cleanup.policy is compact"),
        (
            "fewnerd-stream.raw-documents.dead",
            {"cleanup_policy": "compact,delete"},
            "error",
            "cleanup.policy is compact,delete",
        ),
        (
            "fewnerd-stream.raw-documents.retry.1",
            {"cleanup_policy": "compact"},
            "error",
            "would drop documents",
        ),
        ("entities.art", {"max_message_bytes": "1048588"}, "error", "1048588, but 8388608 are needed"),
        (
            "fewnerd-stream.raw-documents.dead",
            {"max_message_bytes": "2097152"},
            "error",
            "2097152, but 2162688 are needed",
        ),
        (
            "fewnerd-stream.raw-documents.retry.2",
            {"max_message_bytes": "9"},
            "error",
            "the largest record on raw-documents",
        ),
        (
            "fewnerd-stream.raw-documents.retry.3",
            {"retention_ms": str(6 * DAY)},
            "warning",
            "retention.ms is 6 days",
        ),
        (
            "fewnerd-stream.raw-documents.retry.3",
            {"retention_ms": "600000"},
            "error",
            "under the longest delay and a day",
        ),
        (
            "fewnerd-stream.raw-documents.dead",
            {"retention_ms": str(30 * DAY)},
            "warning",
            "retention.ms is 30 days",
        ),
        (
            "fewnerd-stream.raw-documents.dead",
            {"retention_ms": str(6 * DAY)},
            "error",
            "dead letters are deleted after that",
        ),
        (
            "fewnerd-stream.raw-documents.dead",
            {"retention_bytes": "1000"},
            "warning",
            "retention.bytes is 1000",
        ),
        (
            "fewnerd-stream.raw-documents.retry.1",
            {"retention_bytes": "1000"},
            "warning",
            "retention.bytes is 1000",
        ),
    ],
)
def test_what_loses_or_stops_documents_is_said(
    name: str, changes: dict[str, Any], severity: str, said: str
) -> None:
    """Each by its topic, with the value that it has."""
    (problem,) = _problems(_with(name, **changes))
    assert (problem.topic, problem.severity) == (name, severity)
    assert problem.message.startswith(f"{name}: ")
    assert said in problem.message


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("raw-documents", {"cleanup_policy": "compact"}),
        ("raw-documents", {"replication": 1}),
        ("raw-documents", {"max_message_bytes": "1048588"}),
        ("fewnerd-stream.raw-documents.dead", {"partitions": 1}),
        ("fewnerd-stream.raw-documents.retry.1", {"retention_ms": "-1"}),
        ("entities.art", {"retention_ms": "3600000", "retention_bytes": "9"}),
        ("entities.art", {"max_message_bytes": "99999999"}),
    ],
)
def test_what_is_the_user_s_choice_is_left_to_the_user(name: str, changes: dict[str, Any]) -> None:
    """Inputs may be compacted, dead letters have one partition, and results be forgotten soon."""
    assert _problems(_with(name, **changes)) == []


def test_an_input_with_larger_records_needs_room_downstream() -> None:
    """Retries and dead letters must take the largest record that the input may hold, and so must we."""
    problems = _problems(_with("raw-documents", max_message_bytes="5000000"))
    assert {problem.topic: problem.severity for problem in problems} == {
        "raw-documents": "warning",
        "fewnerd-stream.raw-documents.retry.1": "error",
        "fewnerd-stream.raw-documents.retry.2": "error",
        "fewnerd-stream.raw-documents.retry.3": "error",
        "fewnerd-stream.raw-documents.dead": "error",
    }
    first = _problems(_with("raw-documents", max_message_bytes="8388608"))[0]
    assert first.severity == "error"
    assert "FEWNERD_MAX_RESULT_BYTES (8388608) leaves no room" in first.message


def test_a_retry_topic_that_nobody_reads_any_more_is_named() -> None:
    """Fewer delays than before leave documents waiting; other topics with such names do not matter."""
    cluster = _cluster()
    for name in (
        "fewnerd-stream.raw-documents.retry.4",
        "fewnerd-stream.raw-documents.retry.x",
        "other.retry.4",
    ):
        cluster[name] = TopicState(name, 1, 3)
    (problem,) = _problems(cluster)
    assert (problem.topic, problem.severity) == ("fewnerd-stream.raw-documents.retry.4", "warning")


def test_a_broker_that_tells_no_configuration_is_believed() -> None:
    """Only what is known is judged."""
    cluster = {name: replace(state, config=None) for name, state in _cluster().items()}
    assert _problems(cluster) == []
    assert _problems(_with("entities.art", max_message_bytes=None, cleanup_policy="delete")) == []
