"""The fault suite's clusters: Apache Kafka by kind, with what stands between it and the workers."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

from tests.faults.disk import Disk
from tests.support.kafka import HOST, KafkaCluster
from tests.support.toxiproxy import Toxiproxy

if TYPE_CHECKING:
    from pathlib import Path

# What the offsets' topic has forgotten, no verifier can see.
_KEEP: Final = {
    "log.cleaner.enable": "false",
    "log.cleaner.min.compaction.lag.ms": str(2**63 - 1),
    "log.segment.bytes": str(256 << 20),
}
# With a listener for workers that asks who they are, and one for us who may do everything.
_LOGIN: Final = {
    "listener.security.protocol.map": "CLIENT:SASL_PLAINTEXT,DIRECT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "listener.name.client.sasl.enabled.mechanisms": "PLAIN",
    "listener.name.client.plain.sasl.jaas.config": (
        "org.apache.kafka.common.security.plain.PlainLoginModule required user_worker=secret;"
    ),
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS",
    "allow.everyone.if.no.acl.found": "true",
}
AS_WORKER: Final = {
    "security_protocol": "SASL_PLAINTEXT",
    "sasl_mechanism": "PLAIN",
    "sasl_username": "worker",
    "sasl_password": "secret",
}


class Clusters:
    """Clusters by kind, started when first asked for, and shared by the scenarios of a run.

    ``one``: a single broker; ``three``: three with replication 3, each behind a proxy of its own; ``login``: a
    single one that asks workers who they are; ``disk``: three, the second on a small disk.
    """

    def __init__(self, folder: Path) -> None:
        """Keep data and logs under a folder."""
        self.folder = folder
        self.proxies: dict[str, Toxiproxy] = {}
        self.disk: Disk | None = None
        self._clusters: dict[str, KafkaCluster] = {}
        self._stack = ExitStack()

    def get(self, kind: str) -> KafkaCluster:
        """Give the cluster of a kind, started."""
        if kind not in self._clusters:
            self._clusters[kind] = self._stack.enter_context(self._make(kind))
        return self._clusters[kind]

    def end(self, kind: str) -> None:
        """End a cluster early, to make room; the next that asks gets a new one."""
        cluster = self._clusters.pop(kind, None)
        if cluster is not None:
            cluster.close()
        proxy = self.proxies.pop(kind, None)
        if proxy is not None:
            proxy.close()

    def _make(self, kind: str) -> KafkaCluster:
        folder = self.folder / f"kafka-{kind}-{len(list(self.folder.glob('kafka-*')))}"
        folder.mkdir(parents=True)
        properties = _KEEP | (_LOGIN if kind == "login" else {})
        if kind in {"one", "login"}:
            return KafkaCluster(1, properties=properties, folder=folder)
        properties["min.insync.replicas"] = "2"
        if kind == "disk":
            self.disk = self._stack.enter_context(Disk(folder / "data-1"))
            # Files that Kafka sets aside in advance would fill the small disk by themselves.
            properties |= {"log.segment.bytes": str(16 << 20), "log.index.size.max.bytes": str(64 << 10)}
            return KafkaCluster(3, properties=properties, folder=folder, heap="320m")
        cluster = KafkaCluster(3, properties=properties, folder=folder, heap="320m")
        upstreams = {str(i): f"{HOST}:{ports.client}" for i, ports in enumerate(cluster.ports)}
        proxy = self._stack.enter_context(Toxiproxy(upstreams, folder))
        cluster.advertise.update({i: proxy.listen[str(i)] for i in range(3)})
        self.proxies[kind] = proxy
        return cluster

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """End all."""
        self._stack.close()
