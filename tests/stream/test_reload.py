"""A real worker whose model changes: by itself and on SIGHUP, under load, with nothing lost or mixed."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from tests.support.clients import documents
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.flows import Flow

TAGGER = "tests.support.taggers:NamedTagger"


def test_models_change_between_windows(flow: Callable[..., Flow], tmp_path: Path) -> None:
    """Each document is of one model, old ones before new ones on a partition; a bad model is refused."""
    model = tmp_path / "model"
    model.write_text("first")
    stream = flow(partitions=1, model=model, model_watch=0.2, window_size=8)
    worker = stream.worker(tagger=TAGGER)
    stream.send(documents(100))
    stream.wait_committed(100)
    model.write_text("second")
    until("it has changed by itself", lambda: worker.health().get("model") == "second", 60)
    stream.send(documents(100, start=100))
    model.write_text("bad")
    stream.wait_said(worker, "another model was refused")
    stream.send(documents(50, start=200))
    fresh = tmp_path / "fresh"
    fresh.write_text("third")
    fresh.replace(model)
    worker.process.signal(signal.SIGHUP)
    until("it has changed on a signal", lambda: worker.health().get("model") == "third", 60)
    stream.send(documents(50, start=250))
    stream.wait_done()
    found = [message.json()["model"]["digest"] for message in stream.category("location")]
    assert len(found) == 300
    assert set(found) == {"first", "second", "third"}
    order = [digest for number, digest in enumerate(found) if number == 0 or digest != found[number - 1]]
    assert order == ["first", "second", "third"]
    stream.stop(worker)
