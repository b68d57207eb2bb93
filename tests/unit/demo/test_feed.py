"""The demonstration's feed and its tagger that fails on one document."""

from __future__ import annotations

import unicodedata
from collections import Counter

import pytest

from fewnerd_stream.contract.documents import decode
from fewnerd_stream.delivery.policy import Failed, tag_all
from fewnerd_stream.demo.feed import FLAKY, FLAKY_FAILURES, Item, feed, flaky_text, malformed, news
from fewnerd_stream.demo.flaky import FlakyTagger
from fewnerd_stream.errors import Reason, Reject
from fewnerd_stream.settings import load_settings
from tests.support.taggers import WordTagger

SETTINGS = load_settings()
LATER = {
    Reason.RESULT_TOO_LARGE,
    Reason.MODEL_ERROR,
    Reason.CRASH,
    Reason.RECORD_TOO_LARGE,
    Reason.UNREADABLE,
}
"""Reasons that are found after a document was read, or before it could be."""


def test_the_news_is_long_enough_and_odd_enough() -> None:
    """There are 60 documents or more, some long, some in other scripts, with one id that comes twice."""
    texts = [decode(item.value, SETTINGS).text for item in news()]
    assert len(texts) >= 60
    assert sum(len(text) > 2500 for text in texts) >= 2
    assert {"\0", "\r", "\u200d", "\u0301"} <= {sign for text in texts for sign in text}
    scripts = {unicodedata.name(sign, "?").split()[0] for text in texts for sign in text if sign.isalpha()}
    assert {"LATIN", "ARABIC", "HEBREW", "CJK", "FULLWIDTH"} <= scripts
    assert Counter(item.name for item in news()).most_common(1)[0][1] == 2


@pytest.mark.parametrize("item", malformed(SETTINGS), ids=lambda item: str(item.reason))
def test_what_is_malformed_is_rejected_for_its_reason(item: Item) -> None:
    """Each malformed record is rejected for just the reason that the demonstration foresees."""
    with pytest.raises(Reject) as caught:
        decode(item.value, SETTINGS)
    assert caught.value.reason == item.reason


def test_every_reason_to_reject_is_shown() -> None:
    """No reason for which a document is rejected as it is read is left out."""
    assert {item.reason for item in malformed(SETTINGS)} == set(Reason) - LATER


def test_the_feed_is_all_of_it() -> None:
    """The feed holds news and malformed records, each once, in a fixed order."""
    items = feed(SETTINGS)
    assert Counter(items) == Counter([*news(), *malformed(SETTINGS)])
    assert items == feed(SETTINGS)


@pytest.mark.parametrize("others", [0, 1, 4])
def test_one_document_fails_at_two_attempts_and_then_passes(others: int) -> None:
    """Whatever stands beside it, the document fails twice and passes then, and the others never fail."""
    tagger = FlakyTagger(WordTagger(), flaky_text(), FLAKY_FAILURES)
    texts = [f"Paris {number}" for number in range(others)]
    for attempt in range(FLAKY_FAILURES):
        *fine, failed = tag_all([*texts, flaky_text()], tagger.tag)
        assert isinstance(failed, Failed), attempt
        assert [len(found) for found in fine if not isinstance(found, Failed)] == [1] * others
    assert tag_all([flaky_text()], tagger.tag) == [[]]
    assert FLAKY in [item.name for item in news()]
