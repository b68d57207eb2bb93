"""A real worker on the embedded broker: what goes where, and what is committed of it, seen from outside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.clients import New
from tests.support.taggers import WORDS, WordTagger

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.flows import Flow

EVERYTHING = "At the Louvre in Paris, Angela Merkel of Siemens spoke of Hamlet, the World Cup, the Airbus A380 and the Nobel Prize."


def raw(text: str, name: str = "d", **fields: object) -> bytes:
    """Write a raw document."""
    return json.dumps({"id": name, "text": text, **fields}).encode()


def test_each_document_goes_once_to_each_of_its_categories(flow: Callable[..., Flow]) -> None:
    """Enriched documents lie in every category found, or in none's topic, as the contract says."""
    stream = flow()
    source = b'{"id": "n-17", "n": 1.10, "big": 12345678901234567890, "text": "Angela Merkel flew to Paris."}'
    headers = (("x", b"1"), ("x", b"2"), ("empty", None), ("ce_id", b"theirs"), ("__fewnerd.attempt", b"7"))
    places = stream.send(
        [
            New(source, b"key", headers, partition=1, timestamp=1_764_000_000_000),
            raw(EVERYTHING, "all"),
            raw("Nothing to see here.", "none"),
        ]
    )
    worker = stream.worker()
    stream.wait_done()
    account = stream.account()
    assert account.duplicates == 0
    prefix = stream.settings.output_prefix
    assert account.topics(places[0]) == {f"{prefix}.person", f"{prefix}.location"}
    assert account.topics(places[1]) == {f"{prefix}.{label.partition('-')[0]}" for label in WORDS.values()}
    assert account.topics(places[2]) == {f"{prefix}.none"}

    [person] = [message for message in stream.category("person") if message.key == b"key"]
    assert person.value is not None
    assert source in person.value
    value = person.json()
    assert value.pop("document") == json.loads(source)
    assert value == {
        "schema": 1,
        "id": "n-17",
        "category": "person",
        "entities": [
            {
                "text": "Angela Merkel",
                "start": 0,
                "end": 13,
                "coarse": "person",
                "fine": "politician",
                "label": "person-politician",
                "score": 0.9,
            }
        ],
        "counts": {"location": 1, "person": 1},
        "source": {
            "topic": stream.input,
            "partition": 1,
            "offset": places[0][2],
            "timestamp": 1_764_000_000_000,
            "attempt": 0,
            "replay": 0,
        },
        "model": {"name": "words", "digest": WordTagger.info.digest, "precision": "int8"},
    }
    assert person.headers == (
        ("ce_specversion", b"1.0"),
        ("ce_id", f"{stream.input}/1/{places[0][2]}/person".encode()),
        ("ce_source", f"/fewnerd-stream/{stream.group}".encode()),
        ("ce_type", b"fewnerd.entities.v1"),
        ("ce_subject", b"person"),
        ("ce_time", b"2025-11-24T16:00:00.000Z"),
        ("content-type", b"application/json"),
        ("x", b"1"),
        ("x", b"2"),
        ("empty", None),
        ("original.ce_id", b"theirs"),
        ("original.__fewnerd.attempt", b"7"),
    )
    stream.stop(worker)
