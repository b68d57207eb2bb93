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

from tests.faults import catalogue, lanes, record
from tests.faults.clusters import Clusters
from tests.faults.reference import Reference
from tests.faults.stage import Stage
from tests.support import kafka, toxiproxy

if TYPE_CHECKING:
    import argparse

    from tests.faults.catalogue import Scenario

SEED: Final = 20_261_124
_MISSING: Final = 3
_SHORT_RATE: Final = 100.0


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
    try:
        kafka.java()
        kafka.jars()
        toxiproxy.server()
        reference = Reference(options.seed, os.environ.get("FEWNERD_MODEL"))
        bundle = reference.tagger.info.digest
    except (kafka.KafkaUnavailable, toxiproxy.ToxiproxyUnavailable, OSError, ValueError) as error:
        print(f"the fault suite cannot run here: {error}", file=sys.stderr)
        return _MISSING
    screen = Screen()
    found = lanes.lanes(chosen)
    if options.short and len(found) > 1:
        reference.close()
        return lanes.run(options, found, lambda words: screen.console.print(words, markup=False))
    folder = Path(tempfile.mkdtemp(prefix="fewnerd-faults-"))
    screen.say(f"seed {options.seed}, model {bundle[:19]}, logs in {folder}")
    failed = ["all"]
    try:
        with Clusters(folder) as clusters, screen.bars:
            failed = _Run(options, clusters, reference, bundle, screen).play(chosen)
    finally:
        if options.keep or failed:
            screen.say(f"logs are kept in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    screen.say(f"{len(chosen) - len(failed)} of {len(chosen)} passed")
    if failed:
        screen.say(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


class _Run:
    """Plays scenarios, and keeps the file of results up to date."""

    def __init__(
        self,
        options: argparse.Namespace,
        clusters: Clusters,
        reference: Reference,
        bundle: str,
        screen: Screen,
    ) -> None:
        self._options, self._clusters, self._screen = options, clusters, screen
        self._reference, self._bundle = reference, bundle
        self._form = "short" if options.short else "long"
        self._path: Path = options.results or (record.SHORT if options.short else record.LONG)

    def play(self, chosen: list[Scenario]) -> list[str]:
        """Play them in turn; return the names of those that failed."""
        failed = []
        for one in chosen:
            if self._options.resume and self._has_passed(one):
                self._screen.say(f"{one.number}. {one.name}: has passed with this very code")
                continue
            try:
                entry = self._play(one)
            except Exception as error:  # noqa: BLE001 - the stage itself broke: the next one may hold
                self._screen.say("".join(traceback.format_exception(error)))
                self._clusters.end(one.kind)
                failed.append(one.name)
                continue
            self._put_away(entry)
            if not entry["passed"]:
                failed.append(one.name)
            if not self._options.short:
                self._clusters.end(one.kind)  # hundreds of thousands of documents lie there
        return failed

    def _has_passed(self, one: Scenario) -> bool:
        before = {each["name"]: each for each in record.read(self._path)["scenarios"]}.get(one.name)
        return (
            before is not None
            and before["passed"]
            and before["form"] == self._form
            and before["seed"] == self._options.seed
            and before["digest"] == record.digest(self._bundle)
        )

    def _put_away(self, entry: dict[str, Any]) -> None:
        # Read again: another run may have put its own away meanwhile.
        with record.alone(self._path):
            found = record.read(self._path)
            entries = {each["name"]: each for each in found["scenarios"]} | {entry["name"]: entry}
            known = [each for name, each in entries.items() if name in catalogue.SCENARIOS]
            record.write(self._path, known, self._options.seed, found.get("soak"))

    def _play(self, one: Scenario) -> dict[str, Any]:
        """Play a scenario and judge it; what goes wrong on the way counts as failed."""
        options, screen, reference = self._options, self._screen, self._reference
        screen.say(f"{one.number}. {one.name}: {one.title}")
        began = time.monotonic()
        when = datetime.now(UTC).isoformat(timespec="seconds")
        code = record.digest(self._bundle)
        bar = screen.bars.add_task(one.name, total=1)
        reference.close()
        with Stage(
            self._clusters,
            one.kind,
            one.name,
            reference,
            short=options.short,
            # The short form sends no faster than needed, or the reference would take longer than the faults.
            rate=options.rate or (_SHORT_RATE if options.short else 0),
            documents=options.documents or (one.few if options.short else one.documents),
            say=lambda words: screen.say(f"       {words}"),
            progress=lambda done, of: screen.bars.update(bar, completed=done, total=of),
            **(one.quick if options.short else one.settings),
        ) as stage:
            try:
                one.play(stage)
            except Exception as error:  # noqa: BLE001 - whatever it is, what there is can be judged
                stage.objections.append(("I7", f"not played to its end: {error!r}"))
                screen.say("".join(traceback.format_exception(error)))
                stage.cut_short()
            count = stage.expected.documents
            screen.bars.update(bar, description="reference", completed=0, total=max(1, count))
            reference.ensure(count, lambda done: screen.bars.advance(bar, done))
            screen.bars.update(bar, description="verifying", total=None)
            verdict = stage.verify()
            if record.digest(self._bundle) != code:
                verdict.object("I9", "the code was changed while the scenario ran")
            entry = record.entry(one, stage, verdict, bundle=self._bundle, when=when)
        screen.bars.remove_task(bar)
        self._tell(entry, time.monotonic() - began)
        return entry

    def _tell(self, entry: dict[str, Any], seconds: float) -> None:
        say = self._screen.say
        say(
            f"       {'passed' if entry['passed'] else 'FAILED'} in {seconds:.0f} s: "
            f"{entry['documents']:,} documents, {entry['lost']} lost, {entry['duplicates']} duplicates, "
            f"{entry['kills']} kills, {entry['dead']} dead, {entry['retries']} retries"
        )
        for invariant, count in entry["objections"].items():
            say(f"       {invariant}: {count} objections, such as {entry['examples'][invariant][0][:400]}")
