"""Log lines for people or for programs, on standard error, from the standard library's logging."""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final, TextIO

import orjson

from fewnerd_stream.contract.harmless import harmless, indented
from fewnerd_stream.contract.jsonlines import escaped
from fewnerd_stream.settings.secrets import Redaction

if TYPE_CHECKING:
    from fewnerd_stream.settings import Settings

_COLOURS: Final = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}

_QUIET: Final = {
    # They speak of every heartbeat, join and metadata update, and repeat what our own lines say.
    "aiokafka": logging.WARNING,
    "aiokafka.conn": logging.ERROR,
    "asyncio": logging.WARNING,
    "faust": logging.WARNING,
    "mode": logging.WARNING,
}
"""The least level of libraries, unless the level asked for is debug."""

_BUILT_IN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class SeldomRepeats(logging.Filter):
    """Lets a library's line through once in ten seconds: without a broker it says the same many times a second."""

    def __init__(self, library: str, seconds: float = 10.0) -> None:
        """Watch one library's loggers."""
        super().__init__()
        self._library = library
        self._seconds = seconds
        self._said: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell lines apart by their text before anything is filled in."""
        if record.name.partition(".")[0] != self._library:
            return True
        line = record.name, str(record.msg)
        if record.created - self._said.get(line, -self._seconds) < self._seconds:
            return False
        if len(self._said) > 1000:  # noqa: PLR2004 - a bound on what is remembered, of no other meaning
            self._said.clear()
        self._said[line] = record.created
        return True


class TextFormatter(logging.Formatter):
    """``2026-01-31 12:00:00.123 INFO worker: message``, in colours where somebody looks."""

    def __init__(self, *, colours: bool, redact: Redaction | None = None) -> None:
        """Format for a terminal, or not; ``redact`` masks passwords."""
        super().__init__()
        self._colours = colours
        self._redact = redact or Redaction()

    def format(self, record: logging.LogRecord) -> str:
        """Write a record as one line, with the exception under it, indented, if it has one.

        Messages repeat what others wrote: it steers nothing, and begins no line.
        """
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))
        name = record.name.removeprefix("fewnerd_stream.")
        line = harmless(f"{moment}.{int(record.msecs):03} {record.levelname} {name}: {record.getMessage()}")
        if self._colours and (colour := _COLOURS.get(record.levelname)):
            line = f"\x1b[{colour}m{line}\x1b[0m"
        if record.exc_info:
            line = f"{line}\n{indented(self.formatException(record.exc_info))}"
        return self._redact(line)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, exception, and what was given as ``extra``."""

    def __init__(self, redact: Redaction | None = None) -> None:
        """``redact`` masks passwords."""
        super().__init__()
        self._redact = redact or Redaction()

    def format(self, record: logging.LogRecord) -> str:
        """Write a record as a line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        fields: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        for name, value in vars(record).items():
            if name not in _BUILT_IN:
                fields.setdefault(name, value)
        return self._redact(_json(fields))


def _json(fields: dict[str, Any]) -> str:
    """Write JSON whatever the fields hold: a log line must never fail."""
    try:
        return escaped(orjson.dumps(fields, default=str, option=orjson.OPT_NON_STR_KEYS)).decode()
    except (TypeError, ValueError):  # an unpaired surrogate, say, or an endless structure
        spelled = {
            name: str(value).encode(errors="backslashreplace").decode() for name, value in fields.items()
        }
        return escaped(orjson.dumps(spelled)).decode()


def setup_logging(settings: Settings, stream: TextIO | None = None) -> None:
    """Send all logging to one stream, in the format and from the level that the settings name.

    What was set up before is replaced. Colours are for terminals only, and ``NO_COLOR`` turns them off.

    Args:
        settings: the format and the level.
        stream: standard error by default.
    """
    stream = stream or sys.stderr
    redact = Redaction((settings.sasl_password, settings.ssl_password), settings.sasl_username)
    formatter: logging.Formatter = JsonFormatter(redact)
    if settings.log_format == "text":
        formatter = TextFormatter(colours=stream.isatty() and not os.environ.get("NO_COLOR"), redact=redact)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    if settings.log_level != "debug":
        handler.addFilter(SeldomRepeats("aiokafka"))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    level = logging.getLevelName(settings.log_level.upper())
    root.setLevel(level)
    for name, least in _QUIET.items():
        logging.getLogger(name).setLevel(logging.NOTSET if level == logging.DEBUG else max(level, least))
    logging.captureWarnings(capture=True)
