"""Every command that shows what others wrote, on records of fuzz: nothing breaks, forges, colours or steers."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from fewnerd_stream.cli import cli, tail
from fewnerd_stream.contract.records import Record
from fewnerd_stream.errors import BrokerError
from fewnerd_stream.operations.status.report import Dead, Member, PartitionStatus, Report, Waiting
from fewnerd_stream.settings import load_settings
from fewnerd_stream.terminal import console, table
from tests.support.hostile import DATA, ENRICHED, FORGED, HEADERS, TEXTS, steers
from tests.support.lists import ListKafka, instead_of_clients

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SETTINGS = load_settings()
TOPICS = SETTINGS.topology.inputs[0]
RECORDS = st.lists(
    st.builds(
        Record,
        st.just("entities.person"),
        st.just(0),
        st.integers(0, 9),
        st.none() | st.integers(-1, 2**63 - 1),
        DATA,
        DATA | ENRICHED,
        HEADERS,
    ),
    max_size=4,
)


def _run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, arguments, prog_name="fewnerd-stream")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, (arguments, result.output)
    for stream in (result.stdout, result.stderr):
        for line in stream.split("\n"):
            assert not steers(line.replace("\t", "")), (arguments, line)
            assert not line.startswith(FORGED), (arguments, line)
    return result


def _objects(result: Result) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in result.stdout.split("\n")[:-1]]
    assert not any(one == {"forged": True} for one in found)
    return found


@settings(max_examples=25)
@given(RECORDS)
def test_tail_shows_them_each_on_its_lines(records: list[Record]) -> None:
    """Two lines for a person, one for a program, whatever a record holds."""

    async def given_records(*_: object, **__: object) -> AsyncIterator[Record]:
        for record in records:
            yield record

    with patch.object(tail, "_records", given_records):
        assert len(_run("tail", "all", "--full").stdout.split("\n")) == 2 * len(records) + 1
        assert len(_objects_or_values(_run("tail", "all", "--json"))) == len(records)


def _objects_or_values(result: Result) -> list[Any]:
    return [json.loads(line) for line in result.stdout.split("\n")[:-1]]


@settings(max_examples=25)
@given(RECORDS)
def test_the_dead_letter_commands_take_them(records: list[Record]) -> None:
    """List, show and replay: a row for each, and an object for each."""
    kafka = ListKafka({TOPICS.dead: 1, TOPICS.retries[0]: 1, TOPICS.marks: 1})
    for record in records:
        kafka.append(TOPICS.dead, 0, record)
    with instead_of_clients(kafka):
        count = len(_run("dead", "list").stdout.split("\n")) - 1
        assert count == (len(records) + 2 if records else 1)
        assert len(_objects(_run("dead", "list", "--json"))) == len(records)
        for number in range(len(records)):
            shown = _run("dead", "show", f"0:{number}").stdout.split("\n")
            assert [line for line in shown if line.startswith("reason ")] == shown[2:3] or shown[
                1
            ].startswith("reason ")
            (one,) = _objects(_run("dead", "show", f"0:{number}", "--json"))
            assert one["offset"] == number
        _run("dead", "replay", "--dry-run")
        (summary,) = _objects(_run("dead", "replay", "--dry-run", "--json"))
        assert summary["replays"][0]["scanned"] == len(records)
        _run("dead", "replay", "--force")


@settings(max_examples=25)
@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_status_shows_strangers_in_the_group(member: str, client: str, reason: str, note: str) -> None:
    """A member chooses its id and client's name, a dead letter's reason is whoever's, and notes quote the broker."""
    one = Member(member, client, note, (("raw-documents", 0),))
    report = Report("fewnerd-stream", "stable", [one])
    report.partitions = [PartitionStatus("raw-documents", 0, "input", 0, 9, 5, owner=one)]
    report.heads = [Waiting("t", 0, 1, 1000, 0, member)]
    dead = Dead(TOPICS.dead, 3, 0, 3)
    dead.reasons.update([reason, client])
    report.dead, report.notes = [dead], [note]

    async def gathered(*_: object, **__: object) -> Report:
        return report

    with patch("fewnerd_stream.operations.status.gather.gather", gathered):
        assert len(_run("status").stdout.split("\n")) == 8
        assert len(_objects(_run("status", "--json"))) == 1


@settings(max_examples=25)
@given(TEXTS, ENRICHED | DATA)
def test_health_shows_a_file_that_somebody_wrote(reason: str, content: bytes | None) -> None:
    """One line, whatever stands in it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "health.json"
        for data in (
            content or b"",
            json.dumps({"time": 0, "state": reason, "since": 0, "reason": reason}).encode(),
        ):
            path.write_bytes(data)
            path.chmod(0o600)
            assert len(_run("health", "--health-file", str(path), code=1).stdout.split("\n")) == 2
            _run("health", "--health-file", str(path), "--json", code=1)


@settings(max_examples=25)
@given(TEXTS)
def test_an_error_that_quotes_a_stranger_is_one_message(message: str) -> None:
    """Broker, bundle and document are quoted in errors: no line of them passes for ours."""

    async def fail(*_: object, **__: object) -> Report:
        raise BrokerError(f"the broker failed: {message}")

    with patch("fewnerd_stream.operations.status.gather.gather", fail):
        result = _run("status", code=3)
    assert [line for line in result.stderr.split("\n") if line.startswith("Error: ")] == result.stderr.split(
        "\n"
    )[:1]


@pytest.mark.parametrize("text", ["\x1b[2J[red]x[/y]\u202e\n:smile:"])
def test_a_console_takes_no_text_for_markup(text: str) -> None:
    """Whatever way it is printed: as a string, in a table, as a part of a text."""
    out = console()
    assert isinstance(out, Console)
    shown = table("HEAD")
    shown.add_row(text)
    with out.capture() as captured:
        out.print(text)
        out.print(shown)
        out.print(Text(text))
        out.field("name", text)
        out.block(text)
    said = captured.get()
    assert not any(steers(line) for line in said.split("\n"))
    assert said.count("[red]x[/y]") == 5
    assert said.count(":smile:") == 5
