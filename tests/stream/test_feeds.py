"""Sources on a real broker: what servers, callers and files give arrives, whatever the others do to us."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import threading
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from fewnerd_stream.feeds.files import Files
from fewnerd_stream.feeds.helper import Helper
from fewnerd_stream.feeds.inbox import Inbox, Limits
from fewnerd_stream.feeds.lists import Feed
from fewnerd_stream.feeds.net import Fetcher
from fewnerd_stream.feeds.poller import Options, Poller
from fewnerd_stream.feeds.serve import serve
from fewnerd_stream.feeds.sink import Sink
from fewnerd_stream.feeds.sse import EventSource
from fewnerd_stream.feeds.state import State
from tests.support.odd_feeds import CORPUS, bomb, item, rss
from tests.support.processes import Process

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.support.flows import Flow

Handler = Any


@pytest.fixture
def made(flow: Callable[..., Flow]) -> Flow:
    """Make a flow without workers: what sources store stays on its input topic."""
    return flow()


class Site:
    """A local server: answers by path, and what it was asked."""

    def __init__(self, answers: dict[str, Handler]) -> None:
        self.answers = answers
        self.asked: list[web.Request] = []

    def application(self) -> web.Application:
        """Make it."""
        made = web.Application()
        made.router.add_route("*", "/{path:.*}", self._answer)
        return made

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        found = self.answers.get(request.path)
        if found is None:
            return web.Response(status=404)
        if isinstance(found, bytes):
            return web.Response(body=found, content_type="application/rss+xml")
        answer: web.StreamResponse = await found(request)
        return answer

    def paths(self) -> list[str]:
        """Tell what it was asked for."""
        return [request.path for request in self.asked]


@asynccontextmanager
async def polling(flow: Flow, urls: list[str], **options: Any) -> AsyncIterator[Poller]:
    """Open all that a poller needs, as the command does; bounds are small, so that a test does not wait."""
    async with (
        State(flow.settings, flow.input) as state,
        Sink(flow.settings, flow.input) as sink,
        Fetcher(urls, most_bytes=1 << 20, seconds=2) as fetcher,
        Helper(10) as helper,
    ):
        yield Poller(flow.settings, sink, state, fetcher, helper, Options(once=True, **options))


def stored(flow: Flow) -> list[dict[str, Any]]:
    """Read all documents of the input topic."""
    return [message.json() for message in flow.observer.read([flow.input])]


async def _hang(_: web.Request) -> web.Response:
    await asyncio.sleep(30)
    return web.Response()


async def _endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    try:
        for _ in range(50):
            await response.write(b"<rss>" + b" " * (1 << 20))
    except ConnectionError:
        pass
    return response


async def _zipped(_: web.Request) -> web.Response:
    import zlib

    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = b"".join(packer.compress(bytes(1 << 20)) for _ in range(50)) + packer.flush()
    return web.Response(body=body, headers={"Content-Encoding": "gzip"})


def _to(target: str) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": target})

    return answer


async def test_hostile_feeds_harm_no_other(made: Flow) -> None:
    """One hangs, one never ends, one unfolds, one is a bomb, some lead astray: all the others arrive whole."""
    inner = Site({"/secret": rss(item("secret"))})
    good = {f"/odd/{number}": odd for number, odd in enumerate(CORPUS) if not odd.fails}
    site = Site({path: odd.body for path, odd in good.items()})
    async with (
        serve(inner.application(), "127.0.0.1", 0) as private,
        serve(site.application(), "127.0.0.1", 0) as url,
    ):
        port = private.rsplit(":", 1)[1]
        bad: dict[str, Handler] = {
            "/hang": _hang,
            "/endless": _endless,
            "/zipped": _zipped,
            "/bomb": bomb(),
            "/noise": os.urandom(100_000),
            "/private": _to(f"{private}/secret"),
            "/name": _to(f"http://localhost:{port}/secret"),
            "/decimal": _to(f"http://2130706433:{port}/secret"),
            "/mapped": _to(f"http://[::ffff:127.0.0.1]:{port}/secret"),
            "/metadata": _to("http://169.254.169.254/latest"),
            "/file": _to("file:///etc/passwd"),
            "/loop": _to("/loop"),
        }
        site.answers |= bad
        async with polling(made, [url]) as poller:
            await poller.run([Feed(url + path) for path in (*bad, *good)])
            assert poller.failed == len(bad) - (not inner.asked and _bomb_was_read(made))
    assert not inner.asked
    documents = stored(made)
    assert not any("secret" in json.dumps(one) for one in documents)
    for path, odd in good.items():
        found = [one for one in documents if one["source"].endswith(path)]
        assert len(found) == (len(set(odd.ids)) if odd.ids else len(odd.texts)), odd.name


def _bomb_was_read(flow: Flow) -> bool:
    """Say whether the bomb was defused by its parser, and the rest of its feed read."""
    return any(one["source"].endswith("/bomb") for one in stored(flow))


async def test_a_poller_is_polite_and_forgets_nothing_over_a_restart(made: Flow) -> None:
    """Validators come back verbatim, a 304 stores nothing, and an entry comes once, also to the next process."""
    etag, modified = "W/\"odd, 'quoted'\"", "Sat, 31 Jan 2026 12:00:00 GMT"
    items = [item(f"Merkel {number}", str(number)) for number in range(3)]

    async def answer(request: web.Request) -> web.Response:
        if request.headers.get("If-None-Match") == etag and len(items) == 3:
            return web.Response(status=304)
        body = rss("".join(reversed(items)))
        return web.Response(body=body, headers={"ETag": etag, "Last-Modified": modified})

    site = Site({"/feed": answer})
    async with serve(site.application(), "127.0.0.1", 0) as url:
        for round_ in range(4):
            if round_ == 2:
                items.append(item("Merkel 3", "3"))
            async with polling(made, [url]) as poller:
                await poller.run([Feed(f"{url}/feed")])
                assert poller.failed == 0
    assert [request.headers.get("If-None-Match") for request in site.asked] == [None, etag, etag, etag]
    assert site.asked[1].headers["If-Modified-Since"] == modified
    assert sorted(one["text"] for one in stored(made)) == [f"A\n\nMerkel {number}" for number in range(4)]
    assert len({one["id"] for one in stored(made)}) == 4


async def test_an_article_is_fetched_where_it_is_welcome(made: Flow) -> None:
    """By robots.txt; else, and where the site fails, the feed's own text stands in for it."""
    page = "<html><body><article>{}</article></body></html>".format(
        "<p>Angela Merkel spoke in Berlin about the vote, the budget and all that comes after it.</p>" * 6
    )

    async def article(_: web.Request) -> web.Response:
        return web.Response(text=page, content_type="text/html")

    links = ("/open", "/closed", "/missing")
    body = rss("".join(item("short", link, f"<link>{link}</link>") for link in links))
    site = Site({"/feed": body, "/open": article, "/closed": article})
    site.answers["/robots.txt"] = b"User-agent: *\nDisallow: /closed"
    async with serve(site.application(), "127.0.0.1", 0) as url, polling(made, [url], fetch=True) as poller:
        await poller.run([Feed(f"{url}/feed")])
    assert "/closed" not in site.paths()
    texts = {one["url"].rsplit("/", 1)[1]: one["text"] for one in stored(made)}
    assert "spoke in Berlin" in texts["open"]
    assert texts["closed"] == texts["missing"] == "A\n\nshort"


