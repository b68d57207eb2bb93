"""The load and the fuzz are what the scenarios say they are."""

from __future__ import annotations

import json

import pytest

from tests.faults import fuzz, load


def test_documents_are_distinct_and_of_the_right_length() -> None:
    """Each of 15 to 40 words, no two alike, the same ones for the same seed."""
    texts = [load.text(3, number) for number in range(5_000)]
    assert len(set(texts)) == len(texts)
    lengths = {len(text.split()) for text in texts}
    assert min(lengths) >= load.FEWEST_WORDS
    assert max(lengths) <= load.MOST_WORDS
    assert texts[:50] == [load.text(3, number) for number in range(50)]
    assert texts[0] != load.text(4, 0)


def test_a_document_is_found_again_by_its_traceparent() -> None:
    """The number goes in and comes out, of the load's documents and of a scenario's own."""
    for number in (0, 41, load.SPECIAL + 5):
        assert load.number_of(load.traceparent(3, number)) == number
    assert load.number_of(None) is None
    assert load.number_of(b"other") is None
    assert json.loads(load.document(3, 41))["id"] == "n-41"


@pytest.mark.parametrize(("reason", "value"), fuzz.POISON)
def test_the_oracle_knows_poison(reason: str, value: bytes | None) -> None:
    """Each kind of poison has the reason under which it is listed."""
    assert fuzz.oracle(value)[0] == reason


def test_fuzz_reaches_every_reason() -> None:
    """Some of the fuzz is good, and some is bad for each reason that JSON allows."""
    found = {fuzz.oracle(fuzz.grow(3, index).value)[0] for index in range(2_000)}
    assert found == {
        None,
        "tombstone",
        "not-json",
        "nan",
        "invalid-utf8",
        "unpaired-surrogate",
        "not-an-object",
        "missing-field",
        "wrong-type",
        "blank-text",
        "too-deep",
    }


def test_the_oracle_and_the_product_agree_on_fuzz() -> None:
    """What the standard library makes of a record, and what orjson does, is the same."""
    from fewnerd_stream.contract.documents import decode
    from fewnerd_stream.errors import Reject
    from fewnerd_stream.settings import load_settings

    settings = load_settings()
    for index in range(1_000):
        value = fuzz.grow(5, index).value
        try:
            said: tuple[str | None, str] = None, decode(value, settings).text
        except Reject as error:
            said = str(error.reason), ""
        assert said == fuzz.oracle(value), value
