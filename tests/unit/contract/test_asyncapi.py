"""The contract's documents hold for real messages, and change only as subscribers can bear it."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest
import yaml
from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from jsonschema import Draft202012Validator

from fewnerd_stream.cli import contract
from fewnerd_stream.contract import asyncapi, envelope, schema
from fewnerd_stream.contract.documents import decode, encode, unwrapped
from fewnerd_stream.contract.records import Outgoing, Record
from fewnerd_stream.contract.taxonomy import LABELS
from fewnerd_stream.errors import Reason, Reject
from fewnerd_stream.settings import Settings, load_settings
from tests.support.pages import DOCS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

RELEASED = Path(__file__).with_name("released")
MODES = [load_settings(), load_settings(cloudevents="structured")]


@dataclass(frozen=True)
class Found:
    """An entity."""

    text: str = "Angela Merkel"
    start: int = 0
    end: int = 13
    coarse: str = "person"
    fine: str = "politician"
    label: str = "person-politician"
    score: float = 0.9
    coarse_score: float = 0.95


@dataclass(frozen=True)
class Info:
    """A model."""

    name: str = "tiny"
    digest: str = "sha256:" + "0" * 64
    precision: str = "int8"


VALUE = '{"id":"1","text":"Angela Merkel 🛫","a":1.10}'.encode()


def _record(**changes: Any) -> Record:
    fields: dict[str, Any] = {
        "topic": "raw-documents",
        "partition": 0,
        "offset": 7,
        "timestamp": 1_764_000_000_000,
    }
    return Record(**{**fields, "key": b"k", "value": VALUE, **changes})


def _enriched(settings: Settings, *found: Found, **changes: Any) -> Outgoing:
    record = _record(**changes)
    source = envelope.source_of(record, settings)
    (only,) = encode(record, source, decode(record.value, settings), found, Info(), settings)
    return only


def _text(outgoing: Outgoing) -> dict[str, str]:
    return {name: (value or b"").decode() for name, value in outgoing.headers}


# -- the documents ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", MODES, ids=["binary", "structured"])
def test_real_messages_are_as_described(settings: Settings) -> None:
    """Headers and values of enriched documents, waiting ones and dead letters are valid by the documents."""
    described = asyncapi.asyncapi(settings, "1")
    messages = described["components"]["messages"]
    record = _record()
    source = envelope.source_of(record, settings)
    error = Reject(Reason.NOT_JSON, "x")
    waiting = envelope.retry_record(record, source, settings, 1)
    assert waiting is not None
    dead = envelope.dead_record(record, source, error.reason, "decode", error, "sha256:0", settings)
    withheld = envelope.withheld_record(record, source, error, None, settings)
    for name, outgoing in [
        ("enrichedDocument", _enriched(settings, Found())),
        ("enrichedDocument", _enriched(settings, timestamp=None)),
        ("waitingDocument", waiting),
        ("deadLetter", dead),
        ("deadLetter", withheld),
    ]:
        headers = messages[name]["headers"]
        Draft202012Validator(headers).validate(_text(outgoing))
        assert outgoing.topic in described["channels"]
        (listed,) = described["channels"][outgoing.topic]["messages"].values()
        assert listed == {"$ref": f"#/components/messages/{name}"}
        if name != "enrichedDocument":
            ours = {header for header in _text(outgoing) if header.startswith("__fewnerd.")}
            assert ours <= set(headers["properties"]), "each header is described"
    value = orjson.loads(_enriched(settings, Found()).value or b"")
    Draft202012Validator(asyncapi.enriched(settings)).validate(unwrapped(value))
    Draft202012Validator(asyncapi.raw(settings)).validate(orjson.loads(VALUE))
    if settings.cloudevents == "structured":
        payload = messages["enrichedDocument"]["payload"] | {"components": described["components"]}
        Draft202012Validator(payload).validate(value)


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for each in part.values():
            yield from _references(each)
    elif isinstance(part, list):
        for each in part:
            yield from _references(each)


def test_every_reference_leads_somewhere_and_every_topic_is_there() -> None:
    """For settings of one's own, the document is whole: all topics with roles, all references."""
    settings = load_settings(
        group="news",
        input_topics="a,b.c",
        output_prefix="found",
        retry_delays="1,2",
        labels="person,art-film",
        id_field="key",
        text_field="body",
    )
    document = yaml.safe_load(contract.written("asyncapi", settings))
    assert set(document["channels"]) == {name for name, _ in settings.topology.roles()}
    for channel in document["channels"].values():
        assert channel["bindings"]["kafka"]["topic"] == channel["address"]
    for reference in _references(document):
        found: Any = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]
    label = document["components"]["schemas"]["entity"]["properties"]["label"]
    assert label["enum"] == ["art-film", *[each for each in LABELS if each.startswith("person-")]]
    assert set(document["components"]["messages"]["rawDocument"]["payload"]["properties"]) == {"key", "body"}


