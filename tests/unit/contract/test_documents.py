"""Raw document in, enriched documents out."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from fewnerd_stream.contract import envelope
from fewnerd_stream.contract.documents import (
    SCHEMA,
    TAKEN,
    Document,
    Headers,
    Outgoing,
    Record,
    Source,
    decode,
    encode,
)
from fewnerd_stream.contract.taxonomy import CATEGORIES, LABELS
from fewnerd_stream.errors import Reason, Reject
from fewnerd_stream.settings import Settings, load_settings

SETTINGS = load_settings()
VALID = Draft202012Validator(SCHEMA)


@dataclass(frozen=True)
class Found:
    """An entity."""

    text: str
    start: int
    end: int
    label: str = "person-politician"
    score: float = 0.97
    coarse_score: float = 0.99

    @property
    def coarse(self) -> str:
        """Its category."""
        return self.label.partition("-")[0]

    @property
    def fine(self) -> str:
        """Its type."""
        return self.label.partition("-")[2]


@dataclass(frozen=True)
class Info:
    """A model."""

    name: str = "tiny"
    digest: str = "sha256:" + "0" * 64
    precision: str = "int8"


VALUE = (
    b'{"id": "n-17", "text": "Angela Merkel flew to Paris.", "url": "https://example.org/17", "price": 1.10}'
)
MERKEL = Found("Angela Merkel", 0, 13)
PARIS = Found("Paris", 22, 27, "location-GPE", 0.98765432)


def _record(value: bytes | None = VALUE, headers: Headers = (), **changes: Any) -> Record:
    fields = {
        "topic": "raw-documents",
        "partition": 3,
        "offset": 1042,
        "timestamp": 1764000000000,
        "key": b"k",
    }
    return Record(**{**fields, **changes}, value=value, headers=headers)


def _encoded(record: Record, *entities: Found, settings: Settings = SETTINGS) -> tuple[Outgoing, ...]:
    document = decode(record.value, settings)
    return encode(record, envelope.source_of(record, settings), document, entities, Info(), settings)


def _loaded(outgoing: Outgoing) -> dict[str, Any]:
    """Read an enriched document and hold it against the schema."""
    assert outgoing.value is not None
    loaded: dict[str, Any] = orjson.loads(outgoing.value)
    VALID.validate(loaded)
    return loaded


def _rejected(value: bytes | None, settings: Settings = SETTINGS) -> tuple[Reason, str]:
    with pytest.raises(Reject) as caught:
        decode(value, settings)
    assert caught.value.stage == "decode"
    return caught.value.reason, str(caught.value)


def test_the_schema_is_a_schema() -> None:
    """The JSON Schema is one itself."""
    Draft202012Validator.check_schema(SCHEMA)


def test_a_document_is_read() -> None:
    """Id and text are taken out, and the bytes are kept."""
    assert decode(VALUE, SETTINGS) == Document("n-17", "Angela Merkel flew to Paris.", VALUE)


def test_the_fields_have_the_names_that_are_set() -> None:
    """The names of id and text are settings."""
    settings = load_settings(id_field="key", text_field="body")
    assert decode(b'{"key":"1","body":"x","text":2}', settings).text == "x"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, Reason.TOMBSTONE),
        (b"", Reason.NOT_JSON),
        (b"{", Reason.NOT_JSON),
        (b"nan", Reason.NOT_JSON),
        (b'{"id":"1","text":"a\nb"}', Reason.NOT_JSON),
        (b'\xef\xbb\xbf{"id":"1","text":"x"}', Reason.NOT_JSON),
        (b'{"id":"1","text":"\xff"}', Reason.INVALID_UTF8),
        (b'{"id":"1","text":"\xed\xa0\x80"}', Reason.INVALID_UTF8),
        ('{"id":"1","text":"x"}'.encode("utf-16"), Reason.INVALID_UTF8),
        (b'{"id":"1","text":"x","n":NaN}', Reason.NAN),
        (b'{"id":"1","text":"x","n":-Infinity}', Reason.NAN),
        (b'{"id":"1","text":"x","n":1e999}', Reason.NAN),
        (b'{"id":"1","text":"x","n":' + b"9" * 5000 + b"}", Reason.NAN),
        (rb'{"id":"1","text":"\ud800"}', Reason.UNPAIRED_SURROGATE),
        (rb'{"id":"1","text":"x","a":[{"\udc00":1}]}', Reason.UNPAIRED_SURROGATE),
        (rb'{"id":"1","text":"\udc00","text":"x"}', Reason.UNPAIRED_SURROGATE),
        (b"[]", Reason.NOT_AN_OBJECT),
        (b"null", Reason.NOT_AN_OBJECT),
        (b'"x"', Reason.NOT_AN_OBJECT),
        (b"1", Reason.NOT_AN_OBJECT),
        (b'{"text":"x"}', Reason.MISSING_FIELD),
        (b'{"id":"1"}', Reason.MISSING_FIELD),
        (b'{"id":"","text":"x"}', Reason.MISSING_FIELD),
        (b'{"id":" ","text":"x"}', Reason.MISSING_FIELD),
        (b'{"id":1,"text":"x"}', Reason.WRONG_TYPE),
        (b'{"id":null,"text":"x"}', Reason.WRONG_TYPE),
        (b'{"id":"1","text":["x"]}', Reason.WRONG_TYPE),
        (b'{"id":"1","text":true}', Reason.WRONG_TYPE),
        (b'{"id":"1","text":""}', Reason.BLANK_TEXT),
        ('{"id":"1","text":" \\t\\n\u2003"}'.encode(), Reason.BLANK_TEXT),
    ],
)
def test_what_is_wrong_is_rejected_with_its_reason(value: bytes | None, reason: Reason) -> None:
    """Each kind of bad document has a reason of its own."""
    assert _rejected(value)[0] is reason


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (rb'{"id":"1","text":"\u0000"}', "\0"),
        (rb'{"id":"1","text":"\ud83d\ude00"}', "😀"),
        (b'{"id":"1","text":"a","text":"b"}', "b"),
        (b' \n{"id":"1","text":"a"}\r\n', "a"),
        (b'{"id":"1","text":"a","n":123456789012345678901234567890}', "a"),
        ('{"id":"1","text":"\u200b"}'.encode(), "\u200b"),
    ],
)
def test_what_is_odd_is_read(value: bytes, text: str) -> None:
    """NUL, pairs of escapes, repeated names (the last counts), long integers and a zero-width space pass."""
    assert decode(value, SETTINGS).text == text


def test_a_rejection_does_not_repeat_the_document() -> None:
    """What is said of a document names fields and places, not its text, which may be anybody's secret."""
    for value in (
        b'{"id":"1","text":"hush',
        b'{"id":"1","text":["hush"]}',
        rb'{"id":"1","text":"hush\ud800"}',
    ):
        assert "hush" not in _rejected(value)[1]


