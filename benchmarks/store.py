"""The results' file: written after each section, so that a run which was cut short goes on where it stopped."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, Final

RESULTS: Final = Path("docs/performance.json")


class Store:
    """The results of one run, in a file."""

    def __init__(self, path: Path, run: dict[str, Any]) -> None:
        """Go on with the file's run if it was made by the same model on the same machine, else begin anew.

        Args:
            path: the file.
            run: what the run is of; ``key`` decides whether two are the same.
        """
        self.path = path
        self.content: dict[str, Any] = {"run": run, "sections": {}}
        if path.is_file():
            found = json.loads(path.read_bytes())
            if found.get("run", {}).get("key") == run["key"]:
                self.content = {"run": found["run"] | run, "sections": found["sections"]}

    def has(self, section: str) -> bool:
        """Whether a section is finished."""
        return section in self.content["sections"]

    def put(self, section: str, result: dict[str, Any]) -> None:
        """Add a finished section, and write the file whole."""
        self.content["sections"][section] = result | {
            "finished": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(self.path.name + ".part")
        part.write_text(json.dumps(self.content, indent=1, ensure_ascii=False) + "\n", "utf-8")
        part.replace(self.path)

    def get(self, section: str) -> dict[str, Any]:
        """Return a section's result; empty where it is not finished."""
        return dict(self.content["sections"].get(section, {}))
