"""Every topic of a group: its name, its role and the configuration it should have. No broker is needed.

What only the group itself reads carries its name, as Kafka Streams names its own: two groups on one input
must not retry each other's documents, and one prefixed right covers what is the group's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

from fewnerd_stream.contract.taxonomy import CATEGORIES, NONE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


ROOM: Final = 64 * 1024
"""Bytes that a record may grow by on its way to a retry topic or to the dead letters: our headers."""

DAY_MS: Final = 86_400_000
RETRY_DAYS: Final = 7
FOREVER: Final = "-1"

Role = Literal["input", "retry", "dead", "marks", "output"]


@dataclass(frozen=True, slots=True)
class InputTopics:
    """An input topic and what belongs to it.

    Attributes:
        input: where raw documents come in.
        retries: where documents wait for their next attempt, the shortest delay first.
        dead: what could not be enriched.
        marks: which of the dead letters were replayed; compacted, one partition is in use.
    """

    input: str
    retries: tuple[str, ...]
    dead: str
    marks: str

    @classmethod
    def of(cls, group: str, name: str, retries: int) -> InputTopics:
        """Name what belongs to an input topic in a group with so many retry topics."""
        own = f"{group}.{name}"
        return cls(
            name,
            tuple(f"{own}.retry.{number}" for number in range(1, retries + 1)),
            f"{own}.dead",
            f"{own}.dead.replayed",
        )

    @property
    def read(self) -> tuple[str, ...]:
        """What the group's workers read: the input and its retry topics."""
        return (self.input, *self.retries)

    def roles(self) -> Iterator[tuple[str, Role]]:
        """Go through its topics, each with its role."""
        yield self.input, "input"
        yield from ((name, "retry") for name in self.retries)
        yield self.dead, "dead"
        yield self.marks, "marks"


class Topology:
    """All topics of a group."""

    def __init__(self, group: str, inputs: Iterable[str], *, retries: int, output_prefix: str) -> None:
        """Name them.

        Args:
            group: the consumer group; what only it reads begins with its name.
            inputs: the input topics; a repeat counts once.
            retries: retry topics of each input.
            output_prefix: what the output topics begin with.
        """
        self.inputs: Final = tuple(InputTopics.of(group, name, retries) for name in dict.fromkeys(inputs))
        self.outputs: Final[Mapping[str, str]] = {
            category: f"{output_prefix}.{category}" for category in (*CATEGORIES, NONE)
        }
        """The output topic of each category, and of documents without entities."""
        self.retries: Final = frozenset(name for one in self.inputs for name in one.retries)
        """All retry topics."""
        self.trusted: Final = self.retries | {one.dead for one in self.inputs}
        """Retry topics and dead letters: only there are the headers that we write believed."""
        self._of: Final = {name: one for one in self.inputs for name, _ in one.roles()}

    def of(self, name: str) -> InputTopics | None:
        """Give the input that a topic belongs to, of any role but output; None for a topic of others."""
        return self._of.get(name)

    def input(self, name: str) -> InputTopics:
        """Give what belongs to an input topic.

        Raises:
            KeyError: it is none of the input topics.
        """
        found = self._of[name]
        if found.input != name:
            raise KeyError(name)
        return found

    def roles(self) -> Iterator[tuple[str, Role]]:
        """Go through all topics, each with its role: the one list that there is."""
        for one in self.inputs:
            yield from one.roles()
        yield from ((name, "output") for name in self.outputs.values())


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it should be; ``config`` holds Kafka's own names and values."""

    name: str
    role: Role
    partitions: int
    replication: int
    config: Mapping[str, str]


class TopicOptions(Protocol):
    """What the topics' configuration depends on; sizes are in bytes."""

    @property
    def partitions(self) -> int:
        """Partitions of a topic that is made."""

    @property
    def replication(self) -> int:
        """Replicas of a topic that is made."""

    @property
    def min_insync_replicas(self) -> int:
        """Replicas that must have a record before it counts as stored."""

    @property
    def max_message_bytes(self) -> int:
        """The largest record on an input topic."""

    @property
    def max_result_bytes(self) -> int:
        """The largest record on an output topic."""

    @property
    def topology(self) -> Topology:
        """All topics of the group."""


def all_topics(settings: TopicOptions) -> list[TopicSpec]:
    """List every topic that there must be, with the configuration that `create_topics` gives it."""
    durable = {"min.insync.replicas": str(settings.min_insync_replicas)}
    handed_on = {
        **durable,
        "cleanup.policy": "delete",
        "max.message.bytes": str(settings.max_message_bytes + ROOM),
        "retention.bytes": FOREVER,
    }
    configs: dict[Role, dict[str, str]] = {
        "input": {**durable, "max.message.bytes": str(settings.max_message_bytes)},
        "retry": {**handed_on, "retention.ms": str(RETRY_DAYS * DAY_MS)},
        "dead": {**handed_on, "retention.ms": FOREVER},
        "marks": {**durable, "cleanup.policy": "compact"},
        "output": {
            **durable,
            "cleanup.policy": "delete",
            # Compression may make bytes that do not compress a little longer: the room is for that.
            "max.message.bytes": str(settings.max_result_bytes + ROOM),
        },
    }
    return [
        TopicSpec(
            name, role, 1 if role == "marks" else settings.partitions, settings.replication, configs[role]
        )
        for name, role in settings.topology.roles()
    ]