@pytest.mark.parametrize("opening", [b'{"a":', b"["])
def test_nesting_is_bounded(opening: bytes) -> None:
    """200 levels pass, 201 and 5,000 do not; neither do brackets that only open."""
    closing = {b"[": b"]"}.get(opening, b"}")

    def nested(levels: int) -> bytes:
        return b'{"id":"1","text":"x","a":' + opening * (levels - 1) + b"1" + closing * (levels - 1) + b"}"

    assert decode(nested(200), SETTINGS).text == "x"
    assert _rejected(nested(201)) == (Reason.TOO_DEEP, "nested 201 deep, more than max_depth (200)")
    assert _rejected(nested(5000))[0] is Reason.TOO_DEEP
    assert _rejected(opening * 5000)[0] is Reason.TOO_DEEP


def test_brackets_in_a_text_do_not_nest() -> None:
    """A text may be full of brackets and quotes."""
    text = '["{' * 1000
    assert decode(orjson.dumps({"id": "1", "text": text}), SETTINGS).text == text


def test_a_long_text_is_rejected_by_its_length_in_utf8() -> None:
    """The bound is on the text's bytes, however it is escaped."""
    settings = load_settings(max_text_bytes=10)
    assert decode(json.dumps({"id": "1", "text": "é" * 5}).encode(), settings).text == "é" * 5
    for value in (json.dumps({"id": "1", "text": "é" * 6}), json.dumps({"id": "1", "text": "x" * 11})):
        assert _rejected(value.encode(), settings)[0] is Reason.TEXT_TOO_LARGE


