"""The client reads whatever the worker's contract writes, and whatever any released version wrote."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import fewnerd_client
import orjson
import pytest
from fewnerd_client import Raw, UnreadableMessageError, read
from fewnerd_client import messages as client_messages
from fewnerd_client.filters import Filter
from fewnerd_client.reading import SCHEMA as VERSION
from fewnerd_client.reading import peek
from fewnerd_client.testing import enriched, entity, messages
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from fewnerd_stream.contract import envelope, records, taxonomy
from fewnerd_stream.contract.documents import EVENT_TYPE, decode, encode
from fewnerd_stream.contract.schema import SCHEMA
from fewnerd_stream.settings import Settings, load_settings

VALID = Draft202012Validator(SCHEMA)
STORED = Path(__file__).with_name("stored")
TEXT = "Angela Merkel flew to Paris 🛫, then 𝕏."


@dataclass(frozen=True)
class Found:
    """An entity as a tagger gives it."""

    text: str
    start: int
    end: int
    coarse: str
    fine: str
    label: str
    score: float
    coarse_score: float


@dataclass(frozen=True)
class Info:
    """A model."""

    name: str = 'tiny ","source":{'
    digest: str = "sha256:" + "1" * 64
    precision: str = "int8"


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda s: not s.isspace()
)
_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXTS, inner, max_size=3),
    max_leaves=8,
)
# What a document might hold to pass for a message's own members.
_TRICKY: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"document": {"source": {}, "model": {}}},
        {"a": '","source":{"topic":"x"},"model":{}}'},
        {
            "source": {"topic": "x"},
            "model": {"name": "y"},
            "entities": [],
            "counts": {},
            "data": {"data": {}},
        },
        {"a": "\\", "b": '\\"', "c": "{[", "d": "]}"},
        {},
    ]
)
_HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["traceparent", "ce_id", "ce_source", "content-type", "__fewnerd.attempt", "x", "ö"]),
        st.none() | st.binary(max_size=12),
    ),
    max_size=4,
).map(tuple)


@st.composite
def _entities(draw: st.DrawFn, text: str) -> list[Found]:
    found = []
    for _ in range(draw(st.integers(0, 5))):
        start = draw(st.integers(0, len(text) - 1))
        end = draw(st.integers(start + 1, len(text)))
        coarse = draw(st.sampled_from(taxonomy.CATEGORIES))
        fine = draw(
            st.sampled_from(taxonomy.FINE_TYPES[coarse]) | st.sampled_from(["brand-new", 'a"b', "[{"])
        )
        score, coarse_score = draw(st.floats(0, 1)), draw(st.floats(0, 1))
        label = f"{coarse}-{fine}"
        found.append(Found(text[start:end], start, end, coarse, fine, label, score, coarse_score))
    return sorted(found, key=lambda one: (one.start, one.end))


def _optional(**values: list[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Draw settings; those that this version does not have are left out."""
    known: dict[str, st.SearchStrategy[Any]] = {
        name: st.sampled_from(each) for name, each in values.items() if name in Settings.model_fields
    }
    return st.fixed_dictionaries(known)


_SETTINGS = _optional(
    include_text=[True, False],
    all_entities=[True, False],
    cloudevents=["binary", "structured"],
    group=["fewnerd-stream", "a.b_C-1"],
    output_prefix=["entities", "x.y-z"],
    id_field=["id", "source"],
    text_field=["text", "document"],
)


@given(st.data())
def test_it_reads_what_the_worker_writes(data: st.DataObject) -> None:
    """Over settings, retries, replays, hostile documents, other labels: every field, and the document's bytes."""
    settings = load_settings(**data.draw(_SETTINGS))
    text = data.draw(_TEXTS)
    fields = {
        **data.draw(st.dictionaries(_TEXTS, _JSON, max_size=4)),
        **data.draw(_TRICKY),
        settings.id_field: data.draw(_TEXTS),
        settings.text_field: text,
    }
    dumped = json.dumps(
        fields, ensure_ascii=data.draw(st.booleans()), indent=data.draw(st.sampled_from([None, 1]))
    )
    topic = "raw-documents"
    record = records.Record(
        topic,
        2,
        7,
        data.draw(st.none() | st.integers(0, 2**41)),
        data.draw(st.none() | st.binary(max_size=8)),
        dumped.encode(),
        data.draw(_HEADERS),
    )
    source = replace(
        envelope.source_of(record, settings),
        attempt=data.draw(st.integers(0, 3)),
        replay=data.draw(st.integers(0, 2)),
    )
    found = data.draw(_entities(text))
    document = decode(record.value, settings)
    for outgoing in encode(record, source, document, found, Info(), settings):
        raw = Raw(outgoing.topic, 0, 0, None, outgoing.key, outgoing.value, outgoing.headers)
        message = read(raw)
        assert (message.id, message.raw, message.key) == (document.id, raw, record.key)
        assert outgoing.topic == f"{settings.output_prefix}.{message.category}"
        wanted = [one for one in found if settings.all_entities or one.coarse == message.category]
        assert [(e.text, e.start, e.end, e.label) for e in message.entities] == [
            (e.text, e.start, e.end, e.label) for e in wanted
        ]
        assert all(text[e.start : e.end] == e.text for e in message.entities)
        assert vars(message.source) == {name: getattr(source, name) for name in vars(message.source)}
        assert vars(message.model) == vars(Info())
        assert sum(message.counts.values()) == len(found)
        assert message.ce_id
        assert (
            message.ce_source
            == f"/fewnerd-stream/{'fewnerd-stream' if settings.group[0] == 'f' else 'a.b_C-1'}"
        )
        if settings.include_text:
            assert message.document == record.value
            assert message.text(settings.text_field) == text
        else:
            assert settings.text_field not in message.json()
        assert peek(raw) == message.entities, "the entities alone are read without the rest"
        assert Filter(score=0.5).read(raw) == (
            replace(message, entities=kept)
            if (kept := tuple(e for e in message.entities if e.score >= 0.5))
            else None
        )


