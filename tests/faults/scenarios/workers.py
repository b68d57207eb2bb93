"""Harm to the workers: killed, stopped in turn, frozen, and coming and going all the time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.faults.catalogue import scenario
from tests.faults.outside import add_partitions
from tests.faults.tagger import chosen

if TYPE_CHECKING:
    from tests.faults.stage import Stage
    from tests.support.workers import Worker

_FAILING = 0.05


@scenario(1, "kill-workers", "`kill -9` of a random worker under load", documents=650_000, few=1_500)
def kill_workers(stage: Stage) -> None:
    """Kill workers until so many kills counted; the next when the dead one's partitions moved again."""
    wanted = int(stage.pick(50, 2))
    workers = stage.start(3)
    backlog = int(stage.pick(3000, 600))
    stage.load(backlog=backlog)
    stage.flow(int(stage.pick(500, 100)))
    while sum(kill.counts for kill in stage.kills) < wanted or stage.loader.sent < stage.documents:
        counted = sum(kill.counts for kill in stage.kills)
        stage.progress(min(counted, wanted), wanted)
        if counted >= wanted:
            stage.flow(min(5_000, stage.documents - stage.loader.sent))
            continue
        stage.wait_stable()
        victim = stage.chance.choice(workers)
        # At full speed, so that it has windows at work; the short form goes on slowly then.
        stage.loader.start(backlog=backlog)
        stage.until("there is a backlog", lambda: (stage.watch.lag or 0) > backlog // 3)
        kill = stage.kill(victim)
        stage.load(backlog=backlog)
        # Half of them come back at once, as under a supervisor; half when the others have taken over.
        if stage.chance.random() < 0.5:
            victim.start(wait=False)
            stage.wait_moved(kill)
        else:
            stage.wait_moved(kill)
            victim.start(wait=False)
        stage.sleep(stage.chance.uniform(*(stage.pick(5, 1), stage.pick(20, 3))))
        victim.wait_state("assigned", seconds=120)
    stage.most_duplicates = stage.at_work * len(stage.kills)
    stage.faults.append(
        f"{len(stage.kills)} kills, {sum(kill.counts for kill in stage.kills)} of them in a window"
    )
    stage.settle()


@scenario(
    2,
    "rolling-stop",
    "rolling SIGTERM, with retries waiting",
    documents=15_000,
    few=800,
    settings={"retry_delays": "5,15,30"},
    quick={"retry_delays": "1,3,5"},
)
def rolling_stop(stage: Stage) -> None:
    """Stop and start each worker in turn while one document in twenty waits for its retries."""
    stage.order(documents=_FAILING)
    stage.expected.dies = _model_error
    workers = stage.start(3, faulty=True)
    stage.load(backlog=500, rate=stage.pick(150, 60))
    stage.flow(100)
    rounds, took = int(stage.pick(4, 1)), []
    for done in range(rounds * len(workers)):
        stage.progress(done, rounds * len(workers))
        worker = workers[done % len(workers)]
        took.append(stage.stop_worker(worker))
        worker.start(wait=False)
        worker.wait_state("assigned", seconds=120)
        stage.flow(50)
    while stage.loader.sent < stage.documents:
        stage.sleep(0.5)
    stage.figures |= {"stops": len(took), "longest_exit_seconds": round(max(took), 2)}
    stage.fault(f"{len(took)} times SIGTERM, the longest exit took {max(took):.1f} s")
    stage.most_duplicates = 0
    stage.settle(extra=sum(stage.settings.retry_delays))


def _model_error(number: int, _replay: int) -> str | None:
    return "model-error" if chosen(number, _FAILING) else None


@scenario(3, "zombie", "SIGSTOP for longer than the session, then SIGCONT", documents=30_000, few=1_000)
def zombie(stage: Stage) -> None:
    """Freeze a worker until the others have its partitions, and let it go on."""
    workers = stage.start(3 if not stage.short else 2)
    stage.load(backlog=1500)
    stage.flow(300)
    rounds = int(stage.pick(6, 1))
    session = stage.settings.session_timeout
    for done in range(rounds):
        stage.progress(done, rounds)
        victim = stage.chance.choice(workers)
        stage.sleep(stage.chance.uniform(1, stage.pick(8, 2)))
        victim.pause()
        stage.fault("")
        stage.sleep(session + stage.chance.uniform(2, stage.pick(10, 3)))
        stage.flow(300)
        victim.resume()
        stage.fault("")
        _back_in_group(stage, victim)
        stage.flow(300)
    stage.faults.append(f"{rounds} workers frozen for more than {session:g} s, and let go on")
    stage.most_duplicates = stage.at_work * rounds
    while stage.loader.sent < stage.documents:
        stage.sleep(0.5)
    stage.settle()


def _back_in_group(stage: Stage, worker: Worker) -> None:
    since = time.time()

    def back() -> bool:
        said = worker.health()
        return said.get("time", 0) > since and bool(said.get("assigned")) and said.get("state") == "running"

    stage.until(f"{worker.name} is back", back)


@scenario(
    9,
    "storm",
    "a worker joins or leaves every 3 s, more workers than partitions, partitions added",
    documents=20_000,
    few=800,
)
def storm(stage: Stage) -> None:
    """Let workers come and go, up to more than there are partitions, and add partitions on the way."""
    stage.storm = True
    most = stage.settings.partitions + 2
    running = stage.start(2)
    stage.load(backlog=1000)
    stage.flow(100)
    # By time, not by progress: that is what makes it a storm.
    turns, done = int(stage.pick(40, 7)), 0
    idle: list[Worker] = []
    added = False
    while done < turns:
        began = time.monotonic()
        stage.progress(done, turns)
        join = len(running) < most and (len(running) < 2 or stage.chance.random() < 0.6)
        if join:
            worker = idle.pop() if idle else stage.worker()
            worker.start(wait=False)
            running.append(worker)
        else:
            worker = running.pop(stage.chance.randrange(len(running)))
            stage.stop_worker(worker)
            idle.append(worker)
        if not added and done >= turns // 2:
            add_partitions(stage.cluster.direct, stage.names.input, stage.settings.partitions + 2)
            added = True
        done += 1
        stage.sleep(max(0.0, 3 - (time.monotonic() - began)))
    stage.fault(f"{turns} joins and leaves, one every 3 s; partitions from 4 to 6 on the way")
    while len(running) < most:
        worker = idle.pop() if idle else stage.worker()
        worker.start(wait=False)
        running.append(worker)
    stage.most_duplicates = 0
    while stage.loader.sent < stage.documents:
        stage.sleep(0.5)
    stage.settle()
