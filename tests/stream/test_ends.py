"""A worker that is told to stop ends with 0: in its first second, without a broker, and in a word or two."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fewnerd_stream.kafka.embedded import EmbeddedBroker
from tests.support.flows import Flow
from tests.support.processes import until
from tests.support.tally import Tally
from tests.support.workers import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

_SIGTERM_BIT = 1 << 14


def _takes_signals(worker: Worker) -> bool:
    """Whether the process does not die of SIGTERM by default any more."""
    status = Path(f"/proc/{worker.pid}/status").read_text(encoding="ascii").splitlines()
    return any(line.startswith("SigCgt") and int(line.split()[1], 16) & _SIGTERM_BIT for line in status)


@pytest.mark.parametrize("after", [0.0, 0.3, 0.8, 1.5])
@pytest.mark.parametrize("there", [True, False], ids=["with a broker", "without one"])
def test_sigterm_while_it_starts_ends_it_well(
    flow: Callable[..., Flow], tmp_path: Path, after: float, *, there: bool
) -> None:
    """With 0 and without a traceback, whatever it does at that moment: imports, asks for topics, loads the model."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and says nothing
        if there:
            worker = flow(partitions=1).worker(tagger=None, start=False)
        else:
            worker = Worker(f"127.0.0.1:{silent.getsockname()[1]}", tmp_path, tagger=None)
        with worker.start(wait=False):
            until("it takes signals", lambda: _takes_signals(worker), 60, every=0.005)
            time.sleep(after)
            assert worker.terminate(20) == 0
    assert "Traceback" not in worker.said()


def test_a_worker_whose_broker_is_gone_says_so_and_ends_at_once_when_told_to(
    unique: str, tmp_path: Path
) -> None:
    """Idle, it says in its health which brokers do not answer; SIGTERM does not wait for them, nor for the drain."""
    with EmbeddedBroker() as broker:
        address = broker.bootstrap
        stream = Flow(
            address,
            unique,
            tmp_path,
            Tally(),
            idempotence="false",
            partitions=1,
            drain=60,
            rebalance_timeout=90,
        )
        worker = stream.worker()
    try:
        until("it says so", lambda: worker.health()["state"] == "waiting", 60, every=0.25)
        assert address in worker.health()["reason"]
        began = time.monotonic()
        assert worker.terminate(60) == 0
        assert time.monotonic() - began < stream.settings.drain / 2, (
            "half of a limit that it must not wait for"
        )
    finally:
        stream.close()
