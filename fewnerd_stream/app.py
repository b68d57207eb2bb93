"""The Faust app: its settings, its services, and how a worker is run and ended."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import faust

from fewnerd_stream import topics
from fewnerd_stream.delivery.pipeline import Pipeline
from fewnerd_stream.delivery.process import Processor
from fewnerd_stream.delivery.state import State
from fewnerd_stream.delivery.transport import Transport, check_faust
from fewnerd_stream.delivery.watchdog import Watchdog
from fewnerd_stream.errors import BrokerError, TopicsError
from fewnerd_stream.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from fewnerd_stream.delivery.process import TaggerLike
    from fewnerd_stream.settings import Settings

log = logging.getLogger("fewnerd_stream.worker")

_LONG = 1_000_000.0
# With the drain, just less than an operator waits for.
_FAREWELL = 4.5


class App(faust.App):
    """A Faust app with this package's delivery."""

    delivery: State
    pipeline: Pipeline
    watchdog: Watchdog
    last_resort: threading.Timer | None = None

    async def on_start(self) -> None:
        """Start publishing, committing and watching before anything is read; a failure ends the worker."""
        await super().on_start()
        for task in (self.pipeline.run(), self.delivery.committer.run(), self.watchdog.run()):
            self.add_future(task)

    async def on_stop(self) -> None:
        """Stop; by force, if a broker that does not answer keeps the clients from closing.

        By then all that can be committed is, and the rest comes again.
        """
        self.last_resort = threading.Timer(self.delivery.settings.drain + _FAREWELL, self._end_by_force)
        self.last_resort.daemon = True
        self.last_resort.start()
        await super().on_stop()

    def _end_by_force(self) -> None:
        log.warning("the clients do not close: ending all the same")
        self.delivery.progress.stopped("its clients did not close")
        self.watchdog.write()
        logging.shutdown()
        os._exit(Exit.FAILURE if self.crashed else Exit.OK)


def make_app(settings: Settings, tagger: TaggerLike, end: Callable[[str, Exit], None]) -> App:
    """Build the app of one worker; the agents are added by whoever puts the parts together.

    Args:
        settings: the worker's settings.
        tagger: finds the entities; called from several threads at a time.
        end: ends the process at once, with a reason and an exit code.

    Raises:
        Stop: the installed Faust is not the one that this package's delivery was made for.
    """
    check_faust()
    state = State(settings, end)
    uid = os.getuid() if hasattr(os, "getuid") else 0
    app = App(
        settings.group,
        broker=[f"kafka://{server}" for server in settings.bootstrap_servers.split(",")],
        # Nothing is kept there, but Faust makes the folder in the working directory if it is not told.
        datadir=str(Path(tempfile.gettempdir()) / f"fewnerd-stream-faust-{uid}"),
        store="memory://",
        autodiscover=False,
        web_enabled=False,
        key_serializer="raw",
        value_serializer="raw",
        topic_allow_declare=False,
        topic_disable_leader=True,
        agent_supervisor="mode.CrashingSupervisor",
        stream_wait_empty=True,
        # The ledger bounds what is read ahead (``State.backlog``), so that this is never full: a full
        # buffer stops Faust's one fetch loop, which all topics share.
        stream_buffer_maxsize=2 * state.backlog + 4 * settings.max_poll_records,
        stream_processing_timeout=_LONG,
        broker_commit_livelock_soft_timeout=_LONG,
        broker_commit_interval=1.0,
        broker_max_poll_records=settings.max_poll_records,
        broker_max_poll_interval=_LONG,
        # Faust gives up for good on a ``perform_seek`` that takes longer; the client has its own limit.
        broker_request_timeout=_LONG,
        broker_session_timeout=settings.session_timeout,
        broker_heartbeat_interval=settings.heartbeat_interval,
        broker_rebalance_timeout=settings.rebalance_timeout,
    )
    app.delivery = state
    app.transport = Transport([], app)
    app.producer_transport = Transport([], app)
    app.pipeline = Pipeline(state, Processor(settings, tagger), lambda: app.producer)
    app.watchdog = Watchdog(state)
    return app


def input_channel(app: App) -> faust.TopicT:
    """Return the topic object over all input and retry topics, raw bytes in and out."""
    settings = app.delivery.settings
    names = [
        name for topic in settings.input_topics for name in (topic, *topics.retry_topics(settings, topic))
    ]
    return app.topic(*names, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")


def run_worker(
    settings: Settings, tagger_factory: Callable[[], TaggerLike], add_agents: Callable[[App], None]
) -> int:
    """Run a worker until it is told to stop; return its exit code.

    Args:
        settings: the worker's settings.
        tagger_factory: loads the model, once, before anything is read.
        add_agents: puts the agents on the app.

    Raises:
        BrokerError: no broker could be reached.
        TopicsError: a topic is missing, or is set up so that documents would be lost.
    """
    # Until Faust takes the signals over there is nothing to drain.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(Exit.OK))
    _check_topics(settings)
    tagger = tagger_factory()
    loop = _new_loop()
    asyncio.set_event_loop(loop)
    box: list[App] = []

    def end(reason: str, code: Exit) -> None:
        log.critical("%s", reason)
        if box:
            box[0].delivery.progress.stopped(reason)
            box[0].watchdog.write()
        logging.shutdown()
        os._exit(code)

    app = make_app(settings, tagger, end)
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


__all__ = ["App", "BrokerError", "input_channel", "make_app", "run_worker"]
