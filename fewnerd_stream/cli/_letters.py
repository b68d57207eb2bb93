"""What the commands on dead letters share: the options that choose letters, and the topics that are meant."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from fewnerd_stream.cli._options import GROUP
from fewnerd_stream.errors import Reason
from fewnerd_stream.operations.dead.filters import Filter, parse_offsets, parse_time
from fewnerd_stream.operations.dead.letters import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable

    from fewnerd_stream.settings import Settings

_Function = TypeVar("_Function", bound="Callable[..., Any]")

SETTINGS: Final = (*GROUP, "retry_delays", "isolation")
"""The settings that they are given as options."""


def filters(function: _Function) -> _Function:
    """Give a command the options that choose letters, and a ``chosen`` filter in their place."""

    @functools.wraps(function)
    def read(
        *,
        reasons: tuple[str, ...],
        since: str | None,
        until: str | None,
        offsets: tuple[str, ...],
        **kwargs: Any,  # noqa: ANN401 - the command's own
    ) -> Any:  # noqa: ANN401 - the command's own
        now = round(time.time() * 1000)
        times: dict[str, int | None] = {}
        for name, text in (("since", since), ("until", until)):
            try:
                times[name] = None if text is None else parse_time(text, now)
            except ValueError as error:
                raise click.BadParameter(str(error), param_hint=f"--{name}") from error
        try:
            places = parse_offsets(offsets)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--offsets") from error
        chosen = Filter(frozenset(reasons), times["since"], times["until"], places)
        return function(chosen=chosen, **kwargs)

    command: Any = read
    for option in (
        click.option(
            "--offsets",
            metavar="PARTITION:FROM-TO",
            multiple=True,
            help="Only these offsets, both ends included: 3:100-199, 3:100, 3:100- or 3:. May be repeated.",
        ),
        click.option("--until", metavar="TIME", help="Only what died before this time."),
        click.option(
            "--since",
            metavar="TIME",
            help="Only what died since: 30s, 15m, 2h, 7d ago, or 2026-01-31T12:00:00Z.",
        ),
        click.option(
            "--reason",
            "reasons",
            multiple=True,
            type=click.Choice([*(reason.value for reason in Reason), UNKNOWN]),
            help="Only what died for this reason. May be repeated.",
        ),
        click.option("--topic", metavar="INPUT", help="Only the dead letters of this input topic."),
    ):
        command = option(command)
    result: _Function = command
    return result


def inputs(settings: Settings, topic: str | None) -> tuple[str, ...]:
    """Give the input topics that are meant; ``topic`` may name one, or its dead letters."""
    if topic is None:
        return settings.input_topics
    topics = settings.topology.of(topic)
    if topics is None:
        known = ", ".join(settings.input_topics)
        raise click.BadParameter(f"{topic} is none of the input topics: {known}", param_hint="--topic")
    return (topics.input,)