@pytest.mark.parametrize("name", [each for each in contract.DOCUMENTS if each != "asyncapi"])
def test_the_schemas_are_schemas(name: str) -> None:
    """Each JSON Schema is one itself, and passes over members to come."""
    written = json.loads(contract.written(name, load_settings()))
    Draft202012Validator.check_schema(written)
    assert written["$schema"] == asyncapi.DIALECT


def test_members_to_come_are_passed_over() -> None:
    """A message with more in it than is known is valid by the published schema, and not by the worker's own."""
    value = orjson.loads(_enriched(MODES[0], Found()).value or b"")
    value["later"] = value["source"]["later"] = value["entities"][0]["later"] = 1
    Draft202012Validator(schema.published()).validate(value)
    assert not Draft202012Validator(schema.SCHEMA).is_valid(value)


# -- what may change --------------------------------------------------------------------------------------


def breaks(old: Any, new: Any, where: str = "$") -> Iterator[str]:
    """Say what of a new schema would surprise a reader of the old one, within one version.

    Allowed: new members; a required member that was optional; fewer values than before. Not allowed: a member
    that goes, or that may be missing now; another type; a value that could not be before.
    """
    yield from (f"{where}: {what}" for what in _new_values(old, new))
    if lost := set(old.get("required", ())) - set(new.get("required", ())):
        yield f"{where}: may lack {sorted(lost)}"
    for part in ("properties", "$defs"):
        for name, each in old.get(part, {}).items():
            if name in new.get(part, {}):
                yield from breaks(each, new[part][name], f"{where}.{name}")
            else:
                yield f"{where}.{name}: is gone"
    if "items" in old:
        yield from breaks(old["items"], new.get("items", {}), f"{where}[]")
    if old.get("$ref") != new.get("$ref"):
        yield f"{where}: is something else"


def _new_values(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """Say which values may be now that could not."""
    if "const" in old and new.get("const") != old["const"]:
        yield f"not {old['const']!r} any more"
    if "enum" in old and not ("const" in new or set(new.get("enum", ["anything"])) <= set(old["enum"])):
        yield "has values that it had not"
    types = _types(new)
    if "type" in old and (types is None or not types <= (_types(old) or set())):
        yield "has another type"
    if "minimum" in old and new.get("minimum", float("-inf")) < old["minimum"]:
        yield f"may be less than {old['minimum']}"
    if "maximum" in old and new.get("maximum", float("inf")) > old["maximum"]:
        yield f"may be more than {old['maximum']}"


def _types(part: dict[str, Any]) -> set[str] | None:
    kind = part.get("type")
    if kind is None:
        values = [part["const"]] if "const" in part else part.get("enum")
        return {"string"} if values and all(isinstance(each, str) for each in values) else None
    return {kind} if isinstance(kind, str) else set(kind)


@pytest.mark.parametrize("name", [each for each in contract.DOCUMENTS if each != "asyncapi"])
def test_a_change_breaks_no_reader(name: str) -> None:
    """What is written now holds all that the last release promised, and the changelog tells what is new.

    The files under ``released`` are copied from ``docs/contract`` at a release; a change that is refused here
    needs another schema version, with topics or a type of its own.
    """
    released = json.loads((RELEASED / f"{name}.schema.json").read_bytes())
    now = json.loads((DOCS / "contract" / f"{name}.schema.json").read_bytes())
    assert list(breaks(released, now)) == []
    if released != now:
        changelog = (DOCS.parent / "CHANGELOG.md").read_text(encoding="utf-8")
        unreleased = changelog.partition("## Unreleased")[2].partition("\n## ")[0]
        assert re.search(r"^- Contract: ", unreleased, re.MULTILINE)


_ENTITY = ("$defs", "entity", "properties")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda new: new["required"].remove("counts"), "may lack"),
        (lambda new: new["properties"].pop("counts"), "counts: is gone"),
        (lambda new: new["properties"]["schema"].update(const=2), "not 1"),
        (lambda new: new["properties"]["category"]["enum"].append("sport"), "values"),
        (lambda new: new["properties"]["category"].pop("enum"), "values"),
        (lambda new: new["properties"]["id"].update(type=["string", "null"]), "another type"),
        (
            lambda new: new["properties"]["source"]["properties"]["offset"].update(type="string"),
            "another type",
        ),
        (lambda new: new["properties"]["source"]["properties"]["offset"].update(minimum=-1), "less"),
        (lambda new: new["$defs"]["entity"]["properties"]["score"].update(maximum=100), "more"),
        (lambda new: new["$defs"]["entity"]["properties"]["score"].pop("maximum"), "more"),
        (lambda new: new["$defs"]["entity"]["required"].remove("label"), "may lack"),
        (lambda new: new["properties"]["entities"].pop("items"), "something else"),
    ],
)
def test_what_may_not_change(change: Callable[[Any], object], said: str) -> None:
    """Each kind of change that would surprise a reader is seen."""
    old = schema.published()
    new = deepcopy(old)
    change(new)
    assert any(said in each for each in breaks(old, new))


