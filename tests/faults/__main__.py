"""``python -m tests.faults``: run scenarios, and write the report of what they showed.

Exit codes: 0 all passed; 1 some failed; 2 wrong usage; 3 something is missing here (Java, Maven, Go, a model).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.faults import record, report, runner, soak


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run scenarios, and write down what they showed")
    run.add_argument("--short", action="store_true", help="each once, times scaled down (under 10 minutes)")
    run.add_argument("--scenario", action="append", default=[], help="a number or a name; may be repeated")
    run.add_argument(
        "--resume", action="store_true", help="skip what has passed with this very code and model"
    )
    run.add_argument(
        "--documents", type=int, help="least documents in each chosen scenario, in place of its own"
    )
    run.add_argument(
        "--rate", type=float, default=0, help="documents a second, where the scenario leaves it open"
    )
    run.add_argument("--seed", type=int, default=runner.SEED)
    run.add_argument(
        "--results", type=Path, help="in place of docs/reliability.json or, --short, one in build/"
    )
    run.add_argument("--keep", action="store_true", help="keep brokers' and workers' logs")
    commands.add_parser("list", help="list the scenarios")
    write = commands.add_parser("report", help="write docs/reliability.md from docs/reliability.json")
    write.add_argument("--results", type=Path, default=record.LONG)
    write.add_argument(
        "--check", action="store_true", help="only say whether the page is as it would be written"
    )
    long = commands.add_parser("soak", help="run on for long, in pieces, and look at the slopes")
    long.add_argument("--minutes", type=float, required=True, help="in all; pieces of earlier calls count")
    long.add_argument("--piece", type=float, default=15, help="minutes after which a piece is put away")
    long.add_argument("--rate", type=float, default=200, help="words a second, times 20")
    long.add_argument("--seed", type=int, default=runner.SEED)
    long.add_argument("--results", type=Path, default=record.LONG)
    options = parser.parse_args(arguments)
    if options.command == "run":
        return runner.run(options)
    if options.command == "list":
        return runner.show()
    if options.command == "soak":
        return soak.run(options)
    return report.run(options)


if __name__ == "__main__":
    sys.exit(main())
