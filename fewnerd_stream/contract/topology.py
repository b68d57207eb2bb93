"""Every topic's name and the configuration it should have: functions of the settings, which need no broker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from fewnerd_stream.contract.taxonomy import CATEGORIES, NONE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fewnerd_stream.settings import Settings

ROOM: Final = 64 * 1024
"""Bytes that a record may grow by on its way to a retry topic or to the dead letters: our headers."""

DAY_MS: Final = 86_400_000
RETRY_DAYS: Final = 7
FOREVER: Final = "-1"

Role = Literal["input", "retry", "dead", "output"]


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it should be; ``config`` holds Kafka's own names and values."""

    name: str
    role: Role
    partitions: int
    replication: int
    config: Mapping[str, str]


def retry_names(input_topic: str, count: int) -> tuple[str, ...]:
    """Name the retry topics of an input topic, the shortest delay first."""
    return tuple(f"{input_topic}.retry.{number}" for number in range(1, count + 1))


def output_names(prefix: str) -> tuple[str, ...]:
    """Name the output topics under a prefix, one per category and one for documents without entities."""
    return tuple(f"{prefix}.{category}" for category in (*CATEGORIES, NONE))


def output_topic(settings: Settings, category: str) -> str:
    """Name the topic of a category's enriched documents."""
    return f"{settings.output_prefix}.{category}"


def output_topics(settings: Settings) -> tuple[str, ...]:
    """Name all output topics."""
    return output_names(settings.output_prefix)


def retry_topic(input_topic: str, attempt: int) -> str:
    """Name the topic in which an input topic's documents wait for their given attempt (1 or more)."""
    return f"{input_topic}.retry.{attempt}"


def retry_topics(settings: Settings, input_topic: str) -> tuple[str, ...]:
    """Name the retry topics of an input topic, the shortest delay first."""
    return retry_names(input_topic, len(settings.retry_delays))


def dead_topic(input_topic: str) -> str:
    """Name the topic of an input topic's dead letters."""
    return f"{input_topic}.dead"


def is_retry(settings: Settings, topic: str) -> bool:
    """Say whether a topic is one of our retry topics, the only ones whose headers are believed."""
    return topic in settings.all_retry_topics


def all_topics(settings: Settings) -> list[TopicSpec]:
    """List every topic that there must be, with the configuration that `create_topics` gives it."""
    durable = {"min.insync.replicas": str(settings.min_insync_replicas)}
    handed_on = {
        **durable,
        "cleanup.policy": "delete",
        "max.message.bytes": str(settings.max_message_bytes + ROOM),
        "retention.bytes": FOREVER,
    }
    named: list[tuple[str, Role, dict[str, str]]] = []
    for topic in dict.fromkeys(settings.input_topics):
        named.append((topic, "input", {**durable, "max.message.bytes": str(settings.max_message_bytes)}))
        retention = {"retention.ms": str(RETRY_DAYS * DAY_MS)}
        named += [(name, "retry", {**handed_on, **retention}) for name in retry_topics(settings, topic)]
        named.append((dead_topic(topic), "dead", {**handed_on, "retention.ms": FOREVER}))
    result = {
        **durable,
        "cleanup.policy": "delete",
        # Compression may make bytes that do not compress a little longer: the room is for that.
        "max.message.bytes": str(settings.max_result_bytes + ROOM),
    }
    named += [(name, "output", result) for name in output_topics(settings)]
    return [
        TopicSpec(name, role, settings.partitions, settings.replication, config)
        for name, role, config in named
    ]
