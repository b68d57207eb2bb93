"""CI's verdict over pytest's JUnit files: every suite ran, no test failed, none was skipped that must run."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

# Skips that are as they should be on CI's machine, too: each needs something that no checkout has.
ALLOWED = re.compile(r"\boptional\b")


def main(paths: list[str]) -> int:
    """Print what each suite ran, and return 0 where all is well."""
    wrong: list[str] = []
    passed = failed = skipped = 0
    for path in map(Path, paths):
        if not path.is_file():
            wrong.append(f"{path.stem}: left no results")
            continue
        counts = {"passed": 0, "failed": 0, "skipped": 0}
        for case in ET.parse(path).iter("testcase"):  # noqa: S314 - pytest has just written it
            name = f"{case.get('classname')}::{case.get('name')}"
            skip = case.find("skipped")
            if case.find("failure") is not None or case.find("error") is not None:
                counts["failed"] += 1
                wrong.append(f"{path.stem}: {name} failed")
            elif skip is not None and skip.get("type") == "pytest.skip":
                counts["skipped"] += 1
                reason = skip.get("message", "")
                print(f"{path.stem}: {name} skipped: {reason}")
                if not ALLOWED.search(reason):
                    wrong.append(f"{path.stem}: {name} must run here: {reason}")
            else:
                counts["passed"] += 1
        if not counts["passed"]:
            wrong.append(f"{path.stem}: ran no test")
        print(f"{path.stem}: " + ", ".join(f"{count} {what}" for what, count in counts.items()))
        passed, failed, skipped = (
            passed + counts["passed"],
            failed + counts["failed"],
            skipped + counts["skipped"],
        )
    print("\n".join(["", *wrong, f"{passed} passed, {failed} failed, {skipped} skipped"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
