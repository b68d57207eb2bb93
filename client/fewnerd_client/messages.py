"""What a subscriber gets: an enriched document and its parts, typed and frozen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import orjson

CATEGORIES: Final = ("art", "building", "event", "location", "organization", "other", "person", "product")
"""The coarse categories; each has a topic."""

NONE: Final = "none"
"""The last part of the topic of documents in which nothing was found."""

Headers = tuple[tuple[str, "bytes | None"], ...]
"""Kafka headers in their order, repeated names included; a value may be null."""


@dataclass(frozen=True)
class Raw:
    """A record as it lies on a topic; ``timestamp`` is in milliseconds since the epoch."""

    topic: str
    partition: int
    offset: int
    timestamp: int | None
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


@dataclass(frozen=True)
class Entity:
    """An entity: ``text[start:end]`` of the document's text, counted in Unicode code points.

    ``fine`` and ``label`` are open: a worker's model may know other types than Few-NERD's. ``score`` says
    how probable it is that extent and label are both right, ``coarse_score`` the same of the category;
    the latter is None in messages of workers that did not know it.
    """

    text: str
    start: int
    end: int
    coarse: str
    fine: str
    label: str
    score: float
    coarse_score: float | None = None


@dataclass(frozen=True)
class Source:
    """The document's first record on its input topic; ``timestamp`` is in milliseconds since the epoch."""

    topic: str
    partition: int
    offset: int
    timestamp: int | None
    attempt: int = 0
    replay: int = 0


@dataclass(frozen=True)
class Model:
    """The model that found the entities; with another digest the same text may give others."""

    name: str
    digest: str
    precision: str


@dataclass(frozen=True)
class Enriched:
    """A document with its entities of one category.

    Attributes:
        id: the document's id, as its sender gave it.
        category: the topic's, or ``none``.
        entities: in the text's order; with filters, those that pass.
        counts: entities of the whole document by category, so it names the topics that have a part of it.
        document: the input's value, byte for byte.
        ce_id: the CloudEvent's id: a repeat has the same. Opaque; None if the record does not carry one.
        ce_source: the CloudEvent's source: the worker's group.
        raw: the record: key, headers, value, and where it stands.
    """

    id: str
    category: str
    entities: tuple[Entity, ...]
    counts: dict[str, int]
    document: bytes
    source: Source
    model: Model
    ce_id: str | None
    ce_source: str | None
    raw: Raw = field(repr=False)

    @property
    def key(self) -> bytes | None:
        """The input's key."""
        return self.raw.key

    @property
    def headers(self) -> Headers:
        """All headers of the record."""
        return self.raw.headers

    @property
    def value(self) -> bytes:
        """The whole value of the record."""
        return self.raw.value or b""

    def header(self, name: str) -> bytes | None:
        """Give the first header of a name, or None."""
        return next((value for each, value in self.raw.headers if each == name), None)

    def json(self) -> dict[str, Any]:
        """Decode the document; anew at each call."""
        decoded: dict[str, Any] = orjson.loads(self.document)
        return decoded

    def text(self, field: str = "text") -> str:
        """Give the document's text, which entities are positions in.

        Args:
            field: the worker's ``FEWNERD_TEXT_FIELD``.

        Raises:
            KeyError: the document comes without it (``FEWNERD_INCLUDE_TEXT=false``).
        """
        text: str = self.json()[field]
        return text


@dataclass(frozen=True)
class Joined:
    """All that came of one document: one message for each category that was found in it and subscribed to.

    ``missing`` names the categories that did not come in time; it is empty as long as nothing went wrong.
    """

    messages: dict[str, Enriched]
    missing: frozenset[str] = frozenset()

    @property
    def complete(self) -> bool:
        """Say whether every category came."""
        return not self.missing

    @property
    def first(self) -> Enriched:
        """One of the messages, for what is the same in all of them."""
        return next(iter(self.messages.values()))

    @property
    def id(self) -> str:
        """The document's id."""
        return self.first.id

    @property
    def source(self) -> Source:
        """The document's first record on its input topic."""
        return self.first.source

    @property
    def document(self) -> bytes:
        """The input's value, byte for byte."""
        return self.first.document

    @property
    def entities(self) -> tuple[Entity, ...]:
        """The entities of all messages, each once, in the text's order."""
        found = dict.fromkeys(entity for message in self.messages.values() for entity in message.entities)
        return tuple(sorted(found, key=lambda entity: (entity.start, entity.end, entity.label)))