async def test_a_stream_goes_on_behind_the_last_event_that_was_stored(made: Flow) -> None:
    """After every break, and in the next process, it is asked with Last-Event-ID: nothing is left out."""
    total = 40

    async def answer(request: web.Request) -> web.StreamResponse:
        after = int(request.headers.get("Last-Event-ID", "-1"))
        if after + 1 == total:
            return web.Response(status=204)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"retry: 1\n\n")
        for number in range(after + 1, min(total, after + 8)):
            value = json.dumps({"text": f"Merkel {number}"})
            await response.write(f"id: {number}\ndata: {value}\n\n".encode())
        await response.write(b"id: 99999\ndata: cut in the mid")
        return response

    site = Site({"/stream": answer})
    async with serve(site.application(), "127.0.0.1", 0) as url:
        for seconds in (0.5, 30):
            async with (
                State(made.settings, made.input) as state,
                Sink(made.settings, made.input) as sink,
                Fetcher([url]) as fetcher,
            ):
                source = EventSource(f"{url}/stream", made.settings, sink, state, fetcher)
                try:
                    await asyncio.wait_for(source.run(), seconds)
                except TimeoutError:
                    assert seconds < 30
    assert {one["text"] for one in stored(made)} == {f"Merkel {number}" for number in range(total)}


