"""Metrics and probes over HTTP: what they answer, and that nobody can keep them from answering."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, Gauge

from fewnerd_stream.errors import SettingsError
from fewnerd_stream.telemetry import probes
from fewnerd_stream.telemetry.health import Verdict
from fewnerd_stream.telemetry.probes import CONNECTIONS, REQUEST_BYTES, Probes

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[Probes]:
    """Serve one gauge, alive and not ready."""
    registry = CollectorRegistry()
    Gauge("answer", "One.", registry=registry).set(42)
    made = Probes("127.0.0.1:0", registry, lambda: Verdict(True), lambda: Verdict(False, ("model",)))
    made.start()
    try:
        yield made
    finally:
        made.close()


def ask(server: Probes, path: str, method: str = "GET") -> tuple[int, str, bytes]:
    """Ask; return status, content type and body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    with contextlib.closing(connection):
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.headers["Content-Type"], answer.read()


def raw(server: Probes, data: bytes) -> bytes:
    """Send bytes, and read until the end."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(data)
        received = b""
        with contextlib.suppress(OSError):
            while chunk := connection.recv(65536):
                received += chunk
        return received


def test_they_answer(server: Probes) -> None:
    """Metrics in Prometheus' format, verdicts with their reasons and a status that says it all."""
    status, kind, body = ask(server, "/metrics")
    assert status == 200
    assert kind.startswith("text/plain")
    assert b"answer 42.0" in body
    assert ask(server, "/live")[0] == 200
    status, _, body = ask(server, "/ready?verbose=1")
    assert status == 503
    assert json.loads(body) == {"ready": False, "missing": ["model"]}
    assert ask(server, "/live", "HEAD") == (200, "application/json", b"")


def test_there_is_nothing_else(server: Probes) -> None:
    """Another path is not found and not repeated, another method not known."""
    status, _, body = ask(server, "/<script>")
    assert status == 404
    assert b"script" not in body
    assert ask(server, "/metrics", "POST")[0] == 501


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /" + b"a" * REQUEST_BYTES,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * REQUEST_BYTES,
        b"\x00" * 3 * REQUEST_BYTES,
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /live HTTP/1.1\r\n" + b"".join(b"H%d: 1\r\n" % n for n in range(200)) + b"\r\n",
    ],
    ids=["line", "headers", "zeros", "empty", "short", "version", "many"],
)
def test_no_request_is_too_bad(server: Probes, request_bytes: bytes) -> None:
    """It is refused or cut off, and the next one is answered."""
    answer = raw(server, request_bytes)
    assert not answer.startswith((b"HTTP/1.0 200", b"HTTP/1.1 200"))
    assert len(answer) < 1000
    assert ask(server, "/live")[0] == 200


def test_the_oldest_connection_makes_room(server: Probes) -> None:
    """Clients that say nothing, however many, keep nobody from an answer, and no more threads are made."""
    with contextlib.ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=30))
            for _ in range(3 * CONNECTIONS)
        ]
        assert ask(server, "/live")[0] == 200
        assert silent[0].recv(1) == b""
        assert threading.active_count() <= CONNECTIONS + 20


def test_a_slow_client_is_not_waited_for(server: Probes, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that sends byte after byte is cut off when its time is over, however busy it looks."""
    monkeypatch.setattr(probes, "REQUEST_SECONDS", 0.5)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as slow:
        ended = threading.Event()

        def drip() -> None:
            with contextlib.suppress(OSError):
                while not ended.wait(0.05):
                    slow.sendall(b"a")

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            with contextlib.suppress(ConnectionResetError):
                assert slow.recv(1) == b""
        finally:
            ended.set()
            dripping.join()


def test_an_address_that_is_taken_is_said(server: Probes) -> None:
    """With the setting's name."""
    with pytest.raises(SettingsError, match="FEWNERD_HTTP: cannot listen on"):
        Probes(f"127.0.0.1:{server.port}", CollectorRegistry(), lambda: Verdict(True), lambda: Verdict(True))