def test_the_contract_as_it_is_written() -> None:
    """A document with a person and a place goes to both topics, with these headers and this value."""
    location, person = _encoded(_record(), MERKEL, PARIS)
    assert (location.topic, person.topic) == ("entities.location", "entities.person")
    assert person.key == location.key == b"k"
    assert person.headers == (
        ("ce_specversion", b"1.0"),
        ("ce_id", b"raw-documents/3/1042/person"),
        ("ce_source", b"/fewnerd-stream/fewnerd-stream"),
        ("ce_type", b"fewnerd.entities.v1"),
        ("ce_subject", b"person"),
        ("ce_time", b"2025-11-24T16:00:00.000Z"),
        ("content-type", b"application/json"),
    )
    assert location.headers[1] == ("ce_id", b"raw-documents/3/1042/location")
    entity = {
        "text": "Angela Merkel",
        "start": 0,
        "end": 13,
        "coarse": "person",
        "fine": "politician",
        "label": "person-politician",
        "score": 0.97,
        "coarse_score": 0.99,
    }
    assert _loaded(person) == {
        "schema": 1,
        "id": "n-17",
        "category": "person",
        "entities": [entity],
        "counts": {"location": 1, "person": 1},
        "document": orjson.loads(VALUE),
        "source": {
            "topic": "raw-documents",
            "partition": 3,
            "offset": 1042,
            "timestamp": 1764000000000,
            "attempt": 0,
            "replay": 0,
        },
        "model": {"name": "tiny", "digest": "sha256:" + "0" * 64, "precision": "int8"},
    }
    assert list(orjson.loads(person.value or b"")) == list(SCHEMA["properties"])
    assert _loaded(location)["entities"][0]["score"] == 0.9877


def test_a_document_without_coarse_scores_is_still_one() -> None:
    """What was written before `coarse_score` came passes the schema, and a score outside 0 to 1 does not."""
    loaded = _loaded(_encoded(_record(), MERKEL)[0])
    del loaded["entities"][0]["coarse_score"]
    assert VALID.is_valid(loaded)
    loaded["entities"][0]["coarse_score"] = 1.01
    assert not VALID.is_valid(loaded)


def test_nothing_found_goes_to_none() -> None:
    """A document without entities goes to one topic, too."""
    (only,) = _encoded(_record())
    assert only.topic == "entities.none"
    loaded = _loaded(only)
    assert (loaded["category"], loaded["entities"], loaded["counts"]) == ("none", [], {})


def test_the_document_is_passed_on_byte_for_byte() -> None:
    """Numbers, spacing, escapes and repeated names come out as they came in."""
    value = (
        b'\t{"id":"1" , "text":"\\u00e9","text":"b","n":1.10,'
        b'"m":123456789012345678901234567890,"z":-0,"e":1E5}\n'
    )
    for outgoing in _encoded(_record(value), MERKEL, PARIS):
        assert value in (outgoing.value or b"")
        _loaded(outgoing)


def test_the_text_can_be_left_out() -> None:
    """Without its text, the document keeps all else byte for byte."""
    settings = load_settings(include_text=False)
    (only,) = _encoded(_record(b'{"id":"1","text":"secret","n":1.10}'), settings=settings)
    assert b'"document":{"id":"1","n":1.10}' in (only.value or b"")
    _loaded(only)