async def test_a_caller_is_told_202_only_when_it_is_stored(made: Flow) -> None:
    """Each 202's documents are there; all else is told what is wrong, and is not there."""
    token = "a-token-of-the-tests"
    async with Sink(made.settings, made.input) as sink:
        inbox = Inbox(made.settings, sink, token, Limits(rate=50, at_once=2, body=100_000, patience=20))
        async with serve(inbox.application(), "127.0.0.1", 0) as url, aiohttp.ClientSession() as session:

            async def post(
                data: bytes, kind: str = "application/json", given: str = token
            ) -> tuple[int, Any]:
                headers = {"Content-Type": kind, "Authorization": f"Bearer {given}"}
                async with session.post(f"{url}/documents", data=data, headers=headers) as response:
                    return response.status, await response.json()

            assert (await post(b"{}", given="wrong"))[0] == 401
            assert await post(b'{"id": "a", "text": "Merkel"}') == (202, {"stored": 1, "ids": ["a"]})
            assert (await post(b'{"text": "no id"}'))[0] == 202
            assert (await post(b"ein Text", "text/plain"))[0] == 202
            assert (
                await post(b'{"id": "b", "text": "x"}\n\n{"id": "c", "text": "y"}\n', "application/x-ndjson")
            )[1]["ids"] == ["b", "c"]
            for body, reason in (
                (b"{", "not-json"),
                (b"[]", "not-an-object"),
                (b'{"id": "d"}', "missing-field"),
                (b'{"id": "e", "text": " "}', "blank-text"),
            ):
                status, answer = await post(body)
                assert (status, answer["reason"]) == (422, reason)
            assert (await post(b'{"id": "f", "text": "x"}\n{"id": "g"}', "application/x-ndjson"))[1][
                "line"
            ] == 2
            assert (await post(b"x", "image/png"))[0] == 415
            assert (await post(b" " * 200_000))[0] == 413
            many = b'{"id": "many", "text": "x"}\n' * 60
            assert (await post(many, "application/x-ndjson"))[0] == 202
            assert (await post(many, "application/x-ndjson"))[0] == 429
    ids = [one["id"] for one in stored(made) if one["id"] != "many"]
    assert len(ids) == 5
    assert {"a", "b", "c"} <= set(ids)


async def test_files_are_read_on_and_stored_once(made: Flow, tmp_path: Path) -> None:
    """Lines that grow, texts that change, another file of the same name: each document once, over restarts."""
    spool = tmp_path / "spool"
    spool.mkdir()
    lines, text = spool / "a.jsonl", spool / "b.txt"

    async def read(*, once: bool = True) -> None:
        async with State(made.settings, made.input) as state, Sink(made.settings, made.input) as sink:
            source = Files(made.settings, sink, state)
            await source.run([spool], once=once)
            assert source.left_out == 0

    lines.write_text('{"id": "1", "text": "one"}\n{"id": "2", "text": "two"}\n')
    text.write_text("A text about Merkel.")
    (spool / "c.html").write_text("<p>Page</p><script>no()</script>")
    (spool / ".hidden.txt").write_text("no")
    (spool / "d.bin").write_bytes(b"no")
    os.mkfifo(spool / "e.txt")
    await read()
    await read()
    with lines.open("a") as file:
        file.write('{"id": "3", "text": "three"}\n')
    text.write_text("Another text.")
    await read()
    lines.write_text('{"id": "4", "text": "four, in a file made anew"}\n')
    await read()
    # Followed: what is appended while it runs comes, a line when it is whole.
    following = asyncio.create_task(read(once=False))
    for part in ('{"id": "5", ', '"text": "five"}\n'):
        await asyncio.sleep(1)
        with lines.open("a") as file:
            file.write(part)
    await _until(lambda: "five" in str(stored(made)))
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    found = sorted(one["text"] for one in stored(made))
    assert found == sorted(
        [
            "one",
            "two",
            "three",
            "four, in a file made anew",
            "five",
            "A text about Merkel.",
            "Another text.",
            "Page",
        ]
    )


