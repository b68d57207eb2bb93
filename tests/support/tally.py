"""What all stream tests of a run saw together: one line at its end, for the record."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.clients import Account

_KEY = pytest.StashKey["Tally"]()


@dataclass
class Tally:
    """Sums over flows: what went in, what was done to the workers, and what came of it."""

    tests: int = 0
    inputs: int = 0
    kills: int = 0
    stops: int = 0
    lost: int = 0
    duplicates: int = 0

    def add(self, account: Account) -> None:
        """Add a flow's account."""
        self.tests += 1
        self.inputs += len(account.outcomes)
        self.lost += len(account.lost)
        self.duplicates += account.duplicates

    def __str__(self) -> str:
        """Write it as one line."""
        return ", ".join(f"{getattr(self, field.name)} {field.name}" for field in fields(self))


def tally_of(config: pytest.Config) -> Tally:
    """Give the run's tally."""
    if _KEY not in config.stash:
        config.stash[_KEY] = Tally()
    return config.stash[_KEY]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what the stream tests saw, where there were any."""
    tally = tally_of(config)
    if tally.tests:
        terminalreporter.write_sep("-", "what the stream tests saw")
        terminalreporter.write_line(str(tally))
