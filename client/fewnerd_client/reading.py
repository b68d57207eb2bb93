"""A record to an enriched document. Pure: bytes in, frozen objects out, nothing kept.

Workers write a value's members in one order. Where a record has that form, its entities are cut out without
decoding anything else of it, which is what makes a filter cheap. Any other JSON of the same schema is read,
too, only slower. Members that are not known are passed over: schema 1 may grow.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, TypeVar

import orjson

from fewnerd_client.errors import UnreadableMessageError
from fewnerd_client.messages import CATEGORIES, NONE, Enriched, Entity, Model, Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fewnerd_client.messages import Raw

SCHEMA: Final = 1
"""The version of the messages that this package reads."""

STRUCTURED: Final = "application/cloudevents+json"
"""The content type of a CloudEvent in structured mode: its attributes stand in the value, around ours."""

_TOPICS: Final = frozenset((*CATEGORIES, NONE))
# Unrolled, so that no input makes them go back: each byte can be matched in one way.
_STRING: Final = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_FLAT_LIST: Final = rb'\[[^\[\]"]*(?:' + _STRING + rb'[^\[\]"]*)*\]'
_FLAT_OBJECT: Final = rb'\{[^{}\[\]"]*(?:' + _STRING + rb'[^{}\[\]"]*)*\}'
_HEAD: Final = re.compile(
    rb'\{"schema":1,"id":%b,"category":%b,"entities":(%b)' % (_STRING, _STRING, _FLAT_LIST), re.DOTALL
)
_BEFORE_DOCUMENT: Final = re.compile(rb',"counts":%b,"document":' % _FLAT_OBJECT, re.DOTALL)
_AFTER_DOCUMENT: Final = b',"source":{'
_EVENT: Final = re.compile(rb'\{(?:"[a-z]+":%b,)*"data":' % _STRING, re.DOTALL)
_TOKEN: Final = re.compile(rb"%b|[{}\[\]:,]" % _STRING, re.DOTALL)

_T = TypeVar("_T", str, int)


class _Wrong(Exception):  # noqa: N818 - never leaves this module
    """What is wrong with a value."""


def read(raw: Raw) -> Enriched:
    """Read a record of a category topic.

    Raises:
        UnreadableMessageError: it is no enriched document of a version that is known here.
    """
    try:
        return _read(raw)
    except (_Wrong, orjson.JSONDecodeError, UnicodeDecodeError) as error:
        reason = str(error)
        if isinstance(error, orjson.JSONDecodeError):
            reason = f"not JSON: {error}"
        elif isinstance(error, UnicodeDecodeError):
            reason = f"a CloudEvents header is not UTF-8: {error.reason}"
        raise UnreadableMessageError(raw.topic, raw.partition, raw.offset, reason) from None


def peek(raw: Raw) -> tuple[Entity, ...] | None:
    """Read a record's entities and nothing else of it; None where its form does not allow that.

    Raises:
        UnreadableMessageError: what stands where they should are none.
    """
    if raw.value is None:
        return None
    start = 0
    if _is_structured(raw):
        event = _EVENT.match(raw.value)
        if event is None:
            return None
        start = event.end()
    head = _HEAD.match(raw.value, start)
    if head is None:
        return None
    try:
        return _entities(orjson.loads(head[1]))
    except (_Wrong, orjson.JSONDecodeError) as error:
        raise UnreadableMessageError(raw.topic, raw.partition, raw.offset, str(error)) from None


def _read(raw: Raw) -> Enriched:
    if raw.value is None:
        raise _Wrong("the value is null")
    value, attributes = raw.value, _attributes(raw)
    if _is_structured(raw):
        value, attributes = _opened(value)
    fields = orjson.loads(value)
    if not isinstance(fields, dict):
        raise _Wrong("the value is no JSON object")
    version = fields.get("schema")
    if version != SCHEMA or isinstance(version, bool):
        raise _Wrong(
            f"its schema is {version!r}, and this is a reader of {SCHEMA}: update fewnerd-stream-client"
            if isinstance(version, int)
            else "it has no schema: it is none of fewnerd-stream's messages"
        )
    category = _of(fields, "category", str)
    if category not in _TOPICS:
        raise _Wrong(f"its category is {category!r}")
    if not isinstance(fields.get("document"), dict):
        raise _Wrong("it has no document")
    return Enriched(
        id=_of(fields, "id", str),
        category=category,
        entities=_entities(fields.get("entities")),
        counts=_counts(fields.get("counts")),
        document=_document(value),
        source=_source(fields.get("source")),
        model=_model(fields.get("model")),
        ce_id=attributes.get("id"),
        ce_source=attributes.get("source"),
        raw=raw,
    )


def _is_structured(raw: Raw) -> bool:
    return any(
        name == "content-type" and value is not None and value.startswith(STRUCTURED.encode())
        for name, value in raw.headers
    )


def _attributes(raw: Raw) -> dict[str, str]:
    """Take id and source from the headers of a CloudEvent in binary mode; the first of each counts."""
    found: dict[str, str] = {}
    for name, value in raw.headers:
        if name in {"ce_id", "ce_source"} and value is not None:
            found.setdefault(name[3:], value.decode())
    return found


def _opened(value: bytes) -> tuple[bytes, dict[str, str]]:
    """Take a CloudEvent in structured mode apart: the bytes of its data, and its attributes."""
    event = orjson.loads(value)
    if not isinstance(event, dict) or not isinstance(event.get("data"), dict):
        raise _Wrong("it is no CloudEvent with an object as its data")
    attributes = {name: each for name, each in event.items() if isinstance(each, str)}
    return _member(value, "data"), attributes


def _document(value: bytes) -> bytes:
    """Cut the document out of a value that is valid."""
    head = _HEAD.match(value)
    before = head and _BEFORE_DOCUMENT.match(value, head.end())
    if before:
        # A quote inside a string is escaped, so these bytes are a member's beginning wherever they stand; and
        # the last such member is ours, unless somebody has put more behind it: then it is looked for slowly.
        end = value.rfind(_AFTER_DOCUMENT)
        try:
            rest = orjson.loads(b"{" + value[end + 1 :])
        except orjson.JSONDecodeError:
            rest = None
        if isinstance(rest, dict) and list(rest) == ["source", "model"]:
            return value[before.end() : end]
    return _member(value, "document")


def _member(value: bytes, name: str) -> bytes:
    """Cut a member out of a JSON object that is valid; of several with one name the last, as orjson does."""
    found = b""
    for key, start, end in _members(value):
        if orjson.loads(key) == name:
            found = value[start:end].strip()
    return found


def _members(value: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Give the members of a JSON object: each name, and where its value begins and ends."""
    depth, key, start = 0, b"", -1
    for token in _TOKEN.finditer(value):
        sign = token[0][:1]
        if depth == 1 and start < 0:
            if sign == b'"':
                key = token[0]
            elif sign == b":":
                start = token.end()
        if sign in b"{[":
            depth += 1
        elif sign in b"}]":
            depth -= 1
        if start >= 0 and ((depth == 1 and sign == b",") or depth == 0):
            yield key, start, token.start()
            start = -1


