"""`tag`, `model` and `worker`: how the command line puts model and settings together."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

import agents.run
from agents import tagger as agents_tagger
from fewnerd_stream.contract.harmless import harmless
from fewnerd_stream.contract.taxonomy import LABELS
from fewnerd_stream.errors import BundleRefused, SettingsError
from fewnerd_stream.exits import Exit
from fewnerd_stream.settings import load_settings
from fewnerd_stream.terminal import painted
from model import bundle as bundles
from model import tagger as taggers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from click.testing import Result


@dataclass(frozen=True)
class Found:
    """An entity."""

    text: str
    start: int
    end: int
    coarse: str
    fine: str
    label: str
    score: float = 0.9
    coarse_score: float = 0.95


class FakeTagger:
    """Takes every Paris for a city."""

    closed = False

    def tag(self, texts: Sequence[str]) -> list[list[Found]]:
        """Find the first Paris of each text."""
        places = [text.find("Paris") for text in texts]
        return [
            [] if at < 0 else [Found("Paris", at, at + 5, "location", "GPE", "location-GPE")] for at in places
        ]

    def close(self) -> None:
        """Note it."""
        self.closed = True


@pytest.fixture
def tagger(monkeypatch: pytest.MonkeyPatch) -> FakeTagger:
    """Put a tagger without a model in the model's place."""
    fake = FakeTagger()
    monkeypatch.setattr(agents_tagger, "load_tagger", lambda _: fake)
    return fake


def test_tag_marks_entities_in_a_text(tagger: FakeTagger, run: Callable[..., Result]) -> None:
    """Without colours they stand in brackets with their label, and the tagger is closed."""
    result = run("tag", "She flew to Paris, twice.")
    assert result.stdout == "She flew to [Paris|location-GPE], twice.\n"
    assert tagger.closed


@pytest.mark.usefixtures("tagger")
def test_tag_reads_files_and_standard_input(run: Callable[..., Result], tmp_path: Path) -> None:
    """One text, one a line, or JSON lines by the file's name; the text field is a setting."""
    file = tmp_path / "a.txt"
    file.write_text("Oh\nParis\n\n", encoding="utf-8")
    assert run("tag", str(file)).stdout == "Oh\n[Paris|location-GPE]\n"
    found = [json.loads(line) for line in run("tag", str(file), "--lines", "--json").stdout.splitlines()]
    assert [(one["text"], len(one["entities"])) for one in found] == [("Oh", 0), ("Paris", 1)]
    lines = tmp_path / "a.jsonl"
    lines.write_text('{"id": "n-1", "body": "☕ Paris"}\n\n{"body": "x"}\n', encoding="utf-8")
    found = [
        json.loads(line)
        for line in run("tag", str(lines), "--json", "--text-field", "body").stdout.splitlines()
    ]
    assert found == [
        {
            "id": "n-1",
            "text": "☕ Paris",
            "entities": [
                {
                    "text": "Paris",
                    "start": 2,
                    "end": 7,
                    "coarse": "location",
                    "fine": "GPE",
                    "label": "location-GPE",
                    "score": 0.9,
                    "coarse_score": 0.95,
                }
            ],
        },
        {"text": "x", "entities": []},
    ]
    assert run("tag", "-", stdin="über Paris".encode()).stdout == "über [Paris|location-GPE]\n"


