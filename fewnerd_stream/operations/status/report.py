"""What there is to say of a group and its topics, and the figures that follow from it. Pure."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from fewnerd_stream.operations.dead.letters import iso

if TYPE_CHECKING:
    from collections.abc import Mapping

_RANDOM: Final = re.compile(r"(.+)-([0-9a-f]{8})(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Place = tuple[str, int]
"""A topic and a partition."""


@dataclass(frozen=True, slots=True)
class Member:
    """A worker as the group sees it."""

    id: str
    client: str
    host: str
    partitions: tuple[Place, ...] = ()

    @property
    def name(self) -> str:
        """What to call it in a table: its instance id or client id if it was given one, and where it is.

        Kafka makes a member's id of its instance id, or else its client id, and a random part. The name that
        every aiokafka client has tells nothing; then a piece of the random part has to do.
        """
        match = _RANDOM.fullmatch(self.id)
        given, piece = (match[1], match[2]) if match else (self.id, "")
        if given.startswith("aiokafka-"):
            given = piece or given
        elif given == self.client and piece:
            given = f"{given}-{piece}"
        return "@".join(filter(None, (given, self.host)))


@dataclass(frozen=True, slots=True)
class PartitionStatus:
    """A partition that the group reads; offsets, of which ``end`` is one past the last."""

    topic: str
    partition: int
    role: Literal["input", "retry"]
    first: int
    end: int
    committed: int | None
    owner: Member | None = None
    from_start: bool = True
    """Whether a group without a commit reads from the first offset."""

    @property
    def lag(self) -> int:
        """Offsets that are not handed over yet: an upper bound for documents, since a log may have holes."""
        if self.committed is None:
            return self.end - self.first if self.from_start else 0
        return max(0, self.end - max(self.committed, self.first))

    @property
    def lost(self) -> int:
        """Offsets that the broker deleted before the group had read them."""
        return 0 if self.committed is None else max(0, self.first - self.committed)

    @property
    def next(self) -> int:
        """The offset that is handed over next."""
        return self.first if self.committed is None else max(self.committed, self.first)

    def as_json(self) -> dict[str, Any]:
        """Give one object for ``--json``."""
        owner = self.owner
        return {
            "topic": self.topic,
            "partition": self.partition,
            "role": self.role,
            "first": self.first,
            "end": self.end,
            "committed": self.committed,
            "lag": self.lag,
            "lost": self.lost,
            "owner": owner and {"member": owner.id, "client": owner.client, "host": owner.host},
        }


@dataclass(frozen=True, slots=True)
class Waiting:
    """The head of a retry partition; times in milliseconds since the epoch, ``due`` 0 for now."""

    topic: str
    partition: int
    offset: int
    since: int | None
    due: int
    origin: str

    def as_json(self) -> dict[str, Any]:
        """Give one object for ``--json``."""
        return {
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "waiting_since": iso(self.since),
            "due": iso(self.due),
            "origin": self.origin,
        }


@dataclass(slots=True)
class Dead:
    """An input's dead letters; ``reasons`` counts the newest ``looked_at`` of them."""

    topic: str
    total: int = 0
    replayed: int = 0
    looked_at: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, Any]:
        """Give one object for ``--json``."""
        return {
            "topic": self.topic,
            "total": self.total,
            "replayed": self.replayed,
            "looked_at": self.looked_at,
            "by_reason": dict(sorted(self.reasons.items())),
        }


@dataclass(slots=True)
class Report:
    """All of it; ``notes`` say what could not be found out, ``missing`` names topics that do not exist."""

    group: str
    state: str = "unknown"
    members: list[Member] = field(default_factory=list)
    partitions: list[PartitionStatus] = field(default_factory=list)
    heads: list[Waiting] = field(default_factory=list)
    dead: list[Dead] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def lag(self) -> int:
        """Lag over the input topics: documents that no worker has finished yet."""
        return sum(one.lag for one in self.partitions if one.role == "input")

    @property
    def waiting(self) -> int:
        """Lag over the retry topics: documents that wait for another attempt."""
        return sum(one.lag for one in self.partitions if one.role == "retry")

    @property
    def oldest(self) -> Waiting | None:
        """The head that has waited longest."""
        known = [head for head in self.heads if head.since is not None]
        return min(known, key=lambda head: head.since or 0, default=None)

    def as_json(self) -> dict[str, Any]:
        """Give one object for ``--json``."""
        return {
            "group": self.group,
            "state": self.state,
            "members": [
                {
                    "member": one.id,
                    "client": one.client,
                    "host": one.host,
                    "partitions": [f"{topic}/{number}" for topic, number in one.partitions],
                }
                for one in self.members
            ],
            "lag": self.lag,
            "partitions": [one.as_json() for one in self.partitions],
            "retries": {"waiting": self.waiting, "oldest": self.oldest and self.oldest.as_json()},
            "dead": [one.as_json() for one in self.dead],
            "missing_topics": self.missing,
            "notes": self.notes,
        }


def owners(members: list[Member]) -> dict[Place, Member]:
    """Say which member each partition is with."""
    return {place: member for member in members for place in member.partitions}


def newest(bounds: Mapping[int, tuple[int, int]], count: int | None) -> dict[int, tuple[int, int]]:
    """Choose the last offsets of a topic's partitions, ``count`` in all and fairly shared; None: all of them.

    Partitions with less than their share leave the rest to the others.
    """
    left = dict(sorted(bounds.items(), key=lambda item: item[1][1] - item[1][0]))
    chosen = {}
    budget = sum(end - first for first, end in bounds.values()) if count is None else count
    while left:
        partition, (first, end) = next(iter(left.items()))
        share = min(end - first, budget // len(left))
        chosen[partition] = (end - share, end)
        budget -= share
        del left[partition]
    return {partition: chosen[partition] for partition in bounds}