def test_all_entities_can_go_everywhere() -> None:
    """With the setting, each message has the entities of all categories in the text's order."""
    for outgoing in _encoded(_record(), MERKEL, PARIS, settings=load_settings(all_entities=True)):
        assert [entity["text"] for entity in _loaded(outgoing)["entities"]] == ["Angela Merkel", "Paris"]


def test_the_prefix_and_the_group_are_settings() -> None:
    """Topics begin with the prefix, and the source names the group."""
    (only,) = _encoded(_record(), settings=load_settings(output_prefix="ner", group="a-b"))
    assert only.topic == "ner.none"
    assert dict(only.headers)["ce_source"] == b"/fewnerd-stream/a-b"


def test_input_headers_come_along() -> None:
    """Others' headers keep order, repeats and nulls; those that would speak for ours get another name."""
    headers: Headers = (
        ("traceparent", b"00-1"),
        ("x", b"1"),
        ("ce_id", b"theirs"),
        ("x", None),
        ("content-type", b"text/plain"),
        ("__fewnerd.attempt", b"7"),
        ("original.y", b"y"),
    )
    (only,) = _encoded(_record(headers=headers))
    assert only.headers[7:] == (
        ("traceparent", b"00-1"),
        ("x", b"1"),
        ("original.ce_id", b"theirs"),
        ("x", None),
        ("original.content-type", b"text/plain"),
        ("original.__fewnerd.attempt", b"7"),
        ("original.y", b"y"),
    )
    assert _loaded(only)["source"]["attempt"] == 0


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(TAKEN)) | st.text(max_size=5), st.none() | st.binary(max_size=3))
    )
)
def test_no_input_header_passes_for_ours(headers: list[tuple[str, bytes | None]]) -> None:
    """Whatever comes in, each header of ours is there once, with our value, and every value comes along."""
    (only,) = _encoded(_record(headers=tuple(headers)))
    names = [name for name, _ in only.headers]
    assert all(names.count(name) == 1 for name, _ in only.headers[:7])
    assert not TAKEN & set(names[7:])
    assert [value for _, value in only.headers[7:]] == [value for _, value in headers]


@pytest.mark.parametrize(
    ("timestamp", "time"),
    [
        (0, b"1970-01-01T00:00:00.000Z"),
        (1764000000007, b"2025-11-24T16:00:00.007Z"),
        (None, None),
        (10**17, None),
    ],
)
def test_the_time_is_the_source_s_if_it_has_one(timestamp: int | None, time: bytes | None) -> None:
    """A time is written as RFC 3339 says; none, or one beyond the calendar, is left out."""
    (only,) = _encoded(_record(timestamp=timestamp))
    assert dict(only.headers).get("ce_time") == time
    assert _loaded(only)["source"]["timestamp"] == timestamp


def test_kafka_s_missing_timestamp_is_none() -> None:
    """Kafka writes -1 where there is no timestamp."""
    (only,) = _encoded(_record(timestamp=-1))
    assert _loaded(only)["source"]["timestamp"] is None


def test_a_redelivery_repeats_the_first_record_s_name() -> None:
    """After retries, a death and a replay, ``ce_id`` and time are those of the first record."""
    first = _record(headers=(("x", b"1"), ("x", b"2")))
    waiting = envelope.retry_record(first, envelope.source_of(first, SETTINGS), SETTINGS, 1764000000000)
    assert waiting is not None
    again = Record(waiting.topic, 0, 9, 1764000009999, waiting.key, waiting.value, waiting.headers)
    (fresh,), (late,) = _encoded(first), _encoded(again)
    assert late.headers == fresh.headers
    assert _loaded(late)["source"] == {**_loaded(fresh)["source"], "attempt": 1}


