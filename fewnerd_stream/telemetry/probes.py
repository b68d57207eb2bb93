"""`/metrics`, `/live` and `/ready` over HTTP, from threads of their own: a loop that hangs is told of, too.

Whoever can reach the port may ask anything: a request is bounded in its length and its time, there are only
so many at a time, and the one that has taken longest makes room for the next.
"""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import sys
import threading
import time
from collections import OrderedDict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any, Final

import orjson
from prometheus_client.exposition import choose_encoder

from fewnerd_stream.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from prometheus_client import CollectorRegistry

    from fewnerd_stream.telemetry.health import Verdict

log = logging.getLogger("fewnerd_stream.worker")

REQUEST_BYTES: Final = 8 * 1024
"""Longest request line and headers together; a longer one is refused."""

REQUEST_SECONDS: Final = 5.0
"""Time for a request to arrive whole, and again for its answer to be taken."""

CONNECTIONS: Final = 16
"""Connections at a time; one more ends the one that has been there longest."""


class Probes:
    """The server: starts listening when made, answers once started."""

    def __init__(
        self,
        address: str,
        registry: CollectorRegistry,
        live: Callable[[], Verdict],
        ready: Callable[[], Verdict],
    ) -> None:
        """Listen.

        Args:
            address: host:port; port 0 takes any that is free.
            registry: what ``/metrics`` collects.
            live: asked for ``/live``, in any thread.
            ready: asked for ``/ready``, in any thread.

        Raises:
            SettingsError: the address cannot be listened on.
        """
        host, _, port = address.rpartition(":")
        try:
            self._server = _Server(host.strip("[]"), int(port), registry, live, ready)
        except OSError as error:
            raise SettingsError(
                f"FEWNERD_HTTP: cannot listen on {address}: {error.strerror or error}"
            ) from error

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Answer from now on, in a thread that ends with the process."""
        threading.Thread(target=self._server.serve_forever, name="probes", daemon=True).start()
        log.info("metrics and probes on port %d", self.port)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Server(HTTPServer):
    """Serves each connection in a thread, the oldest making room for one too many."""

    allow_reuse_address = True
    # Windows would let two workers share one port.
    request_queue_size = 2 * CONNECTIONS

    def __init__(
        self,
        host: str,
        port: int,
        registry: CollectorRegistry,
        live: Callable[[], Verdict],
        ready: Callable[[], Verdict],
    ) -> None:
        self.registry, self.live, self.ready = registry, live, ready
        self._open: OrderedDict[int, socket.socket] = OrderedDict()
        self._lock = threading.Lock()
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family = found[0][0]
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind; the standard library's would look the host's name up, which may take its time."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "", int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the base class's
        """Serve a connection in a thread of its own."""
        with self._lock:
            self._open[id(request)] = request
            oldest = self._open.popitem(last=False)[1] if len(self._open) > CONNECTIONS else None
        if oldest is not None:
            with contextlib.suppress(OSError):  # its thread sees the end, and closes it
                oldest.shutdown(socket.SHUT_RDWR)
        try:
            threading.Thread(target=self._serve, args=(request, client_address), daemon=True).start()
        except RuntimeError:  # no more threads
            self._forget(request)
            raise

    def _serve(self, request: socket.socket, client_address: Any) -> None:  # noqa: ANN401 - the base class's
        try:
            self.finish_request(request, client_address)
        except OSError:  # it went away, or took too long
            pass
        except Exception:
            log.exception("a request could not be answered")
        finally:
            self._forget(request)

    def _forget(self, request: socket.socket) -> None:
        with self._lock:
            self._open.pop(id(request), None)
        self.shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401, ARG002 - the base class's
        """Say it in the log, not on standard error."""
        log.warning("a request could not be taken", exc_info=sys.exception())


class _Handler(BaseHTTPRequestHandler):
    """Answers one request, and closes."""

    server: _Server
    server_version = "fewnerd-stream"
    sys_version = ""

    def setup(self) -> None:
        """Read the request's head whole, within its bounds, before anything is made of it."""
        super().setup()
        self.rfile = io.BufferedReader(io.BytesIO(_head(self.connection)))
        self.connection.settimeout(REQUEST_SECONDS)

    def do_GET(self) -> None:
        """Answer."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, kind = choose_encoder(self.headers.get("Accept", ""))
            self._answer(HTTPStatus.OK, kind, encode(self.server.registry))
        elif path == "/live":
            self._probe("live", self.server.live())
        elif path == "/ready":
            self._probe("ready", self.server.ready())
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    do_HEAD = do_GET  # noqa: N815 - the base class's name

    def _probe(self, name: str, verdict: Verdict) -> None:
        status = HTTPStatus.OK if verdict.well else HTTPStatus.SERVICE_UNAVAILABLE
        self._answer(
            status, "application/json", orjson.dumps({name: verdict.well, "missing": verdict.missing})
        )

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002 - the base class's
        """Answer in one line; the base class would repeat the request."""
        self._answer(HTTPStatus(code), "text/plain; charset=utf-8", HTTPStatus(code).phrase.encode() + b"\n")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - the base class's
        """Say nothing: a probe comes every few seconds."""


def _head(connection: socket.socket) -> bytes:
    """Receive a request up to the end of its headers.

    Raises:
        OSError: it took too long, or was too long.
    """
    deadline = time.monotonic() + REQUEST_SECONDS
    received = bytearray()
    while b"\r\n\r\n" not in received and b"\n\n" not in received:
        if len(received) >= REQUEST_BYTES:
            connection.sendall(b"HTTP/1.0 431 Request Header Fields Too Large\r\nContent-Length: 0\r\n\r\n")
            raise ConnectionAbortedError("the request is too long")
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request took too long")
        connection.settimeout(left)
        data = connection.recv(REQUEST_BYTES - len(received))
        if not data:
            break
        received += data
    return bytes(received)
