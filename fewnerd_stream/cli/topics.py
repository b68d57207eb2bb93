"""`topics create` and `topics check`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from fewnerd_stream.cli._group import examples, run
from fewnerd_stream.cli._options import GROUP, json_option, settings_options
from fewnerd_stream.contract import topology
from fewnerd_stream.errors import TopicsError
from fewnerd_stream.kafka import topics

if TYPE_CHECKING:
    from fewnerd_stream.settings import Settings

_NAMES: Final = (*GROUP, "output_prefix", "retry_delays")
_SHAPE: Final = (*_NAMES, "partitions", "replication", "min_insync_replicas")


@click.group(
    "topics",
    epilog=examples("fewnerd-stream topics create --partitions 8", "fewnerd-stream topics check --json"),
)
def command() -> None:
    """Create the topics that a worker needs, or check them.

    They are the input topics, for each of those the group's retry topics, its dead letters and what was
    replayed of them, and an output topic for each category and for documents without entities.
    """


@command.command(
    epilog=examples(
        "fewnerd-stream topics create",
        "fewnerd-stream topics create --partitions 12 --replication 3 --min-insync-replicas 2",
    )
)
@settings_options(*_SHAPE)
@json_option
def create(*, settings: Settings, as_json: bool) -> None:
    """Create the topics that are missing; those that exist stay as they are.

    May be run again at any time, and by several at a time.
    """
    from fewnerd_stream.terminal import console, print_json

    created = run(topics.create_topics(settings))
    if as_json:
        print_json({"topics": [{"topic": name, "created": new} for name, new in created.items()]})
        return
    out = console()
    for name, new in created.items():
        out.print(f"{'created' if new else 'exists '}  {name}")
    out.print(f"{sum(created.values())} created, {len(created) - sum(created.values())} existed")


@command.command(epilog=examples("fewnerd-stream topics check", "fewnerd-stream topics check --json"))
@settings_options(*_SHAPE)
@json_option
def check(*, settings: Settings, as_json: bool) -> None:
    """Check every topic, as a worker does when it starts; changes nothing.

    What would lose or stop documents is an error, and the exit code is 4. What may do so one day is a
    warning.
    """
    from fewnerd_stream.terminal import console, print_json

    problems = run(topics.check_topics(settings))
    errors = sum(problem.severity == "error" for problem in problems)
    count = len(topology.all_topics(settings))
    if as_json:
        found = [{"topic": one.topic, "severity": one.severity, "message": one.message} for one in problems]
        print_json({"topics": count, "errors": errors, "problems": found})
    else:
        out = console()
        for one in problems:
            out.print(
                f"{one.severity}: {one.message}",
                style="red" if one.severity == "error" else "yellow",
            )
        if not errors:
            out.print(f"{count} topics are as they must be")
    if errors:
        raise TopicsError(
            f"{errors} problems with the {count} topics; `fewnerd-stream topics create` makes missing ones"
        )
