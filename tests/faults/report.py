"""Writes docs/reliability.md from docs/reliability.json, and nothing into it by hand."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from tests.faults import record
from tests.faults.verdict import INVARIANTS

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

_HEAD: Final = """\
# Reliability: what was lost under faults

<!-- Made by `python -m tests.faults report` from reliability.json: change nothing here by hand. -->
"""


def run(options: argparse.Namespace) -> int:
    """Write the page, or say whether it is as it would be written."""
    if not options.results.exists():
        print(f"there are no results in {options.results}: `make faults` makes them", file=sys.stderr)
        return 1
    page = write(record.read(options.results))
    path: Path = options.results.with_suffix(".md")
    if options.check:
        same = path.exists() and path.read_text(encoding="utf-8") == page
        print(f"{path} is {'as it would be written' if same else 'not what its figures say'}")
        return 0 if same else 1
    path.write_text(page, encoding="utf-8")
    print(f"written: {path}")
    return 0


def write(found: dict[str, Any]) -> str:
    """Write the page of some results."""
    scenarios = found["scenarios"]
    soak = found.get("soak")
    parts = [_HEAD, _older(found), _summary(found), _table(scenarios)]
    parts += [_recovery(scenarios), _invariants(scenarios), _details(scenarios)]
    if soak:
        parts.append(_soak(soak))
    parts.append(_provenance(found))
    return "\n".join(part for part in parts if part).rstrip() + "\n"


def _older(found: dict[str, Any]) -> str:
    """Say that the figures are of an older tree, where somebody has noted in the file which; a new run drops that."""
    if not (tree := found.get("tree")):
        return ""
    return (
        f"**Measured on the tree up to commit {tree}: these figures say nothing about what was changed since, a new "
        "model among it.**\n"
    )


def _summary(found: dict[str, Any]) -> str:
    scenarios = found["scenarios"]
    passed = sum(one["passed"] for one in scenarios)
    forms = {one["form"] for one in scenarios}
    lines = [
        (
            f"**{found['documents']:,} documents, {found['kills']:,} workers killed in the middle of a window, "
            f"{found['broker_restarts']:,} broker restarts: {found['lost']:,} lost, "
            f"{found['duplicates']:,} duplicates.**"
        ),
        "",
        (
            f"{passed} of {len(scenarios)} scenarios passed, seed {found['seed']}. Real workers with the settings and "
            "the model that ship, on Apache Kafka; a verifier that shares no code with the product and reads with "
            "another client library. *Lost* counts (document, topic) pairs that are missing, *duplicates* results "
            "beyond the first of a document on a topic; all have the same `ce_id`, so a subscriber can drop them."
        ),
    ]
    if forms == {"short"}:
        lines += ["", "These are figures of the short form: each scenario once, its times scaled down."]
    if not found["one_digest"]:
        lines += ["", "**The rows do not share one digest of code and model: some are older than others.**"]
    return "\n".join(lines) + "\n"


def _table(scenarios: list[dict[str, Any]]) -> str:
    rows = [
        "| | scenario | documents | kills | broker restarts | lost | duplicates | passed |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    rows += [
        f"| {one['scenario']} | {one['title']} | {one['documents']:,} | {one['kills']:,} | {one['broker_restarts']} "
        f"| {one['lost']:,} | {one['duplicates']:,} | {'yes' if one['passed'] else '**no**'} |"
        for one in scenarios
    ]
    return "\n".join(rows) + "\n"


# What else a scenario does at a kill, so that the partitions cannot move as soon as elsewhere.
_SLOWER: Final = {
    "replay": "its one kill comes while the group takes thousands of replayed letters beside the live load",
    "restart-all": "after its kills all brokers are stopped for seconds and started again, and then all workers",
}


def _recovery(scenarios: list[dict[str, Any]]) -> str:
    killed = [one for one in scenarios if one["recovery_seconds"]["count"]]
    if not killed:
        return ""
    over: list[str] = []
    rows = [
        "## After a kill",
        "",
        (
            "From a kill to the next commit on each of the victim's partitions, in seconds; and how many documents "
            "came out again. The group gives a dead worker up when its session (10 s) runs out; what is published and "
            "not yet committed then is done again: at most window size x windows in flight."
        ),
        "",
        "| scenario | kills | p50 | p95 | longest | documents again per kill: mean | most | allowed |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for one in killed:
        times, again = one["recovery_seconds"], one["repeated_per_kill"]
        rows.append(
            f"| {one['name']} | {one['kills_in_all']} | {times['p50']} | {times['p95']} | {times['most']} "
            f"| {again['mean']} | {again['most']} | {again['allowed']} |"
        )
        if times["p95"] > record.RECOVERY_SECONDS:
            why = f": {_SLOWER[one['name']]}" if one["name"] in _SLOWER else ""
            over.append(
                f"- p95 of {one['name']} is over the {record.RECOVERY_SECONDS:g} s that are aimed at{why}."
            )
    return "\n".join([*rows, "", *over]).rstrip() + "\n"


def _invariants(scenarios: list[dict[str, Any]]) -> str:
    rows = ["## What is checked", "", "| | invariant | objections |", "|---|---|---:|"]
    for name, meaning in INVARIANTS.items():
        count = sum(one["objections"].get(name, 0) for one in scenarios)
        rows.append(f"| {name} | {meaning} | {count:,} |")
    return "\n".join(rows) + "\n"


def _details(scenarios: list[dict[str, Any]]) -> str:
    rows = ["## Scenario by scenario", ""]
    for one in scenarios:
        rows.append(f"### {one['scenario']}. {one['name']}\n")
        rows.append(one["title"][0].upper() + one["title"][1:] + ".\n")
        rows.append(f"- {_listed(one['faults'])}.")
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in one["dead_by_reason"].items())
        rows.append(
            f"- {one['documents']:,} documents ({one['share_with_entity']:.0%} of the load with an entity), "
            f"{one['results']:,} enriched records, {one['retries']:,} retries, {one['dead']:,} dead"
            f"{f' ({reasons})' if reasons else ''}, {one['commits']:,} commits."
        )
        rows.append(
            f"- {one['lost']:,} lost; {one['documents_repeated']:,} documents came out again, in {one['duplicates']:,} "
            f"duplicates."
        )
        rows.append(
            f"- At most {one['most_memory_mib']} MiB and {one['most_descriptors']} descriptors a worker; longest time "
            f"without a commit {one['longest_gap_between_commits_seconds']} s; {one['brokers']} broker"
            f"{'s' if one['brokers'] > 1 else ''}."
        )
        if one["stored_twice"]:
            rows.append(
                f"- {one['stored_twice']:,} documents stand twice on the input topic, stored twice by the load's own "
                "producer: each of the two must come out."
            )
        if one["figures"]:
            shown = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in one["figures"].items())
            rows.append(f"- {shown[0].upper()}{shown[1:]}.")
        if one["settings"]:
            shown = ", ".join(
                f"`{name}` {value}"
                for name, value in sorted(one["settings"].items())
                if "password" not in name
            )
            rows.append(f"- Other settings than shipped: {shown}.")
        for name, examples in one["examples"].items():
            rows.append(f"- **{name}, {one['objections'][name]:,} objections**: {examples[0][:300]}")
        rows.append("")
    return "\n".join(rows)


def _listed(faults: list[str]) -> str:
    """List faults, each once with its count."""
    counts: dict[str, int] = {}
    for fault in faults:
        counts[fault] = counts.get(fault, 0) + 1
    shown = "; ".join(f"{fault} (x {count})" if count > 1 else fault for fault, count in counts.items())
    return shown[:1].upper() + shown[1:]


def _soak(soak: dict[str, Any]) -> str:
    lengths = ", ".join(map(str, soak["words_of_a_document"]))
    rows = [
        "## Soak",
        "",
        (
            f"{soak['minutes']:g} minutes in {len(soak['pieces'])} pieces, {soak['documents']:,} documents of "
            f"{lengths} words in turn: {soak['lost']:,} lost, {soak['duplicates']:,} duplicates. Below, the most of a "
            "worker and of the lag, and their growth in an hour by least squares after a piece's first two minutes. "
            "Each piece begins with new workers, so that their first growth is in it (a worker past its first 100,000 "
            f"documents: [performance](performance.md)). The load waits while lag is {soak['backlog']:,}: where it "
            "came to that, others had the processor."
        ),
        "",
        "| piece | minutes | documents | memory of a worker, MiB | growth | descriptors | growth | lag | growth |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    whole = {**soak, "when": "all"}
    rows += [
        f"| {one['when'][:16].replace('T', ' ')} | {one['minutes']:g} | {one['documents']:,} "
        f"| {one['most_memory_mib']} | {one['memory_mib_per_hour']} | {one['most_descriptors']} "
        f"| {one['descriptors_per_hour']} | {one['most_lag']:,} | {one['lag_per_hour']} |"
        for one in [*soak["pieces"], whole]
    ]
    return "\n".join(rows) + "\n"


def _provenance(found: dict[str, Any]) -> str:
    rows = ["## Seen with", ""]
    scenarios = found["scenarios"]
    if scenarios:
        versions = scenarios[-1]["versions"]
        rows.append(", ".join(f"{name} {version}" for name, version in versions.items()) + ".\n")
    rows += ["| scenario | when | commit | digest of code and model |", "|---|---|---|---|"]
    rows += [
        f"| {one['name']} | {one['when'][:16].replace('T', ' ')} | {one['commit'][:10]} | `{one['digest'][7:23]}` |"
        for one in scenarios
    ]
    rows += [
        "",
        (
            "Run again: `make faults` (it goes on where it stopped), `make faults-short`, "
            "`python -m tests.faults soak --minutes 60`."
        ),
    ]
    return "\n".join(rows) + "\n"