async def _until(check: Callable[[], bool], seconds: float = 30) -> None:
    end = asyncio.get_running_loop().time() + seconds
    while not await asyncio.to_thread(check):
        assert asyncio.get_running_loop().time() < end
        await asyncio.sleep(0.1)


async def test_what_is_too_large_is_told_and_does_not_stop_the_rest(made: Flow) -> None:
    """Each caller of a sink hears of its own documents."""
    settings = made.settings.model_copy(update={"max_message_bytes": 10_000})
    async with Sink(settings, made.input) as sink:
        told = await sink.store([(b"k", b"x"), (b"k", b"y" * 20_000), (b"k", b"z")])
    assert [one is None for one in told] == [True, False, True]
    assert sorted(m.value or b"" for m in made.observer.read([made.input])) == [b"x", b"z"]


@pytest.mark.parametrize("name", ["rss", "files"])
def test_no_entry_is_lost_when_a_feed_is_killed(name: str, made: Flow, tmp_path: Path) -> None:
    """SIGKILL at any moment, again and again, while entries come: all are there, and repeats have the same id."""
    total, shown = 600, 0
    lock = threading.Lock()
    spool = tmp_path / "news.jsonl"
    spool.touch()

    async def answer(_: web.Request) -> web.Response:
        with lock:
            last = shown
        # As many as a feed shows: those before have fallen out of it.
        return web.Response(body=rss("".join(item(f"Merkel {n}", str(n)) for n in reversed(range(last)))))

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    with ExitStack() as stack:
        stack.callback(loop.close)
        stack.callback(thread.join)
        stack.callback(loop.call_soon_threadsafe, loop.stop)
        server = serve(Site({"/feed": answer}).application(), "127.0.0.1", 0)
        url = asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
        stack.callback(
            lambda: asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(20)
        )
        arguments = ["rss", f"{url}/feed", "--every", "0.05"] if name == "rss" else ["files", str(spool)]
        command = [sys.executable, "-m", "fewnerd_stream", "feed", *arguments, "--topic", made.input]
        environment = os.environ | {
            "FEWNERD_BOOTSTRAP_SERVERS": made.bootstrap,
            "FEWNERD_IDEMPOTENCE": "false",
        }

        def publish(count: int) -> None:
            nonlocal shown
            for _ in range(count):
                with lock:
                    shown += 1
                with spool.open("a") as file:
                    file.write(f'{{"text": "Merkel {shown - 1}"}}\n')

        for kill in range(5):
            with Process(command, tmp_path / "feed.log", environment) as process:
                before = len(stored(made))
                publish(100)
                # Killed in the midst of it: a different number of documents each time.
                _wait(lambda: len(stored(made)) > before + 15 * kill, process)  # noqa: B023 - called here
                process.signal(signal.SIGKILL)
                process.wait(10)
        with Process(command, tmp_path / "feed.log", environment) as process:
            publish(total - shown)
            _wait(lambda: len({one["id"] for one in stored(made)}) >= total, process)
            process.signal(signal.SIGTERM)
            assert process.wait(20) == 0
    documents = stored(made)
    by_id: dict[str, str] = {}
    for one in documents:
        assert by_id.setdefault(one["id"], one["text"]) == one["text"]
    assert {text.removeprefix("A\n\n") for text in by_id.values()} == {f"Merkel {n}" for n in range(total)}


def _wait(check: Callable[[], bool], process: Process, seconds: float = 60) -> None:
    import time

    deadline = time.monotonic() + seconds
    while not check():
        assert process.status is None, process.tail()
        assert time.monotonic() < deadline, process.tail()
        time.sleep(0.05)
