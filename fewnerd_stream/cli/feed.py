"""`feed`: documents from RSS and Atom, event streams, HTTP, files and standard input, to an input topic."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from fewnerd_stream.cli._group import examples, run
from fewnerd_stream.cli._options import CONNECTION, settings_options
from fewnerd_stream.errors import FewnerdError, SettingsError
from fewnerd_stream.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from fewnerd_stream.feeds.sink import Sink
    from fewnerd_stream.feeds.state import State
    from fewnerd_stream.settings import Settings

SETTINGS: Final = (*CONNECTION, "input_topics", "compression", "idempotence", "log_format", "log_level")
_EXTRA: Final = "this needs the `live` extra: pip install 'fewnerd-stream[live]'"

_private = click.option(
    "--allow-private", is_flag=True, help="Also follow redirects and links into private networks."
)
_topic = click.option("--topic", help="Where to; by default the first input topic.")


@click.group(
    "feed",
    epilog=examples(
        "fewnerd-stream feed rss https://feeds.example.org/world.xml",
        "fewnerd-stream feed rss --list feeds.opml --fetch",
        "fewnerd-stream feed http --port 8080 --token-file token.txt",
        "fewnerd-stream feed files /var/spool/news",
    ),
)
def command() -> None:
    """Feed an input topic: from RSS and Atom, event streams, HTTP, files, or standard input.

    A feed remembers what it has stored, in a compacted topic beside the input, and goes on from there after a
    restart. A crash may repeat a document, under the same id, and skips none.
    """


@command.command(
    "rss",
    epilog=examples(
        "fewnerd-stream feed rss https://feeds.example.org/world.xml https://feeds.example.org/sport.xml",
        "fewnerd-stream feed rss --list feeds.toml --fetch",
        "fewnerd-stream feed rss --list subscriptions.opml --every 900 --once",
    ),
)
@click.argument("urls", metavar="[URL]...", nargs=-1)
@click.option(
    "--list", "lists", type=click.Path(path_type=Path), multiple=True, help="Feeds in TOML or OPML."
)
@click.option(
    "--every",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds between polls; by default an hour, or what the feed asks for.",
)
@click.option("--fetch", is_flag=True, help="Get each entry's article where its robots.txt allows it.")
@click.option("--once", is_flag=True, help="Poll each feed once, and end; exit code 1 if one failed.")
@_private
@_topic
@settings_options(*SETTINGS)
def rss(
    *,
    urls: tuple[str, ...],
    lists: tuple[Path, ...],
    every: float | None,
    fetch: bool,
    once: bool,
    allow_private: bool,
    topic: str | None,
    settings: Settings,
) -> None:
    """Poll RSS and Atom feeds, and store each new entry: title, plain text, url, time.

    A list is TOML, [[feed]] tables with url and, if wished, title, every and fetch; or OPML. Hosts that you
    name may be anywhere; redirects and links into private networks are not followed.
    """
    with _needed():
        from fewnerd_stream.feeds.helper import Helper
        from fewnerd_stream.feeds.lists import Feed, read_list
        from fewnerd_stream.feeds.net import Fetcher
        from fewnerd_stream.feeds.poller import Options, Poller

    feeds = [Feed(url) for url in urls] + [feed for path in lists for feed in read_list(path)]
    if not feeds:
        raise click.UsageError("name a feed's URL, or a list of feeds with --list")
    for feed in feeds:
        if not feed.url.startswith(("http://", "https://")):
            raise click.UsageError(f"{feed.url} is no http:// or https:// address")
    failed = 0

    async def work(sink: Sink, state: State) -> None:
        nonlocal failed
        named = [feed.url for feed in feeds]
        async with Fetcher(named, private=allow_private) as fetcher, Helper() as helper:
            poller = Poller(settings, sink, state, fetcher, helper, Options(every, fetch, once))
            await poller.run(feeds)
            failed = poller.failed

    _feed(settings, topic, work)
    click.get_current_context().exit(Exit.FAILURE if failed else Exit.OK)


@command.command("sse", epilog=examples("fewnerd-stream feed sse https://stream.example.org/news"))
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@_private
@_topic
@settings_options(*SETTINGS)
def sse(*, urls: tuple[str, ...], allow_private: bool, topic: str | None, settings: Settings) -> None:
    """Follow streams of server-sent events; each event's data is a document.

    A JSON object is stored as it is, with an id if it has none; all else is a text. After a break, and after
    a restart, a stream is asked to go on behind the last event that was stored.
    """
    with _needed():
        from fewnerd_stream.feeds.net import Fetcher
        from fewnerd_stream.feeds.sse import EventSource

    async def work(sink: Sink, state: State) -> None:
        async with Fetcher(urls, private=allow_private) as fetcher, asyncio.TaskGroup() as tasks:
            for url in dict.fromkeys(urls):
                tasks.create_task(EventSource(url, settings, sink, state, fetcher).run())

    _feed(settings, topic, work)


@command.command(
    "http",
    epilog=examples(
        "fewnerd-stream feed http",
        "fewnerd-stream feed http --host 0.0.0.0 --port 8080 --token-file token.txt --rate 100",
    ),
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), default=8080, show_default=True, help="Port, 0 for any."
)
@click.option(
    "--token-file", type=click.Path(path_type=Path), help="File with the token that callers must send."
)
@click.option(
    "--rate", type=click.FloatRange(min=1), default=500, show_default=True, help="Documents a second."
)
@click.option(
    "--at-once", type=click.IntRange(min=1), default=64, show_default=True, help="Requests at a time."
)
@_topic
@settings_options(*SETTINGS)
def http(
    *,
    host: str,
    port: int,
    token_file: Path | None,
    rate: float,
    at_once: int,
    topic: str | None,
    settings: Settings,
) -> None:
    """Take documents by POST /documents, and answer 202 when they are stored.

    The body is a JSON object, or one a line with Content-Type: application/x-ndjson, or a text with
    text/plain. A document that no worker would take is refused with 422 and the reason; 429 and 503 say when
    to come again. Without a token it listens on this machine alone.
    """
    with _needed():
        from fewnerd_stream.feeds.inbox import Inbox, Limits, check_place
        from fewnerd_stream.feeds.serve import serve

    token = read_token(token_file)
    check_place(host, token)

    async def work(sink: Sink, _: State) -> None:
        limits = Limits(rate, at_once, body=4 * settings.max_message_bytes)
        async with serve(Inbox(settings, sink, token, limits).application(), host, port) as url:
            click.echo(f"POST documents to {url}/documents", err=True)
            await asyncio.Event().wait()

    _feed(settings, topic, work)


@command.command(
    "files",
    epilog=examples(
        "fewnerd-stream feed files /var/spool/news", "fewnerd-stream feed files documents.jsonl notes --once"
    ),
)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--once", is_flag=True, help="Read what is there, and end.")
@_topic
@settings_options(*SETTINGS)
def files(*, paths: tuple[Path, ...], once: bool, topic: str | None, settings: Settings) -> None:
    """Read files and directories, and follow them.

    .jsonl and .ndjson: a document a line, read on as they grow. .txt, .md, .rst and .html: one document each,
    again when the content changes. Others, and hidden ones, are left alone.
    """
    with _needed():
        from fewnerd_stream.feeds.files import Files
    left_out = 0

    async def work(sink: Sink, state: State) -> None:
        nonlocal left_out
        source = Files(settings, sink, state)
        await source.run(paths, once=once)
        left_out = source.left_out

    _feed(settings, topic, work)
    click.get_current_context().exit(Exit.FAILURE if left_out else Exit.OK)


@command.command(
    "lines",
    epilog=examples(
        "tail -F news.jsonl | fewnerd-stream feed lines", "zcat archive.jsonl.gz | fewnerd-stream feed lines"
    ),
)
@_topic
@settings_options(*SETTINGS)
def lines(*, topic: str | None, settings: Settings) -> None:
    """Read JSON lines from standard input until it ends; a line that is no JSON object is a text.

    Unlike `send` it gives an id to what has none, and waits while there is no broker.
    """
    from fewnerd_stream.feeds.entries import from_bytes
    from fewnerd_stream.feeds.lines import read_lines
    from fewnerd_stream.feeds.sender import IN_FLIGHT

    left_out = 0

    async def work(sink: Sink, _: State) -> None:
        nonlocal left_out
        # A task each, begun and so stored in the lines' order; so many that the sender is never idle.
        room = asyncio.Semaphore(IN_FLIGHT)

        async def store(line: bytes) -> None:
            nonlocal left_out
            try:
                (refused,) = await sink.store([from_bytes(line, "stdin", "", settings)])
            finally:
                room.release()
            if refused:
                left_out += 1
                logging.getLogger(__name__).warning("a line is left out: %s", refused)

        async with asyncio.TaskGroup() as tasks:
            async for line, length in read_lines(sys.stdin.buffer, settings.max_result_bytes):
                if line is None:
                    left_out += 1
                    logging.getLogger(__name__).warning(
                        "a line of %d bytes is left out: it is too long", length
                    )
                elif line.strip():
                    await room.acquire()
                    tasks.create_task(store(line))

    _feed(settings, topic, work)
    click.get_current_context().exit(Exit.FAILURE if left_out else Exit.OK)


class _needed:  # noqa: N801 - reads as what it does
    """Says what to install where a library of the extra is missing."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("fewnerd_stream"):
            raise SettingsError(f"{_EXTRA} ({error.name} is missing)") from error


