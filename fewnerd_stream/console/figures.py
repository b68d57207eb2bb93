"""Figures of the last minutes: documents a second, latency, types, what is named more than usual. Pure."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from fewnerd_stream.contract.taxonomy import CATEGORIES

if TYPE_CHECKING:
    from fewnerd_stream.console.documents import Message

SPAN: Final = 300
"""Seconds that the charts show."""

_RECENT: Final = 5
_MINUTES: Final = 30
_MOST_NAMES: Final = 5_000
_MOST_TYPES: Final = 500
_LEAST: Final = 3
_SHOWN: Final = 12
_SAMPLES: Final = 2_000

Name = tuple[str, str]
"""An entity's text as it was last written, and its category."""


@dataclass(slots=True)
class _Second:
    at: int
    documents: int = 0
    entities: int = 0
    dead: int = 0
    retries: int = 0
    latencies: list[float] = field(default_factory=list)
    lag: int | None = None


@dataclass(slots=True)
class _Minute:
    at: int
    names: Counter[tuple[str, str]] = field(default_factory=Counter)
    types: Counter[tuple[str, str]] = field(default_factory=Counter)
    scores: dict[str, list[float]] = field(default_factory=dict)
    """Sum and number, by category."""


class Figures:
    """Counts what is seen, by the second and by the minute; bounded, whatever is named."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._seconds: deque[_Second] = deque(maxlen=SPAN)
        self._minutes: deque[_Minute] = deque(maxlen=_MINUTES)
        self._written: dict[tuple[str, str], str] = {}
        self.documents = 0
        self.entities = 0
        self.unreadable = 0
        self.lag: int | None = None

    def document(self, message: Message, now: float, *, first: bool) -> None:
        """Count a message; ``first`` says that it is its document's first."""
        second, minute = self._second(now), self._minute(now)
        if first:
            self.documents += 1
            second.documents += 1
            if message.latency is not None and len(second.latencies) < _SAMPLES:
                second.latencies.append(message.latency)
        second.entities += len(message.labels)
        self.entities += len(message.labels)
        for category, fine, text, score in message.labels:
            if (category, fine) in minute.types or len(minute.types) < _MOST_TYPES:
                minute.types[category, fine] += 1
            name = (" ".join(text.split()).casefold()[:80], category)
            if name in minute.names or len(minute.names) < _MOST_NAMES:
                minute.names[name] += 1
                if len(self._written) < _MINUTES * _MOST_NAMES:
                    self._written[name] = text[:80]
            if category in CATEGORIES:
                total = minute.scores.setdefault(category, [0.0, 0.0])
                total[0] += score
                total[1] += 1

    def retry(self, now: float) -> None:
        """Count a retry."""
        self._second(now).retries += 1

    def dead(self, now: float) -> None:
        """Count a dead letter."""
        self._second(now).dead += 1

    def _second(self, now: float) -> _Second:
        at = int(now)
        if not self._seconds or self._seconds[-1].at < at:
            begin = at if not self._seconds else max(self._seconds[-1].at + 1, at - SPAN + 1)
            self._seconds.extend(_Second(each) for each in range(begin, at + 1))
        self._seconds[-1].lag = self.lag
        return self._seconds[-1]

    def _minute(self, now: float) -> _Minute:
        at = int(now // 60)
        if not self._minutes or self._minutes[-1].at < at:
            self._minutes.append(_Minute(at))
            named = set().union(*(minute.names.keys() for minute in self._minutes))
            self._written = {name: text for name, text in self._written.items() if name in named}
        return self._minutes[-1]

    def report(self, now: float) -> dict[str, Any]:
        """Give all there is to show."""
        self._second(now)
        minute = int(now // 60)
        recent = [one for one in self._minutes if one.at > minute - _RECENT]
        older = [one for one in self._minutes if minute - _MINUTES < one.at <= minute - _RECENT]
        types: Counter[tuple[str, str]] = sum((one.types for one in recent), Counter())
        last = list(self._seconds)[-11:-1]
        return {
            "documents": self.documents,
            "entities": self.entities,
            "unreadable": self.unreadable,
            "rate": round(sum(one.documents for one in last) / len(last), 1) if last else 0.0,
            "latency": _middle([each for one in self._seconds for each in one.latencies]),
            "dead": sum(one.dead for one in self._seconds),
            "retries": sum(one.retries for one in self._seconds),
            "lag": self.lag,
            "chart": {
                "at": [one.at for one in self._seconds],
                "documents": [one.documents for one in self._seconds],
                "latency": [_middle(one.latencies) for one in self._seconds],
                "lag": [one.lag for one in self._seconds],
            },
            "types": [[coarse, fine, count] for (coarse, fine), count in types.most_common(_SHOWN)],
            "categories": _precision(recent),
            "trending": self._trending(recent, older),
        }

    def _trending(self, recent: list[_Minute], older: list[_Minute]) -> list[list[Any]]:
        """Give what is named more in the last minutes than in those before, for their length."""
        now: Counter[tuple[str, str]] = sum((one.names for one in recent), Counter())
        before: Counter[tuple[str, str]] = sum((one.names for one in older), Counter())
        share = len(recent) / len(older) if older else 0.0
        found = []
        for name, count in now.items():
            if count >= _LEAST:
                usual = before[name] * share
                # How far beyond chance, for a count: its excess over its spread.
                found.append(((count - usual) / (usual + 1) ** 0.5, name, count, usual))
        found.sort(key=lambda one: (-one[0], one[1]))
        return [
            [self._written.get(name, name[0]), name[1], count, round(usual, 1)]
            for excess, name, count, usual in found[:_SHOWN]
            if excess > 1
        ]


def _middle(values: list[float]) -> float | None:
    return round(sorted(values)[len(values) // 2], 3) if values else None


def _precision(minutes: list[_Minute]) -> list[list[Any]]:
    """Give each category's entities and the mean of their scores: they are calibrated, so it is the precision."""
    found = []
    for category in CATEGORIES:
        sums = [one.scores[category] for one in minutes if category in one.scores]
        count = sum(number for _, number in sums)
        mean = round(sum(total for total, _ in sums) / count, 3) if count else None
        found.append([category, int(count), mean])
    return found
