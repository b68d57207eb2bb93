"""What a scenario expects of its documents: the reference's word, but where the scenario does harm."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.faults.load import SPECIAL
from tests.faults.reference import BIT, DEAD, Tagged

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.faults.reference import Entity, Reference


def _never(_number: int, _replay: int) -> str | None:
    return None


def _not(_number: int) -> int:
    return 0


@dataclass
class Expected:
    """Expectations of the verifier.

    Attributes:
        reference: of all documents of the load.
        documents: how many of those were sent.
        specials: the scenario's own records, each a reason to be dead or what the tagger says of it.
        dies: the reason for which a document of the load dies, by number and replay.
        replays: how often a document is replayed.
    """

    reference: Reference
    documents: int
    specials: list[str | Tagged] = field(default_factory=list)
    dies: Callable[[int, int], str | None] = _never
    replays: Callable[[int], int] = _not

    def sent(self) -> Sequence[range]:
        """Give the numbers that were sent, each once."""
        return range(self.documents), range(SPECIAL, SPECIAL + len(self.specials))

    def mask(self, number: int, replay: int) -> int:
        """Give the set of topics in which a document must be."""
        if number >= SPECIAL:
            special = self._special(number)
            return BIT[DEAD] if isinstance(special, str) else special.mask
        if number >= self.documents:
            return 0
        if self.dies(number, replay) is not None:
            return BIT[DEAD]
        return int(self.reference.masks[number])

    def reason(self, number: int, replay: int) -> str | None:
        """Give the reason with which it is dead."""
        if number >= SPECIAL:
            special = self._special(number)
            return special if isinstance(special, str) else None
        return self.dies(number, replay)

    def entities(self, number: int) -> dict[str, list[Entity]]:
        """Give its entities by category."""
        if number >= SPECIAL:
            special = self._special(number)
            return {} if isinstance(special, str) else special.entities
        if number >= self.documents:
            return {}
        return self.reference.entities(number)

    def _special(self, number: int) -> str | Tagged:
        return self.specials[number - SPECIAL]
