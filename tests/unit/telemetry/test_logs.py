"""Log lines for people and for programs."""

from __future__ import annotations

import io
import json
import logging
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from fewnerd_stream.settings import load_settings
from fewnerd_stream.telemetry.logs import JsonFormatter, TextFormatter, setup_logging

if TYPE_CHECKING:
    from collections.abc import Iterator


class Terminal(io.StringIO):
    """A stream that somebody looks at."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """Leave logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    names = ("aiokafka", "aiokafka.conn", "asyncio", "faust", "mode")
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, least in levels.items():
        logging.getLogger(name).setLevel(least)


def _record(
    message: str = "a %s", *args: object, level: int = logging.INFO, **extra: object
) -> logging.LogRecord:
    record = logging.LogRecord("fewnerd_stream.worker", level, __file__, 1, message, args or ("b",), None)
    record.created, record.msecs = 1764000000.007, 7.0
    for name, value in extra.items():
        setattr(record, name, value)
    return record


def _failed() -> Any:
    try:
        raise ValueError("no")  # noqa: TRY301 - all that this is for
    except ValueError as error:
        return type(error), error, error.__traceback__


def test_a_line_for_people() -> None:
    """Time, level, logger without the package's name, message, and the exception under it."""
    line = TextFormatter(colours=False).format(_record())
    assert line.endswith(".007 INFO worker: a b")
    failed = TextFormatter(colours=True).format(_record(level=logging.ERROR, exc_info=_failed()))
    assert failed.startswith("\x1b[31m")
    assert failed.endswith("ValueError: no")


def test_a_line_for_programs() -> None:
    """One JSON object with the time in UTC, what was given as extra, and the exception."""
    line = JsonFormatter().format(_record(level=logging.WARNING, lag=7, exc_info=_failed(), message_="x"))
    fields = json.loads(line)
    assert "ValueError: no" in fields.pop("exception")
    assert fields == {
        "time": "2025-11-24T16:00:00.007Z",
        "level": "warning",
        "logger": "fewnerd_stream.worker",
        "message": "a b",
        "lag": 7,
        "message_": "x",
    }
    assert "\n" not in line


@pytest.mark.parametrize("value", ["\ud800", {1: object()}, {("a",): 1}, 2**70, float("nan"), b"\xff"])
def test_a_line_never_fails(value: object) -> None:
    """Whatever is logged becomes a line of JSON."""
    json.loads(JsonFormatter().format(_record("%s", value, extra_value=value)))


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_logging_goes_to_one_stream_from_one_level(log_format: str) -> None:
    """What was set up before is replaced, and warnings come along."""
    stream = io.StringIO()
    settings = load_settings(log_format=log_format, log_level="warning")
    setup_logging(settings, stream)
    setup_logging(settings, stream)
    logging.getLogger("fewnerd_stream.worker").warning("here")
    logging.getLogger("fewnerd_stream.worker").info("not here")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("careful", stacklevel=1)
    text = stream.getvalue()
    assert text.count("here") == 1
    assert "careful" in text


def test_libraries_are_quiet_unless_debugging() -> None:
    """The chatter of Kafka's client is for those who look for an error in it."""
    for level, heard in (("info", False), ("debug", True), ("error", False)):
        stream = io.StringIO()
        setup_logging(load_settings(log_level=level), stream)
        logging.getLogger("aiokafka.consumer.group_coordinator").info("heartbeat")
        assert ("heartbeat" in stream.getvalue()) == heard


@pytest.mark.parametrize(
    ("stream", "no_color", "coloured"),
    [(Terminal(), "", True), (Terminal(), "1", False), (io.StringIO(), "", False)],
)
def test_colours_are_for_terminals(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO, no_color: str, *, coloured: bool
) -> None:
    """Nobody gets colours into a file, or against their will."""
    monkeypatch.setenv("NO_COLOR", no_color)
    setup_logging(load_settings(), stream)
    logging.getLogger("x").error("y")
    assert ("\x1b[" in stream.getvalue()) == coloured


def test_a_library_that_repeats_itself_is_heard_once() -> None:
    """Without a broker its client says the same many times a second; our own lines are never held back."""
    out = io.StringIO()
    setup_logging(load_settings(), out)
    for number in range(5):
        logging.getLogger("aiokafka").error("cannot reach node %d", number)
        logging.getLogger("aiokafka.consumer.fetcher").error("cannot reach node %d", number)
        logging.getLogger("fewnerd_stream.worker").error("cannot go on: %d", number)
    lines = out.getvalue().splitlines()
    assert sum("aiokafka" in line for line in lines) == 2
    assert sum("cannot go on" in line for line in lines) == 5
