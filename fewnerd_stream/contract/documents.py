"""Raw document in, enriched documents out: bytes to objects and back. Pure: no broker, no clock.

What a raw document must be:

- a JSON object in UTF-8 without a byte order mark, since its bytes become a part of ours and a mark may not
  stand there; the same goes for numbers that no double holds, such as ``1e999``, which are refused like NaN;
- with an id and a text, both strings, neither blank. Of two members with one name the last counts, as in
  orjson, and both are passed on.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol
from urllib.parse import quote

import orjson

from fewnerd_stream.contract.jsonbytes import nesting, without_member
from fewnerd_stream.contract.records import (
    ORIGINAL,
    Headers,
    Outgoing,
    Record,
    Source,
    Withheld,
    foreign_headers,
)
from fewnerd_stream.contract.schema import SCHEMA
from fewnerd_stream.contract.taxonomy import NONE
from fewnerd_stream.errors import Reason, Reject

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fewnerd_stream.contract.options import DocumentOptions

__all__ = [
    "SCHEMA",
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

EVENT_TYPE: Final = "fewnerd.entities.v1"
STRUCTURED: Final = b"application/cloudevents+json; charset=UTF-8"
"""The content type of a CloudEvent that holds its attributes in its value."""

TAKEN: Final = frozenset(
    {
        "ce_specversion",
        "ce_id",
        "ce_source",
        "ce_type",
        "ce_subject",
        "ce_time",
        "ce_datacontenttype",
        "ce_dataschema",
        "content-type",
    }
)
"""Headers that speak of the value they come with, so that an input's would be untrue of ours."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_VERSION: Final = ("ce_specversion", b"1.0")
_RECORD_OVERHEAD: Final = 4096
"""More bytes than the protocol adds to a record that has a batch to itself, with the headers that name it."""
_HEADER_OVERHEAD: Final = 8
"""More bytes than the protocol adds to a header."""


@dataclass(frozen=True, slots=True)
class Document:
    """A raw document that can be tagged; ``value`` is the record's value, byte for byte."""

    id: str
    text: str
    value: bytes


class EntityLike(Protocol):
    """An entity as the tagger gives it; ``start`` and ``end`` count Unicode code points of the text."""

    @property
    def text(self) -> str:
        """The text from ``start`` to ``end``."""

    @property
    def start(self) -> int:
        """Code points before it."""

    @property
    def end(self) -> int:
        """Code points up to its end."""

    @property
    def coarse(self) -> str:
        """Its category."""

    @property
    def fine(self) -> str:
        """Its fine type."""

    @property
    def label(self) -> str:
        """Both, as Few-NERD writes them."""

    @property
    def score(self) -> float:
        """How sure the model is of extent and label, 0 to 1."""

    @property
    def coarse_score(self) -> float:
        """How sure it is of extent and category, 0 to 1."""


class ModelLike(Protocol):
    """What an enriched document says of the model."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def digest(self) -> str:
        """``sha256:`` and the digest of what decides a result."""

    @property
    def precision(self) -> str:
        """``int8`` or ``fp32``."""


def decode(value: bytes | None, settings: DocumentOptions) -> Document:
    """Read a raw document.

    Raises:
        Reject: it is none, or not one that can be enriched.
    """
    if value is None:
        raise Reject(Reason.TOMBSTONE, "the value is null")
    if isinstance(value, Withheld):
        raise Reject(value.reason, value.message, "read")
    try:
        fields = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        _refuse(value, error, settings)
    # An ordinary document has few brackets, so that hardly any is looked at closely.
    if value.count(b"[") + value.count(b"{") > settings.max_depth:
        _check_nesting(value, settings)
    if not isinstance(fields, dict):
        raise Reject(Reason.NOT_AN_OBJECT, f"the value is {_named(fields)}, not an object")
    identity = _string(fields, settings.id_field)
    text = _string(fields, settings.text_field)
    if not identity or identity.isspace():
        raise Reject(Reason.MISSING_FIELD, f"{settings.id_field!r} is blank")
    if not text or text.isspace():
        raise Reject(Reason.BLANK_TEXT, f"{settings.text_field!r} is blank")
    # No text is longer in UTF-8 than its document.
    if len(value) > settings.max_text_bytes and (size := len(text.encode())) > settings.max_text_bytes:
        raise Reject(
            Reason.TEXT_TOO_LARGE,
            f"the text has {size} bytes, more than max_text_bytes ({settings.max_text_bytes})",
        )
    return Document(identity, text, value)


def _string(fields: dict[str, Any], name: str) -> str:
    try:
        value = fields[name]
    except KeyError:
        raise Reject(Reason.MISSING_FIELD, f"there is no {name!r}") from None
    if not isinstance(value, str):
        raise Reject(Reason.WRONG_TYPE, f"{name!r} is {_named(value)}, not a string")
    return value


def _named(value: object) -> str:
    """Say what JSON calls a value."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    names: dict[type, str] = {dict: "an object", list: "an array", str: "a string"}
    return names.get(type(value), "a number")


