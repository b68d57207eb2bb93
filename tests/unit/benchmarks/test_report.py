"""The page and the results' file."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from benchmarks import machine, reasons
from benchmarks.report import text
from benchmarks.simulation import plan, simulate
from benchmarks.stats import Spread
from benchmarks.store import Store
from benchmarks.targets import Target, rows

if TYPE_CHECKING:
    from pathlib import Path

_RUN: dict[str, Any] = {
    "key": "k",
    "short": False,
    "model": "sha256:0",
    "machine": machine.describe(),
    "rounds": 3,
    "seconds_a_round": 2.0,
    "load_at_start": 0.1,
    "command": "python -m benchmarks run",
}


def _spread(value: float) -> dict[str, Any]:
    return Spread.of([value]).as_dict()


def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Finished sections are kept for the same model on the same machine, and forgotten for another."""
    path = tmp_path / "docs" / "performance.json"
    Store(path, {"key": "a"}).put("tagger", {"x": 1})
    assert Store(path, {"key": "a"}).has("tagger")
    assert Store(path, {"key": "a"}).get("tagger")["x"] == 1
    assert not Store(path, {"key": "b"}).has("tagger")


def test_targets_say_whether_they_are_met() -> None:
    """A target is met, missed or not measured, whichever way it points."""
    sections = {"a": {"r": _spread(1.2)}, "b": [{"p99": 300.0}]}
    assert Target("x", 1.0, ("a", "r")).row(sections)[3] == "yes"
    assert Target("x", 1.3, ("a", "r")).row(sections)[3] == "**no**"
    assert Target("x", 250, ("b", 0, "p99"), at_most=True).row(sections)[3] == "**no**"
    assert Target("x", 250, ("c", 0, "p99")).row(sections)[2:] == ("not measured", "")


def test_a_page_without_sections_says_that_nothing_was_measured() -> None:
    """With no section finished, each target stands there as not measured, and the machine is described."""
    page = text({"run": _RUN, "sections": {}}, "performance.json", [])
    assert page.count("not measured") == len(rows({}))
    assert "## The machine" in page


def test_figures_of_an_older_tree_say_so() -> None:
    """A page says which tree was measured where that is noted, and nothing of it otherwise."""
    content: dict[str, Any] = {"run": _RUN, "sections": {}}
    assert "Measured on the tree" not in text(content, "performance.json", [])
    page = text({**content, "tree": "abc1234"}, "performance.json", [])
    assert "Measured on the tree up to commit abc1234:" in page


def test_a_page_holds_its_figures() -> None:
    """A section's ratios are on the page with their spread, losses included."""
    memory = {
        "points": [[1.0, 10, 100.0]],
        "documents": 10,
        "mib_after_ten_minutes": 100.0,
        "most_mib": 120.0,
        "mib_per_100_000_documents": 2.5,
    }
    page = text(
        {"run": _RUN | {"short": True}, "sections": {"memory": memory}}, "performance.json", ["memory.svg"]
    )
    assert "2.50 MiB for each 100,000" in page
    assert "**no**" in page
    assert "performance/memory.svg" in page
    assert "mean nothing" in page


def test_results_survive_json(tmp_path: Path) -> None:
    """What describes the machine can be written and read again."""
    path = tmp_path / "performance.json"
    Store(path, _RUN).put("memory", {"x": [1, 2]})
    assert json.loads(path.read_bytes())["run"]["machine"] == _RUN["machine"]


def test_a_plan_carries_its_load() -> None:
    """A cluster planned for a load keeps up with it, and gets over a worker's death."""
    of = plan(10_000, worker_ms=1.5, broker_ms=0.2, bytes_in=300, bytes_out=2_000)
    assert of.workers * 1000 / 1.5 > 10_000
    assert of.partitions >= of.workers
    run = simulate(of, worker_ms=1.5, seconds=120)
    assert run.p50 < 1
    assert 10 <= run.recovered_after < 60


def test_a_missed_target_has_its_reason_and_a_met_one_none() -> None:
    """The page says why a target is missed, in the run's own figures, and only then."""

    def sections(share: float) -> dict[str, Any]:
        limit = {"share": {"tagger": _spread(share)}}
        return {
            "tagger": {"kinds": {"sentences": {"limit": limit}}},
            "experiments": {"profile": {"MatMulIntegerToFloat": 0.5}, "tagger": {"graph_share": 0.9}},
        }

    said = reasons.text(sections(0.3))
    assert "are 45% of the tagger's time" in said
    assert "takes 1.83 times the limit's whole time" in said
    assert reasons.text(sections(0.8)) == ""
    assert reasons.text({"tagger": sections(0.3)["tagger"]}) == ""
