"""The latest documents as a page shows them: the categories of one document put together again. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from fewnerd_stream.contract.documents import unwrapped
from fewnerd_stream.contract.taxonomy import NONE

if TYPE_CHECKING:
    from fewnerd_stream.contract.records import Record

KEPT: Final = 500
"""Documents that are kept."""

EXCERPT: Final = 1_200
"""Code points of a text that are shown before it is opened."""

_TEXTS: Final = 64 << 20
_NAME: Final = 300
_ENTITIES: Final = 2_000
_PATIENCE: Final = 1.0


class UnreadableRecordError(ValueError):
    """A record on an output topic that no worker wrote."""


@dataclass(slots=True)
class Shown:
    """A document: what is said of it, and its entities so far."""

    place: str
    number: int
    seen: float
    fields: dict[str, Any]
    wanted: frozenset[str]
    text: str
    found: dict[str, list[list[Any]]] = field(default_factory=dict)

    def complete(self, now: float) -> bool:
        """Say whether all its categories are there, or have had their time to come."""
        return self.wanted <= self.found.keys() or now - self.seen > _PATIENCE

    def entities(self) -> list[list[Any]]:
        """Give its entities in the text's order: start, end (code points), category, type, score."""
        return sorted((one for each in self.found.values() for one in each), key=lambda one: (one[0], one[1]))

    def excerpt(self) -> dict[str, Any]:
        """Give what is shown before it is opened."""
        entities = self.entities()
        cut = EXCERPT
        if len(self.text) > EXCERPT:  # not within an entity, unless that has no end either
            cut = next((one[0] for one in entities if one[0] < EXCERPT < one[1] and one[0]), EXCERPT)
        return self.fields | {
            "place": self.place,
            "number": self.number,
            "text": self.text[:cut],
            "length": len(self.text),
            "entities": [one for one in entities if one[1] <= cut],
            "total": len(entities),
        }

    def whole(self) -> dict[str, Any]:
        """Give all of it."""
        return self.excerpt() | {"text": self.text, "entities": self.entities()}


@dataclass(frozen=True, slots=True)
class Message:
    """An enriched message, read."""

    place: str
    category: str
    entities: list[list[Any]]
    labels: list[tuple[str, str, str, float]]
    """Category, type, text and score of each."""
    latency: float | None
    """Seconds from the input's timestamp to the output's."""


class Documents:
    """The latest documents, each once, and which of them are news to the browsers."""

    def __init__(self, text_field: str) -> None:
        """Find texts in this field."""
        self._text_field = text_field
        self._kept: OrderedDict[str, Shown] = OrderedDict()
        self._news: deque[str] = deque()
        self._bytes = 0
        self._number = 0

    def see(self, record: Record, now: float) -> Message | None:
        """Take in a record of an output topic; None for one that was seen before.

        Raises:
            UnreadableRecordError: no worker wrote it.
        """
        try:
            value = unwrapped(orjson.loads(record.value or b""))
            return self._see(record, value, now)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UnreadableRecordError(str(error)) from error

    def _see(self, record: Record, value: dict[str, Any], now: float) -> Message | None:
        source = value["source"]
        place = f"{source['topic']}/{source['partition']}/{source['offset']}"[:_NAME]
        category = str(value["category"])[:_NAME]
        # With all entities in each message, those of this category count here.
        mine = [one for one in value["entities"] if one["coarse"] == category]
        rows = [
            [
                int(one["start"]),
                int(one["end"]),
                category,
                str(one["fine"])[:_NAME],
                round(float(one["score"]), 3),
            ]
            for one in mine[:_ENTITIES]
        ]
        shown = self._kept.get(place)
        if shown is None:
            shown = self._add(record, value, place, now)
        elif category in shown.found:
            return None
        shown.found[category] = rows
        self._news.append(place)
        latency = None
        if isinstance(source.get("timestamp"), int) and record.timestamp:
            latency = max(0.0, (record.timestamp - source["timestamp"]) / 1000)
        labels = [
            (category, str(one["fine"])[:_NAME], str(one["text"])[:_NAME], float(one["score"]))
            for one in mine[:_ENTITIES]
        ]
        return Message(place, category, rows, labels, latency)

    def _add(self, record: Record, value: dict[str, Any], place: str, now: float) -> Shown:
        document = value["document"]
        text = document.get(self._text_field)
        text = text if isinstance(text, str) else ""
        fields: dict[str, Any] = {"id": str(value["id"])[:_NAME], "at": record.timestamp}
        fields["attempt"] = int(value["source"].get("attempt", 0))
        for name in ("title", "url", "feed", "time"):
            given = document.get(name)
            fields[name] = given[:_NAME] if isinstance(given, str) else ""
        if not fields["url"].startswith(("http://", "https://")):
            fields["url"] = ""
        self._number += 1
        wanted = frozenset(map(str, value["counts"])) or frozenset({NONE})
        shown = self._kept[place] = Shown(place, self._number, now, fields, wanted, text)
        self._bytes += len(text)
        while len(self._kept) > KEPT or (self._bytes > _TEXTS and len(self._kept) > 1):
            _, gone = self._kept.popitem(last=False)
            self._bytes -= len(gone.text)
        return shown

    def news(self, now: float, most: int) -> tuple[list[dict[str, Any]], int]:
        """Give what is complete and was not given before, the oldest first; and how many were left out.

        Args:
            now: the time, on the same clock as in `see`.
            most: documents to give; the newest are.
        """
        ready: dict[str, Shown] = {}
        gone: set[str] = set()
        waiting: dict[str, None] = {}
        for place in self._news:
            shown = self._kept.get(place)
            if shown is not None and shown.complete(now):
                ready[place] = shown
            elif shown is not None:
                waiting[place] = None
            else:
                gone.add(place)
        self._news = deque(waiting)
        given = list(ready.values())
        left = max(0, len(given) - most)
        return [shown.excerpt() for shown in given[left:]], left + len(gone)

    def latest(self, most: int) -> list[dict[str, Any]]:
        """Give the latest documents, the oldest of them first."""
        shown = [one for one in list(self._kept.values())[-most:] if one.found]
        return [one.excerpt() for one in shown]

    def whole(self, place: str) -> dict[str, Any] | None:
        """Give a document with all its text; None if it is not kept any more."""
        shown = self._kept.get(place)
        return None if shown is None else shown.whole()
