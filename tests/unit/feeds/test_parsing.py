"""What strangers wrote is read as a person would read it, in a process that can be ended."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewnerd_stream.feeds import parse
from fewnerd_stream.feeds.helper import Helper, UnreadableError
from fewnerd_stream.feeds.plain import plain, tidy
from tests.support.odd_feeds import CORPUS, Odd, bomb, item, rss


def test_the_corpus_is_large() -> None:
    """There are 60 odd feeds and more, each under a name of its own."""
    assert len({odd.name for odd in CORPUS}) == len(CORPUS) >= 60


@pytest.mark.parametrize("odd", CORPUS, ids=lambda odd: odd.name)
def test_an_odd_feed_is_read(odd: Odd) -> None:
    """Each entry's text is what a person would read, without a tag; what is no feed is refused."""
    if odd.fails:
        with pytest.raises(ValueError, match="no RSS or Atom"):
            parse.feed(odd.body, url="http://feed.test/x", content_type=odd.content_type)
        return
    found = parse.feed(odd.body, url="http://feed.test/x", content_type=odd.content_type)
    entries = found["entries"]
    assert len(entries) == len(odd.texts)
    for entry, text in zip(entries, odd.texts, strict=True):
        assert text in f"{entry['title']}\n{entry['text']}"
        for unwanted in ("<p", "<b>", "<script", "alert(", "onerror", "root:", "hidden"):
            assert unwanted in text or unwanted not in entry["text"]
        assert entry["id"]
        assert entry["url"] == "" or entry["url"].startswith(("http://", "https://"))
    if odd.ids is not None:
        assert tuple(entry["id"] for entry in entries) == odd.ids


def test_an_id_is_the_same_each_time() -> None:
    """Without a guid or a link, what an entry says is what it is."""
    body = rss("<item><title>Merkel</title></item>")
    first, second = (parse.feed(body, url="http://x/", content_type="")["entries"] for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("channel", "every"),
    [
        ("<ttl>30</ttl>", 1800),
        ("<ttl>0</ttl>", None),
        ("<ttl>-5</ttl>", None),
        ("<ttl>9999999999999</ttl>", None),
        (
            '<s:updatePeriod xmlns:s="http://purl.org/rss/1.0/modules/syndication/">daily</s:updatePeriod>',
            86_400,
        ),
    ],
)
def test_a_feed_says_how_often_it_wants_to_be_read(channel: str, every: float | None) -> None:
    """In minutes, or by a period; nonsense says nothing."""
    assert parse.feed(rss(channel), url="http://x/", content_type="")["every"] == every


@given(st.text())
def test_no_text_makes_plain_fail(text: str) -> None:
    """Whatever it holds, it comes out as text without controls, and as itself where it has no markup."""
    found = plain(text)
    found.encode()
    assert not any(ord(character) < 32 and character != "\n" for character in found)
    if not set(text) & set("<&"):
        assert plain(found) == found == tidy(found)


async def test_an_entity_bomb_does_no_harm() -> None:
    """It is refused or read short, within the helper's bounds, and the next feed is read as ever."""
    async with Helper() as helper:
        try:
            found = await helper.call("feed", bomb(), url="http://x/", content_type="")
            assert len(str(found)) < 1_000_000
        except UnreadableError:
            pass
        found = await helper.call("feed", rss(item()), url="http://x/", content_type="")
        assert found["entries"][0]["text"] == "Merkel"


async def test_a_parser_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """The call fails within its patience, and the next one is answered by a new process."""
    (tmp_path / "feedparser.py").write_text(  # type: ignore[operator]
        "import os, time\n"
        f"if not os.path.exists(r'{tmp_path}/hung'):\n"
        f"    open(r'{tmp_path}/hung', 'w').close(); time.sleep(600)\n"
        "def parse(*_, **__): return {'version': 'x', 'feed': {}, 'entries': []}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with Helper(patience=3) as helper:
        with pytest.raises(UnreadableError, match="longer than 3 s"):
            await helper.call("feed", b"", url="http://x/", content_type="")
        assert await helper.call("feed", b"", url="http://x/", content_type="")


@pytest.mark.skipif(sys.platform != "linux", reason="optional: only Linux bounds a process's memory so")
async def test_a_parser_that_swells_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """It gets an error, not the machine's memory."""
    (tmp_path / "feedparser.py").write_text(  # type: ignore[operator]
        "def parse(*_, **__):\n    kept = []\n    while True: kept.append(bytearray(1 << 24))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    async with Helper(memory=1 << 29) as helper:
        with pytest.raises(UnreadableError, match="memory"):
            await helper.call("feed", b"", url="http://x/", content_type="")


async def test_an_article_and_a_robots_file_are_read() -> None:
    """The article comes without the menu; robots.txt tells for us and for a path."""
    page = b"<html><body><nav><a href=/>Home</a></nav><article><h1>Vote</h1>" + b"".join(
        b"<p>Angela Merkel spoke in Berlin about the vote, the budget and what comes after it, for an hour.</p>"
        for _ in range(5)
    )
    async with Helper() as helper:
        text = await helper.call("article", page, url="http://x/a")
        assert "Angela Merkel spoke" in text
        assert "Home" not in text
        rules = b"User-agent: *\nDisallow: /private\nCrawl-delay: 2"
        answer = await helper.call("robots", rules, url="http://x/private/1", agent="fewnerd-stream")
        assert answer == {"allowed": False, "delay": 2.0}
