"""Apache Kafka from its own jars: brokers in KRaft mode on free loopback ports, without Docker.

``python -m tests.support.kafka`` runs one in the foreground and prints where it listens.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from fewnerd_stream.kafka.embedded import answers
from tests.support import clients
from tests.support.processes import Process, until

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HOST: Final = "127.0.0.1"
POM: Final = Path(__file__).parents[1] / "kafka" / "pom.xml"
_LOGGING: Final = POM.with_name("log4j2.properties")
_JAVA: Final = 17
_READY_SECONDS: Final = 60.0
# Below what outgoing connections are given: a killed broker's port must still be free when it comes back.
_PORTS: Final = range(20_000, 32_000)


class KafkaUnavailable(Exception):  # noqa: N818 - says what is the case, and why
    """Apache Kafka cannot run here; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Ports:
    """A broker's ports: for clients, for tests that must get past the clients' proxy, and for the quorum."""

    client: int
    direct: int
    controller: int


class KafkaCluster:
    """One or three brokers of Apache Kafka, from ``with`` to the end of its block; no topic makes itself.

    ``advertise`` gives other addresses to clients, per broker: put a proxy there and let it forward to
    ``ports[i].client``. What the brokers say to each other, and ``direct``, never pass it.
    """

    def __init__(
        self,
        brokers: int = 1,
        *,
        properties: Mapping[str, str] | None = None,
        advertise: Mapping[int, str] | None = None,
        heap: str = "400m",
        folder: Path | None = None,
    ) -> None:
        """Choose ports; nothing runs yet.

        Args:
            brokers: how many; each is a controller, too.
            properties: broker settings that win over ours.
            advertise: ``host:port`` by broker (0, 1, ...); may also be filled in before the start.
            heap: Java heap of each broker.
            folder: where data and logs go and stay; by default a temporary one, removed at the end.
        """
        self.brokers = brokers
        self.properties = dict(properties or {})
        self.advertise = dict(advertise or {})
        self.heap = heap
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="fewnerd-kafka-"))
        numbers = iter(free_ports(3 * brokers))
        self.ports: list[Ports] = [Ports(next(numbers), next(numbers), next(numbers)) for _ in range(brokers)]
        self._processes: list[Process | None] = [None] * brokers
        self._java: str = ""
        self._classpath: str = ""

    @property
    def bootstrap(self) -> str:
        """Where clients connect: ``host:port,...``."""
        return ",".join(self.advertise.get(i, f"{HOST}:{ports.client}") for i, ports in enumerate(self.ports))

    @property
    def direct(self) -> str:
        """The same past any proxy."""
        return ",".join(f"{HOST}:{ports.direct}" for ports in self.ports)

    def __enter__(self) -> Self:
        """Format and start all brokers; returns when each answers."""
        try:
            self._java, self._classpath = java(), f"{jars()}/*"
            for broker in range(self.brokers):
                self._format(broker)
            for broker in range(self.brokers):
                self._launch(broker)
            for broker in range(self.brokers):
                self._wait_ready(broker)
            self._wait_members()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Close, whatever happened."""
        self.close()

    def close(self) -> None:
        """End all brokers at once: their data are not needed any more."""
        for broker in range(self.brokers):
            self.kill(broker)
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, broker: int) -> None:
        """Start a broker that was stopped or killed, on its old ports and data; returns when it answers."""
        self._launch(broker)
        self._wait_ready(broker)
        self._wait_members()

    def stop(self, broker: int, seconds: float = 30) -> None:
        """End a broker in good order: its partitions move first."""
        process = self._processes[broker]
        if process is not None:
            process.signal(signal.SIGTERM)
            process.wait(seconds)
            self._processes[broker] = None

    def kill(self, broker: int) -> None:
        """End a broker with SIGKILL."""
        process, self._processes[broker] = self._processes[broker], None
        if process is not None:
            process.kill()

    def pause(self, broker: int) -> None:
        """Freeze a broker: its connections stay, and nothing is answered."""
        self._running(broker).signal(signal.SIGSTOP)

    def resume(self, broker: int) -> None:
        """Let a frozen broker go on."""
        self._running(broker).signal(signal.SIGCONT)

    def pid(self, broker: int) -> int:
        """Give the broker's process id."""
        return self._running(broker).pid

    def log(self, broker: int) -> Path:
        """Give the broker's log, over all its starts."""
        return self.folder / f"broker-{broker}.log"

    def _running(self, broker: int) -> Process:
        process = self._processes[broker]
        if process is None:
            message = f"broker {broker} does not run"
            raise AssertionError(message)
        return process

    def _configuration(self, broker: int) -> dict[str, str]:
        ports = self.ports[broker]
        copies = min(3, self.brokers)
        voters = ",".join(f"{i + 1}@{HOST}:{each.controller}" for i, each in enumerate(self.ports))
        client = self.advertise.get(broker, f"{HOST}:{ports.client}")
        return {
            "process.roles": "broker,controller",
            "node.id": str(broker + 1),
            "controller.quorum.voters": voters,
            "listeners": f"CLIENT://{HOST}:{ports.client},DIRECT://{HOST}:{ports.direct},"
            f"CONTROLLER://{HOST}:{ports.controller}",
            "advertised.listeners": f"CLIENT://{client},DIRECT://{HOST}:{ports.direct}",
            "listener.security.protocol.map": "CLIENT:PLAINTEXT,DIRECT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "DIRECT",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": str(self.folder / f"data-{broker}"),
            "auto.create.topics.enable": "false",
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": str(copies),
            "transaction.state.log.num.partitions": "4",
            "transaction.state.log.replication.factor": str(copies),
            "transaction.state.log.min.isr": str(max(1, copies - 1)),
            # A first member waits for no other, and short sessions may be asked for: tests are impatient.
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "broker.heartbeat.interval.ms": "500",
            "broker.session.timeout.ms": "4000",
            "num.network.threads": "2",
            "num.io.threads": "4",
            "log.cleaner.dedupe.buffer.size": "16777216",
            **self.properties,
        }

    def _format(self, broker: int) -> None:
        path = self._properties_file(broker)
        lines = [f"{name}={value}" for name, value in self._configuration(broker).items()]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        command = [
            *(self._java, "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", self._classpath),
            f"-Dlog4j2.configurationFile={_LOGGING}",
            *("kafka.tools.StorageTool", "format", "--ignore-formatted"),
            *("--cluster-id", "ZmV3bmVyZC1zdHJlYW0tMQ", "--config", str(path)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_READY_SECONDS)
        if done.returncode != 0:
            message = f"Kafka's storage could not be formatted:\n{done.stdout}{done.stderr}"
            raise AssertionError(message)

    def _launch(self, broker: int) -> None:
        if self._processes[broker] is not None:
            message = f"broker {broker} runs already"
            raise AssertionError(message)
        command = [
            *(self._java, f"-Xmx{self.heap}", "-XX:+UseSerialGC", "-cp", self._classpath),
            f"-Dlog4j2.configurationFile={_LOGGING}",
            *("kafka.Kafka", str(self._properties_file(broker))),
        ]
        self._processes[broker] = Process(command, self.log(broker))

    def _wait_ready(self, broker: int) -> None:
        process = self._running(broker)

        def ready() -> bool:
            if process.status is not None:
                message = f"broker {broker} ended with status {process.status}:\n{process.tail()}"
                raise AssertionError(message)
            return answers(HOST, self.ports[broker].client) and answers(HOST, self.ports[broker].direct)

        try:
            until(f"broker {broker} answers", ready, _READY_SECONDS)
        except AssertionError as error:
            error.add_note(process.tail())
            raise

    def _wait_members(self) -> None:
        """Wait until all that run are in the cluster: one that answers may still be fenced off."""
        running = sum(process is not None for process in self._processes)
        until(f"{running} brokers in the cluster", lambda: clients.brokers(self.direct) >= running)

    def _properties_file(self, broker: int) -> Path:
        return self.folder / f"broker-{broker}.properties"


def java() -> str:
    """Return the path of a Java that runs Kafka; raises :class:`KafkaUnavailable`."""
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if program is None:
        message = "no Java on the PATH: Apache Kafka needs Java 17 or newer"
        raise KafkaUnavailable(message)
    try:
        done = subprocess.run([program, "-version"], capture_output=True, text=True, check=False, timeout=30)
    except OSError as error:
        message = f"{program} does not run: {error}"
        raise KafkaUnavailable(message) from error
    match = re.search(r'version "(\d+)', done.stderr)
    if match is None or int(match[1]) < _JAVA:
        found = match[0] if match else done.stderr.strip()
        message = f"{program} is too old: Apache Kafka needs Java {_JAVA} or newer, not {found}"
        raise KafkaUnavailable(message)
    return program


def version() -> str:
    """Return the version of Kafka that the pom names."""
    match = re.search(r"<kafka\.version>([^<]+)</kafka\.version>", POM.read_text(encoding="utf-8"))
    assert match is not None
    return match[1]


def jars() -> Path:
    """Return the folder of Kafka's jars, which Maven fills once; raises :class:`KafkaUnavailable`."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fewnerd-stream"
    digest = hashlib.sha256(POM.read_bytes()).hexdigest()[:8]
    folder = cache / f"kafka-{version()}-{digest}"
    if folder.is_dir():
        return folder
    maven = shutil.which("mvn")
    if maven is None:
        message = "no Maven (mvn) on the PATH to fetch Apache Kafka's jars"
        raise KafkaUnavailable(message)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            command = [
                maven,
                "-q",
                "-B",
                "-f",
                str(POM),
                "dependency:copy-dependencies",
                f"-DoutputDirectory={scratch}/jars",
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
            if done.returncode != 0:
                message = f"Maven could not fetch Apache Kafka's jars:\n{done.stdout}{done.stderr}"
                raise KafkaUnavailable(message)
            Path(scratch, "jars").rename(folder)
    return folder


def free_ports(count: int) -> list[int]:
    """Choose ports that nobody listens on; all are held until the last is found, so they differ."""
    held: list[socket.socket] = []
    try:
        while len(held) < count:
            listener = socket.socket()
            held.append(listener)
            try:
                listener.bind((HOST, random.choice(_PORTS)))
            except OSError:
                held.pop().close()
        return [listener.getsockname()[1] for listener in held]
    finally:
        for listener in held:
            listener.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run brokers until interrupted."""
    parser = argparse.ArgumentParser(prog="make kafka", description="Apache Kafka in the foreground.")
    parser.add_argument("--brokers", type=int, default=1, choices=(1, 3))
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with KafkaCluster(options.brokers) as cluster, suppress(KeyboardInterrupt):
            print(
                f"Apache Kafka {version()} on {cluster.bootstrap}, logs in {cluster.folder}; Ctrl-C ends it."
            )
            print(f"export FEWNERD_BOOTSTRAP_SERVERS={cluster.bootstrap}", flush=True)
            while True:
                time.sleep(3600)
    except KafkaUnavailable as error:
        print(f"make kafka: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
