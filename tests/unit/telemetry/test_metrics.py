"""The metrics of a worker: their names and labels, and that they are what was counted."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from fewnerd_stream.contract.records import Partition
from fewnerd_stream.settings import load_settings
from fewnerd_stream.telemetry.lag import Standing
from fewnerd_stream.telemetry.metrics import registry
from fewnerd_stream.telemetry.precision import Band
from fewnerd_stream.telemetry.status import WorkerStatus
from tests.support.taggers import Info

if TYPE_CHECKING:
    from fewnerd_stream.settings import Settings

A = Partition("raw-documents", 3)
LABELS = {
    "attempt",
    "category",
    "digest",
    "implementation",
    "le",
    "major",
    "minor",
    "name",
    "outcome",
    "partition",
    "patchlevel",
    "precision",
    "reason",
    "result",
    "stage",
    "state",
    "topic",
    "version",
}
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def settings() -> Settings:
    """Take the defaults."""
    return load_settings()


@pytest.fixture
def status(settings: Settings) -> WorkerStatus:
    """Have a status with nothing in it."""
    return WorkerStatus(settings)


def scraped(settings: Settings, status: WorkerStatus) -> Samples:
    """Collect, write and read everything as Prometheus does."""
    text = generate_latest(registry(settings, status)).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, /, **labels: str) -> float:
    """Give one sample."""
    return samples[name, frozenset(labels.items())]


def test_documents_are_counted_where_they_went(settings: Settings, status: WorkerStatus) -> None:
    """By outcome, category, attempt and reason; what has not happened stands there as 0."""
    outputs = settings.topology.outputs
    status.handed_over("enriched", [outputs["person"], outputs["location"]])
    status.handed_over("enriched", [outputs["none"]])
    status.handed_over("retried", [settings.topology.inputs[0].retries[1]])
    status.handed_over("dead", ["anything"], reason="crash")
    samples = scraped(settings, status)
    assert value(samples, "fewnerd_documents_total", outcome="enriched") == 2
    assert value(samples, "fewnerd_documents_total", outcome="retried") == 1
    assert value(samples, "fewnerd_records_published_total", category="location") == 1
    assert value(samples, "fewnerd_records_published_total", category="none") == 1
    assert value(samples, "fewnerd_records_published_total", category="art") == 0
    assert value(samples, "fewnerd_retries_total", attempt="2") == 1
    assert value(samples, "fewnerd_retries_total", attempt="1") == 0
    assert value(samples, "fewnerd_dead_letters_total", reason="crash") == 1
    assert value(samples, "fewnerd_dead_letters_total", reason="model-error") == 0
    line = status.line()
    assert (line["in"], line["out"], line["retried"], line["dead"]) == (4, 3, 1, 1)
    health = status.health()
    assert (health["in"], health["out"], health["dead_by_reason"]) == (4, 3, {"crash": 1})


def test_a_partition_that_is_let_go_has_no_lag_any_more(settings: Settings, status: WorkerStatus) -> None:
    """Its series go at once."""
    status.assigned([A])
    status.lags.fetched(A, 5, time.time() - 60)
    status.turned({A: Standing(5, 15, read=True, waits=False)})
    samples = scraped(settings, status)
    assert value(samples, "fewnerd_lag_records", topic=A.topic, partition="3") == 10
    assert value(samples, "fewnerd_lag_seconds", topic=A.topic, partition="3") == pytest.approx(60, abs=30)
    assert status.line()["lag"] == 10
    status.released()
    names = {name for name, _ in scraped(settings, status)}
    assert not names & {"fewnerd_lag_records", "fewnerd_lag_seconds"}
    assert status.line()["lag"] is None


def test_what_a_window_takes_is_in_buckets(settings: Settings, status: WorkerStatus) -> None:
    """Cumulative, with all of them in the last."""
    status.took("tag", 0.2)
    status.took("tag", 500)
    samples = scraped(settings, status)
    assert value(samples, "fewnerd_stage_seconds_bucket", stage="tag", le="0.1") == 0
    assert value(samples, "fewnerd_stage_seconds_bucket", stage="tag", le="0.25") == 1
    assert value(samples, "fewnerd_stage_seconds_bucket", stage="tag", le="+Inf") == 2
    assert value(samples, "fewnerd_stage_seconds_count", stage="tag") == 2
    assert value(samples, "fewnerd_stage_seconds_sum", stage="tag") == pytest.approx(500.2)


def test_models_come_one_after_the_other(settings: Settings, status: WorkerStatus) -> None:
    """The pieces add up, the bands and the digest are the last one's."""
    status.uses(Info(), {"person": Band(0.5, 0.9)}, lambda: 100)
    status.handed_over("enriched", (), scores=[("person", 0.75)])
    samples = scraped(settings, status)
    assert value(samples, "fewnerd_expected_precision", category="person") == 0.75
    assert value(samples, "fewnerd_expected_precision_low", category="person") == 0.5
    second = Info(digest="sha256:2")
    status.uses(second, {}, lambda: 11)
    samples = scraped(settings, status)
    assert value(samples, "fewnerd_inference_pieces_total") == 111
    assert value(samples, "fewnerd_model_info", name="words", digest="sha256:2", precision="int8") == 1
    assert "fewnerd_expected_precision" not in {name for name, _ in samples}


def test_labels_are_few_and_closed(settings: Settings, status: WorkerStatus) -> None:
    """No ids, no text, no fine types: whatever happens there are only these labels, and few series."""
    status.uses(Info(), {}, lambda: 1)
    status.assigned([A])
    status.turned({A: Standing(0, 1, read=False, waits=False)})
    status.handed_over("enriched", (), scores=[("person", 0.75)])
    status.waiting("the secret reason")
    samples = scraped(settings, status)
    assert {label for _, labels in samples for label, _ in labels} <= LABELS
    assert "secret" not in str(samples)
    assert len(samples) < 300


def test_liveness_is_the_loops(status: WorkerStatus, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start has its patience; a loop that stands still for 10 s is told of, and so is an end."""
    assert status.live().well
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 1e6)
    assert status.live().missing == ("start",)
    status.turned({})
    assert status.live().well
    monkeypatch.setattr(time, "monotonic", lambda: now + 1e6 + 11)
    assert status.live().missing == ("loop",)
    status.turned({})
    status.stopped()
    assert not status.live().well


def test_readiness_needs_everything(status: WorkerStatus) -> None:
    """Model, producer and partitions placed, or none given; a worker that waits is not ready."""
    assert set(status.ready().missing) == {"model", "producer", "partitions", "running"}
    status.uses(Info(), {})
    status.producing = True
    status.assigned([])
    assert status.ready().well
    status.waiting("the broker takes nothing")
    assert status.ready().missing == ("running",)
    status.flowing()
    status.released()
    assert status.ready().missing == ("partitions",)
