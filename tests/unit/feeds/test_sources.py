"""Event streams, schedules, addresses, lists and ids: the parts of sources that need neither net nor broker."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewnerd_stream.errors import SettingsError
from fewnerd_stream.feeds.entries import Entry, from_bytes, stable_id
from fewnerd_stream.feeds.lists import Feed, read_list
from fewnerd_stream.feeds.net import public
from fewnerd_stream.feeds.schedule import DAY, HOUR, LEAST, Outcome, retry_after, wait
from fewnerd_stream.feeds.sse import Event, EventStream, TooLongError
from fewnerd_stream.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SETTINGS = load_settings()


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        ("data: YHOO\ndata: +2\ndata: 10\n\n", [Event("YHOO\n+2\n10")]),
        (
            ": a comment\n\ndata: first\nid: 1\n\ndata:second\nid\n\ndata:  third\n\n",
            [Event("first", id="1"), Event("second"), Event(" third")],
        ),
        ("data\n\ndata\ndata\n\ndata:", [Event(""), Event("\n")]),
        ("data:test\n\ndata: test\n\n", [Event("test"), Event("test")]),
        ("event: add\ndata: 7\n\ndata: 8\n\n", [Event("7", "add"), Event("8")]),
        ("id: 5\ndata: a\n\ndata: b\n\n", [Event("a", id="5"), Event("b", id="5")]),
        ("id: a\0b\ndata: x\n\n", [Event("x")]),
        ("\ufeffdata: x\n\n", [Event("x")]),
        ("data: x\r\n\r\ndata: y\r\rdata: z\n\n", [Event("x"), Event("y"), Event("z")]),
        ("nonsense\nfoo: bar\ndata: x\n\n", [Event("x")]),
        ("data: unfinished", []),
        ("data: grüße 🇩🇪\n\n", [Event("grüße 🇩🇪")]),
    ],
)
@given(data=st.data())
def test_events_are_those_of_the_standard_however_the_bytes_are_cut(
    stream: str, events: list[Event], data: st.DataObject
) -> None:
    """The standard's own examples and its corners: cut anywhere, also in a character or between CR and LF."""
    body = stream.encode()
    cuts = sorted(data.draw(st.sets(st.integers(0, len(body)))) | {0, len(body)})
    parser = EventStream()
    found = [event for a, b in pairwise(cuts) for event in parser.feed(body[a:b])]
    # A CR at the end of what has come may be half of an end.
    assert found + parser.feed(b"\n\n" if body.endswith(b"\r") else b"") == events


def test_an_event_that_does_not_end_is_given_up() -> None:
    """Neither one endless line nor endless lines fill the memory."""
    for chunk in (b"data: " + b"x" * 100, b"x" * 100, b"data: xxxxxxxxx\n" * 10):
        parser = EventStream(most=1000)
        with pytest.raises(TooLongError):
            [parser.feed(chunk) for _ in range(100)]


def test_a_stream_says_when_to_come_again() -> None:
    """In milliseconds; nonsense says nothing."""
    parser = EventStream()
    parser.feed(b"retry: 1500\nretry: soon\nretry: -1\n")
    assert parser.retry == 1.5


def test_a_feed_is_read_once_an_hour_or_as_it_wishes_or_as_the_operator_does() -> None:
    """Never oftener than every five minutes for a feed's own wish."""

    def seconds(asked: float | None, every: float | None = None) -> float:
        return wait(Outcome(200, {}, asked), 0, every, NOW, random.Random(1))

    for found, meant in (
        (seconds(None), HOUR),
        (seconds(1800), 1800),
        (seconds(1), LEAST),
        (seconds(1e9), DAY),
        (seconds(1800, 60), 60),
    ):
        assert 0.9 * meant <= found <= 1.1 * meant


