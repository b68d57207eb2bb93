"""The messages of one document, joined again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fewnerd_client.messages import NONE, Enriched, Joined

if TYPE_CHECKING:
    from collections.abc import Collection

Document = tuple["str | None", str, int, int, "int | None"]
"""What the messages of one document have in common: the worker's group and the document's first record."""


class Joiner:
    """Holds messages until all of their document are there, or it has waited long enough, or too many wait."""

    def __init__(self, categories: Collection[str], *, within: float, most: int) -> None:
        """Take what to wait for.

        Args:
            categories: those subscribed to; no other is waited for.
            within: seconds that a document waits for its other messages.
            most: documents that may wait; the one that has waited longest is given as it is.
        """
        self._categories = frozenset(categories)
        self._within = within
        self._most = most
        self._waiting: dict[Document, tuple[float, dict[str, Enriched]]] = {}

    def __len__(self) -> int:
        """Count the documents that wait."""
        return len(self._waiting)

    def add(self, message: Enriched, now: float) -> Joined | None:
        """Take a message; gives its document if it was the last of it.

        Args:
            message: of any category.
            now: seconds, of a clock that never goes back.
        """
        document = _document(message)
        _, messages = self._waiting.setdefault(document, (now, {}))
        messages[message.category] = message
        if self._missing(messages):
            return None
        del self._waiting[document]
        return Joined(messages)

    def repeats(self, message: Enriched) -> bool:
        """Say whether a message of the same category waits already."""
        _, messages = self._waiting.get(_document(message), (0.0, {}))
        return message.category in messages

    def late(self, now: float) -> Joined | None:
        """Give a document that is not waited for any longer, without what is missing."""
        if not self._waiting:
            return None
        document, (since, messages) = next(iter(self._waiting.items()))
        if len(self._waiting) <= self._most and now - since < self._within:
            return None
        del self._waiting[document]
        return Joined(messages, self._missing(messages))

    def next_late(self, now: float) -> float:
        """Give the seconds until the next document is late."""
        since = next(iter(self._waiting.values()), (now, {}))[0]
        return max(0.0, since + self._within - now)

    def clear(self) -> list[Enriched]:
        """Give all messages back, those first that came first."""
        waiting, self._waiting = self._waiting, {}
        return [message for _, messages in waiting.values() for message in messages.values()]

    def _missing(self, messages: dict[str, Enriched]) -> frozenset[str]:
        counts = next(iter(messages.values())).counts
        return (frozenset(counts) or frozenset((NONE,))) & self._categories - messages.keys()


def _document(message: Enriched) -> Document:
    source = message.source
    return message.ce_source, source.topic, source.partition, source.offset, source.timestamp
