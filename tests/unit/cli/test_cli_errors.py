"""Errors: one line, the right exit code, and no traceback unless it is asked for."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner

from fewnerd_stream.cli import _group
from fewnerd_stream.cli._group import LazyGroup, Session
from fewnerd_stream.errors import BrokerError, BundleRefused, FewnerdError, SettingsError, TopicsError
from fewnerd_stream.exits import Exit
from fewnerd_stream.kafka import clients

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from click.testing import Result

BROKER_COMMANDS = [
    ("topics", "create"),
    ("topics", "check"),
    ("send", "-"),
    ("tail", "person"),
    ("status",),
    ("dead", "list"),
    ("dead", "show", "0:1"),
    ("dead", "replay"),
]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SettingsError("wrong"), Exit.USAGE),
        (BrokerError("wrong"), Exit.BROKER),
        (TopicsError("wrong"), Exit.TOPICS),
        (BundleRefused("wrong"), Exit.MODEL),
        (FewnerdError("wrong"), Exit.FAILURE),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error: Exception, code: Exit) -> None:
    """The message is all that is printed."""
    result = _raise(error, Session())
    assert (result.exit_code, result.stderr, result.stdout) == (code, "Error: wrong\n", "")


def test_a_fault_of_the_program_is_called_that() -> None:
    """It names what was raised, and says how to see where."""
    result = _raise(KeyError("x"), Session())
    assert result.exit_code == Exit.FAILURE
    assert result.stderr == "Error: a fault of this program: KeyError: 'x'\nFEWNERD_DEBUG=1 shows where\n"


@pytest.mark.parametrize("error", [SettingsError("wrong"), KeyError("x")])
def test_debugging_shows_the_traceback(error: Exception) -> None:
    """The error itself comes out."""
    assert _raise(error, Session(debug=True)).exception is error


def _raise(error: Exception, session: Session) -> Result:
    group = LazyGroup("group", callback=lambda: None)

    @group.command()
    def fail() -> None:
        raise error

    return CliRunner().invoke(group, ["fail"], obj=session)


def test_debugging_is_switched_on_by_its_variable(run: Callable[..., Result]) -> None:
    """FEWNERD_DEBUG is no setting, and not taken for one that is spelled wrong."""
    result = run("config", "--json", FEWNERD_DEBUG="1")
    assert result.exit_code == 0, result.output
    result = run("config", FEWNERD_DEBUG="1", FEWNERD_PARTITIONS="x")
    assert isinstance(result.exception, SettingsError)
    assert run("config", FEWNERD_DEBUG="0", FEWNERD_PARTITIONS="x").exit_code == Exit.USAGE


def test_wrong_settings_are_named_and_are_exit_code_2(run: Callable[..., Result], tmp_path: Path) -> None:
    """From the environment, the file and the options alike."""
    file = tmp_path / "settings.toml"
    file.write_text('window_size = 0\nbootstrap = "x"\n')
    result = run("--config", str(file), "status", "--retry-delays", "5,4", FEWNERD_ISOLATION="none")
    assert result.exit_code == Exit.USAGE
    for name in ("window_size", "bootstrap", "FEWNERD_ISOLATION", "FEWNERD_RETRY_DELAYS"):
        assert name in result.stderr
    assert "Traceback" not in result.output


def test_a_missing_settings_file_is_exit_code_2(run: Callable[..., Result]) -> None:
    """Given as an option or as a variable."""
    assert run("--config", "/nowhere.toml", "config").exit_code == Exit.USAGE
    result = run("config", FEWNERD_CONFIG="/nowhere.toml")
    assert result.exit_code == Exit.USAGE
    assert "/nowhere.toml" in result.stderr


@pytest.mark.parametrize("command", BROKER_COMMANDS, ids=" ".join)
def test_no_broker_is_one_line_and_exit_code_3(command: tuple[str, ...], run: Callable[..., Result]) -> None:
    """The line names the servers that were tried."""
    result = run(*command, "--bootstrap-servers", "127.0.0.1:1", stdin=b"{}\n")
    assert result.exit_code == Exit.BROKER, result.output
    assert result.stderr == "Error: no broker answers at 127.0.0.1:1\n"
    assert result.stdout == ""


@pytest.fixture
def silent() -> Iterator[str]:
    """Listen on a port, take what comes, and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []

        def take() -> None:
            while True:
                try:
                    taken.append(server.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=take)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in taken:
            connection.close()


def test_a_broker_that_never_answers_is_given_up(
    silent: str, run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a bound, which is under ten seconds."""
    assert clients.REACH < 10
    monkeypatch.setattr(clients, "REACH", 0.2)
    result = run("status", "--bootstrap-servers", silent)
    assert result.exit_code == Exit.BROKER
    assert result.stderr == f"Error: no broker answers at {silent} within 0.2 s\n"


def test_an_interruption_is_no_fault() -> None:
    """Ctrl-C ends a command with click's word for it."""

    async def interrupted() -> None:
        raise KeyboardInterrupt

    @click.command()
    def wait() -> None:
        _group.run(interrupted())

    result = CliRunner().invoke(wait)
    assert result.exit_code == 1
    assert "Aborted!" in result.stderr
