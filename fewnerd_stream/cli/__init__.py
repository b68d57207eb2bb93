"""The command line, `fewnerd-stream`. A command's module is imported when it is asked for: help is quick."""

from __future__ import annotations

import os
import sys
import traceback
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from fewnerd_stream.cli._group import DEBUG, LazyGroup, Session, examples, exit_table
from fewnerd_stream.contract.harmless import harmless
from fewnerd_stream.exits import end_well_on_sigterm

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "demo": ("demo", "See it work: a broker, a worker and a feed of news."),
    "live": ("live", "Feeds on a page: a broker, a worker, a console in one."),
    "worker": ("worker", "Run a worker: raw documents in, enriched ones out."),
    "topics": ("topics", "Create the topics, or check them."),
    "send": ("send", "Send JSON lines to an input topic."),
    "feed": ("feed", "Feed an input topic: RSS, event streams, HTTP, files."),
    "console": ("console", "A page with documents as they come, figures, dead letters."),
    "tail": ("tail", "Watch enriched documents as they come."),
    "tag": ("tag", "Find entities in a text; needs no broker."),
    "diff": ("diff", "How far two models agree on the same documents."),
    "status": ("status", "Lag, owners, waiting retries and dead letters."),
    "health": ("health", "Tell whether the worker on this machine is well."),
    "dead": ("dead", "Look at dead letters, and replay them."),
    "contract": ("contract", "Topics, headers and messages, as AsyncAPI and JSON Schema."),
    "config": ("config", "Every setting: variable, default, value, meaning."),
    "model": ("model", "Look at a model bundle, evaluate it, or make one."),
}
"""Each command's module in this package, which calls it ``command``, and its line in the help."""

_SETTINGS_AND_COLOURS: Final = (
    "Each setting is an environment variable, a line in the TOML file, and an option of `worker`: "
    "`fewnerd-stream config` lists them. Colours are for terminals, and NO_COLOR turns them off. "
    f"{DEBUG}=1 shows the tracebacks of errors."
)


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001 - click's
    if wanted and not ctx.resilient_parsing:
        from fewnerd_stream import __version__

        click.echo(f"fewnerd-stream {__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    lazy=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\n\n".join(
        (
            exit_table(),
            _SETTINGS_AND_COLOURS,
            examples(
                "fewnerd-stream demo",
                'fewnerd-stream tag "Angela Merkel flew to Paris."',
                "fewnerd-stream topics create && fewnerd-stream worker",
                "fewnerd-stream --config /etc/fewnerd.toml status",
            ),
        )
    ),
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Settings in TOML, in place of the file that FEWNERD_CONFIG names.",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Tell the version."
)
@click.pass_context
def cli(ctx: click.Context, config: Path | None) -> None:
    """Few-NERD entities for documents on Kafka: raw documents in, one topic per category out."""
    # Taken out of the environment, where every FEWNERD_ variable must be a setting.
    debug = os.environ.pop(DEBUG, "") not in {"", "0"}
    ctx.obj = Session(config, debug)


def _show(_: type[BaseException], error: BaseException, __: TracebackType | None) -> None:
    """Show an error with its traceback; its message may repeat what others wrote."""
    trace = "".join(traceback.format_exception(error))
    click.echo(harmless(trace, lines=True), nl=False, err=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, and end the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # Whatever a document holds, it must not end a command that prints it.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.excepthook = _show
    if "worker" in (sys.argv[1:] if arguments is None else arguments):
        # Before its imports: they take a second, in which it may be told to stop.
        end_well_on_sigterm()
    cli.main(arguments, prog_name="fewnerd-stream")
