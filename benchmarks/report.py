"""The page: ``docs/performance.md`` and its plots, from ``docs/performance.json`` and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from benchmarks import plots, reasons
from benchmarks.stats import Spread, show
from benchmarks.targets import rows as target_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

# Operators below this share of the graph's time are not listed.
_TOLD: Final = 0.001
_HEAD: Final = """# Performance

Made by `python -m benchmarks run` from `{source}`; nothing on this page is written by hand. Only ratios within a
run mean anything: machines of one kind differ twofold, and so does one machine from hour to hour. So contenders
take turns on the same texts (A B C, B C A, ...), a ratio is of two that ran right after each other, and each is
given as its median round with the least and the most in brackets.
"""


def write(results: Path) -> str:
    """Write the page and plots beside the results' file; return what was written, for the user."""
    content = json.loads(results.read_bytes())
    sections = content["sections"]
    folder = results.parent / "performance"
    made = plots.draw(sections, folder)
    page = results.with_suffix(".md")
    page.write_text(text(content, results.name, made), "utf-8")
    return f"{page} and {len(made)} plots in {folder}"


def text(content: Mapping[str, Any], source: str, plotted: Sequence[str]) -> str:
    """Return the page of some results."""
    run, sections = content["run"], content["sections"]
    parts = [_HEAD.format(source=source)]
    if tree := content.get("tree"):  # noted by hand where the code has changed since; a new run drops it
        parts.append(
            f"**Measured on the tree up to commit {tree}: these figures say nothing about what was changed since, a "
            "new model among it.**"
        )
    if run["short"]:
        parts.append("**A short run: it shows that everything runs. Its figures mean nothing.**")
    parts.append(
        "## Against the targets\n\n" + _table(("what", "target", "measured", "met"), target_rows(sections))
    )
    parts.append(reasons.text(sections))
    parts.append(_machine(run))
    writers = {
        "tagger": _tagger,
        "end_to_end": _end_to_end,
        "spark_nlp": _spark,
        "latency": _latency,
        "scale": _scale,
        "memory": _memory,
        "experiments": _experiments,
    }
    for name, writer in writers.items():
        if name in sections:
            parts.append(writer(sections[name], plotted))
    if "end_to_end" in sections:
        parts.append(_beyond(sections))
    return "\n\n".join(part.strip() for part in parts if part) + "\n"


def _machine(run: Mapping[str, Any]) -> str:
    machine = run["machine"]
    processor = machine["processor"]
    rows = [
        ("processor", f"{processor['name']}, {machine['cores']} cores, {machine['memory_mib']:,} MiB"),
        ("INT8 and vector flags", ", ".join(processor.get("telling_flags", []))),
        (
            "all flags",
            f"<details><summary>{len(processor.get('flags', []))}</summary>{' '.join(processor.get('flags', []))}</details>",
        ),
        ("caches", ", ".join(f"{name} {size}" for name, size in machine["caches"].items())),
        ("system", f"{machine['system']}, Python {machine['python']}, {machine['java'] or 'no Java'}"),
        ("versions", ", ".join(f"{name} {version}" for name, version in machine["versions"].items())),
        ("model", f"`{run['model']}`"),
        ("rounds", f"{run['rounds']} of {run['seconds_a_round']:g} s; `{run['command']}`"),
        (
            "others at work at the start",
            f"{run['load_at_start']} processes wanted a core, on average over a minute",
        ),
    ]
    return "## The machine\n\n" + _table(("", ""), rows)


