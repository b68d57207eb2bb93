"""`status`: lag, owners, waiting retries and dead letters, as the broker knows them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import click

from fewnerd_stream.cli._group import examples, run
from fewnerd_stream.cli._options import GROUP, json_option, settings_options
from fewnerd_stream.errors import TopicsError

if TYPE_CHECKING:
    from fewnerd_stream.operations.status.report import Dead, PartitionStatus, Report
    from fewnerd_stream.settings import Settings
    from fewnerd_stream.terminal import Screen

_LOOKED_AT: Final = 10_000
_REASONS: Final = 20


@click.command(
    "status",
    epilog=examples(
        "fewnerd-stream status",
        "fewnerd-stream status --json | jq .lag",
        "watch -n 5 fewnerd-stream status --letters 0",
    ),
)
@click.option(
    "--letters",
    type=click.IntRange(min=0),
    default=_LOOKED_AT,
    show_default=True,
    help="Most dead letters to count by reason in each topic, the newest.",
)
@click.option("--all-letters", is_flag=True, help="Count all dead letters by reason, however many there are.")
@settings_options(*GROUP, "retry_delays", "isolation", "start")
@json_option
def command(*, letters: int, all_letters: bool, settings: Settings, as_json: bool) -> None:
    """Show how the pipeline stands: each partition's lag and owner, retries that wait, and dead letters.

    Lag counts offsets that are not committed; a retry counts in its topic's lag until it is done. Exit code 4
    if a topic is missing.
    """
    from fewnerd_stream.operations.status.gather import gather
    from fewnerd_stream.terminal import console, print_json

    report = run(gather(settings, letters=None if all_letters else letters))
    if as_json:
        print_json(report.as_json())
    else:
        _print(console(), report)
    if report.missing:
        raise TopicsError(
            f"there is no topic {', '.join(report.missing)}: `fewnerd-stream topics create` makes it"
        )


def _print(out: Screen, report: Report) -> None:
    from fewnerd_stream.terminal import table

    count = len(report.members)
    state = "nobody has been in it" if report.state == "none" else report.state
    out.field("group", f"{report.group}: {state}, {count} {'worker' if count == 1 else 'workers'}", 0)
    shown = table(
        "TOPIC",
        "PARTITION",
        "COMMITTED",
        "END",
        "LAG",
        "OWNER",
        right=("PARTITION", "COMMITTED", "END", "LAG"),
    )
    for one in report.partitions:
        owner = one.owner
        shown.add_row(
            one.topic,
            str(one.partition),
            "-" if one.committed is None else str(one.committed),
            str(one.end),
            str(one.lag),
            owner.name if owner else "-",
            style="bold" if one.lag else None,
        )
    out.print(shown)
    out.field("lag", f"{report.lag}, {report.waiting} waiting for another attempt", 0)
    for one in report.partitions:
        if one.lost:
            out.print(f"LOST: {_lost(one)}", style="red")
    _print_oldest(out, report)
    for dead in report.dead:
        out.field("dead", _dead(dead), 0)
    for note in report.notes:
        out.print(f"note: {note}", style="yellow")


def _lost(one: PartitionStatus) -> str:
    return f"{one.lost} offsets of {one.topic}/{one.partition} were deleted before they were read"


def _print_oldest(out: Screen, report: Report) -> None:
    from fewnerd_stream.telemetry.health import spell

    oldest = report.oldest
    if oldest is None or oldest.since is None:
        return
    now = time.time()
    due = "due now" if oldest.due / 1000 <= now else f"due in {spell(oldest.due / 1000 - now)}"
    out.field(
        "oldest retry",
        f"{oldest.topic}/{oldest.partition}/{oldest.offset}, "
        f"for {spell(max(0.0, now - oldest.since / 1000))}, {due}, of {oldest.origin}",
        0,
    )


def _dead(dead: Dead) -> str:
    """Say in one line what there is on a dead topic."""
    text = f"{dead.topic}: {dead.total}"
    if dead.replayed:
        text += f", {dead.replayed} of them replayed"
    if dead.reasons:
        newest = "" if dead.looked_at >= dead.total else f" (of the newest {dead.looked_at})"
        text += (
            "; "
            + ", ".join(f"{count} {reason}" for reason, count in dead.reasons.most_common(_REASONS))
            + newest
        )
    return text