def _of(fields: dict[str, Any], name: str, kind: type[_T]) -> _T:
    value = fields.get(name)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise _Wrong(f"its {name} is missing or of another type")
    return value


def _number(fields: dict[str, Any], name: str) -> float:
    value = fields.get(name)
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise _Wrong(f"an entity's {name} is missing or no number")
    return float(value)


def _entities(found: object) -> tuple[Entity, ...]:
    if not isinstance(found, list):
        raise _Wrong("its entities are no list")
    return tuple(map(_entity, found))


def _entity(found: object) -> Entity:
    if not isinstance(found, dict):
        raise _Wrong("one of its entities is no object")
    return Entity(
        text=_of(found, "text", str),
        start=_of(found, "start", int),
        end=_of(found, "end", int),
        coarse=_of(found, "coarse", str),
        fine=_of(found, "fine", str),
        label=_of(found, "label", str),
        score=_number(found, "score"),
        coarse_score=None if found.get("coarse_score") is None else _number(found, "coarse_score"),
    )


def _counts(found: object) -> dict[str, int]:
    if not isinstance(found, dict):
        raise _Wrong("its counts are no object")
    return {name: _of(found, name, int) for name in found}


def _source(found: object) -> Source:
    if not isinstance(found, dict):
        raise _Wrong("its source is no object")
    return Source(
        topic=_of(found, "topic", str),
        partition=_of(found, "partition", int),
        offset=_of(found, "offset", int),
        timestamp=None if found.get("timestamp") is None else _of(found, "timestamp", int),
        attempt=_of(found, "attempt", int),
        replay=_of(found, "replay", int),
    )


def _model(found: object) -> Model:
    if not isinstance(found, dict):
        raise _Wrong("its model is no object")
    return Model(
        name=_of(found, "name", str),
        digest=_of(found, "digest", str),
        precision=_of(found, "precision", str),
    )
