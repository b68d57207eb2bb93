"""Pages of ``docs/`` that are made, not written: ``make docs`` does, and a test holds them to the code."""

from __future__ import annotations

import sys
from pathlib import Path

from fewnerd_stream.settings import settings_table

DOCS = Path(__file__).parents[2] / "docs"


def settings_page() -> str:
    """Write the table of all settings."""
    rows = []
    for row in settings_table():
        default = f"`{row.default}`" if row.default else ""
        rows.append(f"| `{row.env}` | {default} | {row.meaning.replace('<', '&lt;')} |")
    head = """# Settings

Each is an environment variable, a line in the TOML file (its name in lower case, without the prefix), and
an option of `fewnerd-stream worker` (passwords are not). `fewnerd-stream config` shows the values in force.
Times are in seconds, sizes in bytes. This page is made by `make docs`.

| variable | default | meaning |
|---|---|---|
"""
    return head + "\n".join(rows) + "\n"


PAGES = {"settings.md": settings_page}

if __name__ == "__main__":
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8")
    sys.exit(0)
