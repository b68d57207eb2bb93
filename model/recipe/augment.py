"""Training sentences as other people write them: capitals, quotation marks, a full stop that is not there."""

from __future__ import annotations

import dataclasses
import random
from typing import TYPE_CHECKING, Final

import numpy as np

from model.case import CAPITALISED, LOWER, UPPER

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy.typing as npt
    from tokenizers import Tokenizer

    from model.recipe.data import Sentence

_SEED: Final = 17
# Few-NERD writes quotation marks as TeX does, and no straight one ever; news writes these.
_QUOTES: Final = ((None, None), ('"', '"'), ("\u201c", "\u201d"))
_SHARES: Final = (3, 4, 3)
_WITHOUT_STOP: Final = 0.15


def capital_classes(tokenizer: Tokenizer) -> npt.NDArray[np.int64]:
    """Return the case class that each word piece has in a text all in capitals, shape [vocabulary]."""
    classes = np.full(tokenizer.get_vocab_size(), LOWER, np.int64)
    for piece, number in tokenizer.get_vocab().items():
        letters = sum(character.isalpha() for character in piece.removeprefix("##"))
        if letters and not (piece.startswith("[") and piece.endswith("]")):
            classes[number] = CAPITALISED if letters == 1 else UPPER
    return classes


def varied(sentences: Iterable[Sentence]) -> list[Sentence]:
    """Return the sentences with quotation marks as TeX, typewriters or typesetters do, some without a full stop.

    What a sentence becomes depends on its place alone, so that a teacher and its student see the same.
    """
    out: list[Sentence] = []
    for number, sentence in enumerate(sentences):
        draw = random.Random(f"{_SEED} {number}")  # noqa: S311 - nothing to keep secret
        opening, closing = draw.choices(_QUOTES, _SHARES)[0]
        tokens, tags = list(sentence.tokens), list(sentence.tags)
        if opening and closing:
            tokens = [{"``": opening, "''": closing}.get(token, token) for token in tokens]
        if len(tokens) > 1 and tokens[-1] == "." and draw.random() < _WITHOUT_STOP:
            tokens.pop()
            tags.pop()
        out.append(dataclasses.replace(sentence, tokens=tuple(tokens), tags=tuple(tags)))
    return out
