"""Many partitions with a backlog, and a group that changes all the time: none of them may stand while others move."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Final

from tests.faults.catalogue import scenario
from tests.faults.standing import Onlooker

if TYPE_CHECKING:
    from tests.faults.stage import Stage

_STANDS_SECONDS: Final = 5.0
_RECOVERY_SECONDS: Final = 15.0
_OWN: Final = {"partitions": "16", "window_size": "16", "session_timeout": "6", "heartbeat_interval": "1"}


@scenario(
    9,
    "neighbours",
    "the group changes again and again, with a backlog on each of 16 partitions",
    documents=15_000,
    few=900,
    settings=_OWN,
    quick={**_OWN, "session_timeout": "4", "heartbeat_interval": "0.5"},
)
def neighbours(stage: Stage) -> None:
    """Let workers come, go and die while every partition is behind; look how long an owned one stands."""
    backlog = int(stage.pick(4_000, 700))
    stage.load(backlog=backlog, rate=1_000_000)
    stage.until("there is a backlog", lambda: (stage.watch.lag or 0) > backlog // 2)
    most = 3
    recoveries: list[float] = []
    names = stage.names
    with Onlooker(stage.cluster.direct, names.group, names.input, _STANDS_SECONDS) as onlooker:
        running = stage.start(2)
        turns = int(stage.pick(24, 3))
        for turn in range(turns):
            stage.progress(turn, turns)
            began, before = time.monotonic(), dict(onlooker.committed)
            if len(running) < most:
                worker = stage.worker()
                worker.start(wait=False)
                running.append(worker)
                worker.wait_state("assigned", seconds=120)
            elif turn % 2:
                stage.kill(running.pop(0))
            else:
                stage.stop_worker(running.pop(0))

            def moved(before: dict[tuple[str, int], int] = before) -> bool:
                now, behind = onlooker.committed, onlooker.behind
                return all(now.get(part, 0) > offset or part not in behind for part, offset in before.items())

            stage.until("every partition moves again", moved, 240)
            recoveries.append(time.monotonic() - began)
            stage.sleep(stage.pick(8, 1))
        stage.fault(f"{turns} changes of the group, with up to {backlog:,} documents waiting")
        stood = onlooker.standing.longest
    p95 = statistics.quantiles(recoveries, n=20, method="inclusive")[-1]
    # What all workers read ahead, twice: whoever stands past more was passed over.
    ahead = 2 * (most + 1) * stage.settings.window_size * (stage.settings.windows_in_flight + 2)
    stage.figures |= {
        "longest_stand_seconds": round(stood.seconds, 1),
        "passed_by_documents": stood.documents,
        "recovery_p95_seconds": round(p95, 1),
    }
    if stood.documents > ahead:
        stage.objections.append(
            ("I7", f"a partition stood while {stood.documents} documents of others passed")
        )
    if not stage.short:  # the short form runs on machines of any speed
        if stood.seconds > _STANDS_SECONDS:
            stage.objections.append(("I7", f"an owned partition stood for {stood.seconds:.1f} s"))
        if p95 > _RECOVERY_SECONDS:
            stage.objections.append(("I7", f"recovery took {p95:.1f} s at the 95th percentile"))
    stage.most_duplicates = stage.at_work * len(stage.kills)
    while stage.loader.sent < stage.documents:
        stage.sleep(0.5)
    stage.settle()
