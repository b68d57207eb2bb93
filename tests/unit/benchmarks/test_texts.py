"""The benchmarks' texts."""

from __future__ import annotations

from statistics import fmean

from benchmarks.texts import MIX_EVERY, Texts


def test_a_seed_makes_the_same_texts() -> None:
    """The same seed gives the same texts, another one others."""
    assert Texts(1).mix(40) == Texts(1).mix(40)
    assert Texts(1).sentences(5) != Texts(2).sentences(5)


def test_no_text_is_given_twice() -> None:
    """Over several calls of any kind, no text comes again."""
    texts = Texts(3)
    given = texts.sentences(3000) + texts.mix(300) + texts.sentences(3000) + texts.of_pieces(50, 2)
    assert len(set(given)) == len(given)


def test_sizes_are_those_of_news() -> None:
    """Sentences have about 20 to 40 words, articles ten to thirty times as much, and a mix has both."""
    texts = Texts(4)
    assert 15 < fmean(len(text.split()) for text in texts.sentences(500)) < 35
    assert all(1_200 < len(text) < 4_500 for text in texts.articles(50))
    long = [len(text) > 1_000 for text in texts.mix(10 * MIX_EVERY)]
    assert sum(long) == 10


def test_new_words_keep_coming() -> None:
    """As in news, thousands of sentences hold thousands of different words."""
    words = {word for text in Texts(5).sentences(2000) for word in text.split()}
    assert len(words) > 4_000
