"""Two lanes of scenarios side by side, each a process of its own: much of a scenario's time is waiting."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING, Final

from fewnerd_stream.kafka.children import end_with_parent

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from tests.faults.catalogue import Scenario

_THREE: Final = frozenset({"three", "disk"})
_END_SECONDS: Final = 30.0


def lanes(scenarios: Sequence[Scenario]) -> dict[str, list[Scenario]]:
    """Part scenarios by the clusters that they need: what shares a cluster is in one lane, and takes turns."""
    found: dict[str, list[Scenario]] = {}
    for one in scenarios:
        found.setdefault("three brokers" if one.kind in _THREE else "one broker", []).append(one)
    return found


def command(options: argparse.Namespace, scenarios: Sequence[Scenario]) -> list[str]:
    """Give the command line that plays one lane's scenarios as ``options`` ask."""
    words = [sys.executable, "-m", "tests.faults", "run", "--short", "--seed", str(options.seed)]
    words += ["--rate", str(options.rate)]
    if options.documents is not None:
        words += ["--documents", str(options.documents)]
    if options.results is not None:
        words += ["--results", str(options.results)]
    words += [flag for flag in ("--resume", "--keep") if getattr(options, flag.removeprefix("--"))]
    for one in scenarios:
        words += ["--scenario", one.name]
    return words


def run(options: argparse.Namespace, found: dict[str, list[Scenario]], say: Callable[[str], object]) -> int:
    """Play lanes side by side, say what each says under its name, and return the worst exit code."""
    children = {
        name: subprocess.Popen(
            command(options, scenarios),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=end_with_parent(),
        )
        for name, scenarios in found.items()
    }
    threads = [
        threading.Thread(target=_hand_on, args=(name, child.stderr, say)) for name, child in children.items()
    ]
    try:
        for thread in threads:
            thread.start()
        return max(child.wait() for child in children.values())
    finally:
        for child in children.values():
            child.terminate()
        for child in children.values():
            child.wait(_END_SECONDS)
        for thread in threads:
            thread.join()


def _hand_on(name: str, lines: IO[str] | None, say: Callable[[str], object]) -> None:
    for line in lines or ():
        say(f"{name:13} | {line.rstrip()}")
