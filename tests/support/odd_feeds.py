"""Feeds as they come in the world, written for the tests: well formed, odd, broken, and hostile."""
# ruff: noqa: E501 - a feed in one line is easiest to compare with the next

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_RSS: Final = '<?xml version="1.0"{}?><rss version="2.0"{}><channel><title>T</title>{}</channel></rss>'
_ATOM: Final = '<feed xmlns="http://www.w3.org/2005/Atom"><title>T</title>{}</feed>'


@dataclass(frozen=True)
class Odd:
    """A feed, and what must come of it: for each entry words of its text, and its id where it counts."""

    name: str
    body: bytes
    texts: tuple[str, ...] = ("Merkel",)
    ids: tuple[str, ...] | None = None
    content_type: str = "application/rss+xml"
    fails: bool = False


def rss(items: str, encoding: str = "", more: str = "") -> bytes:
    """Write RSS 2.0 around items."""
    return _RSS.format(f' encoding="{encoding}"' if encoding else "", more, items).encode(
        encoding or "utf-8", "xmlcharrefreplace"
    )


def item(body: str = "Merkel", guid: str = "1", more: str = "") -> str:
    """Write an item of RSS."""
    return f"<item><title>A</title><guid>{guid}</guid><description>{body}</description>{more}</item>"


def atom(*entries: str) -> bytes:
    """Write Atom around entries."""
    return _ATOM.format("".join(entries)).encode()


def entry(content: str, number: str = "1", more: str = "") -> str:
    """Write an entry of Atom."""
    return f"<entry><id>urn:{number}</id><title>A</title>{content}{more}</entry>"


_ONE: Final = rss(item())
_CHARSETS: Final = (
    "utf-8",
    "iso-8859-1",
    "windows-1252",
    "utf-16",
    "koi8-r",
    "windows-1251",
    "gb18030",
    "shift_jis",
)
_WORDS: Final = {"koi8-r": "Москва", "windows-1251": "Москва", "gb18030": "北京市", "shift_jis": "東京都"}
_BODIES: Final = {
    # what is in a description: what is read of it
    "markup escaped": ("&lt;p&gt;Angela &lt;b&gt;Merkel&lt;/b&gt;&lt;/p&gt;", "Angela Merkel"),
    "markup in CDATA": ("<![CDATA[<p>Angela <i>Merkel</i></p>]]>", "Angela Merkel"),
    "markup that is talked about": ("&amp;lt;b&amp;gt;Merkel&amp;lt;/b&amp;gt;", "<b>Merkel</b>"),
    "named entity": ("<![CDATA[M&uuml;nchen]]>", "München"),
    "numeric entity": ("M&#252;nchen", "München"),
    "windows quotes as references": ("<![CDATA[&#147;Merkel&#148;]]>", "Merkel"),
    "script": ("<![CDATA[<script>alert('x')</script>Merkel<style>b{}</style>]]>", "Merkel"),
    "script without end": ("<![CDATA[Merkel <script>alert(1)]]>", "Merkel"),
    "event handler": ('<![CDATA[<img src=x onerror="alert(1)">Merkel]]>', "Merkel"),
    "comment": ("<![CDATA[<!-- hidden -->Merkel]]>", "Merkel"),
    "conditional comment": ("<![CDATA[<!--[if IE]>no<![endif]-->Merkel]]>", "Merkel"),
    "unclosed tags": ("<![CDATA[<p>Angela<p><b>Merkel]]>", "Merkel"),
    "wrong nesting": ("<![CDATA[<b><i>Merkel</b></i>]]>", "Merkel"),
    "a less-than sign": ("<![CDATA[1 < 2, said Merkel]]>", "1 < 2, said Merkel"),
    "an ampersand": ("<![CDATA[AT&T and Merkel]]>", "AT&T and Merkel"),
    "tracking pixel": ('<![CDATA[Merkel<img width="1" height="1" src="http://x/p.gif">]]>', "Merkel"),
    "table": ("<![CDATA[<table><tr><td>Angela</td><td>Merkel</td></tr></table>]]>", "Merkel"),
    "line breaks": ("<![CDATA[Angela<br>Merkel<br/>]]>", "Angela\nMerkel"),
    "right to left": ("أنجيلا ميركل", "ميركل"),
    "emoji": ("Merkel 🇩🇪👩‍🔬", "🇩🇪"),
    "zero-width": ("Mer\u200bkel", "Mer\u200bkel"),
    "no-break spaces": ("Angela\u00a0Merkel", "Angela Merkel"),
    "a control character": ("Merkel\x08", "Merkel"),
    "one very long word": (f"Merkel {'x' * 100_000}", "Merkel"),
    "nested deep": (f"<![CDATA[{'<div>' * 3000}Merkel]]>", ""),
    "an svg": ("<![CDATA[<svg><title>no</title></svg>Merkel]]>", "Merkel"),
    "blank": ("   ", "A"),
}

