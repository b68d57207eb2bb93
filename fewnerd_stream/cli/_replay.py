"""`dead replay`."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import click

from fewnerd_stream.cli._group import examples, run
from fewnerd_stream.cli._letters import SETTINGS, filters, inputs
from fewnerd_stream.cli._options import json_option, settings_options
from fewnerd_stream.errors import FewnerdError
from fewnerd_stream.exits import Exit
from fewnerd_stream.operations.dead.replay import MOST_REPLAYS, Order, Replay, Summary, Watch

if TYPE_CHECKING:
    from fewnerd_stream.operations.dead.filters import Filter
    from fewnerd_stream.settings import Settings

_NAMED = 10


@click.command(
    "replay",
    epilog=examples(
        "fewnerd-stream dead replay --reason model-error --dry-run",
        "fewnerd-stream dead replay --reason model-error --rate 50",
        "fewnerd-stream dead replay --since 2026-01-31T12:00 --until 2026-01-31T14:00",
        "fewnerd-stream dead replay --offsets 3:1042 --force",
    ),
)
@filters
@click.option("--dry-run", is_flag=True, help="Only say what would be replayed.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Most letters a second.")
@click.option("--limit", type=click.IntRange(min=1), help="Most letters to replay.")
@click.option("--force", is_flag=True, help="Also documents that were replayed three times before.")
@click.option("--again", is_flag=True, help="Also letters that a replay has sent already.")
@settings_options(*SETTINGS, "compression", "replication", "min_insync_replicas")
@json_option
def replay(
    *,
    chosen: Filter,
    topic: str | None,
    dry_run: bool,
    rate: float | None,
    limit: int | None,
    force: bool,
    again: bool,
    settings: Settings,
    as_json: bool,
) -> None:
    """Send dead letters through the pipeline again: to the first retry topic, due now.

    A replay goes from the first letter that was not replayed yet to the end as it is when it starts. Which
    letters were replayed is kept on the broker (topic GROUP.INPUT.dead.replayed), each letter once the broker
    has stored its copy. So nothing is replayed twice, from whichever machine and
    with whichever filters; what a filter leaves out can be replayed later; and a replay that was interrupted
    is taken up by the next one. Only a kill in the middle sends up to 100 letters a second time.

    A document that died again after its third replay is refused, with exit code 1, unless --force is given. So
    are letters without their values, and those that the retry topic refuses for their size; the others go out.
    """
    from fewnerd_stream.terminal import print_json

    order = Order(chosen, dry_run=dry_run, force=force, again=again, limit=limit, rate=rate)
    summaries = []
    for name in inputs(settings, topic):
        summaries.append(_replay_one(settings, name, order, quiet=as_json))
        if limit is not None:
            left = limit - sum(summary.replayed for summary in summaries)
            if left <= 0:
                break
            order = Order(chosen, dry_run=dry_run, force=force, again=again, limit=left, rate=rate)
    if as_json:
        print_json({"replays": [summary.as_json() for summary in summaries]})
    refused = sum(one.refused + one.without_value + len(one.too_large) for one in summaries)
    click.get_current_context().exit(Exit.FAILURE if refused else Exit.OK)


def _replay_one(settings: Settings, input_topic: str, order: Order, *, quiet: bool) -> Summary:
    """Replay one input's dead letters, with a progress bar; tells how far it came whatever happens."""
    from fewnerd_stream.terminal import progress

    run_name = (
        f"{socket.gethostname()}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{time.time_ns() % 10**6}"
    )
    with progress(f"letters of {settings.topology.input(input_topic).dead}", shown=not quiet) as bar:
        watch = Watch(planned=lambda total: bar(total=total), passed=lambda count: bar(advance=count))
        work = Replay(settings, input_topic, order, run=run_name, watch=watch)
        try:
            run(work.run())
        except (FewnerdError, KeyboardInterrupt):
            if work.summary.replayed and not order.dry_run:
                click.echo(
                    f"{work.summary.replayed} letters were replayed; the next replay goes on there.", err=True
                )
            raise
    if not quiet:
        _print_summary(work.summary)
    return work.summary


def _print_summary(summary: Summary) -> None:
    from fewnerd_stream.terminal import console, table

    out = console()
    for partition in summary.made_anew:
        out.print(
            f"{summary.topic}/{partition} was made anew since: nothing of it counts as replayed",
            style="yellow",
        )
    if summary.reasons:
        shown = table("REASON", "LETTERS", right=("LETTERS",))
        for reason, count in sorted(summary.reasons.items()):
            shown.add_row(reason, str(count))
        out.print(shown)
    verb = "would be replayed" if summary.dry_run else "replayed"
    before = f", {summary.replayed_before} were replayed before" if summary.replayed_before else ""
    out.print(f"{summary.topic}: {summary.replayed} of {summary.scanned} letters looked at {verb}{before}")
    if summary.refused:
        out.print(
            f"{summary.refused} refused: replayed {MOST_REPLAYS} times already; --force replays them",
            style="red",
        )
    if summary.without_value:
        out.print(
            f"{summary.without_value} are without their values (record-too-large, unreadable): send them anew, "
            "from the places that `dead show` tells of",
            style="red",
        )
    if summary.too_large:
        named = ", ".join(summary.too_large[:_NAMED]) + (" ..." if summary.too_large[_NAMED:] else "")
        out.print(
            f"{len(summary.too_large)} refused by the retry topic for their size, and still there: {named}",
            style="red",
        )