def _tagger(section: Mapping[str, Any], plotted: Sequence[str]) -> str:
    parts = [
        "## 1. The tagger",
        "Texts are of this project's own writing, none given twice; everything from text to entities is counted, for "
        "the bare loops from text to scores. The pipelines and bare loops are given plain uncased piece ids, where the "
        "tagger folds letter case into them: that changes what they find, and not their time. The pipelines run at the "
        "batch size and thread count that were best on this machine for each kind of text.",
        _picture("tagger.svg", plotted, "pieces a second by contender"),
    ]
    for kind, result in section["kinds"].items():
        share = result["limit"]["share"]
        rows = []
        for name, each in sorted(
            result["contenders"].items(), key=lambda item: -item[1]["documents_per_second"]["median"]
        ):
            against = result["ratios"].get(name)
            rows.append(
                (
                    name,
                    _spread(against) if against else "1",
                    show(each["documents_per_second"]["median"]),
                    show(each["pieces_per_second"]["median"]),
                    f"{share[name]['median']:.0%}" if name in share else "",
                )
            )
        parts.append(
            f"### {kind.capitalize()}\n\n"
            + _table(
                ("", "the tagger is so many times as fast", "documents/s", "pieces/s", "of the limit"), rows
            )
            + f"\n\nThe arithmetic limit, a 512 x 384 x 1536 `MatMulInteger` in two threads: "
            f"{_spread(result['limit']['pieces_per_second'])} pieces/s."
        )
    tuning = {
        f"{kind}: {name}": _tried(tried)
        for kind, each in section.get("tuning", {}).items()
        for name, tried in each.items()
    }
    parts.append("What the pipelines were tried with, documents/s:\n\n" + _list(tuning.items()))
    parts.append(_skipped(section))
    return "\n\n".join(filter(None, parts))


def _tried(told: Mapping[str, Any]) -> str:
    if "tried" not in told:
        return "; ".join(f"{name}: {_tried(each)}" for name, each in told.items())
    return ", ".join(f"{name}: {show(rate)}" for name, rate in told["tried"].items())


def _end_to_end(section: Mapping[str, Any], plotted: Sequence[str]) -> str:
    parts = [
        "## 2. End to end through Apache Kafka",
        "Input preloaded, one broker on the same cores, `acks=all`, idempotent producer. Rates are by the outputs' own "
        "times, the first and the last 15 % left out. The consumers are what a user would write: aiokafka, a loop, `pipeline(batch)`, "
        "produce, commit.",
        _picture("end-to-end.svg", plotted, "documents a second through Kafka"),
    ]
    for kind, result in section["kinds"].items():
        rows = [
            (name, _spread(result["ratios"][name]) if name in result["ratios"] else "1", _spread(rate))
            for name, rate in result["documents_per_second"].items()
        ]
        parts.append(
            f"### {kind.capitalize()}\n\n" + _table(("", "worker against it", "documents/s"), rows) + "\n\n"
            f"Processor time a document: worker {_spread(result['worker_ms_per_document'])} ms, of which the tagger "
            f"alone would take {_spread(result['tagger_ms_per_document'])} ms; broker "
            f"{_spread(result['broker_ms_per_document'])} ms. "
            f"{show(result['records_per_document']['median'])} records come of a document."
        )
    parts.append(_skipped(section))
    return "\n\n".join(filter(None, parts))


def _spark(section: Mapping[str, Any], plotted: Sequence[str]) -> str:  # noqa: ARG001 - as the others
    parts = ["### Spark NLP on the same graph"]
    if "batch" not in section:
        return "\n\n".join([*parts, _skipped(section)])
    tuning = section["tuning"]
    parts.append(
        f"Spark {section['versions']['spark']}, Spark NLP {section['versions']['sparknlp']}, `local[2]`, at its best: "
        f"{tuning['threads']} threads a call, batch {tuning['batch']}, {tuning['partitions']} partitions. Tried, "
        f"documents/s: " + ", ".join(f"{name}: {show(rate)}" for name, rate in tuning["tried"].items()) + "."
    )
    rows = [
        (
            f"{name.removesuffix(', batch')}, batch",
            _spread(section["batch"]["ratios"][name]) if name in section["batch"]["ratios"] else "1",
            _spread(each["documents_per_second"]),
        )
        for name, each in section["batch"]["contenders"].items()
    ]
    stream = section["stream"]
    rows += [
        (
            f"{name}, from Kafka to Kafka",
            _spread(stream["ratios"][name]) if name in stream["ratios"] else "1",
            _spread(rate),
        )
        for name, rate in stream["documents_per_second"].items()
    ]
    parts.append(_table(("", "ours against it", "documents/s"), rows))
    agreement = section["agreement"]
    parts.append(
        f"On lower-cased sentences, since Spark NLP sends no letter case: {agreement['ours']:,} entities of ours, "
        f"{agreement['theirs']:,} of Spark NLP, {agreement['same']:,} the same in place and label "
        f"({agreement['f1']:.1%}), {agreement['same_place']:,} in place. They differ by how text is split into words, "
        "and by our decoding of whole entities."
    )
    return "\n\n".join(filter(None, [*parts, _skipped(section)]))