def _check_nesting(value: bytes, settings: DocumentOptions) -> None:
    depth = nesting(value)
    if depth > settings.max_depth:
        raise Reject(Reason.TOO_DEEP, f"nested {depth} deep, more than max_depth ({settings.max_depth})")


def _refuse(value: bytes, error: orjson.JSONDecodeError, settings: DocumentOptions) -> NoReturn:
    """Find out why orjson would not read it; off the hot path, so the standard library may have a look."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as bad:
        # A surrogate in raw bytes is no UTF-8 either.
        raise Reject(Reason.INVALID_UTF8, f"no UTF-8 at byte {bad.start}: {bad.reason}") from None
    _check_nesting(value, settings)
    try:
        parsed = json.loads(
            text, parse_constant=_not_finite, parse_float=_finite, parse_int=_finite, object_pairs_hook=list
        )
        json.dumps(parsed, ensure_ascii=False).encode()
    except UnicodeEncodeError as bad:
        raise Reject(
            Reason.UNPAIRED_SURROGATE,
            f"a string has the unpaired surrogate U+{ord(bad.object[bad.start]):04X}",
        ) from None
    except (ValueError, RecursionError):
        pass
    raise Reject(Reason.NOT_JSON, f"not JSON: {error}") from None


def _not_finite(literal: str) -> NoReturn:
    raise Reject(Reason.NAN, f"{literal} is no JSON number")


def _finite(literal: str) -> float:
    number = float(literal)
    if math.isinf(number):
        raise Reject(Reason.NAN, f"a number of {len(literal)} characters is too large for a double")
    return number


def encode(  # noqa: PLR0917 - each is a part of the contract
    record: Record,
    source: Source,
    document: Document,
    entities: Sequence[EntityLike],
    model: ModelLike,
    settings: DocumentOptions,
) -> tuple[Outgoing, ...]:
    """Write the enriched documents of a raw one: one for each category in it, or one for none.

    Args:
        record: as read, from an input or a retry topic.
        source: the first record on the input topic, see ``envelope.source_of``.
        document: what ``decode`` made of the record's value.
        entities: in the text's order.
        model: what found them.
        settings: the output topics, and what goes into a message.

    Raises:
        Reject: an enriched document is over the producer's limit.
    """
    everything = [_written(entity) for entity in entities]
    found: dict[str, list[dict[str, Any]]] = {}
    for entity in everything:
        found.setdefault(entity["coarse"], []).append(entity)
    categories = sorted(found) or [NONE]
    raw = document.value if settings.include_text else without_member(document.value, settings.text_field)
    # All but the category and its entities is the same in each message, so it is written once.
    head = b'{"schema":1,"id":' + orjson.dumps(document.id) + b',"category":"'
    tail = orjson.dumps(
        {
            "counts": {category: len(found[category]) for category in categories if category != NONE},
            "document": orjson.Fragment(raw),
            "source": {
                "topic": source.topic,
                "partition": source.partition,
                "offset": source.offset,
                "timestamp": source.timestamp,
                "attempt": source.attempt,
                "replay": source.replay,
            },
            "model": {"name": model.name, "digest": model.digest, "precision": model.precision},
        }
    )[1:]
    # A topic that is made anew begins at offset 0 again: its id keeps its documents apart from the old one's.
    topic = f"{source.topic}:{source.topic_id}" if source.topic_id else source.topic
    where = f"{topic}/{source.partition}/{source.offset}/"
    fixed, rest = _fixed_headers(settings.group), _passed_on(record, source)
    room = settings.max_result_bytes - _size_but_value(record, rest)
    made = []
    for category in categories:
        name = category.encode()
        own = orjson.dumps(everything if settings.all_entities else found.get(category, []))
        value = b"".join((head, name, b'","entities":', own, b",", tail))
        headers: Headers = (
            _VERSION,
            ("ce_id", (where + category).encode()),
            *fixed,
            ("ce_subject", name),
            *rest,
        )
        if settings.cloudevents == "structured":
            value, headers = _structured(value, headers)
        if len(value) > room:
            limit = f"max_result_bytes ({settings.max_result_bytes})"
            message = (
                f"the result for {category} has {len(value)} bytes, with key and headers more than {limit}"
            )
            raise Reject(Reason.RESULT_TOO_LARGE, message, "encode")
        made.append(Outgoing(f"{settings.output_prefix}.{category}", record.key, value, headers))
    return tuple(made)


def unwrapped(value: dict[str, Any]) -> dict[str, Any]:
    """Give the enriched document of a value as it was read, whichever mode it was written in."""
    data = value.get("data")
    return data if "specversion" in value and isinstance(data, dict) else value


def _structured(value: bytes, headers: Headers) -> tuple[bytes, Headers]:
    """Move a CloudEvent's attributes from the headers into the value, around its data, which come last."""
    mine = {name: data for name, data in headers if data is not None and name in TAKEN}
    event = {name.removeprefix("ce_"): data.decode() for name, data in mine.items() if name != "content-type"}
    event["datacontenttype"] = "application/json"
    # A reader takes an event for one in binary mode if any header is called like an attribute.
    rest = tuple(
        (ORIGINAL + name if name.lower().startswith("ce_") else name, data)
        for name, data in headers
        if name not in TAKEN
    )
    return orjson.dumps(event)[:-1] + b',"data":' + value + b"}", (("content-type", STRUCTURED), *rest)