def read_token(path: Path | None) -> str | None:
    """Read a token from a file; None without one.

    Raises:
        SettingsError: the file cannot be read, or holds no token that is long enough.
    """
    if path is None:
        return None
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: {error}") from error
    if len(token) < 16:  # noqa: PLR2004 - said below
        raise SettingsError(f"{path}: a token has 16 characters or more: openssl rand -hex 16")
    return token


def _feed(
    settings: Settings, topic: str | None, work: Callable[[Sink, State], Coroutine[Any, Any, None]]
) -> None:
    """Open what every source needs, and let it work to its end or to a Ctrl-C."""
    from fewnerd_stream.feeds.sink import Sink
    from fewnerd_stream.feeds.state import State
    from fewnerd_stream.telemetry.logs import setup_logging

    into = topic or settings.input_topics[0]

    async def main() -> int:
        async with AsyncExitStack() as stack:
            state = await stack.enter_async_context(State(settings, into))
            sink = await stack.enter_async_context(Sink(settings, into))
            try:
                await work(sink, state)
            except* FewnerdError as group:
                error: BaseException = group
                while isinstance(error, BaseExceptionGroup):
                    error = error.exceptions[0]
                raise error from None
            finally:
                logging.getLogger(__name__).info("%d documents stored in %s", sink.count, into)
        return sink.count

    setup_logging(settings)
    try:
        run(main())
    except KeyboardInterrupt:
        click.get_current_context().exit(Exit.OK)
