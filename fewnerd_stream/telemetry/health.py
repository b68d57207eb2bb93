"""Whether a worker is well, judged by the file that it writes every second. Pure but for reading the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from fewnerd_stream.settings import private

if TYPE_CHECKING:
    from pathlib import Path

FRESH: Final = 10.0
"""Seconds after which a file that was not written again tells of a worker that hangs or is gone."""

_WELL: Final = frozenset({"starting", "running", "draining"})
_COUNTS: Final = ("in", "out", "retried", "dead")


class Verdict(NamedTuple):
    """An answer to a probe: whether all is well, and what is not."""

    well: bool
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Health:
    """A verdict, one line that gives the reason, and the worker's own figures where it has written any."""

    well: bool
    line: str
    figures: dict[str, Any]


def read_health(path: Path, now: float) -> Health:
    """Judge a worker by its file; ``now`` in seconds since the epoch."""
    try:
        data = private.read(path)
    except FileNotFoundError:
        return Health(well=False, line=f"no worker writes {path}", figures={})
    except OSError as error:
        return Health(well=False, line=f"{path} cannot be believed: {error.strerror or error}", figures={})
    try:
        figures = orjson.loads(data)
        return judge(figures, now)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return Health(well=False, line=f"{path} is no health file: {error}", figures={})


def judge(figures: dict[str, Any], now: float) -> Health:
    """Judge a worker by its figures.

    Well is who wrote within `FRESH` seconds and starts, runs or drains; or waits (for a broker or a model
    that works again), but not yet for half its patience: after that, somebody should look.

    Raises:
        KeyError, TypeError: the figures are not a worker's.
    """
    age = abs(now - float(figures["time"]))  # a clock that was set back makes a file no fresher
    state = str(figures["state"])
    spent = max(0.0, now - float(figures["since"]))
    reason = str(figures.get("reason") or "")
    if age > FRESH:
        return Health(well=False, line=f"silent for {spell(age)}, was {state}", figures=figures)
    about = f"{state} for {spell(spent)}"
    if state == "waiting":
        patience = float(figures["patience"])
        return Health(
            well=spent < patience / 2,
            line=f"{about} of {spell(patience)} at most: {reason or 'nothing can be handed over'}",
            figures=figures,
        )
    if state not in _WELL:
        return Health(well=False, line=f"{about}{': ' if reason else ''}{reason}", figures=figures)
    counts = ", ".join(f"{figures.get(name, 0)} {name}" for name in _COUNTS)
    return Health(
        well=True, line=f"{about}, {len(figures.get('assigned', ()))} partitions, {counts}", figures=figures
    )


def spell(seconds: float) -> str:
    """Write a time span as people say it, in its two largest units: ``3 d 4 h``, ``2 m 5 s``, ``0.4 s``."""
    if seconds < 10:  # noqa: PLR2004 - below that a tenth is worth telling
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, smaller, small in ((86_400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit} {rest} {small}" if rest else f"{whole // size} {unit}"
    return f"{whole} s"
