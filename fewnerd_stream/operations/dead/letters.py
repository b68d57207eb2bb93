"""A dead letter as an operator sees it: the raw record, and what its headers say of its end. Pure."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

from fewnerd_stream.contract.envelope import DeadLetter, dead_letter
from fewnerd_stream.errors import Reason

if TYPE_CHECKING:
    from fewnerd_stream.contract.records import Record
    from fewnerd_stream.settings import Settings

_MOST_REASON: Final = 80

UNKNOWN: Final = "unknown"
"""The reason of a record on the dead topic that some other program put there."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A record on a dead topic with its headers read."""

    record: Record
    end: DeadLetter

    @classmethod
    def of(cls, record: Record, settings: Settings) -> Self:
        """Read the record's headers."""
        return cls(record, dead_letter(record, settings))

    @property
    def reason(self) -> str:
        """Why it is dead: one of the closed list, ``unknown``, or the beginning of what others wrote there."""
        reason = self.end.reason
        return f"{reason[:_MOST_REASON]}…" if len(reason) > _MOST_REASON else reason or UNKNOWN

    @property
    def withheld(self) -> bool:
        """Whether it is without its value, which found no room or was never read."""
        return self.record.value is None and self.reason in {one for one in Reason if one.withholds}

    @property
    def replay(self) -> int:
        """How often it was replayed before it died this time."""
        return self.end.source.replay

    @property
    def origin(self) -> str:
        """The first record on the input topic, ``topic/partition/offset``, as in ``ce_id``."""
        source = self.end.source
        return f"{source.topic}/{source.partition}/{source.offset}"

    def summary(self) -> dict[str, Any]:
        """Give what `dead list --json` prints of it: one flat object, without the value."""
        record = self.record
        return {
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "time": iso(record.timestamp),
            "reason": self.reason,
            "stage": self.end.stage,
            "attempts": self.end.attempts,
            "replay": self.replay,
            "origin": self.origin,
            "key": None if record.key is None else readable(record.key),
            "bytes": None if record.value is None else len(record.value),
            "error": self.end.exception,
            "message": self.end.message,
        }

    def full(self) -> dict[str, Any]:
        """Give all there is of it: the summary, the stack trace, every header in its order, and the value."""
        record = self.record
        return self.summary() | {
            "model": self.end.model,
            "read_from": self.end.read_from,
            "stacktrace": self.end.stacktrace,
            "headers": [[name, None if data is None else readable(data)] for name, data in record.headers],
            "value": None if record.value is None else readable(record.value),
        }


def readable(data: bytes) -> str | dict[str, str]:
    """Give bytes as text where they are UTF-8, else as ``{"base64": ...}``: nothing is lost in JSON."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def iso(timestamp: int | None) -> str | None:
    """Write milliseconds since the epoch as ISO 8601 in UTC; None where there are none, or senseless ones."""
    if timestamp is None or timestamp <= 0:
        return None
    try:
        moment = datetime.fromtimestamp(timestamp / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