def _latency(section: Mapping[str, Any], plotted: Sequence[str]) -> str:
    rows = []
    for told in section["settings"]:
        settings = told["settings"]
        name = (
            "default"
            if "default" in settings
            else f"{settings['window_size']}, {1000 * settings['window_time']:g} ms"
        )
        rows.append((name, *(show(told[share]) for share in ("p50", "p95", "p99", "most"))))
    return "\n\n".join(
        filter(
            None,
            [
                "## 3. Latency",
                f"From the moment a sentence is handed to the producer until its last enriched message is read, in "
                f"milliseconds, at a steady {show(section['highest_documents_per_second'] / 2)} documents/s: half of the "
                "highest load. Producer, broker, worker and reader share the cores.",
                _picture("latency.svg", plotted, "latency by window"),
                _table(("window: documents, time", "p50", "p95", "p99", "most"), rows),
                _first(section),
            ],
        )
    )


def _first(section: Mapping[str, Any]) -> str:
    """Tell of the run on a fresh broker, which the table leaves out."""
    if "first" not in section:
        return ""
    told = ", ".join(f"{share} {show(section['first'][share])}" for share in ("p50", "p95", "p99", "most"))
    return f"Before these, the default once on the fresh broker, whose first minute of steady traffic has pauses: {told}."


def _scale(section: Mapping[str, Any], plotted: Sequence[str]) -> str:
    workers = section["workers"]
    rows = [
        (
            name,
            _spread(workers["against_one"][name]),
            _spread(workers["documents_per_second"][name]),
            _spread(workers["broker_ms_per_document"][name]),
        )
        for name in plots.by_workers(workers["documents_per_second"])
    ]
    parts = [
        "## 4. Scale",
        "Workers of one tagger thread on as many partitions. A worker's own loop and the broker take a core's share "
        "too: one worker already uses more than one core. Bound to a core each, it is like to like, but for the broker.",
        _picture("workers.svg", plotted, "documents a second by workers"),
        _table(("workers", "against one", "documents/s", "broker, ms a document"), rows),
        f"Four against two: {_spread(workers['four_against_two'])}.",
    ]
    for title, name in (("documents in a call", "number"), ("times a sentence's length", "length")):
        costs = section[name]
        costs_rows = [
            (f"{int(size):,}", _spread(costs["against_first"][size]), _spread(cost))
            for size, cost in costs["cpu_us_per_piece"].items()
        ]
        parts.append(_table((title, "cost of a piece against the first", "processor µs a piece"), costs_rows))
    cold = section["cold"]
    parts.append(
        f"Cold start: from nothing to the first entities {_spread(cold['tagger_seconds'])} s; a worker's first enriched "
        f"message {_spread(cold['worker_seconds'])} s after it was started."
    )
    return "\n\n".join(filter(None, parts))


def _memory(section: Mapping[str, Any], plotted: Sequence[str]) -> str:
    slope, error = section["mib_per_100_000_documents"], section.get("standard_error")
    grew = "too few documents to tell" if slope is None else f"{show(slope)} MiB for each 100,000"
    if error is not None:
        grew += f" (standard error {show(error)}, over means of tenths, since it goes up and down)"
    return "\n\n".join(
        filter(
            None,
            [
                "### Memory of a worker",
                _picture("memory.svg", plotted, "resident memory over documents"),
                f"At its defaults under the mix: {show(section['mib_after_ten_minutes'])} MiB after ten minutes, at most "
                f"{show(section['most_mib'])} MiB, over {section['documents']:,} documents; after the first 100,000 it grew "
                f"by {grew}.",
            ],
        )
    )


