"""Requests to strangers' servers: bounded in time, size and redirects, and never into private networks."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from fewnerd_stream import __version__
from fewnerd_stream.errors import FewnerdError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping
    from types import TracebackType

AGENT: Final = "fewnerd-stream"
"""The name under which a robots.txt may speak of us."""

_USER_AGENT: Final = f"{AGENT}/{__version__} (a feed reader)"
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS: Final = 5
_MOST_HEADER: Final = 8_190
_CONNECT: Final = 15.0
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


class RequestError(FewnerdError):
    """A request that brought no answer that can be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, whole."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes


def public(address: str) -> bool:
    """Say whether an IP address is one of the public Internet, and not behind some other writing of one."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo and ip.teredo[1])
        if ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        if inner:
            return public(str(inner))
    return ip.is_global and not ip.is_multicast


class _Guard(AbstractResolver):
    """Resolves names, and leaves out addresses that strangers have no business to send us to."""

    def __init__(self, trusted: frozenset[tuple[str, int]], *, private: bool) -> None:
        self._trusted = trusted
        self._private = private
        self._resolver = aiohttp.ThreadedResolver()

    def allows(self, host: str, port: int, address: str) -> bool:
        return self._private or (host.lower(), port) in self._trusted or public(address)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        kept = [one for one in found if self.allows(host, port, one["host"])]
        if found and not kept:
            raise OSError(f"{host} is in a private network")
        return kept

    async def close(self) -> None:
        await self._resolver.close()


class Fetcher:
    """Gets what URLs lead to.

    A host and port that the operator has named may be anywhere; wherever else one is led, by a redirect or an
    entry's link, must be in the public Internet, by every address of its own that is used.
    """

    def __init__(
        self,
        named: Iterable[str] = (),
        *,
        private: bool = False,
        most_bytes: int = 10 << 20,
        seconds: float = 30.0,
        at_once: int = 8,
    ) -> None:
        """Take the operator's URLs, and the bounds.

        Args:
            named: URLs whose hosts and ports may be anywhere.
            private: whether everything may be anywhere.
            most_bytes: of an answer, unpacked.
            seconds: for one `get`, redirects included.
            at_once: requests that are under way at a time.
        """
        self._guard = _Guard(frozenset(filter(None, map(_place, named))), private=private)
        self._most = most_bytes
        self._seconds = seconds
        self._at_once = asyncio.Semaphore(at_once)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open a session: no cookies, no proxies of the environment, nothing remembered."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=self._guard, use_dns_cache=False, limit=32),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": _USER_AGENT},
            trust_env=False,
            max_line_size=_MOST_HEADER,
            max_field_size=_MOST_HEADER,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        if self._session is not None:
            await self._session.close()

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Get a URL whole, redirects followed.

        Raises:
            RequestError: no answer, too late, too large, or led astray.
        """
        try:
            async with self._at_once, asyncio.timeout(self._seconds), self.open(url, headers) as response:
                body = bytearray()
                async for chunk in response.content.iter_chunked(65_536):
                    body += chunk
                    if len(body) > self._most:
                        raise RequestError(f"the answer is larger than {self._most} bytes")
        except TimeoutError:
            raise RequestError(f"no whole answer within {self._seconds:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise RequestError(_said(error)) from error
        return Answer(str(response.url), response.status, response.headers, bytes(body))

    @asynccontextmanager
    async def open(
        self, url: str, headers: Mapping[str, str] | None = None, silence: float | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open an answer, redirects followed; the body is still to be read.

        Args:
            url: where from.
            headers: to send.
            silence: seconds without a byte after which the body has failed; None: any number.

        Raises:
            RequestError: too many redirects, or one that leads astray.
        """
        assert self._session is not None  # noqa: S101 - for the type checker: used inside its block
        timeout = aiohttp.ClientTimeout(sock_connect=_CONNECT, sock_read=silence)
        for _ in range(_MOST_REDIRECTS + 1):
            self._check(url)
            async with self._session.get(
                url, headers=headers, allow_redirects=False, timeout=timeout
            ) as response:
                target = response.headers.get("Location")
                if response.status not in _REDIRECTS or not target:
                    yield response
                    return
                url = urljoin(url, target)
        raise RequestError(f"more than {_MOST_REDIRECTS} redirects")

    def _check(self, url: str) -> None:
        """Refuse what is no address to go to. Numbers never reach the resolver, so they are looked at here."""
        place = _place(url)
        if place is None:
            raise RequestError(f"{url[:200]!r} is no http:// or https:// address")
        host, port = place
        try:
            ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return
        if not self._guard.allows(host, port, host):
            raise RequestError(f"{host} is in a private network")


def _place(url: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not host:
        return None
    return host, port or (443 if parts.scheme == "https" else 80)


def _said(error: BaseException) -> str:
    inner = error.__cause__ or error
    text = str(getattr(inner, "strerror", None) or inner)
    return text.encode(errors="replace").decode()[:300] or type(error).__name__
