"""Bad records: poison of known kinds, and fuzz grown from a real document, with an oracle for what must come of it.

The oracle reads JSON with the standard library, so that it shares nothing with the product's own reading.
"""

from __future__ import annotations

import json
import math
import random
from typing import TYPE_CHECKING, Any, Final

from tests.faults import load
from tests.support.clients import New

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_DEPTH: Final = 200

POISON: Final[tuple[tuple[str, bytes | None], ...]] = (
    ("tombstone", None),
    ("not-json", b""),
    ("not-json", b'{"id": "p", "text": "Anna moved to Oslo."'),
    ("not-json", b"Anna moved to Oslo."),
    ("nan", b'{"id": "p", "text": "Anna moved to Oslo.", "x": NaN}'),
    ("nan", b'{"id": "p", "text": "Anna moved to Oslo.", "x": -Infinity}'),
    ("nan", b'{"id": "p", "text": "Anna moved to Oslo.", "x": 1e999}'),
    ("invalid-utf8", b'{"id": "p", "text": "Anna moved to Osl\xff."}'),
    ("invalid-utf8", b'{"id": "p", "text": "\xed\xa0\x80"}'),
    ("unpaired-surrogate", b'{"id": "p", "text": "Anna \\ud800 moved."}'),
    ("unpaired-surrogate", b'{"id": "p", "text": "Anna moved.", "\\udc00": 1}'),
    ("not-an-object", b'["id", "text"]'),
    ("not-an-object", b"null"),
    ("missing-field", b'{"id": "p"}'),
    ("missing-field", b'{"text": "Anna moved to Oslo."}'),
    ("wrong-type", b'{"id": 7, "text": "Anna moved to Oslo."}'),
    ("wrong-type", b'{"id": "p", "text": ["Anna"]}'),
    ("blank-text", b'{"id": "p", "text": " \\n\\t "}'),
    ("too-deep", b'{"id": "p", "text": "Anna moved to Oslo.", "x": ' + b"[" * 200 + b"]" * 200 + b"}"),
    ("too-deep", b'{"id": "p", "text": "Anna moved to Oslo.", "x": ' + b'{"y":' * 900 + b"1" + b"}" * 901),
)
"""Poison, each with the reason for which it must be dead."""


def poison(index: int) -> tuple[str, bytes | None]:
    """Give the next kind of poison, in turn."""
    return POISON[index % len(POISON)]


