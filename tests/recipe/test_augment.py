"""Training sentences written as other people write them keep their entities."""

from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from model.bundle import BUNDLED
from model.case import case_classes
from model.recipe import augment
from model.recipe.data import Sentence

WORDS = ("``", "''", "Hamlet", "opened", "in", "Oslo", ".")
TAGS = {"Hamlet": "art-writtenart", "Oslo": "location-GPE"}

written = st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(
    lambda words: Sentence(tuple(words), tuple(TAGS.get(word, "O") for word in words))
)


@given(st.lists(written, max_size=60))
def test_what_is_named_stays(sentences: list[Sentence]) -> None:
    """Quotation marks change in pairs and a last full stop may go; every other word keeps its place and tag."""
    told = augment.varied(sentences)
    assert told == augment.varied(sentences)
    assert len(told) == len(sentences)
    for before, after in zip(sentences, told, strict=True):
        assert len(after.tokens) == len(after.tags) >= len(before.tokens) - 1
        for old, new, was, is_ in zip(before.tokens, after.tokens, before.tags, after.tags, strict=False):
            assert was == is_
            assert old == new or (old, new) in {("``", '"'), ("''", '"'), ("``", "\u201c"), ("''", "\u201d")}
        if len(after.tokens) < len(before.tokens):
            assert before.tokens[-1] == "."


def test_all_ways_occur() -> None:
    """Of many sentences some keep TeX's quotation marks, some get each other kind, and some lose their full stop."""
    told = augment.varied([Sentence(("``", "Oslo", "''", "."), ("O", "location-GPE", "O", "O"))] * 300)
    assert {each.tokens[0] for each in told} == {"``", '"', "\u201c"}
    assert {len(each.tokens) for each in told} == {3, 4}


def test_capital_classes_are_those_of_a_text_in_capitals() -> None:
    """A piece has the case class that the tagger would give it in a text all in capitals."""
    tokenizer = Tokenizer.from_file(str(BUNDLED / "tokenizer.json"))
    classes = augment.capital_classes(tokenizer)
    text = "ANGELA MERKEL FLEW TO PARIS, A CITY OF 2,100,000 (IN THE NORTH)."
    encoding = tokenizer.encode(text, add_special_tokens=False)
    spans = np.array(encoding.offsets)
    assert classes[encoding.ids].tolist() == case_classes(text, spans[:, 0], spans[:, 1]).tolist()
    vocabulary = json.loads(tokenizer.to_str())["model"]["vocab"]
    assert classes[vocabulary["[CLS]"]] == classes[vocabulary["[PAD]"]] == 0
