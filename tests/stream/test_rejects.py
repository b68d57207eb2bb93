"""Bad input, its end: each to the dead letters with its reason and its bytes, and the partition moves on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.clients import New
from tests.support.taggers import WordTagger

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.clients import Message
    from tests.support.flows import Flow

MAX_TEXT = 20_000
LIMITS = {"max_text_bytes": MAX_TEXT, "max_message_bytes": 2**16, "max_result_bytes": 2**17}

GOOD = json.dumps({"id": "good", "text": "Angela Merkel flew to Paris."}).encode()
BAD: dict[str, tuple[bytes | None, str, str]] = {
    "not-json": (b"hello", "not-json", "decode"),
    "nothing": (b"", "not-json", "decode"),
    "half": (b'{"id": "a", "text": "b"', "not-json", "decode"),
    "nan": (b'{"id": "a", "text": "b", "x": NaN}', "nan", "decode"),
    "infinity": (b'{"id": "a", "text": "b", "x": -Infinity}', "nan", "decode"),
    "surrogate": (rb'{"id": "a", "text": "b \ud800 c"}', "unpaired-surrogate", "decode"),
    "surrogate-elsewhere": (rb'{"id": "a", "text": "b", "x": {"\udfff": 1}}', "unpaired-surrogate", "decode"),
    "utf8": (b'{"id": "a", "text": "caf\xe9"}', "invalid-utf8", "decode"),
    "utf8-surrogate": (b'{"id": "a", "text": "\xed\xa0\x80"}', "invalid-utf8", "decode"),
    "tombstone": (None, "tombstone", "decode"),
    "array": (b'["id", "text"]', "not-an-object", "decode"),
    "null": (b"null", "not-an-object", "decode"),
    "text-number": (b'{"id": "a", "text": 7}', "wrong-type", "decode"),
    "text-null": (b'{"id": "a", "text": null}', "wrong-type", "decode"),
    "id-number": (b'{"id": 7, "text": "b"}', "wrong-type", "decode"),
    "no-text": (b'{"id": "a"}', "missing-field", "decode"),
    "no-id": (b'{"text": "b"}', "missing-field", "decode"),
    "blank": (rb'{"id": "a", "text": " \t\n\u00a0"}', "blank-text", "decode"),
    "empty": (b'{"id": "a", "text": ""}', "blank-text", "decode"),
    "deep": (b'{"id": "a", "text": "b", "x": ' + b"[" * 200 + b"]" * 200 + b"}", "too-deep", "decode"),
    "very-deep": (b'{"id": "a", "text": "b", "x": ' + b"[" * 5000 + b"]" * 5000 + b"}", "too-deep", "decode"),
    "long": (json.dumps({"id": "a", "text": "x" * (MAX_TEXT + 1)}).encode(), "text-too-large", "decode"),
    "result": (
        json.dumps({"id": "a", "text": "Paris " * (MAX_TEXT // 6)}).encode(),
        "result-too-large",
        "encode",
    ),
}
"""By key: the value, the reason of its death, and the stage at which it is found."""
EDGE = {
    "deep-enough": b'{"id": "a", "text": "b", "x": ' + b"[" * 199 + b"]" * 199 + b"}",
    "long-enough": json.dumps({"id": "a", "text": "x" * MAX_TEXT}).encode(),
    "pair": rb'{"id": "a", "text": "b \ud83d\ude00 c"}',
    "nul": rb'{"id": "a", "text": "b \u0000 c"}',
}
"""Good ones just within the limits."""


def letters(stream: Flow) -> dict[bytes | None, Message]:
    """Read the dead letters by key; each key is there once."""
    found = stream.dead()
    by_key = {message.key: message for message in found}
    assert len(by_key) == len(found)
    return by_key


@pytest.fixture
def limited(flow: Callable[..., Flow]) -> Flow:
    """Make a flow with small limits and one partition, so that whatever does not move on blocks the rest."""
    return flow(partitions=1, **LIMITS)


def test_bad_input_goes_to_the_dead_letters_with_its_reason(limited: Flow) -> None:
    """Each bad input is dead once, byte for byte, with reason, stage and place; all around it are enriched."""
    headers = (("x", b"1"), ("x", b"2"))
    records: list[New] = []
    for name, (value, _, _) in BAD.items():
        records += [New(value, name.encode(), headers), New(GOOD, f"good after {name}".encode())]
    records += [New(value, name.encode()) for name, value in EDGE.items()]
    records += [New(None, None, headers)]  # a tombstone of nothing
    places = limited.send(records)
    worker = limited.worker()
    limited.wait_done()
    account = limited.account()
    assert account.duplicates == 0
    dead = letters(limited)
    assert set(dead) == {name.encode() for name in BAD} | {None}
    at = dict(zip([record.key for record in records], places, strict=True))
    for name, (value, reason, stage) in BAD.items():
        letter = dead[name.encode()]
        assert letter.value == value, name
        assert (letter.header("__fewnerd.reason"), letter.header("__fewnerd.errors.stage")) == (
            reason.encode(),
            stage.encode(),
        ), name
        assert letter.headers[:2] == headers
        topic, partition, offset = at[name.encode()]
        assert letter.header("__fewnerd.errors.topic") == topic.encode()
        assert letter.header("__fewnerd.errors.partition") == str(partition).encode()
        assert letter.header("__fewnerd.errors.offset") == str(offset).encode()
        assert letter.header("__fewnerd.attempts") == b"1"
        assert letter.header("__fewnerd.model") == WordTagger.info.digest.encode()
    assert (dead[None].value, dead[None].header("__fewnerd.reason")) == (None, b"tombstone")
    assert dead[None].headers[:2] == headers
    for name in EDGE:
        assert account.topics(at[name.encode()]) == {f"{limited.settings.output_prefix}.none"}
    assert limited.count(f"{limited.settings.output_prefix}.person") == len(BAD)
    assert account.retried.total() == 0
    limited.stop(worker)
    assert worker.health()["dead_by_reason"]["tombstone"] == 2


def test_a_raised_limit_takes_a_text_of_five_megabytes_whole(flow: Callable[..., Flow]) -> None:
    """With the limits raised a text of 5 MB is enriched, to its last entity."""
    size = 5_000_000
    stream = flow(
        partitions=1, max_text_bytes=size + 100, max_message_bytes=3 * size, max_result_bytes=4 * size
    )
    text = "Hamlet. " + "lorem ipsum " * (size // 12) + "Paris"
    assert len(text) > size - 20
    stream.send([json.dumps({"id": "big", "text": text}).encode()])
    worker = stream.worker()
    stream.wait_done()
    assert stream.account().duplicates == 0
    [location] = stream.category("location")
    [paris] = location.json()["entities"]
    assert (paris["start"], paris["end"]) == (len(text) - 5, len(text))
    assert location.json()["document"]["text"] == text
    stream.stop(worker)
