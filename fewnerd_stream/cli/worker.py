"""`worker`: puts model, agents and delivery together, and runs until told to stop."""

from __future__ import annotations

import functools
import logging

import click

from fewnerd_stream.cli._group import examples
from fewnerd_stream.cli._options import SECRET, settings_options
from fewnerd_stream.settings import Settings

log = logging.getLogger("fewnerd_stream.worker")


@click.command(
    "worker",
    epilog=examples(
        "fewnerd-stream worker",
        "fewnerd-stream worker --bootstrap-servers kafka:9092 --group news --threads 4",
        "FEWNERD_LOG_FORMAT=json fewnerd-stream --config /etc/fewnerd.toml worker --instance-id worker-1",
        "fewnerd-stream worker --labels person,location-GPE --thresholds person=0.8",
    ),
)
@settings_options(*(name for name in Settings.model_fields if name not in SECRET))
@click.pass_context
def command(ctx: click.Context, *, settings: Settings) -> None:
    """Run a worker: read raw documents, find their entities, publish them to the categories' topics.

    An input is committed only when everything that came of it is stored. SIGTERM lets the windows at work
    finish and ends with exit code 0. Start as many workers as there are partitions to share, on any machines.
    Every option is a setting; passwords are given in the environment or in the file.
    """
    from fewnerd_stream.cli._neighbours import check_neighbours

    warnings = list(check_neighbours())

    from agents.enrich import add_enrich
    from agents.run import run_worker
    from agents.tagger import load_tagger
    from fewnerd_stream.telemetry.logs import setup_logging

    setup_logging(settings)
    for warning in warnings:
        log.warning("%s", warning)
    ctx.exit(run_worker(settings, functools.partial(load_tagger, settings), add_enrich))
