"""An HTTP endpoint for documents: 202 only when they are stored.

``POST /documents`` takes one JSON object (``application/json``), one a line (``application/x-ndjson``), or a
text (``text/plain``). What no worker would take is refused at the door with its reason.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiohttp import web

from fewnerd_stream.contract.documents import decode
from fewnerd_stream.errors import Reject, SettingsError
from fewnerd_stream.feeds.entries import from_bytes

if TYPE_CHECKING:
    from fewnerd_stream.feeds.sink import Sink
    from fewnerd_stream.settings import Settings

_SOURCE: Final = "http"
_SLOW: Final = 30.0
_JSON: Final = frozenset(
    {"application/json", "application/x-www-form-urlencoded", "application/octet-stream"}
)
_LINES: Final = frozenset({"application/x-ndjson", "application/jsonl", "application/x-jsonlines"})


@dataclass(frozen=True, slots=True)
class Limits:
    """What the endpoint bears.

    Attributes:
        rate: documents a second, over all callers; as many may come at once after a quiet second.
        at_once: requests that are at work at a time.
        body: bytes of one request.
        patience: seconds that a request waits for its documents to be stored.
    """

    rate: float = 500.0
    at_once: int = 64
    body: int = 8 << 20
    patience: float = 30.0


class _Refusal(Exception):  # noqa: N818 - what the caller gets
    def __init__(self, status: int, problem: str, headers: dict[str, str] | None = None, **more: Any) -> None:  # noqa: ANN401 - JSON
        super().__init__(problem)
        self.answer = _answer(status, {"error": problem, **more}, headers)


class Inbox:
    """The endpoint."""

    def __init__(
        self, settings: Settings, sink: Sink, token: str | None, limits: Limits | None = None
    ) -> None:
        """Store what comes; with a token, from those alone who send ``Authorization: Bearer <token>``."""
        self._settings = settings
        self._sink = sink
        self._token = token
        self._limits = limits or Limits()
        self._at_work = 0
        self._left = self._limits.rate
        self._filled: float | None = None

    def application(self) -> web.Application:
        """Make the application."""
        made = web.Application(client_max_size=self._limits.body)
        made.router.add_post("/documents", self._take)
        made.router.add_get("/health", self._health)
        return made

    async def _health(self, _: web.Request) -> web.Response:
        return _answer(200, {"status": "ok"})

    async def _take(self, request: web.Request) -> web.Response:
        try:
            self._admit(request)
            self._at_work += 1
            try:
                documents = self._documents(await self._body(request), request.content_type)
                return await self._store(documents)
            finally:
                self._at_work -= 1
        except _Refusal as refusal:
            return refusal.answer

    def _admit(self, request: web.Request) -> None:
        if self._token is not None and not self._knows(request.headers.get("Authorization", "")):
            problem = "send the token: Authorization: Bearer ..."
            raise _Refusal(401, problem, headers={"WWW-Authenticate": "Bearer"})
        if self._at_work >= self._limits.at_once:
            raise _Refusal(503, "too many requests at work", headers={"Retry-After": "1"})

    def _knows(self, given: str) -> bool:
        scheme, _, token = given.partition(" ")
        wanted = (self._token or "").encode()
        return scheme.lower() == "bearer" and hmac.compare_digest(
            token.strip().encode(errors="replace"), wanted
        )

    async def _body(self, request: web.Request) -> bytes:
        try:
            async with asyncio.timeout(_SLOW):
                return await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise _Refusal(413, f"more than {self._limits.body} bytes") from None
        except TimeoutError:
            raise _Refusal(408, f"no whole request within {_SLOW:g} s") from None

    def _documents(self, body: bytes, kind: str) -> list[tuple[bytes, bytes]]:
        if kind in _LINES:
            parts = [line for line in body.split(b"\n") if line.strip()]
        elif kind in _JSON or kind == "text/plain":
            parts = [body]
        else:
            raise _Refusal(415, "send application/json, application/x-ndjson or text/plain")
        made = []
        for number, part in enumerate(parts, 1):
            try:
                made.append(self._document(part, kind))
            except Reject as error:
                raise _Refusal(422, str(error), reason=error.reason.value, line=number) from None
        if not made:
            raise _Refusal(422, "no document")
        return made

    async def _store(self, documents: list[tuple[bytes, bytes]]) -> web.Response:
        if wait := self._over(len(documents)):
            raise _Refusal(429, "too many documents a second", headers={"Retry-After": str(wait)})
        try:
            async with asyncio.timeout(self._limits.patience):
                refused = [one for one in await self._sink.store(documents) if one]
        except TimeoutError:
            problem = "not stored yet: send it again, with the same id"
            raise _Refusal(503, problem, headers={"Retry-After": "5"}) from None
        if refused:
            raise _Refusal(413, refused[0], refused=len(refused))
        ids = [key.decode(errors="replace") for key, _ in documents]
        return _answer(202, {"stored": len(ids), "ids": ids})

    def _document(self, part: bytes, kind: str) -> tuple[bytes, bytes]:
        """Make a document, and have it looked at as a worker would.

        Raises:
            Reject: no worker would take it.
        """
        if kind == "text/plain":
            part = orjson.dumps({self._settings.text_field: part.decode(errors="replace")})
        elif not part.lstrip().startswith(b"{"):
            decode(part, self._settings)
        made = from_bytes(part, _SOURCE, "", self._settings)
        decode(made[1], self._settings)
        return made

    def _over(self, count: int) -> int:
        """Take so many documents out of the rate's bucket; else say in how many seconds to come again."""
        now, rate = asyncio.get_running_loop().time(), self._limits.rate
        if self._filled is not None:
            self._left = min(rate, self._left + (now - self._filled) * rate)
        self._filled = now
        if self._left <= 0:
            return int(-self._left / rate) + 1
        self._left -= count  # a large request may overdraw it, and the next ones wait
        return 0


def _answer(status: int, value: dict[str, Any], headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(
        body=orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE),
        status=status,
        headers={"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"} | (headers or {}),
        content_type="application/json",
    )


def check_place(host: str, token: str | None) -> None:
    """Refuse to listen where others can reach it without a token.

    Raises:
        SettingsError: there is no token, and the address is not this machine's alone.
    """
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback and token is None:
        raise SettingsError(
            f"listening on {host}, others can send documents: give --token-file, or --host 127.0.0.1"
        )
