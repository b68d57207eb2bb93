"""`send`, `tail`, `dead` and `status`: what they print, on a Kafka of lists."""

from __future__ import annotations

import asyncio
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from fewnerd_stream.cli.tail import show
from fewnerd_stream.contract.envelope import dead_record
from fewnerd_stream.contract.records import Record, Source
from fewnerd_stream.errors import Reason
from fewnerd_stream.exits import Exit
from fewnerd_stream.feeds.lines import key_of, read_lines
from fewnerd_stream.settings import load_settings
from tests.support.lists import ListKafka, instead_of_clients

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from click.testing import Result

SETTINGS = load_settings()
MARKS = SETTINGS.topology.inputs[0].marks


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (b'{"id": "n-1"}', b"n-1"),
        ('{"id": "é"}'.encode(), "é".encode()),
        (b'{"id": 7}', b"7"),
        (b'{"id": 7.5}', b"7.5"),
        (b'{"id": true}', None),
        (b'{"id": null}', None),
        (b'{"id": {}}', None),
        (b'{"other": 1}', None),
        (b"[]", None),
        (b"not json", None),
        (b"\xff", None),
    ],
)
def test_a_key_is_a_string_or_a_number_of_the_line(line: bytes, key: bytes | None) -> None:
    """Whatever else a line holds, it is sent without a key."""
    assert key_of(line, "id") == key


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a\nb\r\n\nc", [b"a", b"b", b"", b"c"]),
        (b"\x00\xff\n", [b"\x00\xff"]),
        (b"x" * 200_000 + b"\n" + b"y" * 70_000, [b"x" * 200_000, b"y" * 70_000]),
    ],
)
def test_lines_are_cut_at_newlines_and_nowhere_else(data: bytes, lines: list[bytes]) -> None:
    """Of any length and any bytes; the lengths add up to what was read."""

    async def read() -> list[tuple[bytes | None, int]]:
        return [one async for one in read_lines(io.BytesIO(data))]

    found = asyncio.run(read())
    assert [line for line, _ in found] == lines
    assert sum(length for _, length in found) == len(data)


class Pieces(io.BytesIO):
    """A source that counts how often it is read, and in which pieces."""

    def read(self, size: int | None = -1) -> bytes:
        """Read at most a few bytes."""
        return super().read(min(size or 1, 7))

    def fileno(self) -> int:
        """Be no file."""
        raise io.UnsupportedOperation


@given(
    st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=6),
    st.integers(1, 12),
)
def test_a_line_that_is_too_long_is_told_and_not_kept(lines: list[bytes], most: int) -> None:
    """None comes in its place, in whatever pieces it was read; the others are whole."""

    async def read() -> list[bytes | None]:
        return [line async for line, _ in read_lines(Pieces(b"".join(line + b"\n" for line in lines)), most)]

    stripped = [line.removesuffix(b"\r") for line in lines]
    assert asyncio.run(read()) == [line if len(line) <= most else None for line in stripped]


def test_a_long_line_costs_no_more_than_its_length() -> None:
    """Each byte is copied a fixed number of times: counted by what is joined and cut, not by a clock."""
    copied = 0

    class Counted(bytes):
        """Bytes that count what is made of them."""

        def split(self, *args: Any, **kwargs: Any) -> list[bytes]:
            nonlocal copied
            copied += len(self)
            return super().split(*args, **kwargs)

        def __add__(self, other: Any) -> bytes:
            nonlocal copied
            copied += len(self) + len(other)
            return Counted(super().__add__(other))

        def __radd__(self, other: Any) -> bytes:
            nonlocal copied
            copied += len(self) + len(other)
            return Counted(other + bytes(self))

    class Source(io.BytesIO):
        """A source of counted bytes."""

        def read(self, size: int | None = -1) -> bytes:
            return Counted(super().read(size))

        def fileno(self) -> int:
            raise io.UnsupportedOperation

    async def read() -> list[bytes | None]:
        return [line async for line, _ in read_lines(Source(b"x" * (4 << 20)))]

    (line,) = asyncio.run(read())
    assert line is not None
    assert len(line) == 4 << 20
    assert copied <= 2 * len(line)


def _die(kafka: ListKafka, number: int, reason: Reason, *, replay: int = 0) -> None:
    value = None if reason is Reason.TOMBSTONE else b'{"id": "n-%d"}' % number
    record = Record("raw-documents", 0, number, 1000, b"k", value, (("h", b"\xff"), ("h", None)))
    source = Source("raw-documents", 0, number, 1000, replay=replay)
    error = ValueError("not [so] \x1b[2J good")
    out = dead_record(record, source, reason, "model", error, "sha256:x", SETTINGS)
    kafka.append(out.topic, 0, Record(out.topic, 0, 0, None, out.key, out.value, out.headers))


