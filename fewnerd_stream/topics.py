"""Every topic's name and configuration: made by `create_topics`, checked by `check_topics`.

The names are functions of the settings and need no broker; aiokafka is imported where a broker is talked to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fewnerd_stream.taxonomy import CATEGORIES, NONE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fewnerd_stream.settings import Settings

ROOM: Final = 64 * 1024
"""Bytes that a record may grow by on its way to a retry topic or to the dead letters: our headers."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it should be; ``config`` holds Kafka's own names and values."""

    name: str
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
