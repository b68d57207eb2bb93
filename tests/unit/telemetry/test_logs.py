"""Log lines for people and for programs."""

from __future__ import annotations

import base64
import io
import json
import logging
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from aiokafka.protocol.admin import SaslAuthenticateRequest
from hypothesis import given
from hypothesis import strategies as st

from fewnerd_stream.settings import MASK, Settings, load_settings
from fewnerd_stream.telemetry.logs import JsonFormatter, TextFormatter, setup_logging
from tests.support.hostile import TEXTS, steers

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


@given(TEXTS, st.sampled_from(["text", "json"]))
def test_what_others_wrote_forges_no_line_and_steers_nothing(text: str, log_format: str) -> None:
    """A message is one line, a traceback's lines are indented, and no control character passes."""
    out = io.StringIO()
    setup_logging(load_settings(log_format=log_format), out)
    logging.getLogger("fewnerd_stream.worker").error("the model failed: %s", text)
    assert out.getvalue().count("\n") == 1
    try:
        raise ValueError(text)  # noqa: TRY301 - all that this is for
    except ValueError:
        logging.getLogger("fewnerd_stream.worker").exception("it failed")
    first, second, *trace, last = out.getvalue().split("\n")
    assert last == ""
    assert all(line.startswith("  ") for line in trace)
    assert not any(steers(line.replace("\t", "")) for line in (first, second, *trace))


PASSWORDS = ("hunter2-secret", "p\\a\"s's\n\x1b", "pässwörd", "\U0001f511key")


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("password", PASSWORDS)
def test_a_password_is_in_no_line(password: str, log_format: str) -> None:
    """However a library writes it: as text, as bytes, in a structure, encoded, or in an error."""
    out = io.StringIO()
    settings = _secure(password, log_format=log_format, log_level="debug")
    setup_logging(settings, out)
    stranger = logging.getLogger("some.library")
    data = password.encode()
    for shown in (password, data, {"password": password}, [data], settings, settings.client_options()):
        stranger.debug("sent %s", shown)
        stranger.debug("sent %r", shown, extra={"given": shown})
    stranger.debug("%s", base64.b64encode(data).decode())
    stranger.debug("%s", base64.b64encode(b"\0worker\0" + data).decode())
    try:
        raise ValueError(password)  # noqa: TRY301 - all that this is for
    except ValueError:
        stranger.exception("it failed")
    said = out.getvalue()
    for way in (password, repr(password)[1:-1], repr(data)[2:-1], json.dumps(password)[1:-1]):
        assert way not in said
    assert MASK in said


def test_a_login_is_logged_by_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """The Kafka client writes each request at debug: its login is taken out for every listener."""
    password = "abc"
    _secure(password).client_options()
    request = SaslAuthenticateRequest(b"\0worker\0" + password.encode()).prepare({36: (0, 1)})
    with caplog.at_level(logging.DEBUG, logger="aiokafka.conn"):
        logging.getLogger("aiokafka.conn").debug("Request to %s:%d %d: %s", "h", 1, 2, request)
    assert "SaslAuthenticate" in caplog.text
    assert password not in caplog.text


def test_settings_and_client_options_show_no_password() -> None:
    """Neither do they when somebody prints them."""
    settings = _secure("hunter2-secret")
    options = settings.client_options()
    for shown in (settings, options, options["sasl_plain_password"], settings.describe()):
        assert "hunter2" not in f"{shown} {shown!r}"
    assert options["sasl_plain_password"].encode() == b"hunter2-secret"


def _secure(password: str, **overrides: Any) -> Settings:
    return load_settings(
        security_protocol="SASL_PLAINTEXT",
        sasl_mechanism="PLAIN",
        sasl_username="worker",
        sasl_password=password,
        **overrides,
    )