@pytest.mark.parametrize(
    "change",
    [
        lambda new: new["properties"].update(language={"type": "string"}),
        lambda new: new["$defs"]["entity"]["properties"].update(link={"type": "object"}),
        lambda new: new["properties"]["source"]["properties"]["timestamp"].update(type="integer"),
        lambda new: new["properties"]["category"]["enum"].remove("art"),
        lambda new: new["properties"]["id"].update(description="other words"),
    ],
)
def test_what_may_change(change: Callable[[Any], object]) -> None:
    """New members, fewer values and other words surprise nobody."""
    old = schema.published()
    new = deepcopy(old)
    change(new)
    assert list(breaks(old, new)) == []


# -- CloudEvents ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", MODES, ids=["binary", "structured"])
@pytest.mark.parametrize("found", [(), (Found(),)], ids=["none", "person"])
@pytest.mark.parametrize(
    "headers", [(), (("traceparent", b"00-1-2-01"), ("ce_id", b"theirs"), ("ce_ext", b"e"))]
)
def test_the_sdk_reads_and_writes_our_events(
    settings: Settings, found: tuple[Found, ...], headers: tuple[tuple[str, bytes], ...]
) -> None:
    """Each message goes through the CloudEvents SDK and back, in the mode it was written in, and stays itself."""
    outgoing = _enriched(settings, *found, headers=headers)
    category = "person" if found else "none"
    message = KafkaMessage(
        headers={name: value or b"" for name, value in outgoing.headers},
        key=outgoing.key,
        value=outgoing.value or b"",
    )
    event = from_kafka(message, JSONFormat())
    assert (event.get_specversion(), event.get_type(), event.get_subject()) == (
        "1.0",
        "fewnerd.entities.v1",
        category,
    )
    assert event.get_source() == "/fewnerd-stream/fewnerd-stream"
    assert event.get_id().endswith(f"/{category}")
    assert event.get_datacontenttype() == "application/json"
    time = event.get_time()
    assert time is not None
    assert time.timestamp() == 1_764_000_000
    data = event.get_data()
    assert isinstance(data, dict)
    assert data == unwrapped(orjson.loads(outgoing.value or b""))
    assert data["document"] == orjson.loads(VALUE)
    back = to_structured if settings.cloudevents == "structured" else to_binary
    again = from_kafka(back(event, JSONFormat()), JSONFormat())
    assert (again.get_attributes(), again.get_data()) == (event.get_attributes(), data)


def test_both_modes_say_the_same() -> None:
    """In structured mode the value is the event, around the very bytes of binary mode; the key is the same."""
    binary, structured = (_enriched(settings, Found()) for settings in MODES)
    assert (binary.topic, binary.key) == (structured.topic, structured.key)
    assert (structured.value or b"").endswith(b',"data":' + (binary.value or b"") + b"}")
    event = orjson.loads(structured.value or b"")
    attributes = {
        name.removeprefix("ce_"): value for name, value in _text(binary).items() if name != "content-type"
    }
    assert {name: event[name] for name in attributes} == attributes


def test_a_structured_result_obeys_the_limit() -> None:
    """The attributes in the value count, too: a record over the limit is rejected, and never written."""
    size = len(_enriched(MODES[1], Found()).value or b"")
    tight = load_settings(cloudevents="structured")
    object.__setattr__(tight, "max_result_bytes", size + 4096 + 500)
    assert len(_enriched(tight, Found()).value or b"") == size
    object.__setattr__(tight, "max_result_bytes", size + 4096)
    with pytest.raises(Reject) as caught:
        _enriched(tight, Found())
    assert caught.value.reason is Reason.RESULT_TOO_LARGE
