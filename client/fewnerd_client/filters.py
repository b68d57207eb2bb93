"""Which entities a subscriber wants; a message without one of them is passed over undecoded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fewnerd_client.reading import peek, read

if TYPE_CHECKING:
    from fewnerd_client.messages import Enriched, Entity, Raw


@dataclass(frozen=True)
class Filter:
    """Lets entities pass that are of a wanted type and sure enough; all three must hold.

    Attributes:
        fine: types wanted, as ``politician`` or ``person-politician``; empty: all.
        score: least score.
        coarse_score: least score of the category; an entity that has none is judged by its ``score``, which
            is the score of the narrower claim.
    """

    fine: frozenset[str] = frozenset()
    score: float = 0.0
    coarse_score: float = 0.0

    def __post_init__(self) -> None:
        """Refuse scores that are none."""
        for name in ("score", "coarse_score"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} lies between 0 and 1, not {getattr(self, name)}")

    @property
    def open(self) -> bool:
        """Say whether everything passes, documents without entities, too."""
        return not self.fine and self.score <= 0 and self.coarse_score <= 0

    def passes(self, entity: Entity) -> bool:
        """Say whether an entity is wanted."""
        coarse_score = entity.score if entity.coarse_score is None else entity.coarse_score
        return (
            (not self.fine or entity.fine in self.fine or entity.label in self.fine)
            and entity.score >= self.score
            and coarse_score >= self.coarse_score
        )

    def read(self, raw: Raw) -> Enriched | None:
        """Read a record with the entities that pass; None when none does.

        Raises:
            UnreadableMessageError: it is no enriched document.
        """
        if self.open:
            return read(raw)
        found = peek(raw)
        if found is not None and not any(map(self.passes, found)):
            return None
        message = read(raw)
        wanted = tuple(filter(self.passes, message.entities))
        return replace(message, entities=wanted) if wanted else None
