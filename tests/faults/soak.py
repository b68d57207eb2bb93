"""The soak: an hour or more of load of varying length, in pieces, and the slopes of what should not grow.

Each piece is a run of its own, on new brokers, verified like any scenario, with workers that live through all of
it; its samples are put away when it ends, so that a soak that was cut short goes on with the next piece.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tests.faults import load, record
from tests.faults.clusters import Clusters
from tests.faults.reference import Reference, cache_folder
from tests.faults.runner import Screen
from tests.faults.stage import Stage

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from tests.faults.reference import Tagged
    from tests.support.clients import New

LENGTHS: Final = (20, 60, 250, 20, 1000, 40)
"""Words of a document, changing every so many seconds."""

PHASE_SECONDS: Final = 50.0
BACKLOG: Final = 2_000
"""Lag at which the load waits for the workers."""

_TEXTS: Final = 200
_WARM_SECONDS: Final = 120.0
_LEAST_SAMPLES: Final = 20


class Lengthy:
    """Documents of each length: few texts, tagged once, in numbered records without end."""

    def __init__(self, reference: Reference) -> None:
        """Make the texts and tag them."""
        self._seed = reference.seed
        self._texts: dict[int, list[str]] = {}
        self._tagged: dict[int, list[Tagged]] = {}
        for length in sorted(set(LENGTHS)):
            self._texts[length] = [_text(self._seed, length, index) for index in range(_TEXTS)]
            self._tagged[length] = reference.tag(self._texts[length])
        self.sent: list[str | Tagged] = []

    def records(self, words: float) -> Iterator[tuple[int, New]]:
        """Give records at no more than so many words a second, their length changing with the time."""
        began, given = time.monotonic(), 0.0
        while True:
            passed = time.monotonic() - began
            if given > words * (passed + 1):
                time.sleep(min(0.2, given / words - passed))
                continue
            length = LENGTHS[int(passed / PHASE_SECONDS) % len(LENGTHS)]
            number = load.SPECIAL + len(self.sent)
            index = len(self.sent) % _TEXTS
            value = json.dumps({"id": f"s-{number}", "text": self._texts[length][index]}, ensure_ascii=False)
            self.sent.append(self._tagged[length][index])
            given += length
            yield number, load.record(self._seed, number, value.encode())


def _text(seed: int, length: int, index: int) -> str:
    chance = random.Random(f"{seed}/soak/{length}/{index}")
    parts: list[str] = []
    words = 0
    while words < length:
        parts.append(load.text(seed, chance.randrange(10**9)))
        words += len(parts[-1].split())
    return " ".join(" ".join(parts).split()[:length])


def slope(times: list[float], values: list[float]) -> float | None:
    """Give the growth in an hour, by least squares; None of too little."""
    if len(times) < _LEAST_SAMPLES or times[-1] - times[0] < 1:
        return None
    return float(np.polyfit(np.array(times) - times[0], values, 1)[0] * 3600)


def run(options: argparse.Namespace) -> int:
    """Run pieces until the soak has so many minutes; see ``python -m tests.faults soak --help``."""
    screen = Screen()
    reference = Reference(options.seed, os.environ.get("FEWNERD_MODEL"))
    bundle = reference.tagger.info.digest
    now = record.digest(bundle)
    folder = cache_folder() / f"soak-{now[-16:]}"
    folder.mkdir(parents=True, exist_ok=True)
    documents = Lengthy(reference)
    reference.close()
    while (done := sum(piece["minutes"] for piece in _pieces(folder))) < options.minutes:
        minutes = min(options.piece, options.minutes - done)
        screen.say(f"{done:.0f} of {options.minutes:g} minutes are there; the next {minutes:g}")
        _piece(folder, documents, reference, screen, minutes=minutes, words=options.rate * 20)
    soak = _sum(_pieces(folder), bundle, options.seed)
    with record.alone(options.results):
        found = record.read(options.results)
        record.write(options.results, found["scenarios"], options.seed, soak)
    screen.say(
        f"{soak['minutes']:.0f} minutes, {soak['documents']:,} documents, {soak['lost']} lost: "
        f"memory {soak['memory_mib_per_hour']} MiB/h, descriptors {soak['descriptors_per_hour']}/h, "
        f"lag {soak['lag_per_hour']}/h; written to {options.results}"
    )
    if not soak["passed"]:
        print(f"the soak has objections: {soak['objections']}", file=sys.stderr)
    return 0 if soak["passed"] else 1


def _pieces(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("piece-*.json"))]


def _piece(
    folder: Path, documents: Lengthy, reference: Reference, screen: Screen, *, minutes: float, words: float
) -> None:
    """Run one piece, and put it away."""
    logs = Path(tempfile.mkdtemp(prefix="fewnerd-soak-"))
    documents.sent.clear()
    bar = screen.bars.add_task("soak", total=minutes * 60)
    with (
        screen.bars,
        Clusters(logs) as clusters,
        Stage(
            clusters,
            "one",
            "soak",
            reference,
            short=False,
            documents=0,
            say=lambda said: screen.say(f"  {said}"),
        ) as stage,
    ):
        stage.mix(documents.records(words))
        stage.start(2)
        began = time.time()
        stage.loader.start(backlog=BACKLOG)
        while time.time() - began < minutes * 60:
            screen.bars.update(bar, completed=time.time() - began)
            stage.sleep(1)
        stage.expected.specials = documents.sent
        stage.most_duplicates = 0
        ended = time.time()
        stage.loader.stop()
        # One that was made but not sent is nobody's.
        del documents.sent[stage.loader.specials :]
        stage.settle()
        verdict = stage.verify()
        samples: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for one in stage.watch.samples:
            if began + _WARM_SECONDS <= one.at <= ended:
                for name, value in (
                    ("memory", one.memory),
                    ("descriptors", one.descriptors),
                    ("lag", one.lag),
                ):
                    samples[one.worker][name].append(value)
                samples[one.worker]["at"].append(one.at)
        piece = {
            "when": datetime.fromtimestamp(began, UTC).isoformat(timespec="seconds"),
            "minutes": round((ended - began) / 60, 2),
            "documents": verdict.documents,
            "lost": verdict.lost,
            "duplicates": len(verdict.duplicates),
            "objections": dict(verdict.objections),
            "examples": dict(verdict.examples),
            "most_memory_mib": round(stage.watch.most_memory),
            "most_descriptors": stage.watch.most_descriptors,
            "most_lag": max((one.lag for one in stage.watch.samples if one.at <= ended), default=0),
            "slopes": [
                {name: slope(found["at"], found[name]) for name in ("memory", "descriptors", "lag")}
                for found in samples.values()
            ],
        }
    screen.bars.remove_task(bar)
    path = folder / f"piece-{int(began)}.json"
    path.write_text(json.dumps(piece, indent=1))
    if verdict.holds:
        shutil.rmtree(logs, ignore_errors=True)
    screen.say(
        f"  {verdict.documents:,} documents, {verdict.lost} lost, objections: {dict(verdict.examples)}"
    )


def _sum(pieces: list[dict[str, Any]], bundle: str, seed: int) -> dict[str, Any]:
    """Put the pieces together: sums, the most of each, and the mean slope of all workers of all pieces."""
    objections: dict[str, int] = {}
    for piece in pieces:
        for name, count in piece["objections"].items():
            objections[name] = objections.get(name, 0) + count

    def mean(name: str, some: list[dict[str, Any]]) -> float | None:
        known = [one[name] for piece in some for one in piece["slopes"] if one[name] is not None]
        return round(sum(known) / len(known), 2) if known else None

    def growth(some: list[dict[str, Any]]) -> dict[str, float | None]:
        return {
            "memory_mib_per_hour": mean("memory", some),
            "descriptors_per_hour": mean("descriptors", some),
            "lag_per_hour": mean("lag", some),
        }

    told = ("when", "minutes", "documents", "lost", "most_memory_mib", "most_descriptors", "most_lag")

    return {
        "minutes": round(sum(piece["minutes"] for piece in pieces), 1),
        "pieces": [{name: piece[name] for name in told} | growth([piece]) for piece in pieces],
        "passed": not objections,
        "seed": seed,
        "documents": sum(piece["documents"] for piece in pieces),
        "lost": sum(piece["lost"] for piece in pieces),
        "duplicates": sum(piece["duplicates"] for piece in pieces),
        "objections": objections,
        "words_of_a_document": list(LENGTHS),
        "most_memory_mib": max((piece["most_memory_mib"] for piece in pieces), default=0),
        "most_descriptors": max((piece["most_descriptors"] for piece in pieces), default=0),
        "most_lag": max((piece["most_lag"] for piece in pieces), default=0),
        **growth(pieces),
        "backlog": BACKLOG,
        "commit": record.commit(),
        "digest": record.digest(bundle),
        "bundle": bundle,
        "versions": record.versions(),
    }
