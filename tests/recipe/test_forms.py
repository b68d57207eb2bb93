"""Held-out sentences in other forms keep their entities, and thresholds buy what they say."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.decoding import Decoding, fit_transitions
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


def test_the_least_coarse_score_is_chosen_where_routing_and_f1_are_highest() -> None:
    """Entities that are mostly wrong, and known to be unsure, are not told any more."""
    sure, unsure = [0.02, 0.96, 0.02], [0.34, 0.36, 0.30]
    rows = np.log(np.array([sure, unsure] * 60, np.float32))
    gold = [{(0, 1, "art-film")} if row % 2 == 0 else set() for row in range(120)]
    scored = fit.Scored(
        rows, np.zeros(120, np.bool_), np.zeros(120, np.int64), np.ones(120, np.int64), np.arange(120), gold
    )
    decoding = fit_transitions([["art-film", "O"]], LABELS)
    chosen, _ = fit.choose(scored, decoding)
    assert chosen.thresholds["art"] > 0.2
    found = fit.find(scored, chosen)
    assert found.told(chosen).f1 == 1.0
    assert found.told(chosen).routing().as_dict()["f1"] == 1.0
    assert found.f1 < 0.7


def test_a_type_that_is_wrong_of_the_right_category_is_routed_right() -> None:
    """An actor taken for another person counts for the category, its scores and its topic, and not as a type."""
    labels = ("O", "person-actor", "person-other")
    rows = np.log(np.array([[0.1, 0.4, 0.5]], np.float32))
    one = np.ones(1, np.int64)
    scored = fit.Scored(rows, np.zeros(1, np.bool_), one * 0, one, one * 0, [{(0, 1, "person-actor")}])
    found = fit.find(scored, Decoding.plain(labels))
    assert (found.f1, found.coarse_f1, found.routing().as_dict()["f1"]) == (0.0, 1.0, 1.0)
    assert found.coarse_score.tolist() == pytest.approx([0.9])
    assert found.score.tolist() == pytest.approx([0.5])


def test_a_part_of_the_sentences_is_found_as_in_the_whole() -> None:
    """What is found in two parts is what is found in all, in the parts' order."""
    random = np.random.default_rng(3)
    sentence = np.sort(random.integers(0, 20, 90))
    linked = np.append(False, np.diff(sentence) == 0)
    start = np.arange(90) * 2
    gold: list[fit.Spans] = [set() for _ in range(20)]
    for word in range(0, 90, 3):
        gold[sentence[word]].add((2 * word, 2 * word + 1, "art-film"))
    scored = fit.Scored(
        random.normal(size=(90, 3)).astype(np.float32) * 3, linked, start, start + 1, sentence, gold
    )
    decoding = Decoding.plain(LABELS)
    only = np.arange(20) % 2 == 0
    whole, parts = (
        fit.find(scored, decoding),
        [fit.find(scored.part(which), decoding) for which in (only, ~only)],
    )
    assert sum(part.right.sum() for part in parts) == whole.right.sum() > 0
    assert sum(part.routing().right for part in parts) == whole.routing().right
    assert (parts[0].gold + parts[1].gold).tolist() == whole.gold.tolist()
