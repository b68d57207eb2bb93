"""What is kept of a run: one entry a scenario in a JSON file, each bound to the code and model that it saw."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import subprocess
from collections import Counter
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.faults.stage import longest_gap
from tests.support import kafka, toxiproxy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.faults.catalogue import Scenario
    from tests.faults.stage import Kill, Stage
    from tests.faults.verdict import Verdict

ROOT: Final = Path(__file__).parents[2]
LONG: Final = ROOT / "docs" / "reliability.json"
SHORT: Final = ROOT / "build" / "reliability-short.json"
RECOVERY_SECONDS: Final = 15.0
_SUMS: Final = ("documents", "kills", "broker_restarts", "lost", "duplicates")


def digest(bundle: str) -> str:
    """Give one digest of the product's code and the model's own digest."""
    found = hashlib.sha256(bundle.encode())
    for folder in ("fewnerd_stream", "agents"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            found.update(f"\0{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return "sha256:" + found.hexdigest()


def commit() -> str:
    """Give the commit that is checked out, with a sign where the code differs from it."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", "fewnerd_stream", "agents", "model", "tests/faults")
    return git("rev-parse", "HEAD") + ("+" if changed else "")


def versions() -> dict[str, str]:
    """Give the versions of what took part."""
    names = ("faust-streaming", "aiokafka", "confluent-kafka", "onnxruntime", "tokenizers")
    return {
        "kafka": kafka.version(),
        "toxiproxy": toxiproxy.VERSION,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in names},
    }


def recoveries(kills: Iterable[Kill], history: dict[tuple[str, int], list[Any]]) -> list[float]:
    """Give, for each kill and partition of the victim, the seconds to the next commit that moved it."""
    out = []
    for kill in kills:
        for part, offset in kill.committed.items():
            for one in history.get(part, ()):
                if one.timestamp > kill.at and (one.offset or 0) > max(0, offset):
                    out.append((one.timestamp - kill.at) / 1000)
                    break
    return out


def duplicates_by_kill(kills: list[Kill], verdict: Verdict) -> list[int]:
    """Give, for each kill, how many documents came out again up to the next kill."""
    found: list[set[tuple[int, int]]] = [set() for _ in kills]
    for one in verdict.duplicates:
        for index in range(len(kills) - 1, -1, -1):
            if one.timestamp >= kills[index].at:
                found[index].add((one.partition, one.offset))
                break
    return [len(documents) for documents in found]


def quantile(values: list[float], share: float) -> float | None:
    """Give the least value that so many of the values do not exceed; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 2)


def entry(scenario: Scenario, stage: Stage, verdict: Verdict, *, bundle: str, when: str) -> dict[str, Any]:
    """Sum a scenario up."""
    kills = stage.kills
    counted = [kill for kill in kills if kill.counts]
    times = recoveries(kills, verdict.history)
    per_kill = duplicates_by_kill(kills, verdict)
    documents = {(one.partition, one.offset) for one in verdict.duplicates}
    return {
        "scenario": scenario.number,
        "name": scenario.name,
        "title": scenario.title,
        "form": "short" if stage.short else "long",
        "passed": verdict.holds,
        "seed": stage.seed,
        "documents": verdict.documents,
        "stored_twice": verdict.stored_twice,
        "kills": len(counted),
        "kills_in_all": len(kills),
        "broker_restarts": stage.broker_restarts,
        "lost": verdict.lost,
        "duplicates": len(verdict.duplicates),
        "documents_repeated": len(documents),
        "repeated_per_kill": {
            "allowed": stage.at_work,
            "most": max(per_kill, default=None),
            "mean": round(sum(per_kill) / len(per_kill), 1) if per_kill else None,
        },
        "recovery_seconds": {
            "p50": quantile(times, 0.5),
            "p95": quantile(times, 0.95),
            "most": quantile(times, 1),
            "count": len(times),
        },
        "results": verdict.results,
        "retries": verdict.retries,
        "dead": verdict.dead,
        "dead_by_reason": dict(sorted(verdict.reasons.items())),
        "commits": verdict.commits,
        "longest_gap_between_commits_seconds": round(longest_gap(verdict.history, stage.names.input), 1),
        "most_memory_mib": round(stage.watch.most_memory),
        "most_descriptors": stage.watch.most_descriptors,
        "share_with_entity": round(stage.reference.share_with_entity(stage.expected.documents), 3),
        "objections": dict(sorted(verdict.objections.items())),
        "examples": {name: found for name, found in sorted(verdict.examples.items()) if found},
        "faults": stage.faults,
        "figures": stage.figures,
        "settings": stage.changed,
        "brokers": stage.cluster.brokers,
        "when": when,
        "commit": commit(),
        "digest": digest(bundle),
        "bundle": bundle,
        "versions": versions(),
    }


def read(path: Path) -> dict[str, Any]:
    """Read what was recorded so far."""
    if not path.exists():
        return {"scenarios": []}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Let no other process read and write a file of results meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def write(
    path: Path, entries: list[dict[str, Any]], seed: int, soak: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Write the entries with their sums; the file is whole or as it was."""
    sums: Counter[str] = Counter()
    for one in [*entries, *([soak] if soak else [])]:
        sums.update({name: one.get(name) or 0 for name in _SUMS})
    everything: dict[str, Any] = {
        **{name: sums[name] for name in _SUMS},
        "seed": seed,
        "passed": all(one["passed"] for one in entries),
        "one_digest": len({one["digest"] for one in entries}) <= 1,
        "digest": min((one["digest"] for one in entries), default=None),
        "scenarios": sorted(entries, key=lambda one: (one["scenario"], one["name"])),
    }
    if soak is not None:
        everything["soak"] = soak
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(everything, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)
    return everything