def large(limits: Mapping[str, str]) -> list[tuple[str, bytes]]:
    """Give a document too large to take, and one whose result is too large to give."""
    text = int(limits["max_text_bytes"])
    # Each of these words is a place, and an entity takes more bytes than its name.
    places = "Paris, Oslo, Lima, Cairo, Delhi, Osaka and "
    return [
        ("text-too-large", json.dumps({"id": "large", "text": "a b " * (text // 4 + 1)}).encode()),
        (
            "result-too-large",
            json.dumps({"id": "large", "text": places * (text // 2 // len(places))}).encode(),
        ),
    ]


def oracle(value: bytes | None) -> tuple[str | None, str]:
    """Say for which reason a record must be dead, or None and the text that must be tagged."""
    if value is None:
        return "tombstone", ""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return "invalid-utf8", ""
    reason, fields = _parsed(text)
    if reason is None:
        reason = _misfit(fields)
    return (reason, "") if reason is not None else (None, fields["text"])


def _parsed(text: str) -> tuple[str | None, Any]:
    """Read JSON, or say what is wrong with it."""
    if _depth(text) > MAX_DEPTH:
        return "too-deep", None
    try:
        fields = json.loads(text, parse_constant=_no_number, parse_float=_number, parse_int=_number)
        # All pairs, also those that a later one of the same name hides.
        json.dumps(json.loads(text, object_pairs_hook=list), ensure_ascii=False).encode("utf-8")
    except _NotFiniteError:
        return "nan", None
    except UnicodeEncodeError:
        return "unpaired-surrogate", None
    except ValueError:
        return "not-json", None
    return None, fields


def _misfit(fields: Any) -> str | None:
    """Say what keeps a JSON value from being a document."""
    if not isinstance(fields, dict):
        return "not-an-object"
    for name in ("id", "text"):
        if name not in fields:
            return "missing-field"
        if not isinstance(fields[name], str):
            return "wrong-type"
    if not fields["id"].strip():
        return "missing-field"
    return None if fields["text"].strip() else "blank-text"


class _NotFiniteError(ValueError):
    """A number that no double holds."""


def _no_number(literal: str) -> float:
    raise _NotFiniteError(literal)


def _number(literal: str) -> float:
    number = float(literal)
    if math.isinf(number):
        raise _NotFiniteError(literal)
    return number


def _depth(text: str) -> int:
    """Count how deep brackets nest outside strings, in what may be no JSON at all."""
    depth = deepest = 0
    inside = escaped = False
    for char in text:
        if inside:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                inside = False
        elif char == '"':
            inside = True
        elif char in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "]}":
            depth -= 1
    return deepest


# -- growing ---------------------------------------------------------------------------------------------


def grow(seed: int, index: int) -> New:
    """Grow a fuzzed record from a real document: its fields, its JSON, its bytes, or what Kafka puts around them."""
    chance = random.Random(f"{seed}/fuzz/{index}")
    value: bytes | None = load.document(seed, load.SPECIAL + index)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        if value is None:
            break
        value = chance.choice(_CHANGES)(value, chance)
    key = chance.choice((None, b"", b"k", b"\x00\xff", b"k" * 300))
    headers = tuple(_header(chance) for _ in range(chance.choice((0, 0, 1, 3, 12))))
    return New(value, key, headers)


_STRINGS: Final = (
    "",
    " ",
    "\u0000",
    "\u200b",
    "é",
    "e\u0301",
    "😀",
    "👩‍👩‍👧",
    "שלום",
    "\ufeff",
    "\u2028",
    "a" * 5000,
    "Angela Merkel",
    "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
    '"',
    "\\",
    "</script>",
    "\r\n",
)
_NUMBERS: Final = (
    "0",
    "-0",
    "1.10",
    "1e5",
    "1e-400",
    "1e999",
    "123456789012345678901234567890",
    "NaN",
    "Infinity",
    "01",
    "1.",
    "+1",
    "0x10",
)


def _header(chance: random.Random) -> tuple[str, bytes | None]:
    name = chance.choice(
        (
            "x",
            "tag",
            "ce_id",
            "ce_type",
            "content-type",
            "original.x",
            "__fewnerd.attempt",
            "__fewnerd.topic",
            "__fewnerd.offset",
            "__fewnerd.partition",
            "__fewnerd.replay",
            "__fewnerd.not-before",
            "",
            "é",
        )
    )
    return name, chance.choice(
        (None, b"", b"7", b"\xff\xfe", b"raw-documents", b"99999999999999999999", b"v" * 2000)
    )


def _fields(value: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _written(fields: Any) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _other_value(value: bytes, chance: random.Random) -> bytes:
    """Put another value into a field."""
    fields = _fields(value)
    if not fields:
        return value
    other = chance.choice((None, True, 7, 1.5, [], {}, ["Anna"], {"text": "Anna"}, *_STRINGS))
    fields[chance.choice(list(fields))] = other
    return _written(fields)


def _no_field(value: bytes, chance: random.Random) -> bytes:
    """Take a field away, or name it otherwise."""
    fields = _fields(value)
    if not fields:
        return value
    name = chance.choice(list(fields))
    found = fields.pop(name)
    if chance.random() < 0.5:
        fields[chance.choice((name.upper(), name + " ", "", "ıd"))] = found
    return _written(fields)


def _in_text(value: bytes, chance: random.Random) -> bytes:
    """Put something odd into the text, raw or as an escape."""
    fields = _fields(value)
    if not fields or not isinstance(fields.get("text"), str):
        return value
    text, at = fields["text"], chance.randrange(len(fields["text"]) + 1)
    fields["text"] = text[:at] + chance.choice((*_STRINGS, "@@")) + text[at:]
    escape = chance.choice(
        (b"\\ud800", b"\\udc00\\ud800", b"\\ud83d\\ude00", b"\\u0000", b"\\x", b"\\u12", b"\t", b"\x00")
    )
    return _written(fields).replace(b"@@", escape)


def _nested(value: bytes, chance: random.Random) -> bytes:
    """Nest something, as deep as is allowed or deeper."""
    depth = chance.choice((1, 5, 150, 198, 199, 200, 201, 500, 1100))
    inner = chance.choice((b"1", b"", b'"}"', b'"["'))
    nest = b"[" * depth + inner + b"]" * (depth - chance.choice((0, 0, 0, 1)))
    if chance.random() < 0.3:
        nest = b'{"a":' * depth + (inner or b"1") + b"}" * depth
    return value[:-1] + b', "x": ' + nest + b"}"


def _numbers(value: bytes, chance: random.Random) -> bytes:
    """Add a number, as JSON writes it or as it does not."""
    return value[:-1] + b', "n": ' + chance.choice(_NUMBERS).encode() + b"}"


def _twice(value: bytes, chance: random.Random) -> bytes:
    """Give a field a second time: the last counts."""
    again = chance.choice(
        (b'"text": "Anna moved to Oslo."', b'"text": 7', b'"id": ""', b'"id": "again"', b'"text": " "')
    )
    return value[:-1] + b", " + again + b"}"


def _bytes(value: bytes, chance: random.Random) -> bytes:
    """Change, drop or add some bytes."""
    data = bytearray(value)
    for _ in range(chance.choice((1, 1, 3))):
        at = chance.randrange(len(data) + 1)
        what = chance.random()
        if what < 0.4 and at < len(data):
            data[at] = chance.randrange(256)
        elif what < 0.7:
            del data[at : at + chance.choice((1, 1, 4, 40))]
        else:
            data[at:at] = bytes(chance.randrange(256) for _ in range(chance.choice((1, 2, 8))))
    return bytes(data)


def _encoded(value: bytes, chance: random.Random) -> bytes:
    """Encode it otherwise than in UTF-8."""
    text = value.decode("utf-8", "replace")
    name = chance.choice(("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1", "utf-7"))
    return text.encode(name, "replace")


def _around(value: bytes, chance: random.Random) -> bytes | None:
    """Put something around it, or leave nothing of it."""
    return chance.choice(
        (
            None,
            b"",
            b"[" + value + b"]",
            value + value,
            b" \n" + value + b"\r\n\t",
            b"\x00" + value,
            value + b"\x00",
            json.dumps(value.decode("utf-8", "replace")).encode(),
            b"null",
            b"true",
            value[: len(value) // 2],
        )
    )


_CHANGES: Final[tuple[Callable[[bytes, random.Random], bytes | None], ...]] = (
    _other_value,
    _no_field,
    _in_text,
    _in_text,
    _nested,
    _numbers,
    _twice,
    _bytes,
    _bytes,
    _encoded,
    _around,
)