def test_documents_of_a_topic_that_was_made_anew_have_other_names() -> None:
    """The topic's id is in ``ce_id``, through retries too: who drops what was seen drops no new document."""
    old, new = (dataclasses.replace(_record(), topic_id=letter * 22) for letter in "on")
    waiting = envelope.retry_record(old, envelope.source_of(old, SETTINGS), SETTINGS, 1764000000000)
    assert waiting is not None
    again = Record(waiting.topic, 0, 9, 1764000009999, None, waiting.value, waiting.headers, "r" * 22)
    names = [dict(made.headers)["ce_id"] for one in (old, new, again) for made in _encoded(one)]
    assert names[0] == names[2] != names[1]
    assert names[1] == b"raw-documents:%b/3/1042/none" % (b"n" * 22)


def test_a_topic_id_that_we_did_not_write_is_not_believed() -> None:
    """Then the record on the retry topic is its own source, as with every other header of ours that is off."""
    first = dataclasses.replace(_record(), topic_id="o" * 22)
    waiting = envelope.retry_record(first, envelope.source_of(first, SETTINGS), SETTINGS, 1764000000000)
    assert waiting is not None
    for value in (b"", None, b"short", b"/" * 22):
        headers = tuple((n, value if n.endswith("topic-id") else v) for n, v in waiting.headers)
        read = Record(waiting.topic, 0, 9, 1764000009999, None, b"{}", headers)
        assert envelope.source_of(read, SETTINGS).topic == waiting.topic


def test_a_result_over_the_limit_is_rejected() -> None:
    """A result that no producer would take is rejected at once, with key and headers counted."""
    settings = load_settings(max_message_bytes=100_000, max_text_bytes=90_000, max_result_bytes=170_000)
    record = _record(orjson.dumps({"id": "1", "text": "a " * 40_000}))
    assert len(_encoded(record, settings=settings)) == 1
    many = [Found("a", 2 * place, 2 * place + 1) for place in range(2000)]
    larger = _record(record.value, headers=(("x", b"y" * 90_000),))
    for one, entities in ((record, many), (larger, [])):
        with pytest.raises(Reject, match=r"max_result_bytes \(170000\)") as caught:
            _encoded(one, *entities, settings=settings)
        assert (caught.value.reason, caught.value.stage) == (Reason.RESULT_TOO_LARGE, "encode")


@given(
    text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
        lambda text: not text.isspace()
    ),
    data=st.data(),
)
def test_whatever_the_text_the_result_is_valid_and_whole(text: str, data: st.DataObject) -> None:
    """Spans count code points, every category has its topic once, and counts add up, for any Unicode."""
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)), max_size=8)))
    labels = st.sampled_from(LABELS)
    entities = [
        Found(text[a:b], a, b, data.draw(labels)) for a, b in zip(cuts[::2], cuts[1::2], strict=False)
    ]
    value = json.dumps({"id": "1", "text": text}, ensure_ascii=data.draw(st.booleans())).encode()
    made = _encoded(_record(value), *entities)
    loaded = [_loaded(outgoing) for outgoing in made]
    assert [outgoing.topic for outgoing in made] == [f"entities.{one['category']}" for one in loaded]
    found = [entity for one in loaded for entity in one["entities"]]
    assert len(found) == len(entities)
    assert all(text[one["start"] : one["end"]] == one["text"] for one in found)
    assert all(one["document"]["text"] == text for one in loaded)
    assert loaded[0]["counts"] == {c: n for c in CATEGORIES if (n := sum(e.coarse == c for e in entities))}


def test_a_source_is_written_as_given() -> None:
    """The source that delivery hands over is the one that the message names."""
    source = Source("other", 1, 2, 3, attempt=2, replay=1)
    (only,) = encode(_record(), source, decode(VALUE, SETTINGS), [], Info(), SETTINGS)
    assert _loaded(only)["source"] == {
        "topic": "other",
        "partition": 1,
        "offset": 2,
        "timestamp": 3,
        "attempt": 2,
        "replay": 1,
    }
    assert dict(only.headers)["ce_id"] == b"other/1/2/none"