def _written(entity: EntityLike) -> dict[str, Any]:
    return {
        "text": entity.text,
        "start": entity.start,
        "end": entity.end,
        "coarse": entity.coarse,
        "fine": entity.fine,
        "label": entity.label,
        "score": round(float(entity.score), 4),
        "coarse_score": round(float(entity.coarse_score), 4),
    }


@lru_cache
def _fixed_headers(group: str) -> tuple[tuple[str, bytes], ...]:
    """Write the headers between ``ce_id`` and ``ce_subject``; a group's name may hold what a URI may not."""
    return ("ce_source", f"/fewnerd-stream/{quote(group, safe='')}".encode()), (
        "ce_type",
        EVENT_TYPE.encode(),
    )


def _passed_on(record: Record, source: Source) -> list[tuple[str, bytes | None]]:
    """Write the headers after ``ce_subject``: the time, the content's type, and what came with the input."""
    headers: list[tuple[str, bytes | None]] = []
    if source.timestamp is not None:
        try:
            time = _EPOCH + timedelta(milliseconds=source.timestamp)
        except OverflowError:  # a time beyond the calendar has no place in a CloudEvent, where it is optional
            pass
        else:
            headers.append(
                ("ce_time", time.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode())
            )
    headers.append(("content-type", b"application/json"))
    headers += [
        (ORIGINAL + name if name in TAKEN else name, value) for name, value in foreign_headers(record, source)
    ]
    return headers


def _size_but_value(record: Record, headers: list[tuple[str, bytes | None]]) -> int:
    """Count what a record takes beside its value, generously: no producer or broker may find it larger."""
    size = _RECORD_OVERHEAD + len(record.key or b"")
    for name, value in headers:
        size += _HEADER_OVERHEAD + len(name.encode()) + len(value or b"")
    return size
