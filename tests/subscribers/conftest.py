"""Topics on Apache Kafka with messages on them, and the programs of other languages."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from fewnerd_client.testing import Broker, messages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fewnerd_client import Raw

    from tests.support.kafka import KafkaCluster

CATEGORIES = ("person", "location")
TEXT = "𝔄ngela 🛫 Angela Merkel flew to Paris 🇫🇷, née 👩‍👩‍👧 Kasner."
FOUND = [("Angela Merkel", "person-politician"), ("Kasner", "person-other"), ("Paris 🇫🇷", "location-GPE")]


def documents(count: int, prefix: str) -> list[Raw]:
    """Build the messages of so many documents, each tenth of them written twice."""
    built = [
        messages(f"{n}: {TEXT}", FOUND, id=f"d-{n}", key=b"k%d" % n, offset=n, prefix=prefix)
        for n in range(count)
    ]
    return [one for n, each in enumerate(built) for one in each * (2 if n % 10 == 0 else 1)]


class _Cluster(Broker):
    """Apache Kafka in the place of the embedded broker."""

    def __init__(self, bootstrap: str) -> None:
        self._address = bootstrap

    @property
    def bootstrap(self) -> str:
        """Where it listens."""
        return self._address


@pytest.fixture
def publish(kafka: KafkaCluster, unique: str) -> Callable[[Iterable[Raw]], None]:
    """Make the topics under the prefix ``unique``, and give what writes to them."""
    cluster = _Cluster(kafka.bootstrap)
    asyncio.run(cluster.create_topics(unique, partitions=2))
    return lambda records: asyncio.run(cluster.publish(records))


def need(program: str) -> str:
    """Find a program; skips without it, or fails where ``CI_REQUIRE_SUBSCRIBERS`` is set."""
    found = shutil.which(program)
    if found is None:
        missing(f"{program} is not on the PATH")
    return str(found)


def missing(reason: str) -> None:
    """Skip, or fail where ``CI_REQUIRE_SUBSCRIBERS`` is set."""
    if os.environ.get("CI_REQUIRE_SUBSCRIBERS"):
        pytest.fail(reason)
    pytest.skip(reason)


def run(*command: str, folder: str | os.PathLike[str] | None = None, seconds: float = 240) -> str:
    """Run a program to its end, and give what it printed."""
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        timeout=seconds,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, (
        f"{command[0]}: status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    )
    return done.stdout