@pytest.fixture
def kafka() -> Iterator[ListKafka]:
    """Have four dead letters, one of them a tombstone."""
    kafka = ListKafka(
        {"fewnerd-stream.raw-documents.dead": 1, "fewnerd-stream.raw-documents.retry.1": 2, MARKS: 1}
    )
    for number, reason in enumerate((Reason.CRASH, Reason.TOMBSTONE, Reason.NAN, Reason.CRASH)):
        _die(kafka, number, reason, replay=3 if number == 3 else 0)
    with instead_of_clients(kafka):
        yield kafka


@pytest.mark.usefixtures("kafka")
def test_dead_list_is_a_table_or_json_lines(run: Callable[..., Result]) -> None:
    """Every letter with its place, reason, origin and error, whose brackets and controls are harmless."""
    result = run("dead", "list")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["LETTER", "DIED", "REASON", "TRIES", "REPLAYS", "ORIGIN", "WHY"]
    assert lines[1].split()[0] == "0:0"
    assert "not [so] ␛[2J good" in lines[1]
    assert lines[-1] == "4 dead letters"
    found = [json.loads(line) for line in run("dead", "list", "--json").stdout.splitlines()]
    assert [one["reason"] for one in found] == ["crash", "tombstone", "nan", "crash"]
    assert [one["bytes"] for one in found] == [13, None, 13, 13]
    assert {one["replayed"] for one in found} == {False}
    assert found[3]["origin"] == "raw-documents/0/3"


@pytest.mark.usefixtures("kafka")
def test_dead_list_is_filtered_and_limited(run: Callable[..., Result]) -> None:
    """By reason, offset and time; a limit says that there is more."""
    assert run("dead", "list", "--reason", "crash").stdout.splitlines()[-1] == "2 dead letters"
    assert run("dead", "list", "--offsets", "0:1-2").stdout.splitlines()[-1] == "2 dead letters"
    assert run("dead", "list", "--since", "1h").stdout == "0 dead letters\n"
    assert run("dead", "list", "--until", "1h", "--limit", "3").stdout.splitlines()[-1] == (
        "3 dead letters; there are more, --limit 0 lists all"
    )


@pytest.mark.usefixtures("kafka")
@pytest.mark.parametrize(
    "options",
    [("--offsets", "x"), ("--since", "soon"), ("--until", ""), ("--reason", "age"), ("--topic", "other")],
)
def test_filters_that_make_no_sense_are_wrong_usage(
    options: tuple[str, str], run: Callable[..., Result]
) -> None:
    """The option is named, and nothing is done."""
    for command in ("list", "replay"):
        result = run("dead", command, *options)
        assert result.exit_code == Exit.USAGE
        assert options[0] in result.stderr


@pytest.mark.usefixtures("kafka")
def test_dead_show_tells_all_there_is(run: Callable[..., Result]) -> None:
    """Headers in their order with their repeats, the error, and the value, or that it is null."""
    text = run("dead", "show", "0:0").stdout
    for part in (
        "fewnerd-stream.raw-documents.dead/0/0",
        "crash, at model",
        "ValueError",
        '{"id": "n-0"}',
        "sha256:x",
    ):
        assert part in text
    assert "\x1b" not in text
    assert "null, a tombstone" in run("dead", "show", "raw-documents/0/1").stdout
    found = json.loads(run("dead", "show", "fewnerd-stream.raw-documents.dead:0:0", "--json").stdout)
    assert found["headers"][:2] == [["h", {"base64": "/w=="}], ["h", None]]
    assert found["value"] == '{"id": "n-0"}'
    assert run("dead", "show", "0:2", "--value").stdout_bytes == b'{"id": "n-2"}'


@pytest.mark.usefixtures("kafka")
def test_dead_show_of_what_is_not_there_fails(run: Callable[..., Result]) -> None:
    """A place without a letter is exit code 1; what is no place, or of no topic of ours, wrong usage."""
    assert run("dead", "show", "0:9").exit_code == Exit.FAILURE
    assert run("dead", "show", "nonsense").exit_code == Exit.USAGE
    assert run("dead", "show", "other/0/1").exit_code == Exit.USAGE
    assert run("dead", "show", "0:1", "--input-topics", "a,b").exit_code == Exit.USAGE


