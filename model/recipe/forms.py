"""Held-out sentences in other forms: as tweets, and joined to long documents."""

from __future__ import annotations

import dataclasses
import random
from collections import defaultdict, deque
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from model.evaluate import join
from model.pool import silent
from model.recipe.fit import gold_spans
from model.scores import Count
from model.tagger import Tagger

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from model.pieces import Pieces
    from model.pool import Beat
    from model.recipe.data import Sentence
    from model.windows import Window

_SEED: Final = 17
DOCUMENTS: Final = 200
# With what a document may gain by its last sentence, all its pieces fit the graph at once.
_WORDS: Final = 260
_SHORT: Final = {
    "you": "u", "your": "ur", "are": "r", "and": "&", "to": "2", "with": "w/", "because": "bc", "people": "ppl",
    "before": "b4", "please": "pls", "though": "tho", "about": "abt", "between": "btw", "at": "@",
}  # fmt: skip
_FULL_STOPS: Final = frozenset({".", "...", ";"})


def tweet(sentence: Sentence, number: int) -> Sentence:
    """Return a sentence as somebody in a hurry posts it; the number draws how.

    Half are in lower case, one in ten in capitals. The full stop goes, frequent words are cut short, a handle may
    come before, and a tag, a link or a face after. Words that are added are no entities.
    """
    draw = random.Random(f"{_SEED} {number}")  # noqa: S311 - nothing to keep secret
    case = draw.choices((str.lower, str.upper, str), (5, 1, 4))[0]
    pairs = [
        (case(_SHORT.get(token.lower(), token) if tag == "O" else token), tag)
        for token, tag in zip(sentence.tokens, sentence.tags, strict=True)
    ]
    if len(pairs) > 1 and pairs[-1][0] in _FULL_STOPS:
        pairs.pop()
    before = draw.choice(((), (), (f"@reader{number}",), ("RT", f"@desk_{number}", ":")))
    after = draw.choice(((), (f"#news{number % 7}",), (f"https://t.co/{number:x}Qz",), ("😂",), ("!!!",)))
    pairs = [*((word, "O") for word in before), *pairs, *((word, "O") for word in after)]
    return dataclasses.replace(
        sentence, tokens=tuple(token for token, _ in pairs), tags=tuple(tag for _, tag in pairs)
    )


def documents(sentences: Sequence[Sentence], most: int = DOCUMENTS) -> list[list[Sentence]]:
    """Join sentences to documents, each one used once, those that name the same things together.

    Each document begins with the first sentence that is left, and goes on with sentences that share a name with
    it, then with the next ones.
    """
    names = [{text.casefold() for text, _ in _gold(sentence)} for sentence in sentences]
    naming: dict[str, deque[int]] = defaultdict(deque)
    for number, own in enumerate(names):
        for name in own:
            naming[name].append(number)
    left = dict.fromkeys(range(len(sentences)))
    out: list[list[Sentence]] = []
    while left and len(out) < most:
        document: list[Sentence] = []
        related: deque[str] = deque()
        words = 0
        while left and words < _WORDS:
            number = next(_still(naming, related, left), next(iter(left)))
            del left[number]
            document.append(sentences[number])
            related.extend(sorted(names[number]))
            words += len(sentences[number].tokens)
        out.append(document)
    return out


def _still(naming: dict[str, deque[int]], related: deque[str], left: dict[int, None]) -> Iterator[int]:
    """Yield unused sentences that name one of these, dropping what is used up."""
    while related:
        numbers = naming[related[0]]
        while numbers and numbers[0] not in left:
            numbers.popleft()
        if numbers:
            yield numbers[0]
        else:
            related.popleft()


def _gold(sentence: Sentence) -> list[tuple[str, str]]:
    text, _ = join(sentence.tokens)
    return [(text[start:end], label) for start, end, label in gold_spans(sentence)]


class WholeTagger(Tagger):
    """A tagger that shows the graph as much of a text at once as it can take, not a sentence."""

    def batches(self, pieces: Pieces, beat: Beat = silent) -> list[list[Window]]:
        """Return the windows over all texts, each text as one sentence."""
        sentence = np.zeros_like(pieces.sentence)
        begins = pieces.text_words[:-1]
        sentence[begins[begins < sentence.size]] = True
        return super().batches(dataclasses.replace(pieces, sentence=sentence), beat)


def one_type(found: Iterable[Sequence[tuple[str, str]]]) -> tuple[int, int]:
    """Return how many surface forms stand more than once in a document, and how many of them have one type.

    Args:
        found: each document's entities, as (text, label).
    """
    repeated = alike = 0
    for document in found:
        labels: dict[str, list[str]] = defaultdict(list)
        for text, label in document:
            labels[text.casefold()].append(label)
        several = [set(given) for given in labels.values() if len(given) > 1]
        repeated += len(several)
        alike += sum(len(given) == 1 for given in several)
    return repeated, alike


def long_documents(taggers: dict[str, Tagger], sentences: Sequence[Sentence]) -> dict[str, Any]:
    """Return F1 on documents and the share of repeated surface forms with one type, of each tagger and the gold."""
    joined = documents(sentences)
    texts: list[str] = []
    gold: list[set[tuple[int, int, str]]] = []
    for document in joined:
        spans: set[tuple[int, int, str]] = set()
        text = ""
        for sentence in document:
            shift = len(text)
            spans |= {(start + shift, end + shift, label) for start, end, label in gold_spans(sentence)}
            text += join(sentence.tokens)[0] + "\n"
        texts.append(text)
        gold.append(spans)
    words = [sum(len(sentence.tokens) for sentence in document) for document in joined]
    out: dict[str, Any] = {"documents": len(texts), "words": float(np.mean(words))}
    read = [[(text[s:e], label) for s, e, label in spans] for text, spans in zip(texts, gold, strict=True)]
    out["gold"] = _shares(*one_type(read))
    for name, tagger in taggers.items():
        found = tagger.tag(texts)
        count = Count()
        for spans, entities in zip(gold, found, strict=True):
            told = {(entity.start, entity.end, entity.label) for entity in entities}
            count.right += len(spans & told)
            count.predicted += len(told)
            count.gold += len(spans)
        shares = _shares(*one_type([[(e.text, e.label) for e in entities] for entities in found]))
        out[name] = {"f1": count.as_dict()["f1"], **shares}
    return out


def _shares(repeated: int, alike: int) -> dict[str, float]:
    return {"repeated": repeated, "one_type": alike / max(1, repeated)}
