"""HTML as plain text, by a real parser: what a person would read, a line for each block."""

from __future__ import annotations

import html
import re
from typing import Final

from lxml import etree
from lxml.html import HTMLParser

_BLOCKS: Final = frozenset(
    "address article aside blockquote br caption center dd div dl dt fieldset figcaption figure footer form h1 h2 h3"
    " h4 h5 h6 header hr li main nav ol p pre section table tbody td tfoot th thead title tr ul".split()
)
_UNSEEN: Final = frozenset(
    "applet audio base canvas embed frame head iframe link math meta noembed noframes object script style svg"
    " template video".split()
)
_MARKUP: Final = re.compile(r"<[!/?A-Za-z]|&(?:#\d+|#x[0-9A-Fa-f]+|[A-Za-z]+);")
_SPACES: Final = re.compile(r"[^\S\n\u00a0]+|\u00a0")
_BREAKS: Final = re.compile(r" ?\n[\s]*")
_CONTROLS: Final = {code: None for code in range(0x20) if chr(code) not in "\t\n\r"} | dict.fromkeys(
    range(0xD800, 0xE000), 0xFFFD
)


def plain(markup: str) -> str:
    """Give the text of an HTML fragment or page: without scripts, styles and tags, entities resolved.

    Text in which nothing looks like markup comes back with its white space tidied.
    """
    markup = markup.translate(_CONTROLS)
    if not _MARKUP.search(markup):
        return tidy(markup)
    # lxml refuses a text that is empty or all comments; as bytes, an encoding that it declares would count.
    parser = HTMLParser(encoding="utf-8", huge_tree=False, remove_comments=True, remove_pis=True)
    try:
        root = etree.fromstring(b"<div>" + markup.encode(), parser)
    except etree.XMLSyntaxError:
        root = None
    if root is None:
        return tidy(html.unescape(re.sub(r"<[^<>]*>", " ", markup)))
    return tidy("".join(_pieces(root)))


def _pieces(root: etree._Element) -> list[str]:
    """Walk without recursion: hostile pages nest deep."""
    out: list[str] = []
    unseen: etree._Element | None = None
    for event, node in etree.iterwalk(root, events=("start", "end")):
        tag = node.tag if isinstance(node.tag, str) else ""
        if event == "start":
            if unseen is None and tag in _UNSEEN:
                unseen = node
            if unseen is None:
                out += ("\n" if tag in _BLOCKS else "", node.text or "")
        else:
            if node is unseen:
                unseen = None
            elif unseen is None and tag in _BLOCKS:
                out.append("\n")
            if unseen is None and node is not root:
                out.append(node.tail or "")
    return out


def tidy(text: str) -> str:
    """Make one space of many, one break of many, and cut both ends."""
    text = _SPACES.sub(" ", text.replace("\r\n", "\n").replace("\r", "\n"))
    return _BREAKS.sub("\n", text).strip()
