"""A document is buried for a crash only while the model is well."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from fewnerd_stream.contract.records import Record, Withheld
from fewnerd_stream.delivery.process import Processor
from fewnerd_stream.delivery.pulse import silent
from fewnerd_stream.errors import Reason, Stop
from fewnerd_stream.settings import load_settings
from tests.support.taggers import WordTagger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fewnerd_stream.delivery.pulse import Beat

RECORD = Record("raw-documents", 0, 7, 0, b"k", b'{"id": "x", "text": "y"}')


class Broken(WordTagger):
    """Fails on everything."""

    def tag(self, texts: Sequence[str], beat: Beat = silent) -> list[list[Any]]:  # noqa: ARG002 - as its like
        """Fail."""
        raise RuntimeError(len(texts))


def test_a_document_that_never_survived_is_buried() -> None:
    """With the reason."""
    [outcome] = Processor(load_settings(), WordTagger()).crashed([RECORD])
    assert (outcome.kind, outcome.reason) == ("dead", "crash")


def test_a_broken_model_buries_nothing() -> None:
    """It may as well have been the model each time."""
    with pytest.raises(Stop):
        Processor(load_settings(), Broken()).crashed([RECORD])


@pytest.mark.parametrize("value", [b"[]", RECORD.value])
def test_what_a_topic_refuses_for_its_size_is_dead_without_its_value(value: bytes) -> None:
    """Whatever it was to become; the letter says what that was, and which topic it was too large for."""
    record = dataclasses.replace(RECORD, value=value)
    processor = Processor(load_settings(), WordTagger())
    [outcome] = processor.process([record])
    [dead] = (found := processor.too_large(record, outcome, outcome.outgoing[0], "said the broker")).outgoing
    assert (found.kind, found.reason) == ("dead", "record-too-large")
    assert (dead.topic, dead.key, dead.value) == ("fewnerd-stream.raw-documents.dead", b"k", None)
    message = dict(dead.headers)["__fewnerd.errors.exception.message"] or b""
    assert outcome.outgoing[0].topic.encode() in message
    assert outcome.kind.encode() in message
    assert b"said the broker" in message


def test_a_value_that_was_not_read_reaches_no_model() -> None:
    """It is dead at once, with the reader's reason; its neighbours in the window are as ever."""
    withheld = dataclasses.replace(RECORD, value=Withheld(Reason.UNREADABLE, "no batch"))
    outcomes = Processor(load_settings(), WordTagger()).process([RECORD, withheld, RECORD])
    assert [(one.kind, one.reason) for one in outcomes] == [
        ("enriched", ""),
        ("dead", "unreadable"),
        ("enriched", ""),
    ]
    assert outcomes[1].outgoing[0].value is None


class Counting(WordTagger):
    """Notes how much text it is given at a time."""

    def __init__(self) -> None:
        """Start with nothing noted."""
        self.given: list[int] = []

    def tag(self, texts: Sequence[str], beat: Any = silent) -> list[list[Any]]:
        """Tag."""
        self.given.append(sum(map(len, texts)))
        return [*super().tag(texts, beat)]


def test_long_texts_are_written_down_as_they_are_tagged() -> None:
    """The entities of one are gone before the next one is tagged; short ones are tagged together, and order is kept."""
    texts = ["Paris"] * 50 + ["Paris " * 50_000, "Siemens " * 50_000, "Hamlet"] + ["a"] * 5
    records = [
        dataclasses.replace(RECORD, offset=number, value=orjson.dumps({"id": str(number), "text": text}))
        for number, text in enumerate(texts)
    ]
    tagger = Counting()
    outcomes = Processor(
        load_settings(max_text_bytes=2**21, max_message_bytes=2**22, max_result_bytes=2**25), tagger
    ).process(records)
    assert tagger.given == [250, 300_000, 400_000, 11]
    assert [orjson.loads(one.outgoing[0].value or b"")["id"] for one in outcomes] == list(
        map(str, range(len(texts)))
    )
