"""Faust's notes of what it read, which ours does without."""

from __future__ import annotations

from typing import Any


class Unread(dict[Any, Any]):
    """Faust's notes of what it has read, kept empty: the ledger alone says what comes twice or leaves a hole.

    By such notes Faust drops records, and it remembers every hole of a log for ever.
    """

    def __missing__(self, _key: Any) -> None:
        """Know nothing."""
        return

    def __setitem__(self, _key: Any, _value: Any) -> None:
        """Note nothing."""

    def update(self, *_args: Any, **_kwargs: Any) -> None:
        """Note nothing."""
