"""Look at JSON without making objects of it: how deep it nests, and what it is without a member, or blanks.

All keep to the bytes, since a round trip through Python changes numbers.
"""

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final

import orjson

# The closing quote may be missing: else a broken string would be tried again from each of its quotes.
_STRING: Final = rb'"(?:[^"\\]++|\\.)*+"?'
_strings: Final = re.compile(_STRING, re.DOTALL)
_tokens: Final = re.compile(_STRING + rb"|[\[\]{},:]", re.DOTALL)
_blanks: Final = re.compile(_STRING + rb"|[ \t\r\n]++", re.DOTALL)

_QUOTE: Final = ord('"')
_BRACKETS: Final = b"[]{}"
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(_BRACKETS))
_STEP: Final = [0] * 256
for _byte in _BRACKETS:
    _STEP[_byte] = 1 if _byte in b"[{" else -1


def nesting(value: bytes) -> int:
    """Count the levels of arrays and objects, without those that only stand in strings."""
    brackets = _strings.sub(b"", value).translate(None, _NOT_BRACKETS)
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0)


def without_member(value: bytes, name: str) -> bytes:
    """Leave out every member of that name from a JSON object; all else stays byte for byte.

    Args:
        value: one valid JSON object.
        name: the member's name as it reads, however it is escaped.
    """
    kept: list[bytes] = []
    depth = 0
    first = start = end = -1
    key: bytes | None = None
    for token in _tokens.finditer(value):
        mark = value[token.start()]
        if mark in b"{[":
            depth += 1
            if depth == 1:
                first = start = token.end()
        elif depth == 1 and mark in b",}":
            if key is not None and _unquoted(key) != name:
                kept.append(value[start : token.start()])
            key, start, end = None, token.end(), token.start()
            depth -= mark in b"}"
        elif mark in b"}]":
            depth -= 1
        elif depth == 1 and key is None:  # the first string of a member is its name
            key = token.group()
    return value[:first] + b",".join(kept) + value[end:]


def compact(value: bytes) -> bytes:
    """Leave out the blanks between a JSON value's tokens, line feeds among them; all else stays byte for byte."""
    return _blanks.sub(lambda token: token[0] if token[0][0] == _QUOTE else b"", value)


def _unquoted(key: bytes) -> str:
    text: str = orjson.loads(key)
    return text
