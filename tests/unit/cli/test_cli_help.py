"""Help and version: complete, with examples, and quick because nothing heavy is imported for them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from fewnerd_stream.cli import COMMANDS, cli
from fewnerd_stream.cli.model import _Passed
from fewnerd_stream.exits import MEANING, Exit
from tests.support.commands import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.testing import Result

_HEAVY = {
    "aiokafka",
    "faust",
    "numpy",
    "onnxruntime",
    "orjson",
    "pydantic",
    "rich",
    "tokenizers",
    "torch",
    "uvloop",
}


def _commands(
    group: click.Group = cli, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from _commands(command, (*path, name))


ALL = dict(_commands())
OURS = {path: command for path, command in ALL.items() if not isinstance(command, _Passed)}


def test_the_commands_are_all_there() -> None:
    """Every command that the README and the compose file may name."""
    assert {" ".join(path) for path in OURS} == {
        *COMMANDS,
        "topics create",
        "topics check",
        "dead list",
        "dead show",
        "dead replay",
        "feed rss",
        "feed sse",
        "feed http",
        "feed files",
        "feed lines",
        "model info",
        "model evaluate",
    }


def test_the_help_tables_the_exit_codes(run: Callable[..., Result]) -> None:
    """Each code stands there with its meaning."""
    result = run("--help")
    assert result.exit_code == 0
    for code in Exit:
        assert f"\n    {code.value}  {MEANING[code]}\n" in result.stdout


def test_the_help_lists_the_commands_as_they_describe_themselves(run: Callable[..., Result]) -> None:
    """A line for each, whole."""
    result = run("--help")
    width = max(map(len, COMMANDS)) + 2
    for name, (_, line) in COMMANDS.items():
        assert f"  {name:<{width}}{line}\n" in result.stdout


@pytest.mark.parametrize("path", OURS, ids=" ".join)
def test_every_command_has_examples_that_parse(path: tuple[str, ...], run: Callable[..., Result]) -> None:
    """Its help says what it does and shows how; each example is one that the command line takes."""
    result = run(*path, "--help")
    assert result.exit_code == 0, result.output
    _, _, examples = result.stdout.partition("\n  Examples:\n")
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    assert lines, f"{' '.join(path)} shows no examples"
    assert OURS[path].help
    for line in lines:
        assert "fewnerd-stream" in line
        for command in _example_commands(line):
            if path[:1] == ("model",) or "send" in command or "evaluate" in command or "--config" in command:
                continue  # their arguments are files that must exist, or the recipe's
            parse(command)


def _example_commands(line: str) -> Iterator[list[str]]:
    """Take a shell line apart into what is given to our command."""
    import shlex

    words: list[str] = []
    inside = False
    for word in [*shlex.split(line), "&&"]:
        if word == "fewnerd-stream":
            inside = True
        elif word in {"|", "||", "&&", ">"}:
            if inside:
                yield words
            words, inside = [], False
        elif inside:
            words.append(word)


def test_help_and_version_import_nothing_heavy() -> None:
    """Neither Kafka nor the model nor the settings are loaded to say what there is."""
    program = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from fewnerd_stream.cli import cli\n"
        "for option in ('--help', '--version'):\n"
        "    assert CliRunner().invoke(cli, [option]).exit_code == 0\n"
        f"print(sorted({_HEAVY!r} & set(sys.modules)))\n"
    )
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


def test_the_version_is_the_packages(run: Callable[..., Result]) -> None:
    """One line, name and version."""
    from fewnerd_stream import __version__

    assert run("--version").stdout == f"fewnerd-stream {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("--nonsense",), ("dead", "nonsense"), ("tail", "animal"), ("tail",)]
)
def test_wrong_usage_is_exit_code_2(arguments: tuple[str, ...], run: Callable[..., Result]) -> None:
    """What was wrong is said on standard error."""
    result = run(*arguments)
    assert result.exit_code == Exit.USAGE
    assert "Error: " in result.stderr
    assert result.stdout == ""


def test_options_of_a_command_are_the_settings(run: Callable[..., Result]) -> None:
    """A worker takes every setting but the passwords, with variable, default and meaning."""
    from fewnerd_stream.settings import settings_table

    shown = " ".join(run("worker", "--help").stdout.split())
    for row in settings_table():
        option = "--" + row.name.replace("_", "-")
        if "password" in row.name:
            assert option not in shown
        else:
            assert option in shown
            assert row.env in shown
