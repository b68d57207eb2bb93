"""What the worker counts, as Prometheus reads it: made when somebody asks, so that it costs nothing before.

Labels are few and closed: no ids, no text, no fine types. Partitions are those owned at this moment.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector

from fewnerd_stream import __version__
from fewnerd_stream.errors import Reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from prometheus_client.core import Metric

    from fewnerd_stream.settings import Settings
    from fewnerd_stream.telemetry.histogram import Histogram
    from fewnerd_stream.telemetry.status import WorkerStatus

STATES: Final = ("starting", "running", "draining", "waiting", "stopped")


def registry(settings: Settings, status: WorkerStatus) -> CollectorRegistry:
    """Collect a worker's metrics, and its process's."""
    made = CollectorRegistry()
    made.register(WorkerCollector(settings, status))
    ProcessCollector(registry=made)
    PlatformCollector(registry=made)
    return made


class WorkerCollector(Collector):
    """Reads a worker's status whenever it is asked."""

    def __init__(self, settings: Settings, status: WorkerStatus) -> None:
        """Keep both; what topics mean is known from the settings."""
        self._status = status
        self._outputs = {topic: category for category, topic in settings.topology.outputs.items()}
        self._attempts = {
            topic: str(number)
            for one in settings.topology.inputs
            for number, topic in enumerate(one.retries, 1)
        }

    def collect(self) -> Iterable[Metric]:
        """Give everything as it is now."""
        yield from self._documents()
        yield from self._windows()
        yield from self._partitions()
        yield from self._model()
        yield from self._worker()

    def _documents(self) -> Iterable[Metric]:
        status = self._status
        counts, stored = status.counts.copy(), status.stored.copy()
        yield _counter(
            "documents",
            "Documents handed over: enriched, waiting for another try, or dead.",
            "outcome",
            {kind: counts[kind] for kind in ("enriched", "retried", "dead")},
        )
        yield _counter(
            "records_published",
            "Enriched records stored, by category; none: of documents without entities.",
            "category",
            _grouped(self._outputs, stored),
        )
        yield _counter(
            "retries",
            "Documents sent to wait for their n-th retry.",
            "attempt",
            _grouped(self._attempts, stored),
        )
        yield _counter(
            "dead_letters",
            "Documents that went to the dead letters, by reason.",
            "reason",
            dict.fromkeys(map(str, Reason), 0) | status.dead_by_reason,
        )
        yield _single(
            "duplicates_dropped",
            "Documents dropped since another worker has their partition.",
            counts["dropped"],
        )
        yield _single(
            "lost",
            "Offsets that the broker deleted before they were read; watch for any at all.",
            counts["lost"],
        )

    def _windows(self) -> Iterable[Metric]:
        status = self._status
        yield _histogram(
            "window_fill_ratio", "Documents in a window as a part of its size.", {"": status.fill}
        )
        yield _histogram("stage_seconds", "What a window takes in each stage.", status.stages, "stage")
        yield _histogram(
            "end_to_end_seconds",
            "Age of a document when its enriched records are stored, from its input record's time.",
            {"": status.ages},
        )

    def _partitions(self) -> Iterable[Metric]:
        now = time.time()
        labels = ["topic", "partition"]
        records = GaugeMetricFamily(
            "fewnerd_lag_records",
            "Records of an owned partition that are not handed over yet.",
            labels=labels,
        )
        seconds = GaugeMetricFamily(
            "fewnerd_lag_seconds",
            "How long the oldest of them has been due; 0 where none is, or it is a retry that waits.",
            labels=labels,
        )
        for (topic, partition), lag in self._status.lags.read().items():
            records.add_metric([topic, str(partition)], lag.records)
            seconds.add_metric([topic, str(partition)], lag.seconds(now))
        yield records
        yield seconds
        yield GaugeMetricFamily(
            "fewnerd_partitions_owned", "Partitions that this worker has.", len(self._status.partitions)
        )

    def _model(self) -> Iterable[Metric]:
        status = self._status
        pieces = status.pieces()
        if pieces is not None:
            yield _single("inference_pieces", "Word pieces that the model has looked at.", pieces)
        model = status.model
        if model is not None:
            info = InfoMetricFamily("fewnerd_model", "The model that finds entities now.")
            info.add_metric([], {"name": model.name, "digest": model.digest, "precision": model.precision})
            yield info
        reloads = status.reloads.copy()
        yield _counter(
            "model_reloads",
            "Models that came while the worker runs: in use now or since replaced (done), or refused.",
            "result",
            {result: reloads[result] for result in ("done", "refused")},
        )
        found = status.precision.read()
        yield _gauge(
            "expected_precision",
            "Mean score of the latest entities: the precision to expect, since scores are calibrated.",
            {category: each.precision for category, each in found.items()},
        )
        yield _gauge(
            "expected_precision_entities",
            "Entities over which that mean is taken.",
            {category: each.entities for category, each in found.items()},
        )
        bands = status.precision.bands
        for end, low in (("low", True), ("high", False)):
            yield _gauge(
                f"expected_precision_{end}",
                f"{end.capitalize()} end of the band in which the model's evaluation lets one expect it.",
                {category: band.low if low else band.high for category, band in bands.items()},
            )

    def _worker(self) -> Iterable[Metric]:
        status = self._status
        build = InfoMetricFamily("fewnerd_build", "The version that runs.")
        build.add_metric([], {"version": __version__})
        yield build
        yield _gauge(
            "worker_state",
            "1 for the state that the worker is in.",
            {state: state == status.state for state in STATES},
            label="state",
        )
        for name, help_text, verdict in (
            ("live", "Whether the loop goes round.", status.live()),
            ("ready", "Whether documents would be handed over.", status.ready()),
        ):
            yield GaugeMetricFamily(f"fewnerd_{name}", help_text, float(verdict.well))
        idle = time.monotonic() - status.moved_at
        yield GaugeMetricFamily(
            "fewnerd_progress_age_seconds",
            "Time since something was handed over, or nothing was to do.",
            idle,
        )


def _counter(name: str, meaning: str, label: str, values: Mapping[str, float]) -> CounterMetricFamily:
    family = CounterMetricFamily(f"fewnerd_{name}", meaning, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _single(name: str, meaning: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"fewnerd_{name}", meaning, value)


def _gauge(
    name: str, meaning: str, values: Mapping[str, float], *, label: str = "category"
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"fewnerd_{name}", meaning, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


def _histogram(
    name: str, meaning: str, values: Mapping[str, Histogram], label: str | None = None
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(f"fewnerd_{name}", meaning, labels=[label] if label else [])
    for key, histogram in values.items():
        reading = histogram.read()
        buckets: list[tuple[str, float]] = [(_bound(bound), count) for bound, count in reading.buckets]
        family.add_metric([key] if label else [], buckets, reading.total)
    return family


def _bound(bound: float) -> str:
    return "+Inf" if bound == float("inf") else repr(bound)


def _grouped(names: Mapping[str, str], counts: Mapping[str, int]) -> dict[str, int]:
    """Add counts up by the names of what was counted; all names, those without counts at 0."""
    grouped = dict.fromkeys(names.values(), 0)
    for topic, name in names.items():
        grouped[name] += counts.get(topic, 0)
    return grouped
