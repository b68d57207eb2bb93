"""`demo`: a broker, a worker and a feed of news in one command, and an account of every document."""

from __future__ import annotations

import signal
import sys
from typing import Any

import click

from fewnerd_stream.cli._group import examples, quiet_libraries


@click.command(
    "demo",
    epilog=examples(
        "fewnerd-stream demo",
        "fewnerd-stream demo --pace 0",
        "fewnerd-stream demo --bootstrap-servers localhost:9092",
    ),
)
@click.option(
    "--bootstrap-servers",
    metavar="HOST:PORT",
    help="A Kafka cluster to use; its demo topics are deleted in the end. Unset: an embedded broker.",
)
@click.option(
    "--pace",
    type=click.FloatRange(min=0),
    default=8.0,
    show_default=True,
    help="Documents sent in a second; 0: as fast as can be.",
)
@click.pass_context
def command(ctx: click.Context, *, bootstrap_servers: str | None, pace: float) -> None:
    """See it work: an embedded broker, a worker, and some 80 short documents, a few of them malformed.

    Entities are shown as they come out of the topics, then what went where, read back from the topics. Exit
    code 0: every document is accounted for. The worker fails twice on one document, on purpose, to show a
    retry. The embedded broker keeps everything in memory and is for looking only.
    """
    from fewnerd_stream.demo.play import play
    from fewnerd_stream.terminal import console

    def end(*_: Any) -> None:  # noqa: ANN401 - a signal's number and frame
        sys.exit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, end)  # in good order: the broker and the worker end with us
    quiet_libraries()
    ctx.exit(play(console(), bootstrap_servers, pace))
