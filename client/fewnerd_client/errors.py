"""What can go wrong for a subscriber, each with a sentence that says what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


class ClientError(Exception):
    """Anything that this package raises by itself."""


class UnreadableMessageError(ClientError):
    """A record on a category topic that is no enriched document, or one of a schema that is not known here.

    ``topic``, ``partition`` and ``offset`` say where it stands.
    """

    def __init__(self, topic: str, partition: int, offset: int, reason: str) -> None:
        """Say where the record stands, and what is wrong with it."""
        super().__init__(f"{topic}, partition {partition}, offset {offset}: {reason}")
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.reason = reason


class TopicMissingError(ClientError):
    """A topic that is subscribed to does not exist."""


def check_topics(wanted: Collection[str], there: Collection[str]) -> None:
    """See that all topics exist.

    Raises:
        TopicMissingError: some do not.
    """
    if missing := [topic for topic in wanted if topic not in there]:
        raise TopicMissingError(
            f"no such topic: {', '.join(missing)}; is `prefix` the worker's FEWNERD_OUTPUT_PREFIX, and may you "
            "read it?"
        )
