"""A bad model: it raises, hangs, takes the process with it, is slow; and a bundle that is not whole."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fewnerd_stream.exits import Exit
from tests.faults.catalogue import scenario
from tests.faults.tagger import chosen

if TYPE_CHECKING:
    from tests.faults.stage import Stage
    from tests.support.workers import Worker

_SHARE: Final = 0.05
_CULPRIT: Final = 150
_SOON: Final = {"retry_delays": "2,5,10"}
_SOONER: Final = {"retry_delays": "0.5,1,2"}


@scenario(
    7,
    "model-documents",
    "a model that raises on 5 % of documents, the same ones each time",
    documents=20_000,
    few=800,
    settings=_SOON,
    quick=_SOONER,
)
def model_documents(stage: Stage) -> None:
    """See that those documents go through all retries to the dead letters, and no other does."""
    stage.order(documents=_SHARE)
    stage.expected.dies = lambda number, _: "model-error" if chosen(number, _SHARE) else None
    stage.start(2, faulty=True)
    stage.load(backlog=1000, limit=stage.documents)
    stage.until("all is sent", stage.loader.done, 1200)
    stage.faults.append("the model raises on 5 % of documents")
    stage.most_duplicates = 0
    stage.settle(extra=sum(stage.settings.retry_delays))


@scenario(
    7,
    "model-calls",
    "a model that raises on 5 % of calls, at random",
    documents=20_000,
    few=800,
    settings=_SOON,
    quick=_SOONER,
)
def model_calls(stage: Stage) -> None:
    """See that nothing comes of it but some retries."""
    stage.order(calls=_SHARE)
    stage.start(2, faulty=True)
    stage.load(backlog=1000, limit=stage.documents)
    stage.until("all is sent", stage.loader.done, 1200)
    stage.faults.append("the model raises on 5 % of calls")
    stage.settle(extra=sum(stage.settings.retry_delays))


@scenario(7, "model-always", "a model that always raises, for a while", documents=10_000, few=800)
def model_always(stage: Stage) -> None:
    """See that nothing is handed over, retried or dead while the model is broken."""
    workers = stage.start(2, faulty=True)
    stage.load(backlog=1000)
    stage.flow(200)
    stage.order(always=True)
    stage.fault("the model always raises")
    stage.until("the workers say so", lambda: all(one.health().get("state") == "waiting" for one in workers))
    time.sleep(1)  # for a window that was published just before
    before = stage.committed()
    stage.sleep(stage.pick(60, 8))
    if stage.committed() != before:
        stage.objections.append(("I4", "something was committed while the model was broken"))
    if not stage.said("known-good sentence too"):
        stage.objections.append(("I7", "no worker said that the model fails on a known-good sentence too"))
    stage.order()
    stage.fault("the model is well again")
    while stage.loader.sent < stage.documents:
        stage.sleep(0.5)
    stage.settle()


@scenario(
    7,
    "model-hangs",
    "a model that hangs on one document",
    documents=2_000,
    few=600,
    settings={"inference_timeout": "10", "instance_id": "one"},
    quick={"inference_timeout": "3", "instance_id": "one"},
)
def model_hangs(stage: Stage) -> None:
    """Let the worker give itself up, again and again, until the document is found out."""
    _culprit(stage, Exit.WATCHDOG, hang=_CULPRIT)


@scenario(
    7,
    "model-dies",
    "a model that kills its process on one document",
    documents=2_000,
    few=600,
    settings={"instance_id": "one"},
    quick={"instance_id": "one"},
)
def model_dies(stage: Stage) -> None:
    """Let the process die, again and again, until the document is found out."""
    _culprit(stage, -9, die=_CULPRIT)


def _culprit(stage: Stage, status: int, **orders: int) -> None:
    """Restart a worker as a supervisor would, until it has put the culprit away and gone on."""
    stage.order(**orders)
    stage.expected.dies = lambda number, _: "crash" if number == _CULPRIT else None
    worker = stage.worker(faulty=True).start(wait=False)
    stage.load(backlog=300, limit=stage.documents)
    ends = 0
    deadline = time.monotonic() + 600
    while not stage.loader.done() or stage.watch.lag != 0:
        assert time.monotonic() < deadline, f"not through after {ends} ends"
        stage.progress(stage.watch.committed, stage.documents)
        if worker.process.status is not None:
            ends += 1
            if worker.process.status != status:
                stage.objections.append(("I8", f"a worker ended with {worker.process.status}, not {status}"))
            worker.start(wait=False)
            stage.last_fault = time.time()
        stage.sleep(0.2)
    stage.figures["ends"] = ends
    stage.faults.append(f"the process ended {ends} times on one document")
    stage.settle()


@scenario(7, "model-slow", "a model that is 50 times slower", documents=1_500, few=160)
def model_slow(stage: Stage) -> None:
    """See that reading slows down with it, and that the group keeps its members."""
    stage.order(slow=50)
    stage.start(2, faulty=True)
    before = stage.ask(stage.group.owners)
    stage.load(backlog=20_000, limit=stage.documents)
    stage.until("all is sent", stage.loader.done, 300)
    stage.fault("the model takes 50 times as long")
    stage.flow(int(stage.documents * stage.pick(0.5, 0.2)))
    if stage.ask(stage.group.owners) != before:
        stage.objections.append(("I7", "the group lost or swapped a member that was only slow"))
    stage.order()
    stage.fault("the model is as quick as ever")
    stage.most_duplicates = 0
    stage.settle()


@scenario(7, "corrupt-bundle", "a bundle that is not whole, at start", documents=500, few=200)
def corrupt_bundle(stage: Stage) -> None:
    """See that a worker refuses it with exit code 5, and takes nothing; a good one then does all."""
    stage.load(backlog=10_000, limit=stage.documents)
    stage.until("all is sent", stage.loader.done)
    for what in ("graph cut short", "graph damaged", "no tokenizer", "config is no JSON"):
        worker = stage.worker(own={"model": _damaged(stage, what)}).start(wait=False)
        status = worker.wait(120)
        if status != Exit.MODEL:
            stage.objections.append(("I8", f"{what}: ended with status {status}, not {Exit.MODEL:d}"))
        stage.fault(f"{what}: exit code {status}")
        _no_traceback(stage, worker, what)
    if stage.committed():
        stage.objections.append(("I4", "a worker without a model has committed something"))
    stage.start(1)
    stage.settle()


def _no_traceback(stage: Stage, worker: Worker, what: str) -> None:
    if "Traceback" in worker.log.read_text(errors="replace"):
        stage.objections.append(("I8", f"{what}: the worker ended with a traceback"))


def _damaged(stage: Stage, what: str) -> Path:
    source = Path(stage.reference.tagger.bundle.folder)
    stage.reference.close()
    folder = stage.folder / what.replace(" ", "-")
    shutil.copytree(source, folder)
    graph = folder / "model.onnx"
    if what == "graph cut short":
        os.truncate(graph, graph.stat().st_size // 2)
    elif what == "graph damaged":
        data = bytearray(graph.read_bytes())
        middle = len(data) // 2
        data[middle : middle + 100_000] = bytes(byte ^ 0x55 for byte in data[middle : middle + 100_000])
        graph.write_bytes(data)
    elif what == "no tokenizer":
        (folder / "tokenizer.json").unlink()
    else:
        (folder / "config.json").write_text("{")
    return folder
