"""`live`: feeds on a page in one command."""

from __future__ import annotations

import contextlib
import signal
import sys
from pathlib import Path
from typing import Any

import click

from fewnerd_stream.cli._group import examples, quiet_libraries
from fewnerd_stream.exits import Exit


@click.command(
    "live",
    epilog=examples(
        "fewnerd-stream live https://feeds.example.org/world.xml",
        "fewnerd-stream live --list feeds.opml --fetch --every 900",
        "fewnerd-stream live --bootstrap-servers localhost:9092 https://feeds.example.org/world.xml",
        "fewnerd-stream live",
    ),
)
@click.argument("urls", metavar="[URL]...", nargs=-1)
@click.option(
    "--list", "lists", type=click.Path(path_type=Path), multiple=True, help="Feeds in TOML or OPML."
)
@click.option("--every", type=click.FloatRange(min=0, min_open=True), help="Seconds between polls.")
@click.option("--fetch", is_flag=True, help="Get each entry's article where its robots.txt allows it.")
@click.option(
    "--port", type=click.IntRange(1, 65_535), default=8000, show_default=True, help="The console's."
)
@click.option("--bootstrap-servers", metavar="HOST:PORT", help="A Kafka cluster; unset: an embedded broker.")
@click.pass_context
def command(
    ctx: click.Context,
    *,
    urls: tuple[str, ...],
    lists: tuple[Path, ...],
    every: float | None,
    fetch: bool,
    port: int,
    bootstrap_servers: str | None,
) -> None:
    """Read RSS and Atom feeds, find their entities, and show them on a page: all in one command.

    It starts an embedded broker, a worker, the feeds and the console, and prints the page's address. Without a
    feed it plays the demonstration's news. The embedded broker keeps everything in memory and is for looking
    only. Ctrl-C ends it all.
    """
    from fewnerd_stream.demo.live import Plan, live

    def end(*_: Any) -> None:  # noqa: ANN401 - a signal's number and frame
        sys.exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)  # in good order: all that we have started ends with us
    quiet_libraries()
    plan = Plan(urls, lists, bootstrap_servers, port, every, fetch)
    with contextlib.suppress(KeyboardInterrupt):
        live(plan, click.echo)
    ctx.exit(Exit.OK)
