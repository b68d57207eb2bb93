"""What strangers write to break, forge or colour what an operator sees."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import strategies as st

FORGED = "Error: forged"

_NAUGHTY = (
    "[/x]",
    "[red]red",
    "[link=http://x]y",
    "\\[/x]",
    ":smile:",
    "\x1b[2J",
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1b]0;owned\x07",
    "\x9b31m",
    "\x07\x08\x0b\x0c\x7f",
    "\r\nError: forged",
    "\nError: forged\n",
    "\u2028Error: forged",
    "\u202egnp.exe",
    "\u2066x\u2069",
    "\u061c\u200f\ufeff\u200b",
    "\U000e0041\U000e007f",
    "\ud800",
    "{0}{name}%s%d",
    "é👩‍👩‍👧 東京",
    '"}\n{"forged": true}\n',
    "",
)
_STEERS = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)

TEXTS = st.lists(st.sampled_from(_NAUGHTY) | st.text(max_size=6), max_size=4).map("".join)
"""Texts that try it."""

NUMBERS: st.SearchStrategy[Any] = (
    st.integers(-3, 30) | st.none() | st.booleans() | st.floats() | TEXTS | st.integers(2**63, 2**70)
)


def steers(text: str) -> bool:
    """Say whether a text has a character that could steer a terminal, or end a line."""
    return _STEERS.search(text) is not None


def _bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")


ENTITIES = st.fixed_dictionaries(
    {},
    optional={
        "text": TEXTS | NUMBERS,
        "start": NUMBERS,
        "end": NUMBERS,
        "coarse": TEXTS | NUMBERS,
        "label": TEXTS | NUMBERS,
    },
)
ENRICHED = st.fixed_dictionaries(
    {},
    optional={
        "id": TEXTS | NUMBERS,
        "category": TEXTS,
        "entities": st.lists(ENTITIES | NUMBERS, max_size=3) | NUMBERS,
        "document": st.fixed_dictionaries({}, optional={"text": TEXTS | NUMBERS, "id": TEXTS}) | NUMBERS,
        "source": st.fixed_dictionaries({}, optional={"topic": TEXTS, "partition": NUMBERS, "offset": TEXTS})
        | TEXTS,
    },
).map(_bytes)
"""Enriched documents that are none."""

DATA = (
    st.none()
    | st.binary(max_size=20)
    | TEXTS.map(lambda text: text.encode(errors="surrogatepass"))
    | ENRICHED
)
"""Keys and values."""

HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                f"__fewnerd.{name}"
                for name in (
                    "reason attempt attempts replay topic partition offset timestamp not-before model errors.stage "
                    "errors.topic errors.exception.class.name errors.exception.message errors.exception.stacktrace"
                ).split()
            ]
        )
        | TEXTS,
        DATA,
    ),
    max_size=6,
).map(tuple)
"""Headers, ours among them."""
