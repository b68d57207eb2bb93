"""Which events were finished already: a bounded window in memory, and a store for those who want more."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import os
    from collections.abc import Awaitable, Collection, Iterable, Sequence


class Window:
    """The last so many ids, oldest out first."""

    def __init__(self, most: int) -> None:
        """Keep ``most`` ids; 0 keeps none, so that no repeat is known."""
        if most < 0:
            raise ValueError(f"a window holds 0 or more ids, not {most}")
        self._most = most
        self._ids: dict[str, None] = {}

    def __contains__(self, identity: object) -> bool:
        """Say whether an id is among them."""
        return identity in self._ids

    def __len__(self) -> int:
        """Count them."""
        return len(self._ids)

    def add(self, identities: Iterable[str]) -> None:
        """Add ids; one that is there counts as new again."""
        for identity in identities:
            self._ids.pop(identity, None)
            self._ids[identity] = None
        while len(self._ids) > self._most:
            del self._ids[next(iter(self._ids))]


class Store(Protocol):
    """Where a subscriber remembers ids over a restart, or together with others; functions or coroutines.

    ``add`` is called with what the body has finished, before its offsets are committed.
    """

    def seen(self, identities: Sequence[str], /) -> Collection[str] | Awaitable[Collection[str]]:
        """Give those of these ids that were added before."""

    def add(self, identities: Sequence[str], /) -> Awaitable[None] | None:
        """Remember ids, durably when it returns."""


class SqliteStore:
    """A store in a file, of the ids of the last so many days."""

    def __init__(self, path: str | os.PathLike[str], *, days: float = 7) -> None:
        """Open or make the file.

        Args:
            path: of the file.
            days: how long an id is kept; longer than a repeat can be late.
        """
        self._keep = days * 86_400
        self._database = sqlite3.connect(path)
        with self._database:
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY, at REAL) WITHOUT ROWID"
            )
            self._database.execute("CREATE INDEX IF NOT EXISTS seen_at ON seen (at)")

    def seen(self, identities: Sequence[str], /) -> set[str]:
        """Give those of these ids that were added before."""
        query = "SELECT 1 FROM seen WHERE id = ?"
        return {one for one in identities if self._database.execute(query, (one,)).fetchone()}

    def add(self, identities: Sequence[str], /) -> None:
        """Remember ids, and forget those that are too old."""
        now = time.time()
        with self._database:
            self._database.executemany(
                "INSERT OR REPLACE INTO seen VALUES (?, ?)", [(one, now) for one in identities]
            )
            self._database.execute("DELETE FROM seen WHERE at < ?", (now - self._keep,))

    def close(self) -> None:
        """Close the file."""
        self._database.close()
