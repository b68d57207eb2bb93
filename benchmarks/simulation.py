"""A small simulation of the way beyond one machine: a cluster of workers under 10,000 documents a second.

Time goes in steps. Documents arrive at random on partitions, each worker does its partitions' documents at
the measured rate, and one worker dies on the way: its partitions wait for the session to run out, then go
to the others.
"""

from __future__ import annotations

import dataclasses
import math
import random

from benchmarks.stats import percentile

STEP = 0.1


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """What a load takes, from what one core does.

    Attributes:
        rate: documents a second.
        workers: processes of one core each.
        partitions: of the input topic.
        brokers: of the cluster, each with ``broker_cores`` cores.
        cores: all together.
        bytes_per_second: in and out, copies for replication included.
    """

    rate: float
    workers: int
    partitions: int
    brokers: int
    cores: float
    bytes_per_second: float


def plan(
    rate: float,
    *,
    worker_ms: float,
    broker_ms: float,
    bytes_in: float,
    bytes_out: float,
    load: float = 0.6,
    replication: int = 3,
    broker_cores: int = 4,
) -> Plan:
    """Return how many workers and brokers carry a rate at a share ``load`` of what they could.

    Args:
        rate: documents a second.
        worker_ms: a worker's processor time for a document, measured.
        broker_ms: the broker's, measured without replication; each copy is taken to cost as much again.
        bytes_in: of a document as produced.
        bytes_out: of all that comes of it.
        load: what is left over is for bursts, for catching up and for a machine that fails.
        replication: copies of each record.
        broker_cores: cores of a broker.
    """
    workers = math.ceil(rate * worker_ms / 1000 / load)
    brokers = max(replication, math.ceil(rate * broker_ms * replication / 1000 / load / broker_cores))
    # Twice as many partitions as workers, so that a worker that goes is shared out evenly, and one can come.
    partitions = 2 * workers
    traffic = rate * (bytes_in + bytes_out) * replication
    return Plan(rate, workers, partitions, brokers, workers + brokers * broker_cores, traffic)


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """What the simulation saw: waiting times in seconds, and how long the backlog of a dead worker lasted."""

    p50: float
    p99: float
    most: float
    recovered_after: float
    imbalance: float


def simulate(
    of: Plan,
    *,
    worker_ms: float,
    seconds: float = 180.0,
    dies_at: float = 60.0,
    session: float = 10.0,
    seed: int = 1,
) -> Run:
    """Let a plan's cluster run, with one worker dying at ``dies_at`` for good.

    Args:
        of: the cluster.
        worker_ms: a worker's processor time for a document.
        seconds: simulated.
        dies_at: seconds from the start.
        session: until the group notices.
        seed: of the random arrivals.
    """
    draw = random.Random(seed)
    waiting = [0.0] * of.partitions
    owner = [number % of.workers for number in range(of.partitions)]
    capacity = STEP * 1000 / worker_ms
    waits: list[float] = []
    recovered = math.inf
    for step in range(round(seconds / STEP)):
        now = step * STEP
        # Keys spread evenly; arrivals are Poisson, near enough normal at these numbers.
        mean = of.rate * STEP / of.partitions
        for number in range(of.partitions):
            waiting[number] += max(0.0, draw.gauss(mean, math.sqrt(mean)))
        dead = 0 if now >= dies_at else None
        if dead is not None and now >= dies_at + session and 0 in owner:
            orphans = [number for number, of_worker in enumerate(owner) if of_worker == 0]
            for place, number in enumerate(orphans):
                owner[number] = 1 + place % (of.workers - 1)
        for worker in range(of.workers):
            mine = [number for number, of_worker in enumerate(owner) if of_worker == worker]
            backlog = sum(waiting[number] for number in mine)
            if worker == dead:
                waits.append(backlog / capacity * STEP)
                continue
            left = max(0.0, backlog - capacity)
            for number in mine:
                waiting[number] *= left / backlog if backlog else 0.0
            waits.append(backlog / capacity * STEP)
        if now > dies_at + session and math.isinf(recovered) and sum(waiting) < of.rate * STEP:
            recovered = now - dies_at
    heaviest = max(owner.count(worker) for worker in range(1, of.workers)) / (of.partitions / of.workers)
    return Run(percentile(waits, 0.5), percentile(waits, 0.99), max(waits), recovered, heaviest)
