"""The Faust app of a worker: its settings and its services."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import faust

from fewnerd_stream.delivery.faust.transport import Transport
from fewnerd_stream.delivery.faust.versions import check_versions
from fewnerd_stream.delivery.pipeline import Pipeline
from fewnerd_stream.delivery.process import Processor
from fewnerd_stream.delivery.state import State
from fewnerd_stream.delivery.watchdog import Watchdog
from fewnerd_stream.exits import Exit
from fewnerd_stream.settings import private

if TYPE_CHECKING:
    from collections.abc import Callable

    from fewnerd_stream.delivery.process import TaggerLike
    from fewnerd_stream.delivery.tagger import TaggerSlot
    from fewnerd_stream.settings import Settings
    from fewnerd_stream.telemetry.status import WorkerStatus

log = logging.getLogger("fewnerd_stream.worker")

_LONG = 1_000_000.0
# With the drain, just less than an operator waits for.
_FAREWELL = 4.5
# How long the clients may take to close when nothing is at work, and when no broker answers.
_CLOSING = 3.0
_CLOSING_ALONE = 1.0


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
        state = self.delivery
        busy = state.ledger.in_flight or state.ledger.to_commit()
        if busy and state.consumer_heard():
            self.end_within(state.settings.drain + _FAREWELL)
        else:
            self.end_soon()
        await super().on_stop()

    def end_soon(self) -> None:
        """End within seconds, whether or not the clients close: all is committed that can be."""
        self.end_within(_CLOSING if self.delivery.consumer_heard() else _CLOSING_ALONE)

    def end_within(self, seconds: float) -> None:
        """End by force, if the end has not come within so many seconds."""
        if self.last_resort is not None:
            self.last_resort.cancel()
        self.last_resort = threading.Timer(seconds, self._end_by_force)
        self.last_resort.daemon = True
        self.last_resort.start()

    def _end_by_force(self) -> None:
        log.warning("the clients do not close: ending all the same")
        self.delivery.progress.stopped("its clients did not close")
        self.watchdog.write()
        logging.shutdown()
        os._exit(Exit.FAILURE if self.crashed else Exit.OK)


def _data_folder() -> Path:
    """Give Faust a folder of this user's; one for this worker alone where that cannot be had."""
    try:
        return private.ensure_folder() / "faust"
    except OSError:
        return Path(tempfile.mkdtemp(prefix="fewnerd-stream-"))


def make_app(
    settings: Settings,
    tagger: TaggerLike | TaggerSlot[TaggerLike],
    end: Callable[[str, Exit], None],
    status: WorkerStatus | None = None,
) -> App:
    """Build the app of one worker; the agents are added by whoever puts the parts together.

    Args:
        settings: the worker's settings.
        tagger: finds the entities, or gives what does; called from several threads at a time.
        end: ends the process at once, with a reason and an exit code.
        status: where it is told how the worker fares; None for one of its own.

    Raises:
        Stop: the installed Faust or aiokafka is not the one that this package's delivery was made for.
    """
    check_versions()
    state = State(settings, end, status)
    app = App(
        settings.group,
        broker=[f"kafka://{server}" for server in settings.bootstrap_servers.split(",")],
        # Nothing is kept there, but Faust makes the folder in the working directory if it is not told.
        datadir=str(_data_folder()),
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
    app.pipeline = Pipeline(state, Processor(settings, tagger, state.progress), lambda: app.producer)
    app.watchdog = Watchdog(state)
    return app


def input_channel(app: App) -> faust.TopicT:
    """Return the topic object over all input and retry topics, raw bytes in and out."""
    settings = app.delivery.settings
    names = [name for one in settings.topology.inputs for name in one.read]
    return app.topic(*names, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
