"""Health: judged by what a worker wrote last, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import pytest

from fewnerd_stream.settings import load_settings
from fewnerd_stream.telemetry.health import FRESH, judge, read_health, spell
from fewnerd_stream.telemetry.status import WorkerStatus

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_000_000.0


def _figures(**changes: Any) -> dict[str, Any]:
    figures = {"time": NOW - 1, "since": NOW - 100, "state": "running", "patience": 300.0, "reason": ""}
    return figures | {"assigned": ["t/0", "t/1"], "in": 5, "out": 7, "retried": 1, "dead": 2} | changes


@pytest.mark.parametrize("state", ["starting", "running", "draining"])
def test_a_worker_that_goes_about_its_work_is_well(state: str) -> None:
    """Also while it starts or lets its windows finish; the line gives its figures."""
    health = judge(_figures(state=state), NOW)
    assert health.well
    assert health.line == f"{state} for 1 m 40 s, 2 partitions, 5 in, 7 out, 1 retried, 2 dead"


@pytest.mark.parametrize("time", [NOW - FRESH - 1, NOW + FRESH + 1])
def test_a_silent_worker_is_not_well(time: float) -> None:
    """It hangs, or is gone; a file from the future tells no more than an old one."""
    health = judge(_figures(time=time), NOW)
    assert not health.well
    assert health.line == "silent for 11 s, was running"


@pytest.mark.parametrize(("waited", "well"), [(0, True), (149, True), (151, False)])
def test_waiting_is_well_for_half_the_patience(waited: float, well: bool) -> None:  # noqa: FBT001 - a case
    """A short trouble needs nobody; a long one should be seen before the worker gives up."""
    health = judge(_figures(state="waiting", since=NOW - waited, reason="no broker"), NOW)
    assert health.well is well
    assert "no broker" in health.line


def test_a_stopped_worker_is_not_well() -> None:
    """The reason, if it left one, is told."""
    assert judge(_figures(state="stopped"), NOW).line == "stopped for 1 m 40 s"
    health = judge(_figures(state="stopped", reason="no progress"), NOW)
    assert not health.well
    assert health.line == "stopped for 1 m 40 s: no progress"


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"time": "x"}', b"null", b'{"time": 1, "state": 2}']
)
def test_a_broken_file_is_not_well(content: bytes, tmp_path: Path) -> None:
    """Whatever lies there, the answer is one line."""
    path = tmp_path / "health.json"
    path.write_bytes(content)
    health = read_health(path, NOW)
    assert not health.well
    assert "\n" not in health.line


def test_a_missing_file_is_not_well(tmp_path: Path) -> None:
    """No worker, or one with another file: the path is told. A folder in its place is told, too."""
    assert str(tmp_path / "none") in read_health(tmp_path / "none", NOW).line
    assert not read_health(tmp_path, NOW).well


def test_what_a_worker_writes_can_be_judged(tmp_path: Path) -> None:
    """The worker's own figures are understood as they are."""
    progress = WorkerStatus(load_settings())
    path = tmp_path / "health.json"
    path.write_bytes(orjson.dumps(progress.health()))
    health = read_health(path, progress.health()["time"])
    assert health.well
    assert health.line.startswith("starting for 0.0 s, 0 partitions, 0 in, 0 out")
    progress.waiting("the broker is away")
    assert judge(progress.health(), progress.health()["time"]).line == (
        "waiting for 0.0 s of 5 m at most: the broker is away"
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (10, "10 s"),
        (59.6, "1 m"),
        (125, "2 m 5 s"),
        (3600, "1 h"),
        (7260, "2 h 1 m"),
        (90_000, "1 d 1 h"),
    ],
)
def test_time_spans_are_written_in_two_units(seconds: float, text: str) -> None:
    """Enough to know, short enough for a line."""
    assert spell(seconds) == text
