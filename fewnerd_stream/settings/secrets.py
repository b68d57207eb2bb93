"""Passwords: kept out of whatever is shown or logged, by us and by the libraries that are given them."""

from __future__ import annotations

import base64
import json
import logging
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from fewnerd_stream.contract.harmless import harmless

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import SecretStr

MASK: Final = "********"

_LEAST: Final = 4
"""Characters from which on a password is looked for in log lines: a shorter one would be found everywhere."""


class Hidden(str):
    """A password for a client that wants a string: it can be encoded, and shows as a mask."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Show a mask."""
        return repr(MASK)

    def __str__(self) -> str:
        """Show a mask."""
        return MASK

    def __format__(self, spec: str) -> str:
        """Show a mask."""
        return format(MASK, spec)


class NoLogins(logging.Filter):
    """Takes the contents out of a Kafka client's log lines of a login: at ``debug`` it writes each request."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Put a request's name in place of it."""
        if isinstance(record.args, tuple):
            record.args = tuple(_named(each) for each in record.args)
        return True


def _named(argument: object) -> object:
    name = type(argument).__name__
    return f"{name}(...)" if name.startswith("Sasl") else argument


_no_logins: Final = NoLogins()


def hide_logins() -> None:
    """Keep logins out of the Kafka client's log lines, whoever listens to them."""
    logging.getLogger("aiokafka.conn").addFilter(_no_logins)


class Redaction:
    """Masks passwords in a text, in whatever way they are written in it."""

    def __init__(self, secrets: Iterable[SecretStr | None] = (), user: str | None = None) -> None:
        """Take the passwords, and who logs in with one."""
        found: set[str] = set()
        for secret in secrets:
            text = secret.get_secret_value() if secret is not None else ""
            if len(text) >= _LEAST:
                found |= _ways(text, user or "")
        self._ways = sorted(found, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Mask them."""
        for way in self._ways:
            text = text.replace(way, MASK)
        return text


def _ways(text: str, user: str) -> set[str]:
    data = text.encode(errors="surrogatepass")
    login = b"\0" + user.encode(errors="surrogatepass") + b"\0" + data
    return {
        text,
        harmless(text),
        repr(text)[1:-1],
        repr(data)[2:-1],
        json.dumps(text)[1:-1],
        json.dumps(text, ensure_ascii=False)[1:-1],
        quote(data, safe=""),
        data.hex(),
        base64.b64encode(data).decode(),
        base64.b64encode(login).decode(),
    }
