"""Which dead letters an operator means: by reason, time and offset. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from fewnerd_stream.operations.dead.replayed_offsets import Ranges

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fewnerd_stream.operations.dead.letters import Letter

END: Final = 2**63 - 1
"""Past every offset there can be."""

_OFFSETS: Final = re.compile(r"(\d{1,9}):(?:(\d{1,18})|(\d{0,18})-(\d{0,18}))?")
_AGE: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_UNITS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}


@dataclass(frozen=True, slots=True)
class Filter:
    """A choice of dead letters; what is not said does not restrict.

    Times are milliseconds since the epoch, of the moment at which a document was put among the dead letters;
    ``since`` is included, ``until`` is not.
    """

    reasons: frozenset[str] = frozenset()
    since: int | None = None
    until: int | None = None
    offsets: Mapping[int, Ranges] = field(default_factory=dict)

    def matches(self, letter: Letter) -> bool:
        """Say whether a letter is among those meant."""
        record = letter.record
        if self.reasons and letter.reason not in self.reasons:
            return False
        if self.offsets and record.offset not in self.offsets.get(record.partition, Ranges()):
            return False
        if self.since is None and self.until is None:
            return True
        when = record.timestamp
        if when is None:
            return False
        return (self.since is None or when >= self.since) and (self.until is None or when < self.until)

    def window(self, partition: int) -> tuple[int, int]:
        """Give the first offset of a partition that can match, and one past the last; equal if none can."""
        if not self.offsets:
            return 0, END
        ranges = self.offsets.get(partition, Ranges())
        return (ranges.first, ranges.end) if ranges else (0, 0)


class _TooOldError(ValueError):
    """A time that no record can have."""


def _in_kafkas_time(milliseconds: int, text: str) -> int:
    """Give a time back that a record can have: brokers count from 1970, and take nothing before it.

    Raises:
        ValueError: it is no such time.
    """
    if milliseconds < 0:
        raise _TooOldError(f"{text!r} lies before 1970, and so before every record")
    if milliseconds > END:
        raise _TooOldError(f"{text!r} lies after every time that a record can have")
    return milliseconds


def parse_offsets(texts: Iterable[str]) -> dict[int, Ranges]:
    """Read ``partition:from-to`` (both included, or missing), ``partition:offset`` or ``partition:``.

    Raises:
        ValueError: with what is wanted.
    """
    found: dict[int, Ranges] = {}
    for text in texts:
        match = _OFFSETS.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is not partition:from-to, as in 3:100-199, 3:100, 3:100- or 3:")
        partition, only, first, last = match.groups()
        start = int(only or first or 0)
        end = int(only or last) + 1 if only or last else END
        if end <= start:
            raise ValueError(f"{text!r} ends before it begins")
        found.setdefault(int(partition), Ranges()).add(start, end)
    return found


def parse_time(text: str, now_ms: int) -> int:
    """Read an age (``90s``, ``15m``, ``2h``, ``7d``: so long ago) or an ISO 8601 time (local, if no zone).

    Returns:
        Milliseconds since the epoch.

    Raises:
        ValueError: with what is wanted.
    """
    text = text.strip()
    age = _AGE.fullmatch(text)
    try:
        if age is not None:
            return _in_kafkas_time(now_ms - round(float(age[1]) * _UNITS[age[2]]), text)
        moment = datetime.fromisoformat(text)
        return _in_kafkas_time(round(moment.astimezone(UTC).timestamp() * 1000), text)
    except _TooOldError:
        raise
    except (ValueError, OverflowError) as error:
        wanted = "an age (30s, 15m, 2h, 7d) or a time (2026-01-31T12:00:00Z)"
        raise ValueError(f"{text[:40]!r} is not {wanted}") from error
