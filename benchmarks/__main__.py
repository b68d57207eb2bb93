"""``python -m benchmarks run`` measures, ``python -m benchmarks report`` writes the page; see ``--help``."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import machine
from benchmarks.store import RESULTS, Store

if TYPE_CHECKING:
    from collections.abc import Sequence

SECTIONS: Final = ("tagger", "end_to_end", "spark_nlp", "latency", "scale", "experiments", "memory")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _parser().parse_args(arguments)
    if options.command == "report":
        return _report(options.results)
    from benchmarks.context import Context  # noqa: PLC0415 - the page needs no model

    context = Context(
        model=options.model,
        short=options.short,
        rounds=options.rounds,
        seconds=options.seconds,
        data=options.data,
    )
    chosen = options.only or list(SECTIONS)
    store = Store(options.results, _run(context.bundle.info.digest, options))
    failed: list[str] = []
    for name in chosen:
        if store.has(name) and not options.again:
            context.say(f"{name}: done already; --again measures it anew")
            continue
        context.say(f"{name}: begins, {machine.load()} processes want a core")
        start = time.perf_counter()
        module = importlib.import_module(f"benchmarks.{name}")
        try:
            result: dict[str, Any] = module.run(context)
        except Exception:  # noqa: BLE001 - an hour's other sections are not to be lost for it
            traceback.print_exc()
            failed.append(name)
            continue
        store.put(name, result | {"seconds": round(time.perf_counter() - start, 1)})
        context.say(f"{name}: done in {time.perf_counter() - start:.0f} s")
    if failed:
        print(f"failed: {', '.join(failed)}; a further run goes on with them", file=sys.stderr)
    return _report(options.results) or bool(failed)


def _run(digest: str, options: argparse.Namespace) -> dict[str, Any]:
    described = machine.describe()
    telling = [described["processor"].get("name"), described["cores"], described["versions"]]
    return {
        "key": f"{digest} {telling} short={options.short}",
        "short": options.short,
        "model": digest,
        "machine": described,
        "rounds": options.rounds,
        "seconds_a_round": options.seconds,
        "load_at_start": machine.load(),
        "command": _command(options),
    }


def _command(options: argparse.Namespace) -> str:
    """Write the command that measures all this, without the places of files on this machine."""
    words = ["python -m benchmarks run", f"--rounds {options.rounds} --seconds {options.seconds:g}"]
    words += ["--short"] if options.short else []
    words += [f"--{name} {path.name}" for name in ("model", "data") if (path := getattr(options, name))]
    return " ".join(words)


def _report(results: Path) -> int:
    from benchmarks.report import write  # noqa: PLC0415 - it draws, which takes a second to load

    if not results.is_file():
        print(f"{results}: no results yet; `python -m benchmarks run` makes them", file=sys.stderr)
        return 1
    print(write(results))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="measure, and write the results and the page")
    run.add_argument(
        "--short", action="store_true", help="tiny sizes: shows that everything runs, measures nothing"
    )
    run.add_argument("--only", type=_sections, help=f"sections, commas between: {','.join(SECTIONS)}")
    run.add_argument("--again", action="store_true", help="measure sections anew that are done already")
    run.add_argument("--model", type=Path, help="a bundle's folder; the one that ships if not given")
    run.add_argument("--data", type=Path, help="labelled sentences to measure the tagger on as well")
    run.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: 5)")
    run.add_argument("--seconds", type=float, default=4.0, help="per contender and round (default: 4)")
    report = commands.add_parser("report", help="write the page and plots again from the results")
    for command in (run, report):
        command.add_argument("--results", type=Path, default=RESULTS, help=f"default: {RESULTS}")
    return parser


def _sections(text: str) -> list[str]:
    names = text.split(",")
    unknown = set(names) - set(SECTIONS)
    if unknown:
        raise argparse.ArgumentTypeError(
            f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}"
        )
    return names


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    sys.exit(main())