def _experiments(section: Mapping[str, Any], plotted: Sequence[str]) -> str:  # noqa: ARG001 - as the others
    shapes = list(section["graphs"])
    names = section["graphs"][shapes[0]]
    rows: list[Sequence[str]] = [
        (name, *(_spread(section["graphs"][shape][name]["against_tagger"]) for shape in shapes))
        for name in names
    ]
    stages = section["tagger"]
    parts = [
        "## 5. What was tried",
        "The speed of each against the tagger's own way (its fused graph, one thread a call), by processor time, on batches "
        "of rows x pieces. Below 1 is slower: those were not kept.",
        _table(("", *shapes), rows),
        _table(
            ("two threads, 16 x 32, wall time", "against the tagger's way"),
            [(name, _spread(each["against_tagger"])) for name, each in section["threads"].items()],
        ),
        "Pieces/s of one thread by batch: "
        + ", ".join(f"{s}: {show(r)}" for s, r in section["batches"].items())
        + ".",
        f"Of the tagger's {show(stages['us_per_piece'])} µs a piece, {stages['graph_share']:.0%} are spent inside the graph; "
        f"looking up words seen before takes {stages['tokenizing_known_words_share']:.1%}, and the rest is tokenizing new "
        "words, filling batches and decoding.",
        "Where the graph's time goes, by operator, 16 x 32 pieces: "
        + ", ".join(f"{name} {share:.1%}" for name, share in section["profile"].items() if share >= _TOLD)
        + ".",
        _telemetry(section),
        "Tried once, outside this run:\n\n" + _list(section["tried"]),
        _skipped(section),
    ]
    return "\n\n".join(filter(None, parts))


def _telemetry(section: Mapping[str, Any]) -> str:
    """Say what it costs to count; nothing for a run from before it was measured."""
    cost = section.get("telemetry")
    if cost is None:
        return ""
    return (
        f"Counting takes {cost['share']['median']:.2%} of the processor time that windows of sentences take, and a scrape of "
        f"`/metrics` {show(1000 * cost['scrape_seconds']['median'])} ms: with one a second {cost['total']:.2%} of a core, "
        f"where {cost['most']:.0%} is the most that it may be."
    )


def _beyond(sections: Mapping[str, Any]) -> str:
    from benchmarks.simulation import plan, simulate  # noqa: PLC0415

    result = sections["end_to_end"]["kinds"]["sentences"]
    worker_ms, broker_ms = (
        result["worker_ms_per_document"]["median"],
        result["broker_ms_per_document"]["median"],
    )
    records = result["records_per_document"]["median"]
    sizes = {"bytes_in": 300.0, "bytes_out": 1_300.0 * records}
    of = plan(10_000, worker_ms=worker_ms, broker_ms=broker_ms, **sizes)
    run = simulate(of, worker_ms=worker_ms)
    return (
        "## Beyond one machine: 10,000 documents/s\n\n"
        f"A sentence takes {show(worker_ms)} ms of a worker's core and {show(broker_ms)} ms of the broker's (measured "
        "above, one copy). Workers share nothing but the group, so their number is the load over what one core does: at "
        f"60 % of what they could, {of.workers} workers of one core on {of.partitions} partitions, two for each, so that a "
        f"dead worker's load is shared out; {of.brokers} brokers of 4 cores with three copies of each record, "
        f"{of.bytes_per_second / 2**20:,.0f} MiB/s between them before compression: about {of.cores:,.0f} cores in all. "
        "Partitions bound the workers, and their number cannot be lowered later: begin with the larger one.\n\n"
        "A simulation of that cluster with Poisson arrivals, in which one worker dies for good after a minute: work waits "
        f"{show(1000 * run.p50)} ms at the median and {show(run.p99)} s at the 99th percentile; the dead worker's partitions "
        f"wait the session's 10 s, and {show(run.recovered_after)} s after the death nothing is left over. The worker that is "
        f"given most has {show(run.imbalance)} times its share from then on."
    )


def _spread(told: Mapping[str, Any]) -> str:
    return str(Spread(told["least"], told["median"], told["most"], told["rounds"]))


def _picture(name: str, plotted: Sequence[str], alternative: str) -> str:
    return f"![{alternative}](performance/{name})" if name in plotted else ""


def _skipped(section: Mapping[str, Any]) -> str:
    return "\n".join(f"*Left out: {name}: {reason}*" for name, reason in section.get("skipped", {}).items())


def _list(items: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"- **{name}**: {said}" for name, said in items)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(str(cell).replace('|', '/') for cell in row)} |" for row in rows]
    return "\n".join(lines)
