"""Runs scenarios one after the other, and puts each away as soon as it is judged."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tests.faults import catalogue, record
from tests.faults.reference import Reference
from tests.faults.stage import Clusters, Stage
from tests.support import kafka, toxiproxy

if TYPE_CHECKING:
    import argparse

    from tests.faults.catalogue import Scenario

SEED: Final = 20_261_124
_MISSING: Final = 3


class Screen:
    """Says what happens: with bars on a terminal, in plain lines elsewhere."""

    def __init__(self) -> None:
        """Start the clock."""
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._began = time.monotonic()
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )

    def say(self, words: str) -> None:
        """Write a line, with the minutes and seconds since the start."""
        passed = int(time.monotonic() - self._began)
        self.console.print(f"{passed // 60:3}:{passed % 60:02}  {words}", markup=False)


def show() -> int:
    """List the scenarios."""
    for one in catalogue.load_all():
        print(f"{one.number:3}  {one.name:18} {one.title}")
    return 0


def run(options: argparse.Namespace) -> int:
    """Run what is asked for; see ``python -m tests.faults run --help``."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    scenarios = catalogue.load_all()
    wanted = set(options.scenario)
    unknown = wanted - {one.name for one in scenarios} - {str(one.number) for one in scenarios}
    if unknown:
        print(f"no such scenario: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    chosen = [one for one in scenarios if not wanted or {one.name, str(one.number)} & wanted]
    screen = Screen()
    try:
        kafka.java()
        kafka.jars()
        toxiproxy.server()
        reference = Reference(options.seed, os.environ.get("FEWNERD_MODEL"))
        bundle = reference.tagger.info.digest
    except (kafka.KafkaUnavailable, toxiproxy.ToxiproxyUnavailable, OSError, ValueError) as error:
        print(f"the fault suite cannot run here: {error}", file=sys.stderr)
        return _MISSING
    path = options.results or (record.SHORT if options.short else record.LONG)
    found = record.read(path)
    entries = {one["name"]: one for one in found["scenarios"]}
    now = record.digest(bundle)
    folder = Path(tempfile.mkdtemp(prefix="fewnerd-faults-"))
    screen.say(f"logs are in {folder}; seed {options.seed}, model {bundle[:19]}, code {now[:19]}")
    failed = []
    try:
        with Clusters(folder) as clusters, screen.bars:
            for one in chosen:
                before = entries.get(one.name)
                if options.resume and before and before["passed"] and before["digest"] == now:
                    if before["form"] == ("short" if options.short else "long"):
                        screen.say(f"{one.number}. {one.name}: has passed with this very code")
                        continue
                try:
                    entry = _play(one, clusters, reference, options, screen, bundle)
                except Exception as error:  # noqa: BLE001 - the stage itself: the next one may be better
                    screen.say("".join(traceback.format_exception(error)))
                    failed.append(one.name)
                    clusters.end(one.kind)
                    continue
                entries[one.name] = entry
                known = {each.name for each in scenarios}
                record.write(
                    path,
                    [each for name, each in entries.items() if name in known],
                    options.seed,
                    found.get("soak"),
                )
                if not entry["passed"]:
                    failed.append(one.name)
                if not options.short:
                    clusters.end(one.kind)  # hundreds of thousands of documents lie there
    finally:
        if options.keep or failed:
            screen.say(f"logs are kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    screen.say(f"{len(chosen) - len(failed)} of {len(chosen)} passed; written to {path}")
    if failed:
        screen.say(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


def _play(
    one: Scenario,
    clusters: Clusters,
    reference: Reference,
    options: argparse.Namespace,
    screen: Screen,
    bundle: str,
) -> dict[str, Any]:
    """Play a scenario and judge it; what goes wrong on the way counts as failed."""
    screen.say(f"{one.number}. {one.name}: {one.title}")
    began = time.monotonic()
    when = datetime.now(UTC).isoformat(timespec="seconds")
    documents = options.documents or (one.few if options.short else one.documents)
    bar = screen.bars.add_task(one.name, total=1)
    reference.close()
    with Stage(
        clusters,
        one.kind,
        one.name,
        reference,
        short=options.short,
        documents=documents,
        say=lambda words: screen.say(f"       {words}"),
        progress=lambda done, of: screen.bars.update(bar, completed=done, total=of),
        **(one.quick if options.short else one.settings),
    ) as stage:
        try:
            one.play(stage)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next scenario still runs
            stage.objections.append(("I7", f"not played to its end: {error!r}"))
            screen.say("".join(traceback.format_exception(error)))
            stage.cut_short()
        screen.bars.update(bar, description="reference", completed=0, total=max(1, stage.expected.documents))
        played = time.monotonic()
        reference.ensure(stage.expected.documents, lambda count: screen.bars.advance(bar, count))
        screen.bars.update(bar, description="verifying", total=None)
        tagged = time.monotonic()
        verdict = stage.verify()
        verified = time.monotonic()
        entry = record.entry(one, stage, verdict, bundle=bundle, when=when)
        screen.bars.remove_task(bar)
    screen.say(f"DEBUG play {played-began:.1f} reference {tagged-played:.1f} verify {verified-tagged:.1f} close {time.monotonic()-verified:.1f}")
    screen.say(
        f"       {'passed' if entry['passed'] else 'FAILED'} in {time.monotonic() - began:.0f} s: "
        f"{entry['documents']:,} documents, {entry['lost']} lost, {entry['duplicates']} duplicates, "
        f"{entry['kills']} kills, {entry['dead']} dead, {entry['retries']} retries"
    )
    for invariant, count in entry["objections"].items():
        screen.say(f"       {invariant}: {count} objections, such as {entry['examples'][invariant][0][:400]}")
    return entry