def test_dead_replay_tells_what_it_did(kafka: ListKafka, run: Callable[..., Result]) -> None:
    """By reason; what was refused is exit code 1; what was replayed is marked in the list."""
    preview = run("dead", "replay", "--dry-run")
    assert preview.exit_code == Exit.FAILURE
    assert "fewnerd-stream.raw-documents.dead: 3 of 4 letters looked at would be replayed" in preview.stdout
    assert not kafka.logs["fewnerd-stream.raw-documents.retry.1", 1]
    result = run("dead", "replay", "--reason", "crash", "--json")
    assert result.exit_code == Exit.FAILURE
    (summary,) = json.loads(result.stdout)["replays"]
    assert (summary["replayed"], summary["refused"], summary["reasons"]) == (1, 1, {"crash": 1})
    result = run("dead", "replay", "--force", "--rate", "1000")
    assert result.exit_code == Exit.OK, result.output
    assert result.stdout.splitlines()[-1] == (
        "fewnerd-stream.raw-documents.dead: 3 of 3 letters looked at replayed, 1 were replayed before"
    )
    assert run("dead", "list", "--waiting").stdout == "0 dead letters\n"
    assert run("dead", "list").stdout.count("(replayed)") == 4


@pytest.mark.usefixtures("kafka")
def test_a_limit_counts_over_all_input_topics(run: Callable[..., Result]) -> None:
    """The second input's letters are not touched once the limit is reached."""
    result = run("dead", "replay", "--input-topics", "raw-documents,other", "--limit", "2", "--json")
    assert result.exit_code == 0, result.output
    assert [one["replayed"] for one in json.loads(result.stdout)["replays"]] == [2]


def test_missing_topics_are_exit_code_4(run: Callable[..., Result]) -> None:
    """Each command names what is missing and how to make it."""
    with instead_of_clients(ListKafka({"unrelated": 1})):
        for command in (("dead", "list"), ("dead", "replay"), ("tail", "person"), ("send", "-")):
            result = run(*command, stdin=b"")
            assert result.exit_code == Exit.TOPICS, result.output
            assert "topics create" in result.stderr


ENRICHED: dict[str, Any] = {
    "id": "n-17",
    "category": "person",
    "entities": [
        {
            "text": "Angela Merkel",
            "start": 0,
            "end": 13,
            "coarse": "person",
            "fine": "politician",
            "label": "person-politician",
            "score": 0.97,
            "coarse_score": 0.99,
        }
    ],
    "document": {"id": "n-17", "text": "Angela Merkel\nflew."},
    "source": {"topic": "raw-documents", "partition": 3, "offset": 1042},
}


def _shown(value: bytes | None, *, full: bool = False) -> str:
    out = Console(file=io.StringIO(), width=10_000)
    show(out, Record("entities.person", 0, 0, None, None, value), SETTINGS, full=full)
    written = out.file
    assert isinstance(written, io.StringIO)
    return written.getvalue()


def test_an_enriched_document_is_shown_with_its_entities_marked() -> None:
    """Where it is from on the first line, its text on the second."""
    assert _shown(json.dumps(ENRICHED).encode()) == (
        "person       n-17  raw-documents/3/1042\n  [Angela Merkel|person-politician] flew.\n"
    )


def test_without_its_text_its_entities_are_named() -> None:
    """As when the setting leaves the text out."""
    value = ENRICHED | {"document": {"id": "n-17"}}
    assert _shown(json.dumps(value).encode()).splitlines()[1] == "  Angela Merkel (person-politician)"


def test_a_long_text_is_cut_unless_it_is_to_be_shown_whole() -> None:
    """What was left out is counted, entities too."""
    entity = ENRICHED["entities"][0] | {"start": 700, "end": 713}
    value = ENRICHED | {"entities": [entity], "document": {"text": "x" * 1000}}
    data = json.dumps(value).encode()
    assert "x … 400 characters, 1 entities more" in _shown(data)
    assert "person-politician" in _shown(data, full=True)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"entities": 5}',
        b'{"source": 5}',
        b'{"source": {}}',
        b'{"entities": [{}], "document": {"text": "x"}}',
        b"\xff\x1b[2J",
    ],
)
def test_what_is_no_enriched_document_is_shown_as_it_is(value: bytes | None) -> None:
    """Somebody else's record on a topic does not end the watching, and does not steer the terminal."""
    shown = _shown(value)
    assert shown.startswith("person")
    assert "\x1b" not in shown


def test_demo_is_given_its_options(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its exit code is the command's."""
    seen: list[Any] = []

    def play(*arguments: Any) -> int:
        seen.extend(arguments[1:])
        return 1

    monkeypatch.setattr("fewnerd_stream.demo.play.play", play)
    assert run("demo", "--pace", "0", "--bootstrap-servers", "h:1").exit_code == 1
    assert seen == ["h:1", 0.0]


@pytest.mark.usefixtures("kafka")
@pytest.mark.parametrize("age", ["30000d", "9" * 400 + "d", "1960-01-01", "0001-01-01"])
def test_a_time_that_no_record_has_is_wrong_usage(age: str, run: Callable[..., Result]) -> None:
    """Not a fault of the program, nor an empty answer."""
    result = run("dead", "list", "--since", age)
    assert result.exit_code == Exit.USAGE
    assert "Invalid value for --since" in result.stderr
