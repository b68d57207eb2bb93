"""When to ask a server again: seldom, as it wishes, and ever more seldom while it does not answer. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

HOUR: Final = 3600.0
DAY: Final = 86_400.0
LEAST: Final = 300.0
"""Seconds between two polls at least, however often a feed wants to be read."""

_FIRST_RETRY: Final = 60.0
_WAIT: Final = frozenset({429, 503})
_FAILED: Final = 400


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a poll; ``status`` None where there was no answer that could be read."""

    status: int | None
    headers: Mapping[str, str]
    asked: float | None = None
    """Seconds between polls that the feed asks for."""

    @property
    def failed(self) -> bool:
        """Whether it brought nothing."""
        return self.status is None or self.status >= _FAILED


def wait(outcome: Outcome, failures: int, every: float | None, now: datetime, random: Random) -> float:
    """Say in how many seconds to poll again.

    Args:
        outcome: of the poll before.
        failures: polls that failed in a row, this one included.
        every: what the operator wants; None: what the feed wants, else an hour.
        now: the time, with its zone.
        random: for jitter: a tenth either way, so that readers do not come all at once.
    """
    base = every if every is not None else min(DAY, max(LEAST, outcome.asked or HOUR))
    if outcome.failed:
        first = base if outcome.status in _WAIT else min(base, _FIRST_RETRY)
        base = min(max(DAY, base), first * 2 ** min(failures - 1, 20))
    told = retry_after(outcome.headers.get("Retry-After", ""), now) or 0.0
    # Never sooner than told: jitter goes up only.
    return max(base * random.uniform(0.9, 1.1), told * random.uniform(1.0, 1.1))


def retry_after(value: str, now: datetime) -> float | None:
    """Read ``Retry-After``: seconds, or a date; at most a day. None where it says neither."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(DAY, float(value[:9]))
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(DAY, max(0.0, (moment - now).total_seconds()))
