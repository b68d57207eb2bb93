"""What keeps a page safe: headers, hosts, and who may ask for what."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from aiohttp.typedefs import Handler, Middleware

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

LOCAL: Final = ("localhost", "127.0.0.1", "::1")


def answer(value: object, status: int = 200) -> web.Response:
    """Answer with JSON that nobody keeps."""
    return web.Response(
        body=orjson.dumps(value),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def problem(status: int, message: str) -> web.Response:
    """Answer with what is wrong."""
    return answer({"error": message}, status)


def guarded(hosts: Iterable[str]) -> Middleware:
    """Make what stands before every handler.

    A page of another site must not reach us through a name that it points here: the host that a browser asks
    for must be one of these. Empty: any. What changes something comes from our own pages alone.
    """
    known = frozenset(host.lower() for host in hosts)

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        found: web.StreamResponse
        if known and _host(request) not in known:
            found = problem(421, "this page is not served under that name: see --allow-host")
        elif request.method not in {"GET", "HEAD"} and not _same_site(request):
            found = problem(403, "only the page itself may ask for this")
        else:
            try:
                found = await handler(request)
            except web.HTTPException as error:
                found = problem(error.status, error.reason)
        if not found.prepared:
            found.headers.update(HEADERS)
        return found

    return guard


def _host(request: web.Request) -> str:
    host = request.host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _same_site(request: web.Request) -> bool:
    """Say whether a request is our own page's.

    A form of another site can send neither JSON nor say that it comes from here.
    """
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    origin = request.headers.get("Origin")
    ours = origin is None or origin.partition("://")[2].lower() == request.host.lower()
    return site == "same-origin" and ours and request.content_type == "application/json"


def only_with(token: str) -> Callable[[Handler], Handler]:
    """Let a handler be asked with the token alone. It is in a header, which no other site can have sent."""
    wanted = token.encode()

    def wrap(handler: Handler) -> Handler:
        async def checked(request: web.Request) -> web.StreamResponse:
            scheme, _, given = request.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(
                given.strip().encode(errors="replace"), wanted
            ):
                return problem(401, "wrong token")
            return await handler(request)

        return checked

    return wrap


async def json_body(request: web.Request) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        web.HTTPBadRequest: it is none.
    """
    try:
        value = orjson.loads(await request.read())
    except orjson.JSONDecodeError:
        raise web.HTTPBadRequest(reason="no JSON") from None
    if not isinstance(value, dict):
        raise web.HTTPBadRequest(reason="no JSON object")
    return value
