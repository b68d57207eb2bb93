"""Raw document in, enriched documents out: bytes to objects and back. Pure: no broker, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fewnerd_stream.records import Headers, Outgoing, Record, Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fewnerd_stream.settings import Settings

__all__ = [
    "Document",
    "EntityLike",
    "Headers",
    "ModelLike",
    "Outgoing",
    "Record",
    "Source",
    "decode",
    "encode",
]


@dataclass(frozen=True, slots=True)
class Document:
    """A raw document that can be tagged; ``value`` is the record's value, byte for byte."""

    id: str
    text: str
    value: bytes


class EntityLike(Protocol):
    """An entity as the tagger gives it; ``start`` and ``end`` count Unicode code points of the text."""

    @property
    def text(self) -> str: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def coarse(self) -> str: ...
    @property
    def fine(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def score(self) -> float: ...


class ModelLike(Protocol):
    """What an enriched document says of the model."""

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def precision(self) -> str: ...


def decode(value: bytes | None, settings: Settings) -> Document:
    """Read a raw document.

    Raises:
        Reject: it is none, or not one that can be enriched.
    """
    raise NotImplementedError


def encode(  # noqa: PLR0913 - each is a part of the contract
    record: Record,
    source: Source,
    document: Document,
    entities: Sequence[EntityLike],
    model: ModelLike,
    settings: Settings,
) -> tuple[Outgoing, ...]:
    """Write the enriched documents of a raw one: one for each category in it, or one for none.

    Raises:
        Reject: an enriched document is over the producer's limit.
    """
    raise NotImplementedError
