"""`health`: exit code 0 or 1 by the file that a worker on this machine writes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from fewnerd_stream.cli._group import examples
from fewnerd_stream.cli._options import json_option, settings_options
from fewnerd_stream.contract.harmless import harmless
from fewnerd_stream.exits import Exit
from fewnerd_stream.telemetry.health import read_health

if TYPE_CHECKING:
    from fewnerd_stream.settings import Settings


@click.command(
    "health",
    epilog=examples(
        "fewnerd-stream health",
        "fewnerd-stream health --health-file /run/worker-2.json || restart worker-2",
    ),
)
@settings_options("health_file", "group", "instance_id")
@json_option
@click.pass_context
def command(ctx: click.Context, *, settings: Settings, as_json: bool) -> None:
    """Tell whether the worker on this machine is well, in one line; asks no broker.

    Exit code 0: it wrote its file within 10 s, and it starts, runs or drains, or has not waited for half its
    patience yet. Exit code 1: anything else.
    """
    health = read_health(settings.health_file, time.time())
    if as_json:
        from fewnerd_stream.terminal import print_json

        print_json({"well": health.well, "line": health.line, "worker": health.figures})
    else:
        click.echo(harmless(f"{'well' if health.well else 'not well'}: {health.line}"))
    ctx.exit(Exit.OK if health.well else Exit.FAILURE)
