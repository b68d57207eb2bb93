"""What others wrote, made fit to be shown: on a terminal and in a log. Pure.

Documents, headers, bundles, brokers and members of a group are strangers. What they write may hold escape
sequences that steer a terminal, line feeds that forge a line, and overrides that turn what is read around.
Whatever of them is shown goes through here.
"""

from __future__ import annotations

import re
from typing import Final

_INVISIBLE: Final = (
    *range(0x80, 0xA0),  # C1: some terminals take U+009B for ESC [
    0x061C,
    0x180E,
    0x200B,
    0x200E,
    0x200F,
    *range(0x2028, 0x202F),  # line and paragraph separators, embeddings and overrides
    *range(0x2060, 0x2070),  # isolates, and format characters of no use
    *range(0xD800, 0xE000),
    0xFEFF,
    *range(0xFFF9, 0xFFFC),
    *range(0xE0000, 0xE0080),
)
"""Characters that steer and are not seen. The joiners U+200C and U+200D stay: words and emoji need them."""

_KEPT: Final = dict.fromkeys(_INVISIBLE, 0xFFFD) | {
    code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"
}
_KEPT[0x7F] = 0x2421
_ONE_LINE: Final = _KEPT | {0x09: 0x2409, 0x0A: 0x240A}

UNSAFE: Final = re.compile(f"[{re.escape(''.join(map(chr, (0x7F, *_INVISIBLE))))}]")
"""What steers and can stand in a JSON string as it is."""


def harmless(text: str, *, lines: bool = False) -> str:
    """Put a visible sign in place of each character that would steer a terminal; the length stays.

    Args:
        text: whatever somebody wrote.
        lines: keep line feeds and tabs. Without it the result is one line, which nothing can end early.
    """
    return text.translate(_KEPT if lines else _ONE_LINE)


def indented(text: str, indent: str = "  ") -> str:
    """Make lines harmless and indent each, so that none can pass for one of ours."""
    return "\n".join(indent + line for line in harmless(text, lines=True).split("\n"))
