"""A worker's run: its topics checked, its model loaded, Faust's worker on a loop of its own, and how it ends."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from typing import TYPE_CHECKING

import faust

from agents.app import make_app
from agents.reload import Reloader
from agents.tagger import bands, pieces_of
from fewnerd_stream.delivery.tagger import TaggerSlot
from fewnerd_stream.errors import TopicsError
from fewnerd_stream.exits import Exit, end_well_on_sigterm
from fewnerd_stream.kafka import topics
from fewnerd_stream.telemetry.metrics import registry
from fewnerd_stream.telemetry.probes import Probes
from fewnerd_stream.telemetry.status import WorkerStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from agents.app import App
    from fewnerd_stream.delivery.process import TaggerLike
    from fewnerd_stream.settings import Settings

log = logging.getLogger("fewnerd_stream.worker")


def run_worker(
    settings: Settings, tagger_factory: Callable[[], TaggerLike], add_agents: Callable[[App], None]
) -> int:
    """Run a worker until it is told to stop; return its exit code.

    Args:
        settings: the worker's settings.
        tagger_factory: loads the model, before anything is read, and again when it has changed.
        add_agents: puts the agents on the app.

    Raises:
        SettingsError: the address for metrics and probes cannot be listened on.
        BrokerError: no broker could be reached.
        TopicsError: a topic is missing, or is set up so that documents would be lost.
    """
    box: list[App] = []

    def last_words() -> None:
        if box:
            box[0].delivery.progress.stopped()
            box[0].watchdog.write()

    # Until Faust takes the signals over there is nothing to drain.
    end_well_on_sigterm(last_words)
    status = WorkerStatus(settings)
    if settings.http is not None:
        Probes(settings.http, registry(settings, status), status.live, status.ready).start()
    _check_topics(settings)
    wake = _on_sighup()
    tagger = tagger_factory()
    status.uses(tagger.info, bands(tagger, settings), pieces_of(tagger))
    slot = TaggerSlot(tagger)
    Reloader(settings, tagger_factory, slot, status, wake).start()
    loop = _new_loop()
    asyncio.set_event_loop(loop)

    def end(reason: str, code: Exit) -> None:
        log.critical("%s", reason)
        if box:
            box[0].delivery.progress.stopped(reason)
            box[0].watchdog.write()
        logging.shutdown()
        os._exit(code)

    app = make_app(settings, slot, end, status)
    box.append(app)
    add_agents(app)
    app.finalize()
    worker = faust.Worker(
        app, loop=loop, quiet=True, override_logging=False, redirect_stdouts=False, loglevel=None
    )
    worker.spinner = None  # it would write a terminal's escape sequence to standard output
    app.watchdog.write()
    try:
        worker.execute_from_commandline()
    except SystemExit as stopped:
        code = stopped.code if isinstance(stopped.code, int) else Exit.FAILURE
    else:  # pragma: no cover - the call above always raises
        code = Exit.OK
    if app.last_resort is not None:
        app.last_resort.cancel()
    app.delivery.progress.stopped()
    app.watchdog.write()
    app.watchdog.say()
    if app.pipeline.at_work:
        # The interpreter would wait for the thread, and a model that hangs never comes back.
        logging.shutdown()
        os._exit(code)
    return int(code)


def _on_sighup() -> threading.Event:
    """Give an event that SIGHUP sets, where there is such a signal."""
    wake = threading.Event()
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, lambda *_: wake.set())
    return wake


def _check_topics(settings: Settings) -> None:
    problems = asyncio.run(topics.check_topics(settings))
    errors = [problem for problem in problems if problem.severity == "error"]
    for problem in problems:
        if problem.severity != "error":
            log.warning("%s", problem.message)
    if errors:
        lines = "\n".join(f"  {problem.message}" for problem in errors)
        message = (
            f"the topics are not as they must be:\n{lines}\n"
            "`fewnerd-stream topics create` makes what is missing"
        )
        raise TopicsError(message)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415 - not there on Windows, where the plain loop does
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
