"""A real worker on the embedded broker: what goes where, and what is committed of it, seen from outside."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from fewnerd_stream.exits import Exit
from tests.support.clients import New
from tests.support.taggers import WORDS, WordTagger
from tests.support.workers import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.flows import Flow

EVERYTHING = (
    "At the Louvre in Paris, Angela Merkel of Siemens spoke of Hamlet, the World Cup, the Airbus A380 and the "
    "Nobel Prize."
)


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
                "coarse_score": 0.95,
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
    topic, _, _ = (person.header("ce_id") or b"").partition(b"/")
    assert re.fullmatch(rb"%b:[A-Za-z0-9_-]{22}" % stream.input.encode(), topic), (
        "the topic's name and its id"
    )
    assert person.headers == (
        ("ce_specversion", b"1.0"),
        ("ce_id", topic + f"/1/{places[0][2]}/person".encode()),
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


def test_repeated_ids_are_documents_of_their_own(flow: Callable[..., Flow]) -> None:
    """Documents with one id are enriched each on its own, in the order of their partition."""
    stream = flow(partitions=1)
    places = stream.send([raw(f"Paris {n}", "same") for n in range(100)])
    worker = stream.worker(window_size=8)
    stream.wait_done()
    assert stream.account().duplicates == 0
    found = [message.json() for message in stream.category("location")]
    assert [value["document"]["text"] for value in found] == [f"Paris {n}" for n in range(100)]
    assert [value["source"]["offset"] for value in found] == [offset for _, _, offset in places]
    stream.stop(worker)


def test_a_document_that_fails_is_tried_later_and_holds_nobody_up(flow: Callable[..., Flow]) -> None:
    """Failing documents leave their windows for the retry topics, and come out enriched, or dead with their error."""
    stream = flow(retry_delays="0.5,1", window_size=1)
    documents = {f"k{n}": raw(f"Paris {n}", f"d{n}") for n in range(60)}
    documents |= {
        "once": raw("Siemens !fail=2", "once"),  # alone in its window, it is tried twice in each attempt
        "twice": raw("Siemens !fail=4", "twice"),
        "always": raw("Siemens !fail", "always"),
        "reason": raw("Siemens !fail of another", "reason"),
    }
    headers = (("x", b"1"), ("x", b"2"), ("__fewnerd.attempt", b"9"), ("__fewnerd.not-before", b"9" * 15))
    places = dict(
        zip(documents, stream.send(New(v, k.encode(), headers) for k, v in documents.items()), strict=True)
    )
    worker = stream.worker()
    stream.wait_done()
    account = stream.account()
    assert account.duplicates == 0
    assert stream.count(f"{stream.settings.output_prefix}.location") == 60
    assert {
        message.key: message.json()["source"]["attempt"] for message in stream.category("organization")
    } == {
        b"once": 1,
        b"twice": 2,
    }
    assert account.retried == {stream.retries[0]: 4, stream.retries[1]: 3}
    dead = {message.key: message for message in stream.dead()}
    assert set(dead) == {b"always", b"reason"}
    for key, letter in dead.items():
        assert key is not None
        assert letter.value == documents[key.decode()]
        assert letter.headers[:4] == (
            ("x", b"1"),
            ("x", b"2"),
            ("original.__fewnerd.attempt", b"9"),
            ("original.__fewnerd.not-before", b"9" * 15),
        )
        assert letter.header("__fewnerd.offset") == str(places[key.decode()][2]).encode()
        assert letter.header("__fewnerd.reason") == b"model-error"
        assert letter.header("__fewnerd.attempts") == b"3"
        assert letter.header("__fewnerd.errors.topic") == stream.retries[1].encode()
        assert letter.header("__fewnerd.errors.exception.class.name") == b"builtins.RuntimeError"
        assert b"told to fail" in (letter.header("__fewnerd.errors.exception.stacktrace") or b"")
    for message in stream.observer.read(stream.retries):
        due, written = int(message.header("__fewnerd.not-before") or 0), message.timestamp
        delay = 500 if message.topic.endswith(".1") else 1000
        assert due - delay <= written
    stream.stop(worker)


def test_sigterm_finishes_what_is_at_work_and_ends_well(flow: Callable[..., Flow]) -> None:
    """SIGTERM ends a busy worker with 0 within its drain and 5 s; its windows are done, and committed, once."""
    stream = flow(drain=10, window_size=4)
    stream.send(raw(f"Paris {n} !slow=0.05", f"d{n}") for n in range(200))
    worker = stream.worker()
    stream.wait_count(1, f"{stream.settings.output_prefix}.location")
    stream.stop(worker, seconds=15)
    done = stream.count(f"{stream.settings.output_prefix}.location")
    assert 0 < done < 200
    assert stream.committed() == done
    assert worker.health()["state"] == "stopped"
    stream.start(worker)
    stream.wait_done()
    assert stream.account().duplicates == 0
    stream.stop(worker)


def test_sigterm_does_not_wait_for_a_model_that_hangs(flow: Callable[..., Flow]) -> None:
    """A document at work for longer than the drain is let go: exit 0 in drain and 5 s, nothing of it committed."""
    stream = flow(partitions=1, drain=2, window_size=1)
    stream.send([raw("Paris", "a"), raw("Paris !hang", "b"), raw("Paris", "c")])
    worker = stream.worker()
    stream.wait_committed(1)
    stream.stop(worker, seconds=7)
    assert stream.committed() == 1
    assert stream.count(f"{stream.settings.output_prefix}.location") == 1


def test_several_input_topics_keep_their_own_retries_and_dead(flow: Callable[..., Flow]) -> None:
    """Two input topics share the output topics, and each has its own retry and dead-letter topics."""
    stream = flow(inputs=("a", "b"), partitions=1, retry_delays="0.2", window_size=1)
    first, second = stream.inputs
    stream.send([raw("Paris"), b"bad", raw("Hamlet !fail")], first)
    stream.send([raw("Siemens"), raw("Hamlet !fail=2"), None], second)
    worker = stream.worker()
    stream.wait_done()
    assert stream.account().duplicates == 0
    assert [m.header("__fewnerd.reason") for m in stream.dead(first)] == [b"not-json", b"model-error"]
    assert [m.header("__fewnerd.reason") for m in stream.dead(second)] == [b"tombstone"]
    [art] = stream.category("art")
    assert art.json()["source"] == {
        "topic": second,
        "partition": 0,
        "offset": 1,
        "timestamp": art.json()["source"]["timestamp"],
        "attempt": 1,
        "replay": 0,
    }
    stream.stop(worker)


def test_the_worker_that_ships_finds_entities_with_the_model_that_ships(flow: Callable[..., Flow]) -> None:
    """`fewnerd-stream worker` with nothing but its settings tags with the bundled model, and ends well."""
    stream = flow(partitions=1)
    stream.send(
        [raw("Angela Merkel flew from Berlin to Paris.", "a"), b"no document", raw("It rained all day.", "b")]
    )
    worker = stream.worker(tagger=None)
    stream.wait_done()
    assert stream.account().duplicates == 0
    [person] = stream.category("person")
    assert {entity["text"] for entity in person.json()["entities"]} == {"Angela Merkel"}
    [location] = stream.category("location")
    assert {entity["text"] for entity in location.json()["entities"]} == {"Berlin", "Paris"}
    for message in (person, location):
        document = message.json()["document"]
        for entity in message.json()["entities"]:
            assert document["text"][entity["start"] : entity["end"]] == entity["text"]
            assert entity["label"] == f"{entity['coarse']}-{entity['fine']}"
    assert person.json()["model"]["digest"].startswith("sha256:")
    [letter] = stream.dead()
    assert letter.header("__fewnerd.model") == person.json()["model"]["digest"].encode()
    stream.stop(worker)


def test_a_worker_says_what_keeps_it_from_starting(flow: Callable[..., Flow]) -> None:
    """Without a broker it exits with 3, without its topics with 4, each in one readable message and no traceback."""
    stream = flow(partitions=1)
    away = Worker("127.0.0.1:1", stream.folder, tagger=None)
    astray = stream.worker(tagger=None, start=False, input_topics="no-such-topic", partitions=1)
    for worker, status in ((away, Exit.BROKER), (astray, Exit.TOPICS)):
        with worker.start(wait=False):
            assert worker.wait(90) == status
        assert "Traceback" not in worker.said()
    assert "no-such-topic" in astray.said()
    assert "127.0.0.1:1" in away.said()


def test_a_killed_worker_repeats_little_and_loses_nothing(flow: Callable[..., Flow]) -> None:
    """On the embedded broker, too, a kill loses nothing, and repeats at most what was in flight."""
    stream = flow(partitions=2, window_size=4)
    stream.send(raw(f"Paris {n} !slow=0.05", f"d{n}") for n in range(120))
    worker = stream.worker()
    stream.wait_committed(20)
    stream.kill(worker)
    stream.start(worker)
    stream.wait_done()
    assert stream.account().duplicates <= 4 * 3
    stream.stop(worker)


def test_what_is_slow_does_not_hang(flow: Callable[..., Flow]) -> None:
    """A window may take many times the limit, tried again and again; the one at fault is retried, and it alone."""
    stream = flow(
        partitions=1,
        window_size=8,
        window_time=0.5,
        inference_timeout=1,
        patience=60,
        retry_delays="0.3,0.6,1",
    )
    stream.send(raw(f"Paris {number} !slow=0.4", str(number)) for number in range(7))
    stream.send([raw("Paris !fail", "culprit")])
    worker = stream.worker()
    stream.wait_done()
    assert stream.account().duplicates == 0
    [letter] = stream.dead()
    assert (letter.json()["id"], letter.header("__fewnerd.reason")) == ("culprit", b"model-error")
    assert worker.process.status is None
    stream.stop(worker)


def test_a_text_that_keeps_the_model_busy_for_many_times_the_limit_is_enriched(
    flow: Callable[..., Flow],
) -> None:
    """By the model that ships: each of its batches is a sign of life, and no worker ends."""
    stream = flow(partitions=1, threads=1, inference_timeout=1, patience=60)
    stream.send([raw("a(" * 12_000 + " Angela Merkel flew to Paris.", "slow"), raw("(" * 1_000_000, "quick")])
    worker = stream.worker(tagger=None)
    stream.wait_done()
    assert stream.account().duplicates == 0
    [slow] = [message for message in stream.category("location") if message.json()["id"] == "slow"]
    assert "Paris" in [entity["text"] for entity in slow.json()["entities"]]
    assert stream.dead() == []
    assert worker.process.status is None
    stream.stop(worker)
