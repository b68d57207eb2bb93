"""What a tagger finds."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Entity:
    """An entity of a text: ``text`` is the text's code points ``start`` to ``end``.

    ``score`` is how sure its extent and label are, ``coarse_score`` how sure its extent and category, both in
    0..1; the second is never below the first.
    """

    text: str
    start: int
    end: int
    coarse: str
    fine: str
    label: str
    score: float
    coarse_score: float
