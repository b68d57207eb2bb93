"""What the console keeps and counts: bounded, each document once, and nothing believed that others wrote."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import given
from hypothesis import strategies as st

from fewnerd_stream.console.documents import EXCERPT, KEPT, Documents, UnreadableRecordError
from fewnerd_stream.console.figures import SPAN, Figures
from fewnerd_stream.console.follow import Follower
from fewnerd_stream.console.guard import HEADERS
from fewnerd_stream.console.hub import Hub
from fewnerd_stream.console.server import Console, Options
from fewnerd_stream.contract.records import Record
from fewnerd_stream.settings import load_settings

SETTINGS = load_settings()


def _record(number: int, category: str = "person", text: str = "Merkel in Paris", **more: Any) -> Record:
    """Write an enriched message by hand."""
    name, start = ("Merkel", 0) if category == "person" else ("Paris", 10)
    value = {
        "id": f"d{number}",
        "category": category,
        "entities": [
            {
                "text": name,
                "start": start,
                "end": start + len(name),
                "coarse": category,
                "fine": "x",
                "score": 0.8,
            }
        ],
        "counts": {"person": 1, "location": 1},
        "document": {"text": text} | more,
        "source": {"topic": "t", "partition": 0, "offset": number, "timestamp": 1000, "attempt": 0},
    }
    return Record(f"entities.{category}", 0, number, 3000, None, json.dumps(value).encode())


def test_an_event_that_holds_its_attributes_is_opened() -> None:
    """A message in CloudEvents' structured mode is shown like one in binary mode."""
    plain = _record(1)
    event = b'{"specversion":"1.0","data":' + (plain.value or b"") + b"}"
    structured = Documents("text").see(replace(plain, value=event), 0.0)
    assert structured is not None
    assert structured == Documents("text").see(plain, 0.0)


def test_the_categories_of_a_document_are_put_together() -> None:
    """It is news when all are there, or when one has not come within a second; a repeat is none."""
    documents = Documents("text")
    assert documents.see(_record(1), 0.0) is not None
    assert documents.news(0.1, 10) == ([], 0)
    documents.see(_record(1, "location"), 0.2)
    (one,), left = documents.news(0.3, 10)
    assert [entity[2] for entity in one["entities"]] == ["person", "location"]
    assert left == 0
    assert documents.see(_record(1), 0.4) is None
    documents.see(_record(2), 0.5)
    assert documents.news(1.0, 10) == ([], 0)
    assert len(documents.news(2.0, 10)[0]) == 1


def test_what_is_over_is_counted() -> None:
    """The newest are given, and how many were not."""
    documents = Documents("text")
    for number in range(2 * KEPT):
        documents.see(_record(number), 0.0)
    given_, left = documents.news(5.0, 25)
    assert [one["id"] for one in given_] == [f"d{number}" for number in range(2 * KEPT - 25, 2 * KEPT)]
    assert left == 2 * KEPT - 25
    assert len(documents.latest(10_000)) == KEPT


def test_a_long_text_is_an_excerpt_until_it_is_asked_for() -> None:
    """With the entities that stand in it."""
    documents = Documents("text")
    documents.see(_record(1, text="Merkel" + "x" * 100_000), 0.0)
    (one,), _ = documents.news(5.0, 1)
    assert (len(one["text"]), one["length"]) == (EXCERPT, 100_006)
    whole = documents.whole(one["place"])
    assert whole is not None
    assert len(whole["text"]) == 100_006
    assert documents.whole("nowhere") is None


def test_an_address_is_a_webs_or_none() -> None:
    """Nothing else becomes a link."""
    documents = Documents("text")
    for number, url in enumerate(("javascript:alert(1)", "data:text/html,x", 5, "https://example.org/")):
        documents.see(_record(number, url=url), 0.0)
    assert [one["url"] for one in documents.latest(9)] == ["", "", "", "https://example.org/"]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(
                    ["source", "document", "entities", "category", "id", "counts", "text", "topic"]
                ),
                inner,
            )
        ),
        max_leaves=20,
    )
)
def test_a_strangers_record_is_refused_or_shown(value: Any) -> None:
    """Whatever JSON it is."""
    documents = Documents("text")
    try:
        documents.see(Record("entities.person", 0, 0, 1, None, json.dumps(value).encode()), 0.0)
    except UnreadableRecordError:
        pass
    else:
        json.dumps(documents.latest(1))


def test_figures_stay_bounded_and_tell_what_is_named_more_than_usual() -> None:
    """Hours go by, thousands of names come: the last minutes are told."""
    documents, figures = Documents("text"), Figures()
    for second in range(0, 3600, 2):
        message = documents.see(_record(second), 0.0)
        assert message is not None
        if second >= 3500:
            message.labels.append(("location", "GPE", "Reykjavik", 0.9))
        message.labels.append(("other", "x", f"name {second}", 0.5))
        figures.document(message, second, first=True)
    report = figures.report(3600)
    assert len(report["chart"]["at"]) == SPAN
    assert report["trending"][0][:2] == ["Reykjavik", "location"]
    assert "Merkel" not in [name for name, *_ in report["trending"]]
    assert report["rate"] == 0.5
    assert report["latency"] == 2.0
    assert {row[0]: row[2] for row in report["categories"]}["person"] == 0.8


async def test_a_slow_browser_skips_and_is_told() -> None:
    """What waits for it is bounded; the others are not held up."""
    hub = Hub()
    slow, quick = hub.join(), hub.join()
    assert slow is not None
    assert quick is not None
    for number in range(100):
        hub.tell("documents", {"n": number}, 3)
        assert f'"n":{number}'.encode() in await quick.next()
    first = await slow.next()
    assert b'"skipped":276' in first
    assert b'"n":92' in first


async def test_dead_letters_are_not_there_unless_they_are_enabled() -> None:
    """Neither to see nor to replay; every answer has the headers that keep a page safe."""
    hub = Hub()
    made = Console(SETTINGS, hub, Follower(SETTINGS, hub), Options()).application()
    assert isinstance(made, web.Application)
    async with TestClient(TestServer(made)) as client:
        for path in ("/api/dead", "/api/dead/letter"):
            assert (await client.get(path)).status == 404
        assert (await client.post("/api/dead/replay", json={})).status in {404, 405}
        assert (await client.post("/api/tag", json={"text": "x"})).status in {404, 405}
        for path in ("/", "/app.js", "/nothing", "/api/about"):
            answer = await client.get(path)
            assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        page = await (await client.get("/")).text()
        assert "<style" not in page
        assert " style=" not in page
        assert " onclick" not in page
