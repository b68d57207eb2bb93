"""What a run is held against, and what was found: the invariants by name, the topics, the verdict."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.faults.outside import Commit

INVARIANTS: Final = {
    "I1": "every input is in exactly the set of topics that the reference run gives it",
    "I2": "for each source and replay number: enriched or dead, never both",
    "I3": "within one output partition, first appearances from one source partition ascend",
    "I4": "commits are monotone, and pass no offset that had not been handed over by then",
    "I5": "entities equal the reference run's, scores within 1e-3",
    "I6": "duplicates have the same `ce_id`, and are no more than the fault allows",
    "I7": "lag 0 in time, some commit every 60 s during storms, no partition unowned",
    "I8": "memory, descriptors and attempts within their bounds",
    "I9": "source coordinates, `traceparent` and the document's bytes on every terminal record",
}
"""What is checked, by name."""

_EXAMPLES: Final = 5


@dataclass(frozen=True, slots=True)
class Names:
    """The topics of a run, and its group."""

    input: str
    prefix: str
    retries: tuple[str, ...]
    dead: str
    group: str

    @property
    def consumed(self) -> tuple[str, ...]:
        """The topics that the group reads."""
        return self.input, *self.retries


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A result that was there before."""

    timestamp: int
    partition: int
    offset: int
    attempt: int
    place: str


@dataclass(slots=True)
class Verdict:
    """What was found."""

    documents: int = 0
    stored_twice: int = 0
    lost: int = 0
    results: int = 0
    dead: int = 0
    retries: int = 0
    commits: int = 0
    early: int = 0
    objections: Counter[str] = field(default_factory=Counter)
    examples: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    duplicates: list[Duplicate] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    history: dict[tuple[str, int], list[Commit]] = field(default_factory=dict)

    def object(self, invariant: str, what: str, count: int = 1) -> None:
        """Note that something does not hold."""
        self.objections[invariant] += count
        if len(self.examples[invariant]) < _EXAMPLES:
            self.examples[invariant].append(what)

    @property
    def holds(self) -> bool:
        """Whether there is no objection."""
        return not self.objections.total()
