"""`config`, `health` and `topics`: what they print, for people and for programs."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from fewnerd_stream.exits import Exit
from fewnerd_stream.kafka import topics
from fewnerd_stream.kafka.topics import TopicProblem
from fewnerd_stream.settings import MASK, Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result


def test_config_tells_where_each_value_is_from(run: Callable[..., Result], tmp_path: Path) -> None:
    """The environment wins over the file, and that over the default; an empty variable is not set."""
    file = tmp_path / "settings.toml"
    file.write_text('window_size = 8\ngroup = "from-file"\n')
    result = run("--config", str(file), "config", "--json", FEWNERD_GROUP="news", FEWNERD_DRAIN="")
    rows = {row["name"]: row for row in json.loads(result.stdout)["settings"]}
    assert list(rows) == list(Settings.model_fields)
    assert (rows["group"]["value"], rows["group"]["source"]) == ("news", "environment")
    assert (rows["window_size"]["value"], rows["window_size"]["source"]) == ("8", "file")
    assert (rows["drain"]["value"], rows["drain"]["source"]) == ("10", "default")
    assert all(row["env"] == f"FEWNERD_{name.upper()}" and row["meaning"] for name, row in rows.items())


def test_config_never_shows_a_password(run: Callable[..., Result]) -> None:
    """Neither in the table nor in JSON."""
    secrets = {
        "FEWNERD_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "FEWNERD_SASL_MECHANISM": "PLAIN",
        "FEWNERD_SASL_USERNAME": "u",
        "FEWNERD_SASL_PASSWORD": "hunter2",
    }
    for arguments in (("config",), ("config", "--json")):
        result = run(*arguments, **secrets)
        assert result.exit_code == 0, result.output
        assert "hunter2" not in result.output
        assert MASK in result.output


def test_config_shows_every_setting_in_a_line(run: Callable[..., Result]) -> None:
    """Where nobody looks, a line is as long as it needs to be."""
    lines = run("config").stdout.splitlines()
    assert len(lines) == 1 + len(Settings.model_fields)
    assert "after the last a document is dead" in next(line for line in lines if "RETRY_DELAYS" in line)


def test_the_defaults_as_a_file_are_the_defaults(run: Callable[..., Result], tmp_path: Path) -> None:
    """The file that `config --defaults` writes can be read, changes nothing, and names every setting."""
    text = run("config", "--defaults").stdout
    file = tmp_path / "settings.toml"
    file.write_text(text)
    assert load_settings(config=file).describe() == load_settings().describe()
    for name in Settings.model_fields:
        assert f"\n{name} = " in text or f"\n# {name} =" in text


def test_health_is_a_line_and_an_exit_code(run: Callable[..., Result], tmp_path: Path) -> None:
    """0 for a worker that is well, 1 for one that is not, or none; JSON holds the worker's figures."""
    file = tmp_path / "health.json"
    result = run("health", "--health-file", str(file))
    assert (result.exit_code, result.stdout) == (Exit.FAILURE, f"not well: no worker writes {file}\n")
    figures = {"time": time.time(), "since": time.time(), "state": "running", "patience": 300, "in": 5}
    file.write_text(json.dumps(figures))
    result = run("health", FEWNERD_HEALTH_FILE=str(file))
    assert result.exit_code == Exit.OK
    assert result.stdout.startswith("well: running for 0.")
    result = run("health", "--json", "--health-file", str(file))
    assert json.loads(result.stdout)["worker"]["in"] == 5


def test_health_finds_the_file_of_a_worker_with_the_same_settings(run: Callable[..., Result]) -> None:
    """Group and instance id name the file where no path is given."""
    result = run("health", "--group", "g", "--instance-id", "i")
    assert str(load_settings(group="g", instance_id="i").health_file) in result.stdout
    assert str(os.getuid()) in result.stdout


def test_topics_create_says_what_it_made(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    """The options reach the settings; JSON says the same."""
    seen: list[Settings] = []

    async def create(settings: Settings) -> dict[str, bool]:
        seen.append(settings)
        return {"a": True, "b": False}

    monkeypatch.setattr(topics, "create_topics", create)
    result = run("topics", "create", "--partitions", "12", "--input-topics", "x,y")
    assert result.stdout == "created  a\nexists   b\n1 created, 1 existed\n"
    assert (seen[0].partitions, seen[0].input_topics) == (12, ("x", "y"))
    result = run("topics", "create", "--json")
    assert json.loads(result.stdout) == {
        "topics": [{"topic": "a", "created": True}, {"topic": "b", "created": False}]
    }


@pytest.mark.parametrize(
    ("problems", "code"),
    [
        ([], Exit.OK),
        ([TopicProblem("a", "warning", "a: hm")], Exit.OK),
        ([TopicProblem("a", "error", "a: [no]"), TopicProblem("b", "warning", "b: hm")], Exit.TOPICS),
    ],
)
def test_topics_check_names_what_is_wrong(
    problems: list[TopicProblem], code: Exit, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors are exit code 4, warnings are not; JSON holds both."""

    async def check(_: Settings) -> list[TopicProblem]:
        return problems

    monkeypatch.setattr(topics, "check_topics", check)
    result = run("topics", "check")
    assert result.exit_code == code
    for problem in problems:
        assert f"{problem.severity}: {problem.message}\n" in result.stdout
    as_json = run("topics", "check", "--json")
    assert as_json.exit_code == code
    assert [found["message"] for found in json.loads(as_json.stdout)["problems"]] == [
        problem.message for problem in problems
    ]
