"""What delivery asks of the consumer group and of the producer, whoever talks to the broker.

Their clients' errors stay their own: each names the classes that delivery has to tell apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from fewnerd_stream.contract.records import Outgoing, Partition
    from fewnerd_stream.telemetry.lag import Standing

Errors = tuple[type[BaseException], ...]


class Group(Protocol):
    """This worker's membership in its consumer group."""

    errors: Errors
    """What a request to the group's coordinator may raise."""
    too_late: Errors
    """Those of them that say that the group has moved on."""

    async def store(self, offsets: Mapping[Partition, tuple[int, str]]) -> None:
        """Commit offsets with their metadata; raises one of ``errors``."""

    def is_member(self) -> bool:
        """Whether the group still knows this worker, as far as it has heard."""

    def heard_recently(self) -> bool:
        """Whether the coordinator answered within the session timeout."""

    def unanswered(self) -> bool:
        """Whether no broker has answered for a session's length, other than that the group is changing."""

    def settled(self) -> bool:
        """Whether records would be read if there were any."""

    @property
    def broken(self) -> str:
        """Why the client will not do anything any more, or nothing."""

    def standings(self) -> dict[Partition, Standing]:
        """Say where the partitions stand of which the broker has told the end."""

    def has_leader(self, partition: Partition) -> bool:
        """Whether some broker would give records of a partition."""

    def has_more(self, partition: Partition) -> bool:
        """Whether the broker has records of a partition that could be read now."""


class Producer(Protocol):
    """Stores records, and can be replaced after an error that it does not get over."""

    errors: Errors
    """What the client and the broker refuse records with."""
    too_large: Errors
    """Those of them that say that a record is too large."""

    async def send(self, record: Outgoing, source: int) -> asyncio.Future[object]:
        """Hand a record to the client; the future is the broker's word.

        Args:
            record: what to store.
            source: the partition that its source stands in: a record without a key goes to the one of that number.
        """

    async def renew(self) -> None:
        """Replace the client by a new one; raises one of ``errors``."""