CORPUS: Final[tuple[Odd, ...]] = (
    *(Odd(f"description: {name}", rss(item(body)), (read,)) for name, (body, read) in _BODIES.items()),
    *(
        Odd(f"charset {name}", rss(item(_WORDS.get(name, "Grüße")), name), (_WORDS.get(name, "Grüße"),))
        for name in _CHARSETS
    ),
    Odd("byte order mark", b"\xef\xbb\xbf" + _ONE),
    Odd("blanks before the declaration", b"\n\n  " + _ONE),
    Odd("no declaration", _ONE.partition(b"?>")[2]),
    Odd("declares another charset than it has", rss(item("Merkel"), "utf-16").decode("utf-16").encode()),
    Odd(
        "charset in the header alone",
        rss(item("Grüße")).decode().encode("latin-1"),
        ("Gr",),
        content_type="text/xml; charset=iso-8859-1",
    ),
    Odd("header with an unknown charset", _ONE, content_type="text/xml; charset=klingon"),
    Odd("served as HTML", _ONE, content_type="text/html"),
    Odd("served as text", _ONE, content_type="text/plain"),
    Odd("served without a type", _ONE, content_type=""),
    Odd("cut in the middle", _ONE[: _ONE.index(b"</item>")]),
    Odd("an undeclared entity", rss(item("Merkel &nbsp; &hellip;"))),
    Odd("a bare ampersand", rss(item("Merkel & Co"))),
    Odd("an unknown prefix", rss(item("Merkel", more="<foo:bar>x</foo:bar>"))),
    Odd("tags in upper case", _ONE.replace(b"item", b"ITEM").replace(b"description", b"DESCRIPTION")),
    Odd("RSS 0.91", _ONE.replace(b"2.0", b"0.91")),
    Odd(
        "RSS 1.0",
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"><channel rdf:about="x"><title>T</title></channel><item rdf:about="http://x/1"><title>A</title><link>http://x/1</link><description>Merkel</description></item></rdf:RDF>',
    ),
    Odd(
        "content:encoded over the description",
        rss(
            item(
                "short",
                more='<c:encoded xmlns:c="http://purl.org/rss/1.0/modules/content/"><![CDATA[<p>All that Merkel said</p>]]></c:encoded>',
            )
        ),
        ("All that Merkel said",),
    ),
    Odd(
        "no guid, but a link",
        rss("<item><title>Merkel</title><link>http://x/2</link></item>"),
        ids=("http://x/2",),
    ),
    Odd("neither guid nor link", rss("<item><title>Merkel</title></item>")),
    Odd("no title", rss("<item><guid>1</guid><description>Merkel</description></item>"), ids=("1",)),
    Odd("an empty item", rss("<item/>" + item()), ("", "Merkel")),
    Odd("a guid twice", rss(item() + item("Merkel again")), ("Merkel", "Merkel again"), ("1", "1")),
    Odd("a huge guid", rss(item(guid="g" * 100_000))),
    Odd("a guid of markup", rss(item(guid="&lt;script&gt;"))),
    Odd(
        "dates of every kind",
        rss(
            "".join(
                item(guid=str(n), more=f"<pubDate>{d}</pubDate>")
                for n, d in enumerate(
                    ("Mon, 31 Feb 2026 25:61:00 GMT", "yesterday", "2026-01-31", "", "99999-01-01T00:00:00Z")
                )
            )
        ),
        ("Merkel",) * 5,
    ),
    Odd("a relative link", rss("<item><title>Merkel</title><link>/a</link></item>")),
    Odd("a javascript link", rss("<item><title>Merkel</title><link>javascript:alert(1)</link></item>")),
    Odd("a broken link", rss("<item><title>Merkel</title><link>http://[::1</link></item>")),
    Odd("Atom text", atom(entry("<content>Merkel</content>")), ids=("urn:1",)),
    Odd("Atom html", atom(entry('<content type="html">&lt;p&gt;Merkel&lt;/p&gt;</content>'))),
    Odd(
        "Atom xhtml",
        atom(
            entry(
                '<content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>Merkel</p></div></content>'
            )
        ),
    ),
    Odd("Atom summary alone", atom(entry("<summary>Merkel</summary>"))),
    Odd(
        "Atom base64",
        atom(entry('<content type="application/pdf">TWVya2Vs</content>', more="<summary>Merkel</summary>")),
    ),
    Odd(
        "Atom title of markup",
        atom('<entry><id>1</id><title type="html">&lt;b&gt;Merkel&lt;/b&gt;</title></entry>'),
    ),
    Odd(
        "Atom 0.3",
        b'<feed version="0.3" xmlns="http://purl.org/atom/ns#"><title>T</title><entry><id>1</id><title>Merkel</title></entry></feed>',
    ),
    Odd("no entries", rss(""), ()),
    Odd("one thousand entries", rss("".join(item(guid=str(n)) for n in range(1000))), ("Merkel",) * 1000),
    Odd("a stylesheet", b'<?xml version="1.0"?><?xml-stylesheet href="x.xsl"?>' + _ONE.partition(b"?>")[2]),
    Odd(
        "a document type",
        b'<?xml version="1.0"?><!DOCTYPE rss SYSTEM "http://127.0.0.1:9/x.dtd">' + _ONE.partition(b"?>")[2],
    ),
    Odd(
        "an external entity",
        b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
        + rss(item("Merkel &x;")).partition(b"?>")[2],
    ),
    Odd("nothing", b"", fails=True),
    Odd(
        "an HTML page",
        b"<!doctype html><html><head><title>404</title></head><body>Not found</body></html>",
        fails=True,
    ),
    Odd("JSON", b'{"version": "https://jsonfeed.org/version/1"}', fails=True),
    Odd("noise", bytes(range(256)) * 200, fails=True),
)


def bomb() -> bytes:
    """Write an entity that would unfold into gigabytes."""
    names = [f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12)]
    head = f'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY e0 "Merkel">{"".join(names)}]>'
    return head.encode() + rss(item("&e11;")).partition(b"?>")[2]
