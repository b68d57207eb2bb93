"""What it costs to count: all that is told of a window, against all that is done with it, in processor time.

Both are measured in turn on the same windows, in one run. Sentences are the shortest documents, so that there
are most of them to be counted for each piece that the model looks at; and a scrape comes every second.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import orjson
from prometheus_client import generate_latest

from benchmarks.stats import Spread
from fewnerd_stream.contract.records import Partition, Record
from fewnerd_stream.delivery.process import Processor
from fewnerd_stream.settings import load_settings
from fewnerd_stream.telemetry.lag import Standing
from fewnerd_stream.telemetry.metrics import registry
from fewnerd_stream.telemetry.status import STAGES, WorkerStatus

if TYPE_CHECKING:
    from benchmarks.context import Context
    from fewnerd_stream.delivery.process import Outcome
    from fewnerd_stream.settings import Settings

_PARTITIONS: Final = 12
MOST: Final = 0.02
"""The part of a worker's processor time that may go into telling how it is."""


def measure(context: Context) -> dict[str, Any]:
    """Return the cost of a window's counts, and of a scrape a second, as parts of the work itself."""
    settings = load_settings()
    status = WorkerStatus(settings)
    collector = registry(settings, status)
    shares: list[float] = []
    scrapes: list[float] = []
    with context.tagger(threads=1) as tagger:
        status.uses(tagger.info, {}, tagger.pieces_seen)
        processor = Processor(settings, tagger, status)
        processor.process(_window(context, settings))
        for _ in range(context.choose(12, 2)):
            work = told = scrape = 0.0
            for _ in range(context.choose(8, 1)):
                records = _window(context, settings)
                began = time.process_time()
                outcomes = processor.process(records)
                worked = time.process_time()
                _tell(status, settings, outcomes)
                counted = time.process_time()
                work, told = work + worked - began, told + counted - worked
            began = time.process_time()
            generate_latest(collector)
            scrape = time.process_time() - began
            shares.append(told / work)
            scrapes.append(scrape)
    cost: dict[str, Any] = {
        "share": Spread.of(shares).as_dict(),
        "scrape_seconds": Spread.of(scrapes).as_dict(),
        "most": MOST,
    }
    total = cost["share"]["median"] + cost["scrape_seconds"]["median"]
    context.say(f"telemetry: {total:.2%} of one core's time, counts and a scrape a second")
    return {**cost, "total": total}


def _window(context: Context, settings: Settings) -> list[Record]:
    """Make a full window of new sentences."""
    now = round(time.time() * 1000)
    return [
        Record(
            settings.input_topics[0],
            number % _PARTITIONS,
            number,
            now,
            str(number).encode(),
            orjson.dumps({"id": str(number), "text": text}),
        )
        for number, text in enumerate(context.draw("sentences")(settings.window_size))
    ]


def _tell(status: WorkerStatus, settings: Settings, outcomes: list[Outcome]) -> None:
    """Tell what delivery tells of a window, from its fetch to its commit, and what the watchdog looks at."""
    now = time.time()
    standings = {}
    for number in range(_PARTITIONS):
        partition = Partition(settings.input_topics[0], number)
        status.lags.fetched(partition, 0, now)
        standings[partition] = Standing(0, 1000, read=True, waits=False)
    for stage in STAGES:
        status.took(stage, 0.01)
    status.fill.add(1.0)
    for outcome in outcomes:
        status.handed_over(
            outcome.kind,
            [record.topic for record in outcome.outgoing],
            reason=outcome.reason,
            scores=outcome.scores,
        )
    status.ages.add_all([now - (outcome.since or 0) / 1000 for outcome in outcomes])
    status.turned(standings)