@pytest.mark.usefixtures("tagger")
@pytest.mark.parametrize(
    ("content", "name", "problem"),
    [
        (b"\xff", "a.txt", "not UTF-8: byte 0 is 0xff"),
        (b'{"text": "a"}\n{', "a.jsonl", "line 2"),
        (b'{"text": 5}', "a.jsonl", "no object with a string 'text'"),
        (b"[]", "a.ndjson", "no object with a string 'text'"),
        (None, "a.txt", "no such file"),
    ],
)
def test_tag_names_what_it_cannot_read(
    content: bytes | None, name: str, problem: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    """The file, the line and the reason, and exit code 1."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    result = run("tag", str(tmp_path / name))
    assert result.exit_code == Exit.FAILURE
    assert problem in result.stderr


@pytest.mark.usefixtures("tagger")
@pytest.mark.parametrize("text", ["Amazon.com", "a.txt is a file", "x" * 5000, "U.S."])
def test_tag_takes_what_is_no_file_for_a_text(text: str, run: Callable[..., Result]) -> None:
    """A word with a dot in it is not a missing file, and a long text is no name."""
    assert run("tag", text).stdout == f"{text}\n"


def test_colours_mark_an_entity_with_its_type_after_it() -> None:
    """The text reads on as it was; the fine type follows in the same colour, dim."""
    entity = Found("Paris", 3, 8, "location", "GPE", "location-GPE")
    text = painted("to Paris.", [entity], colours=True)
    assert text.plain == "to Paris GPE."
    assert [str(span.style) for span in text.spans] == ["bold green", "dim italic green"]


def test_a_document_cannot_steer_the_terminal() -> None:
    """Escape sequences and other control characters are shown, one for one, so that offsets still fit."""
    text = "a\x1b[31mb\x00\x9b\x7f\ud800\r\n\tc"
    shown = harmless(text, lines=True)
    assert shown == "a␛[31mb␀\ufffd␡\ufffd␍\n\tc"
    assert harmless(text) == "a␛[31mb␀\ufffd␡\ufffd␍␊␉c"
    assert len(shown) == len(text)


@dataclass(frozen=True)
class Bundle:
    """A bundle's labels."""

    folder: Path
    labels: tuple[str, ...]
    types: tuple[tuple[str, str], ...]


def _bundle(tmp_path: Path, categories: dict[str, str] | None = None, *labels: str) -> Bundle:
    (tmp_path / "config.json").write_text(json.dumps({"fewnerd": {"categories": categories or {}}}))
    names = labels or LABELS
    types = [(categories or {}).get(name, name.partition("-")[0]) for name in names]
    return Bundle(tmp_path, ("O", *names), (("", ""), *((coarse, "x") for coarse in types)))


def test_a_bundle_with_other_labels_is_refused_unless_they_are_mapped(tmp_path: Path) -> None:
    """The 66 pass; others pass with a category each; the message says what to write."""
    agents_tagger.check_labels(_bundle(tmp_path))
    agents_tagger.check_labels(_bundle(tmp_path, {"PER": "person"}, "PER"))
    with pytest.raises(BundleRefused, match=r'person-pope.*"categories": \{"person-pope": "<category>"\}'):
        agents_tagger.check_labels(_bundle(tmp_path, None, "person-pope"))
    with pytest.raises(BundleRefused, match="animal"):
        agents_tagger.check_labels(_bundle(tmp_path, {"CAT": "animal"}, "CAT"))
    many = [f"L{number}" for number in range(9)]
    with pytest.raises(BundleRefused, match="L4 and 4 more"):
        agents_tagger.check_labels(_bundle(tmp_path, None, *many))


def test_labels_and_thresholds_may_name_categories(tmp_path: Path) -> None:
    """A category stands for its labels; thresholds of labels and categories are passed on, if the bundle has them."""
    bundle = _bundle(tmp_path)
    persons = [label for label in LABELS if label.startswith("person-")]
    assert agents_tagger.chosen(bundle, None) is None
    assert agents_tagger.chosen(bundle, ("person", "location-GPE")) == ["location-GPE", *persons]
    assert agents_tagger.thresholds(bundle, 0.5) == 0.5
    found = agents_tagger.thresholds(bundle, {"person": 0.5, "person-actor": 0.9})
    assert found == {"person": 0.5, "person-actor": 0.9}
    only = _bundle(tmp_path, {"PER": "person"}, "PER")
    assert agents_tagger.thresholds(only, {"person": 0.5, "person-actor": 0.9, "art": 0.1}) == {"person": 0.5}
    with pytest.raises(ValueError, match="none of the labels"):
        agents_tagger.chosen(_bundle(tmp_path, {"PER": "person"}, "PER"), ("art",))


@pytest.mark.parametrize("name", ["FEWNERD_LABELS", "FEWNERD_THRESHOLDS"])
def test_names_are_checked_once_and_against_the_bundle(name: str, tmp_path: Path) -> None:
    """Labels of the bundle pass, whatever they are called, and categories; others are refused, with the nearest."""
    other = _bundle(tmp_path, {"PER": "person"}, "PER")
    agents_tagger.check_names(other, name, ["PER", "person", "art"])
    with pytest.raises(SettingsError, match=f"{name}: no label of the model and no category: person-actor"):
        agents_tagger.check_names(other, name, ["PER", "person-actor"])
    with pytest.raises(SettingsError, match=r"persons; did you mean person\?"):
        agents_tagger.check_names(_bundle(tmp_path), name, ["person", "persons"])
    load_settings(labels="PER", thresholds="PER=0.5")


def test_the_model_is_loaded_as_the_settings_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Path, threads, thresholds and labels reach the tagger."""
    seen: dict[str, Any] = {}

    def load(folder: str | None, **options: Any) -> FakeTagger:
        seen.update(options, folder=folder)
        return FakeTagger()

    monkeypatch.setattr(bundles, "open_bundle", lambda _: _bundle(tmp_path))
    monkeypatch.setattr(taggers.Tagger, "load", load)
    agents_tagger.load_tagger(load_settings(model="m", threads=3, thresholds="0.4", labels="art-film"))
    assert seen == {"folder": "m", "threads": 3, "thresholds": 0.4, "labels": ["art-film"]}


@pytest.mark.parametrize("command", [("tag", "x"), ("model", "info"), ("worker",)], ids=" ".join)
def test_a_bundle_that_cannot_be_used_is_exit_code_5(
    command: tuple[str, ...], run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line that names it, from whichever command."""
    monkeypatch.setattr(agents.run, "run_worker", lambda _, factory, __: factory())
    result = run(*command, "--model", str(tmp_path))
    assert result.exit_code == Exit.MODEL, result.output
    assert str(tmp_path) in result.stderr
    assert "Traceback" not in result.stderr


def test_a_worker_gets_settings_model_and_agents(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options win over the environment, and the worker's exit code is the command's."""
    seen: list[Any] = []

    def run_worker(*arguments: Any) -> int:
        seen.extend(arguments)
        return int(Exit.WATCHDOG)

    monkeypatch.setattr(agents.run, "run_worker", run_worker)
    monkeypatch.setattr("fewnerd_stream.telemetry.logs.setup_logging", lambda _: None)
    options = ("--window-size", "7", "--no-include-text", "--input-topics", "a,b")
    result = run("worker", *options, FEWNERD_GROUP="news", FEWNERD_WINDOW_SIZE="9")
    assert result.exit_code == Exit.WATCHDOG, result.output
    settings, _, add_agents = seen
    assert (settings.window_size, settings.group, settings.include_text) == (7, "news", False)
    assert settings.input_topics == ("a", "b")
    assert add_agents.__module__ == "agents.enrich"


def test_model_evaluate_names_a_file_that_it_cannot_use(run: Callable[..., Result], tmp_path: Path) -> None:
    """Before the model is loaded."""
    file = tmp_path / "a.jsonl"
    file.write_text('{"tokens": ["a"]}\n')
    result = run("model", "evaluate", str(file))
    assert result.exit_code == Exit.FAILURE
    assert "line 1" in result.stderr


def test_the_recipes_commands_are_passed_on(run: Callable[..., Result]) -> None:
    """Their help is the recipe's own; what it does not know is its usage error, exit code 2."""
    help_text = run("model", "recipe", "train", "--help")
    assert help_text.exit_code == 0, help_text.output
    assert "--teacher" in help_text.stdout
    assert "--plans" in run("model", "make", "--help").stdout
    assert "--held-out" in run("model", "recipe", "--help").stdout
    assert run("model", "recipe", "train", "--nonsense").exit_code == Exit.USAGE


def test_without_the_recipes_libraries_it_is_said_how_to_get_them(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instead of a module that was not found."""
    from model.recipe import cli as recipe

    def missing(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(recipe.main, "main", missing)
    result = run("model", "recipe", "train", "x")
    assert result.exit_code == Exit.FAILURE
    assert result.stderr == (
        "Error: the recipe is not installed: pip install 'fewnerd-stream[recipe]' (no module named torch)\n"
    )
