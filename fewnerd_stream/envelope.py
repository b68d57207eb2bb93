"""What a record carries on its way to a retry topic, to the dead letters, and back. Pure: no broker, no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fewnerd_stream.records import Outgoing, Record, Source

if TYPE_CHECKING:
    from fewnerd_stream.errors import Reason
    from fewnerd_stream.settings import Settings

__all__ = ["Outgoing", "dead_record", "not_before", "replay_record", "retry_record", "source_of"]


def source_of(record: Record, settings: Settings) -> Source:
    """Say where a record's document first stood: here, or on a retry topic as its headers say."""
    raise NotImplementedError


def not_before(record: Record) -> int:
    """Say when a record on a retry topic is due, in milliseconds since the epoch; 0: now."""
    raise NotImplementedError


def retry_record(record: Record, source: Source, settings: Settings, now_ms: int) -> Outgoing | None:
    """Send a record to wait for its next attempt; None when it has had its last."""
    raise NotImplementedError


def dead_record(  # noqa: PLR0913 - each becomes a header
    record: Record,
    source: Source,
    reason: Reason,
    stage: str,
    error: BaseException | None,
    model_digest: str | None,
    settings: Settings,
) -> Outgoing:
    """Send a record to the dead letters, with the reason and the error."""
    raise NotImplementedError


def replay_record(record: Record, settings: Settings) -> Outgoing:
    """Send a dead letter to its input's first retry topic, due now."""
    raise NotImplementedError
