"""What the demonstration sends: news of our own writing, and between it what no worker can enrich.

The news is in ``feed.jsonl``: all categories, long documents, odd Unicode, two with one id. Some of it is
made up. What is malformed cannot stand in such a file, so it stands here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Final

from fewnerd_stream.errors import Reason

if TYPE_CHECKING:
    from fewnerd_stream.settings import Settings

FLAKY: Final = "n-40"
"""The id of the document on which the demonstration's tagger fails, at its first two attempts."""

FLAKY_FAILURES: Final = 2
_EVERY: Final = 6


@dataclass(frozen=True, slots=True)
class Item:
    """A record to send, and what should become of it: a reason where it should end among the dead letters."""

    name: str
    value: bytes | None
    reason: Reason | None = None

    @property
    def key(self) -> bytes:
        """The record's key."""
        return self.name.encode()


def news() -> list[Item]:
    """Read the documents that can be enriched."""
    lines = resources.files(__package__).joinpath("feed.jsonl").read_bytes().splitlines()
    return [Item(json.loads(line)["id"], line) for line in lines]


def flaky_text() -> str:
    """Give the text on which the demonstration's tagger fails."""
    found = [json.loads(item.value or b"")["text"] for item in news() if item.name == FLAKY]
    return str(found[0])


def malformed(settings: Settings) -> list[Item]:
    """Make one record for each reason for which a document is rejected as it is read."""
    deep = settings.max_depth + 1
    values: list[tuple[Reason, bytes | None]] = [
        (Reason.NOT_JSON, b'{"id": "m-1", "text": "The wire went dead in the middle of the sen'),
        (Reason.MISSING_FIELD, b'{"id": "m-2", "title": "A headline, and nothing under it"}'),
        (Reason.TOMBSTONE, None),
        (Reason.BLANK_TEXT, b'{"id": "m-4", "text": " \\r\\n\\t "}'),
        (Reason.WRONG_TYPE, b'{"id": 5, "text": "The id is a number, which is not what was agreed on."}'),
        (Reason.NAN, b'{"id": "m-6", "text": "The thermometer in Oslo broke.", "degrees": NaN}'),
        (Reason.INVALID_UTF8, '{"id": "m-7", "text": "Grüße aus München"}'.encode("latin-1")),
        (Reason.UNPAIRED_SURROGATE, b'{"id": "m-8", "text": "Half a smile from Rome: \\ud83d"}'),
        (Reason.NOT_AN_OBJECT, b'["m-9", "A list is no document."]'),
        (Reason.TOO_DEEP, b'{"id": "m-10", "text": "Deep.", "tree": ' + b"[" * deep + b"]" * deep + b"}"),
        (
            Reason.TEXT_TOO_LARGE,
            b'{"id": "m-11", "text": "%b"}' % (b"All work. " * (settings.max_text_bytes // 10 + 1)),
        ),
    ]
    return [Item(f"m-{number}", value, reason) for number, (reason, value) in enumerate(values, 1)]


def feed(settings: Settings) -> list[Item]:
    """Give everything in the order in which it is sent: after every few documents one that is malformed."""
    items: list[Item] = []
    bad = iter(malformed(settings))
    for number, item in enumerate(news(), 1):
        items.append(item)
        if number % _EVERY == 0 and (wrong := next(bad, None)) is not None:
            items.append(wrong)
    return [*items, *bad]
