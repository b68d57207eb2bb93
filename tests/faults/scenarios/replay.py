"""Replays of dead letters while live, and retries that wait through a restart of everything."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

from tests.faults.catalogue import scenario
from tests.faults.scenarios.brokers import start_all
from tests.faults.tagger import chosen

if TYPE_CHECKING:
    from tests.faults.stage import Stage
    from tests.support.workers import Worker

_SHARE: Final = 0.1


@scenario(
    10,
    "replay",
    "dead letters replayed while live, and a worker killed on the way",
    documents=25_000,
    few=2_000,
)
def replay(stage: Stage) -> None:
    """Let documents die for a setting, put it right, and replay them beside the live load."""
    letters = int(stage.pick(10_000, 800))
    stage.expected.dies = lambda number, turn: "text-too-large" if number < letters and turn == 0 else None
    stage.expected.replays = lambda number: 1 if number < letters else 0
    strict = stage.start(2, max_text_bytes=8)
    stage.load(backlog=2000, limit=letters)
    stage.until("all is dead", lambda: stage.loader.done() and stage._quiet(), 600)
    stage.stop_workers(strict)
    stage.fault(f"{letters:,} documents died of a setting")
    workers = stage.start(2)
    stage.load(backlog=500, limit=stage.documents)
    began = time.monotonic()
    command = _replay(stage)
    stage.flow(100)
    stage.kill(workers[0])
    workers[0].start(wait=False)
    output, problem = command.communicate(timeout=600)
    assert command.returncode == 0, f"the replay ended with {command.returncode}: {problem[-2000:]}"
    (said,) = json.loads(output)["replays"]
    stage.figures |= {"replayed": said["replayed"], "replay_seconds": round(time.monotonic() - began, 1)}
    if said["replayed"] != letters:
        stage.objections.append(("I1", f"the replay says {said['replayed']} of {letters} letters"))
    stage.fault(f"{letters:,} dead letters replayed while live, a worker killed meanwhile")
    stage.until("all is sent", stage.loader.done, 900)
    stage.settle()


def _replay(stage: Stage) -> subprocess.Popen[str]:
    worker: Worker = stage.worker()
    stage.workers.remove(worker)
    stage.watch.workers.remove(worker)
    program = "import sys; from fewnerd_stream.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "dead", "replay", "--json"]
    return subprocess.Popen(
        command,
        env=worker._environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@scenario(
    10,
    "restart-all",
    "retries that wait through a restart of everything",
    documents=8_000,
    few=800,
    settings={"retry_delays": "5,15,30"},
    quick={"retry_delays": "2,4,6"},
)
def restart_all(stage: Stage) -> None:
    """Stop all workers and all brokers while documents wait for their next attempt, and start all again."""
    stage.order(documents=_SHARE)
    stage.expected.dies = lambda number, _: "model-error" if chosen(number, _SHARE) else None
    workers = stage.start(2, faulty=True)
    stage.load(backlog=500, rate=stage.pick(200, 150))
    for done in range(int(stage.pick(3, 1))):
        stage.progress(done, int(stage.pick(3, 1)))
        stage.flow(300)
        if stage.chance.random() < 0.5:
            stage.stop_workers(workers)
        else:
            for worker in workers:
                stage.kill(worker)
        for broker in range(stage.cluster.brokers):
            stage.cluster.stop(broker)
        stage.sleep(stage.pick(8, 2))
        start_all(stage.cluster)
        stage.broker_restarts += stage.cluster.brokers
        for worker in workers:
            worker.start(wait=False)
        stage.fault("everything stopped, and started again")
    while stage.loader.sent < stage.documents:
        stage.sleep(0.5)
    stage.settle(extra=sum(stage.settings.retry_delays))