@given(st.data())
def test_it_reads_what_somebody_has_written_anew(data: st.DataObject) -> None:
    """Members in another order, with spaces, with more of them: the same message, as schema 1 may grow."""
    raw = messages(TEXT, [("Angela Merkel", "person-politician")], fields=data.draw(_TRICKY))[0]
    assert raw.value is not None
    fields = orjson.loads(raw.value) | {"later": data.draw(_JSON)}
    fields["source"] |= {"topic_id": "x"}
    fields["entities"][0] |= {"alternatives": [{"label": "person-actor"}]}
    shuffled = dict(data.draw(st.permutations(list(fields.items()))))
    other = replace(raw, value=json.dumps(shuffled, indent=data.draw(st.sampled_from([None, 2]))).encode())
    message = read(other)
    assert replace(message, raw=raw, document=b"") == replace(read(raw), document=b"")
    assert message.json() == fields["document"]


@given(st.data())
def test_it_refuses_with_one_error(data: st.DataObject) -> None:
    """Bytes that are changed anywhere are read, or refused with the one error; nothing else is raised."""
    structured = data.draw(st.booleans())
    raw = messages(TEXT, [("Paris", "location-GPE")], structured=structured)[0]
    assert raw.value is not None
    value = bytearray(raw.value)
    at = data.draw(st.integers(0, len(value) - 1))
    value[at : at + data.draw(st.integers(0, 3))] = data.draw(
        st.binary(max_size=3) | st.sampled_from([b"{", b"]", b'"'])
    )
    for reader in (read, peek, Filter(score=0.5).read):
        try:
            reader(replace(raw, value=bytes(value)))
        except UnreadableMessageError as error:
            place = (error.topic, error.partition, error.offset)
            assert place == ("entities.location", 0, 0)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "null"),
        (b"", "not JSON"),
        (b"[]", "no JSON object"),
        (b"{}", "no schema"),
        (b'{"schema":2}', "schema is 2.*update"),
        (b'{"schema":true}', "schema is True"),
        (b'{"schema":1,"category":"sport","id":"1"}', "sport"),
        (b'{"schema":1,"category":"person","id":"1"}', "no document"),
        (b'{"schema":1,"category":"person","id":"1","document":{},"entities":{}}', "no list"),
        (
            b'{"schema":1,"category":"person","id":"1","document":{},"entities":[{"text":"x","start":true}]}',
            "start",
        ),
    ],
)
def test_it_says_what_is_wrong(value: bytes | None, reason: str) -> None:
    """What is no message is refused, with where it stands and the reason."""
    with pytest.raises(UnreadableMessageError, match=rf"^t, partition 3, offset 4: .*{reason}"):
        read(Raw("t", 3, 4, None, None, value))


@pytest.mark.parametrize("path", sorted(STORED.glob("schema-*.jsonl")), ids=lambda path: path.stem)
def test_stored_messages_stay_readable(path: Path) -> None:
    """Messages as released versions wrote them are read; a file is added to, never changed."""
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines
    for line in lines:
        stored = json.loads(line)
        headers = tuple((name, value and value.encode()) for name, value in stored["headers"])
        message = read(
            Raw(stored["topic"], 0, 0, None, stored["key"].encode(), stored["value"].encode(), headers)
        )
        told = {
            "id": message.id,
            "ce_id": message.ce_id,
            "category": message.category,
            "entities": [
                [one.text, one.start, one.end, one.label, one.score, one.coarse_score]
                for one in message.entities
            ],
            "counts": message.counts,
            "document": message.document.decode(),
            "attempt": message.source.attempt,
        }
        assert told == stored["read"]


def test_both_know_the_same() -> None:
    """The few facts that client and worker both hold are equal, without one needing the other."""
    assert client_messages.CATEGORIES == taxonomy.CATEGORIES
    assert client_messages.NONE == taxonomy.NONE
    assert SCHEMA["properties"]["schema"]["const"] == VERSION
    assert set(SCHEMA["$defs"]["entity"]["properties"]) <= set(
        vars(enriched(TEXT, ("Paris", "location-GPE")).entities[0])
    )


@pytest.mark.parametrize(
    "options", [{}, {"include_text": False}, {"attempt": 2, "replay": 1}, {"timestamp": None}]
)
def test_built_messages_are_valid(options: dict[str, Any]) -> None:
    """What the test kit builds is what the worker's schema and headers say, up to ids, which are opaque."""
    labels = [("Paris", "location-GPE"), ("Angela Merkel", "person-politician")]
    found = [entity(TEXT, *one, coarse_score=_known_coarse_score()) for one in labels]
    for raw in (*messages(TEXT, found, all_entities=True, **options), *messages("x", **options)):
        assert raw.value is not None
        VALID.validate(orjson.loads(raw.value))
        headers = dict(raw.headers)
        assert headers["ce_type"] == EVENT_TYPE.encode()
        assert re.fullmatch(rb".+/%b" % (headers["ce_subject"] or b""), headers["ce_id"] or b"")


def _known_coarse_score() -> float | None:
    return 0.9 if "coarse_score" in SCHEMA["$defs"]["entity"]["properties"] else None


def test_everything_public_is_there() -> None:
    """What ``__all__`` promises can be imported."""
    assert all(hasattr(fewnerd_client, name) for name in fewnerd_client.__all__)