@given(
    st.integers(1, 100), st.sampled_from([None, 404, 429, 500, 503]), st.integers(0, 200_000), st.randoms()
)
def test_failures_make_polls_seldom_and_a_server_is_never_asked_sooner_than_it_says(
    failures: int, status: int | None, told: int, rng: random.Random
) -> None:
    """Bounded by a day, and by what was told."""
    found = wait(Outcome(status, {"Retry-After": str(told)}), failures, None, NOW, rng)
    assert min(told, DAY) <= found <= 1.1 * DAY
    without = wait(Outcome(status, {}), failures, None, NOW, rng)
    assert without >= 0.9 * (HOUR if status in {429, 503} else 60)
    if failures > 15:
        assert without > HOUR


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("999999999999", DAY),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ((NOW + timedelta(minutes=5)).strftime("%a, %d %b %Y %H:%M:%S GMT"), 300),
        ("Fri, 31 Jan 1997 12:00:00 GMT", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str, seconds: float | None) -> None:
    """A day at most."""
    assert retry_after(value, NOW) == seconds


@pytest.mark.parametrize(
    ("address", "is_public"),
    [
        ("93.184.216.34", True),
        ("2606:4700::1111", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:8.8.8.8", True),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
        ("not an address", False),
    ],
)
def test_private_addresses_are_known_in_every_writing(address: str, is_public: bool) -> None:  # noqa: FBT001
    """Loopback, private, link-local, shared, multicast, and those inside others."""
    assert public(address) is is_public


def test_lists_of_feeds_are_toml_or_opml(tmp_path: Path) -> None:
    """Nested outlines too; entities are not followed."""
    path = tmp_path / "feeds"
    path.write_text(
        '[[feed]]\nurl = "http://a/"\nevery = 60\nfetch = true\n[[feed]]\nurl = "http://b/"\ntitle = "B"\n'
    )
    assert read_list(path) == [Feed("http://a/", every=60, fetch=True), Feed("http://b/", "B")]
    path.write_text(
        '<opml version="2.0"><body><outline text="News"><outline type="rss" text="A" xmlUrl="http://a/"/></outline></body></opml>'
    )
    assert read_list(path) == [Feed("http://a/", "A")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<opml/>",
        "<opml",
        "[[feed]]\n",
        '[feed]\nurl = "x"',
        "[[feed]]\nurl = 5",
        '[[feed]]\nurl = "http://x/"\nevry = 5',
        '[[feed]]\nurl = "http://x/"\nevery = -5',
        '[[feed]]\nurl = "http://x/"\nevery = true',
        "what = 5",
        "\x00",
    ],
)
def test_a_wrong_list_says_what_is_wrong(text: str, tmp_path: Path) -> None:
    """With the file's name."""
    path = tmp_path / "feeds.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"feeds\.toml"):
        read_list(path)


@given(st.lists(st.text()), st.lists(st.text()))
def test_ids_are_stable_and_tell_apart(one: list[str], other: list[str]) -> None:
    """The same parts, the same id; parts do not run into each other."""
    assert (stable_id(*one) == stable_id(*other)) == (one == other)


@given(
    st.one_of(
        st.text().map(lambda text: text.encode()),
        st.binary(),
        st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.none())).map(
            lambda x: json.dumps(x).encode()
        ),
    )
)
def test_whatever_is_sent_becomes_a_document_with_an_id(data: bytes) -> None:
    """An object keeps all that it has; all else becomes a text; the same bytes get the same id."""
    key, value = from_bytes(data, "x", "", SETTINGS)
    assert key
    assert (key, value) == from_bytes(data, "x", "", SETTINGS)
    try:
        given = json.loads(data)
    except ValueError:
        given = None
    if isinstance(given, dict) and "id" not in given:
        made = json.loads(value)
        assert made.pop("id") == key.decode()
        assert made == given
    elif isinstance(given, dict) or data.lstrip().startswith(b"{"):
        assert value == data
    else:
        made = json.loads(value)
        assert made["id"] == key.decode()
        assert made["text"] == data.decode(errors="replace")


def test_a_title_is_the_texts_first_line_once() -> None:
    """Who is named in it counts; a text that begins with it has it already."""
    for text in ("Merkel speaks. More.", "More."):
        _, value = Entry("1", text, "Merkel speaks.").document(SETTINGS)
        assert json.loads(value)["text"].count("Merkel speaks.") == 1
