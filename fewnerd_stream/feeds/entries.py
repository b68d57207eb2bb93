"""Documents that sources make: a stable id, a text, and where it is from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from fewnerd_stream.settings import Settings


def stable_id(*parts: str) -> str:
    """Make an id of what never changes of a document: the same parts, the same id, on any machine."""
    joined = "".join(f"{len(part)}:{part}" for part in parts)
    return hashlib.sha256(joined.encode(errors="surrogatepass")).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Entry:
    """A document of a source; what is empty is left out of it."""

    id: str
    text: str
    title: str = ""
    url: str = ""
    time: str = ""
    feed: str = ""
    """What to call the source: a feed's title, else its address."""
    source: str = ""
    """The source's address."""

    def document(self, settings: Settings) -> tuple[bytes, bytes]:
        """Write it as a raw document: the record's key and value.

        The title is the text's first line, unless the text begins with it: who is named there counts, too.
        """
        text = self.text
        if self.title and not text.startswith(self.title):
            text = f"{self.title}\n\n{text}".strip()
        fields = {settings.id_field: self.id, settings.text_field: text}
        for name in ("title", "url", "time", "feed", "source"):
            value = getattr(self, name)
            if value:
                fields.setdefault(name, value)
        return self.id.encode(), orjson.dumps(fields)


def from_bytes(data: bytes, source: str, identity: str, settings: Settings) -> tuple[bytes, bytes]:
    """Make a document of what somebody sends: the record's key and value.

    A JSON object stays byte for byte what it is, also one that no worker will take: then it is found among
    the dead letters with its reason. Only an id is added where there is none. All else is a text.

    Args:
        data: as it came.
        source: where it came from.
        identity: what it is called there; empty: its content tells.
        settings: the names of the fields.
    """
    try:
        fields = orjson.loads(data)
    except orjson.JSONDecodeError:
        fields = None
    made = identity_of(data, source, identity)
    if isinstance(fields, dict) and settings.id_field not in fields:
        inner = data.strip()[1:].lstrip()
        comma = b"" if inner.startswith(b"}") else b","
        head = b"{" + orjson.dumps(settings.id_field) + b":" + orjson.dumps(made)
        return made.encode(), head + comma + inner
    if isinstance(fields, dict):
        known = fields[settings.id_field]
        return (known.encode() if isinstance(known, str) and known else made.encode()), data
    if data.lstrip().startswith(b"{"):  # meant as an object
        return made.encode(), data
    return made.encode(), Entry(made, data.decode(errors="replace"), source=source).document(settings)[1]


def identity_of(data: bytes, source: str, identity: str) -> str:
    """Make an id of what something is called at its source, or of its content."""
    return stable_id(source, identity or hashlib.sha256(data).hexdigest())
