"""A slow model slows the reading: memory is bounded, the group keeps its members, and retries hold nothing up."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.clients import New
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.flows import Flow
    from tests.support.workers import Worker


def raw(text: str, **fields: object) -> bytes:
    """Write a raw document."""
    return json.dumps({"id": "d", "text": text, **fields}).encode()


def memory(worker: Worker) -> int:
    """Give the most memory that a worker has held, in MiB."""
    status = Path(f"/proc/{worker.pid}/status")
    if not status.exists():
        pytest.skip("memory is read from /proc")
    [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) // 1024


def assignments(worker: Worker) -> int:
    """Count how often the group gave a worker its partitions."""
    return worker.said().count("worker: assigned")


def test_a_slow_model_slows_the_reading_and_stays_in_the_group(flow: Callable[..., Flow]) -> None:
    """With 240 MB waiting and windows longer than a session, memory stays bounded and nothing is rebalanced."""
    filler = "x" * 200_000
    limits = {"max_text_bytes": 200_000, "max_message_bytes": 300_000, "max_result_bytes": 400_000}
    stream = flow(partitions=2, window_size=4, windows_in_flight=2, session_timeout=2, **limits)
    records = (New(raw(f"Paris {n} !slow=0.7", filler=filler), partition=n % 2) for n in range(1200))
    stream.send(records, batch_size="1")
    idle = flow(partitions=2).worker(start=True)
    before = memory(idle)
    worker = stream.worker()
    stream.wait_committed(24)
    assert memory(worker) - before < 150
    assert assignments(worker) == 1
    assert "Heartbeat" not in worker.said()
    assert worker.health()["state"] == "running"
    stream.stop(worker)


def test_retries_that_fall_due_together_do_not_stop_the_reading(flow: Callable[..., Flow]) -> None:
    """Hundreds of retries due at one moment, and windows of one: all get through, and fresh documents with them."""
    parts, each = 6, 64
    stream = flow(partitions=parts, window_size=1, windows_in_flight=1, retry_delays="5,6,7")
    [(topic, partition, offset)] = stream.send([raw("Paris first")])
    due = int(time.time() * 1000) + 12_000
    ours = (
        ("__fewnerd.attempt", b"1"),
        ("__fewnerd.replay", b"0"),
        ("__fewnerd.topic", topic.encode()),
        ("__fewnerd.partition", b"%d" % partition),
        ("__fewnerd.offset", b"%d" % offset),
        ("__fewnerd.not-before", b"%d" % due),
    )
    for retry in stream.retries:
        stream.send(
            (New(raw("Hamlet"), headers=ours, partition=n % parts) for n in range(parts * each)), retry
        )
    worker = stream.worker()
    stream.send(New(raw(f"Siemens {n}"), partition=n % parts) for n in range(200))
    stream.wait_done()
    assert stream.count(f"{stream.settings.output_prefix}.art") == 3 * parts * each
    assert stream.count(f"{stream.settings.output_prefix}.organization") == 200
    assert all(message.timestamp >= due for message in stream.category("art"))
    stream.stop(worker)


def test_a_worker_with_nothing_to_do_stays_ready(flow: Callable[..., Flow]) -> None:
    """A worker without partitions outlives many sessions, and takes over when its neighbour is killed."""
    stream = flow(partitions=1, retry_delays="1", session_timeout=2, heartbeat_interval=0.3)
    workers = [stream.worker(start=False) for _ in range(3)]
    for worker in workers:
        worker.start(wait=False)
    until("the group has settled", lambda: sum(len(w.health().get("assigned", ())) for w in workers) == 2, 60)
    owner = next(w for w in workers if f"{stream.input}/0" in w.health()["assigned"])
    began = time.monotonic()
    until("five sessions have passed", lambda: time.monotonic() - began > 10)
    assert all(worker.health()["state"] == "running" for worker in workers)
    stream.kill(owner)
    stream.send([raw(f"Paris {n}") for n in range(20)])
    stream.wait_done()
    assert stream.account().duplicates == 0
    for worker in workers:
        if worker is not owner:
            stream.stop(worker)


def test_a_named_worker_that_restarts_quickly_moves_no_partition(flow: Callable[..., Flow]) -> None:
    """With a name of its own a worker may be killed and come back within its session: its neighbour notices nothing."""
    stream = flow(partitions=2, session_timeout=30, heartbeat_interval=0.5, request_timeout=31, patience=130)
    first, second = (stream.worker(start=False, instance_id=f"{stream.group}-{n}") for n in (1, 2))
    for worker in (first, second):
        worker.start(wait=False)
    until("both have a share", lambda: all(w.health().get("assigned") for w in (first, second)), 60)
    until("the group has settled", lambda: sum(len(w.health()["assigned"]) for w in (first, second)) == 8, 60)
    share, times = second.health()["assigned"], assignments(second)
    stream.kill(first)
    stream.send([New(raw(f"Paris {n}"), partition=n % 2) for n in range(20)])
    stream.start(first)
    stream.wait_done()
    assert stream.account().duplicates == 0
    assert (second.health()["assigned"], assignments(second)) == (share, times)
    for worker in (first, second):
        stream.stop(worker)
