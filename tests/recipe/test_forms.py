"""Held-out sentences in other forms keep their entities, and thresholds buy what they say."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from model import decode
from model.recipe import fit, forms
from model.recipe.data import Sentence

LABELS = ("O", "art-film", "person-actor")

tokens = st.lists(st.sampled_from(["You", "and", "Oslo", "Bo", "."]), min_size=1, max_size=8)
sentences = tokens.flatmap(
    lambda words: st.tuples(
        st.just(tuple(words)),
        st.lists(st.sampled_from(LABELS), min_size=len(words), max_size=len(words)).map(tuple),
    )
).map(lambda pair: Sentence(*pair))


@given(sentences, st.integers(0, 3000))
def test_a_tweet_keeps_what_is_named(sentence: Sentence, number: int) -> None:
    """Entities stay in their order, letter case aside; what is added is none; the number alone draws."""
    told = forms.tweet(sentence, number)
    assert told == forms.tweet(sentence, number)
    assert len(told.tokens) == len(told.tags)

    def named(each: Sentence) -> list[tuple[str, str]]:
        return [(t.lower(), tag) for t, tag in zip(each.tokens, each.tags, strict=True) if tag != "O"]

    wanted = named(sentence)
    # A full stop at the end goes, whatever it was labelled.
    assert named(told) in (wanted, wanted[:-1] if sentence.tokens[-1] == "." else wanted)


@given(st.lists(sentences, max_size=80))
def test_documents_use_each_sentence_once(given_sentences: list[Sentence]) -> None:
    """Joined to documents, no sentence is lost or repeated."""
    joined = forms.documents(given_sentences, most=1000)
    assert Counter(s for document in joined for s in document) == Counter(given_sentences)
    assert all(joined)


def test_sentences_that_name_the_same_stand_together() -> None:
    """A document goes on with what shares a name with it."""
    filler = [Sentence(("word",) * 200, ("O",) * 200) for _ in range(5)]
    first, last = (Sentence(("In", "Oslo", str(n)), ("O", "location-GPE", "O")) for n in range(2))
    assert forms.documents([first, *filler, last])[0][:2] == [first, last]


def test_names_of_one_type_are_counted() -> None:
    """Only what a document repeats counts, letter case aside, and once a document."""
    found = [
        [("Oslo", "location-GPE"), ("OSLO", "location-GPE"), ("Bo", "person-actor"), ("Bo", "person-other")],
        [("Oslo", "location-GPE")],
    ]
    assert forms.one_type(found) == (2, 1)


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=30), st.sampled_from(fit.PRECISIONS))
def test_a_threshold_buys_its_precision(told: list[tuple[int, bool]], wanted: float) -> None:
    """At the score named the precision holds and at no lower one, and the recall is what is left."""
    score = np.array([s / 10 for s, _ in told], np.float32)
    right = np.array([r for _, r in told], np.bool_)

    def precise(least: float) -> bool:
        return bool(right[score >= least].mean() >= wanted) if (score >= least).any() else False

    bought = fit._buys(score, right, wanted, gold=40)
    good = [least for least in score.tolist() if precise(least)]
    if bought is None:
        assert not good
    else:
        assert bought["threshold"] == min(good)
        assert bought["recall"] == right[score >= bought["threshold"]].sum() / 40


def test_the_least_score_is_chosen_where_f1_is_highest() -> None:
    """Entities that are mostly wrong, and known to be unsure, are not told any more."""
    sure, unsure = [0.02, 0.96, 0.02], [0.34, 0.36, 0.30]
    rows = np.log(np.array([sure, unsure] * 60, np.float32))
    gold = [{(0, 1, "art-film")} if row % 2 == 0 else set() for row in range(120)]
    scored = fit.Scored(
        rows, np.zeros(120, np.bool_), np.zeros(120, np.int64), np.ones(120, np.int64), np.arange(120), gold
    )
    decoding = decode.fit_transitions([["art-film", "O"]], LABELS)
    chosen, _ = fit.choose(scored, decoding)
    assert chosen.least > 0.2
    assert fit.find(scored, chosen).f1 == 1.0
    assert fit.find(scored, dataclasses.replace(chosen, least=0.0)).f1 < 0.7
