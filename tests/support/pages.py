"""Pages that are made, not written: ``make docs`` does, and tests hold them to the code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from agents.tagger import load_tagger
from fewnerd_stream.cli import contract
from fewnerd_stream.contract.documents import decode, encode
from fewnerd_stream.contract.envelope import source_of
from fewnerd_stream.contract.records import Record
from fewnerd_stream.settings import load_settings, settings_table

if TYPE_CHECKING:
    from collections.abc import Callable

DOCS = Path(__file__).parents[2] / "docs"
README = DOCS.parent / "README.md"
STARTED = DOCS / "getting-started.md"
_BLOCK = re.compile(r"^```text\n(An embedded broker .*?|DEMO OUTPUT\n)^```$", re.MULTILINE | re.DOTALL)
_EXAMPLE = re.compile(r"^```json\n.*?^```$", re.MULTILINE | re.DOTALL)
_TABLE = re.compile(r"^\| strict F1.*?\n(?=\n)", re.MULTILINE | re.DOTALL)
_TOLD = re.compile(r"n-(01|35|40) |↻|✗.* not-json ")
_TOLD_MORE = re.compile(
    r"n-(01|04|13|22|26|28|35|43|40|64) |↻|✗.* (not-json|tombstone|invalid-utf8|too-deep) "
)


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


def play() -> list[str]:
    """Play the demonstration, and give the lines that it prints into a file."""
    done = subprocess.run(
        [sys.executable, "-m", "fewnerd_stream", "demo"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    return [line.rstrip() for line in done.stdout.splitlines()]


def shortened(lines: list[str], told: re.Pattern[str], *, whole: bool) -> str:
    """Give a demonstration's first lines, the documents that are told, and how it ended; whole: with each topic."""
    table = next(number for number, line in enumerate(lines) if line.startswith("What went where"))
    shown = lines[:3]
    for line in lines[3 : table - 1]:
        if told.match(line):
            shown.append(line)
        elif shown[-1] != "...":
            shown.append("...")
    return "\n".join([*shown, "", *(lines[table:] if whole else lines[-1:])]) + "\n"


def example() -> str:
    """Write the message on the persons' topic that the shipped model makes of the example, laid out for reading."""
    settings = load_settings()
    value = b'{"id": "n-17", "text": "Angela Merkel flew to Paris.", "url": "https://example.org/17"}'
    record = Record(settings.input_topics[0], 3, 1042, 1764000000000, None, value)
    document = decode(value, settings)
    with closing(load_tagger(settings)) as tagger:
        (entities,) = tagger.tag([document.text])
        messages = encode(record, source_of(record, settings), document, entities, tagger.info, settings)
    (message,) = (
        json.loads(one.value or b"") for one in messages if one.topic == settings.topology.outputs["person"]
    )
    digest = message["model"]["digest"]
    message["model"]["digest"] = f"{digest[:15]}..."
    lines = []
    for name, value in message.items():
        written = json.dumps(value, ensure_ascii=False)
        if name == "entities":
            written = (
                "[\n" + ",\n".join(f"    {json.dumps(one, ensure_ascii=False)}" for one in value) + "\n  ]"
            )
        lines.append(f'  "{name}": {written}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def model_table() -> str:
    """Write the bundled model's main figures, from the evaluation that ships with it."""
    measured = json.loads((README.parent / "model" / "bundled" / "evaluation.json").read_bytes())
    lines = ["| strict F1, in percent | INT8 | FP32 |", "|---|---:|---:|"]
    for name, key in (("66 types", "fine"), ("8 categories", "coarse"), ("boundaries alone", "boundary")):
        figures = (f"{100 * measured[precision][key]['f1']:.2f}" for precision in ("int8", "fp32"))
        lines.append(f"| {name} | {' | '.join(figures)} |")
    return "\n".join(lines) + "\n"


def contract_pages() -> dict[str, Callable[[], str]]:
    """Give what writes the contract's documents, for the default settings."""
    names = {"asyncapi": "asyncapi.yaml", "enriched": "enriched.schema.json"}
    return {
        f"contract/{names.get(each, f'{each}.schema.json')}": partial(contract.written, each, load_settings())
        for each in contract.DOCUMENTS
    }


PAGES: dict[str, Callable[[], str]] = {"settings.md": settings_page, **contract_pages()}


def _replaced(place: re.Pattern[str], block: str, text: str) -> str:
    text, count = place.subn(lambda _: block, text)
    assert count == 1, place.pattern
    return text


def main() -> int:
    """Write them."""
    for name, make in PAGES.items():
        (DOCS / name).parent.mkdir(exist_ok=True)
        (DOCS / name).write_text(make(), encoding="utf-8")
    lines = play()
    readme, started = README.read_text(encoding="utf-8"), STARTED.read_text(encoding="utf-8")
    readme = _replaced(_BLOCK, f"```text\n{shortened(lines, _TOLD, whole=False)}```", readme)
    readme = _replaced(_TABLE, model_table(), readme)
    started = _replaced(_BLOCK, f"```text\n{shortened(lines, _TOLD_MORE, whole=True)}```", started)
    started = _replaced(_EXAMPLE, f"```json\n{example()}```", started)
    README.write_text(readme, encoding="utf-8")
    STARTED.write_text(started, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
