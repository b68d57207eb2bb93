"""The README and the pages of docs/ say what is the case: commands, variables, links, formats, examples."""

from __future__ import annotations

import doctest
import json
import re
import shlex
from typing import TYPE_CHECKING

import jsonschema
import pytest

from fewnerd_stream.contract import documents, envelope
from fewnerd_stream.errors import Reason
from fewnerd_stream.exits import Exit
from fewnerd_stream.settings import Settings
from tests.support.commands import parse
from tests.support.pages import DOCS, PAGES, example, model_table

if TYPE_CHECKING:
    from pathlib import Path

ROOT = DOCS.parent
TEXTS = {
    path.name: path.read_text(encoding="utf-8") for path in [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
}
LINKING = [
    *sorted(ROOT.glob("*.md")),
    *sorted(DOCS.glob("*.md")),
    ROOT / "client" / "README.md",
    ROOT / "model" / "bundled" / "MODEL_CARD.md",
]
FIRST = ("README.md", "getting-started.md")
NO_SETTINGS = {"FEWNERD_CONFIG", "FEWNERD_DEBUG"}


def _fenced(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def _commands(text: str) -> list[str]:
    """Find commands of ours: those in shell blocks, one for each part of a pipe, and those in the text."""
    lines = [line.partition("#")[0] for block in _fenced(text, "bash") for line in block.splitlines()]
    inline = re.findall(
        r"`(fewnerd-stream [^`]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    )
    parts = [part.strip() for line in [*lines, *inline] for part in re.split(r"\||&&", line)]
    return [" ".join(part.split()) for part in parts if part.startswith("fewnerd-stream ")]


def _table(text: str, first: str) -> list[str]:
    """Give the first column of the table whose head begins so, without backquotes."""
    rows = text[text.index(f"| {first} |") :].split("\n\n", maxsplit=1)[0].splitlines()[2:]
    return [row.split("|")[1].strip().strip("`") for row in rows]


@pytest.mark.parametrize(("name", "command"), [(n, c) for n, t in TEXTS.items() for c in _commands(t)])
def test_its_commands_exist(name: str, command: str) -> None:
    """Whatever a page tells one to type is taken by the command line, options too."""
    arguments = ["README.md" if word == "FILE" else word for word in shlex.split(command)[1:]]
    assert parse(arguments), name


def test_the_first_pages_tell_the_main_commands() -> None:
    """The README and what it leads to first name the commands that a newcomer needs."""
    told = {command.split()[1] for name in FIRST for command in _commands(TEXTS[name])}
    assert told >= {"topics", "worker", "send", "tail", "status", "tag", "dead", "health", "config"}


@pytest.mark.parametrize("name", TEXTS)
def test_its_variables_exist(name: str) -> None:
    """Every variable that a page names is a setting's."""
    known = {f"FEWNERD_{field.upper()}" for field in Settings.model_fields} | NO_SETTINGS
    assert set(re.findall(r"FEWNERD_[A-Z_]+", TEXTS[name])) <= known


def _without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))


def _anchors(path: Path) -> set[str]:
    """Give what a link may name in a page: its headings, as GitHub spells them."""
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", LINKING, ids=lambda path: str(path.relative_to(ROOT)))
def test_its_links_lead_somewhere(path: Path) -> None:
    """Every link or picture that is not on the web leads to a file of ours, and to a heading that it has."""
    links = re.findall(r"\]\(([^)\s]+)\)", _without_code(path.read_text(encoding="utf-8")))
    for target in links:
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        led = path.parent / name if name else path
        assert led.exists(), target
        assert not anchor or anchor in _anchors(led), target


@pytest.mark.parametrize("name", TEXTS)
def test_the_files_that_it_names_exist(name: str) -> None:
    """A file or folder of the code that a page names is there, from the root or from the core's folder."""
    rooms = {
        path.name for folder in (ROOT, ROOT / "fewnerd_stream") for path in folder.iterdir() if path.is_dir()
    }
    for named in re.findall(r"`([\w-]+/[\w./-]*)`", TEXTS[name]):
        if named.partition("/")[0] in rooms:
            assert (ROOT / named).exists() or (ROOT / "fewnerd_stream" / named).exists(), named


@pytest.mark.parametrize("name", sorted({path.name for path in DOCS.glob("*.md")} - {"README.md"}))
def test_every_page_is_led_to(name: str) -> None:
    """Whatever page there is, the README leads to it."""
    assert f"](docs/{name})" in TEXTS["README.md"]


@pytest.mark.parametrize("name", TEXTS)
def test_its_make_targets_exist(name: str) -> None:
    """Every `make` that a page names is a target."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shell = "\n".join(_fenced(TEXTS[name], "bash"))
    named = re.findall(r"`make ([a-z-]+)`", TEXTS[name]) + re.findall(r"^make ([a-z-]+)", shell, re.MULTILINE)
    assert set(named) <= targets


@pytest.mark.parametrize("name", PAGES)
def test_pages_that_are_made_are_up_to_date(name: str) -> None:
    """A page that is made from the code is as the code makes it now: else run `make docs`."""
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name]()


def test_the_example_of_a_message_is_one() -> None:
    """The enriched message that is shown is valid, and what the shipped model says: else run `make docs`."""
    (block,) = _fenced(TEXTS["getting-started.md"], "json")
    message, made = json.loads(block), json.loads(example())
    jsonschema.validate(message, documents.SCHEMA)
    for told, found in zip(message["entities"], made["entities"], strict=True):
        for score in ("score", "coarse_score"):  # whose last digits differ from processor to processor
            assert told.pop(score) == pytest.approx(found.pop(score), abs=0.03)
        assert message["document"]["text"][told["start"] : told["end"]] == told["text"]
    assert message == made


def test_the_contract_names_every_reason() -> None:
    """The table of reasons is the closed list of the code."""
    assert _table(TEXTS["contract.md"], "`__fewnerd.reason` | the document") == [
        str(reason) for reason in Reason
    ]


def test_the_contract_names_every_header() -> None:
    """Every header that is ours to write stands in the contract, and no other does."""
    text = TEXTS["contract.md"]
    constants = {value for name, value in vars(envelope).items() if name.isupper() and isinstance(value, str)}
    ours = {value for value in constants if value.startswith("__fewnerd.") and not value.endswith(".")}
    for name in ours:
        assert f"`{name}`" in text or f"`.{name.removeprefix('__fewnerd.')}`" in text, name
    for name in re.findall(r"header `([a-z_-]+)`", text):
        assert name in documents.TAKEN, name


def test_the_exit_codes_are_tabled() -> None:
    """The operator's table has each exit code once, in order."""
    assert _table(TEXTS["operations.md"], "code") == [str(code.value) for code in Exit]


def test_the_python_examples_run() -> None:
    """The Python of the first steps prints what they say it prints."""
    name = "getting-started.md"
    (block,) = _fenced(TEXTS[name], "python")
    example = doctest.DocTestParser().get_doctest(block, {}, name, name, 0)
    assert doctest.DocTestRunner(verbose=False).run(example).failed == 0


def test_the_models_figures_are_those_of_its_evaluation() -> None:
    """The README's figures are those that ship with the model."""
    assert f"\n{model_table()}\n" in TEXTS["README.md"]


@pytest.mark.parametrize("name", FIRST)
def test_the_demonstration_printed_is_one_that_went_well(name: str) -> None:
    """The output that is shown is of a run in which nothing was lost."""
    (block,) = _fenced(TEXTS[name], "text")
    last = block.strip().splitlines()[-1]
    assert re.fullmatch(
        r"78 inputs: \d+ with entities, \d+ without, 11 dead letters, 0 lost, 0 duplicates; 78 committed",
        last,
    )


def test_the_readme_is_short() -> None:
    """The README's part of the demonstration fits on a screen, and so does each of its other parts."""
    (block,) = _fenced(TEXTS["README.md"], "text")
    assert len(block.splitlines()) <= 20
    assert len(TEXTS["README.md"].splitlines()) <= 110
