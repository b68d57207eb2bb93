"""What is written down of a run follows from what was seen; and the page follows from what is written down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.faults import catalogue, record, report, soak
from tests.faults.outside import Commit
from tests.faults.stage import Kill, longest_gap
from tests.faults.tagger import FaultyTagger, chosen, order
from tests.faults.verdict import Duplicate, Verdict
from tests.support.taggers import WordTagger

if TYPE_CHECKING:
    from pathlib import Path

A, B = ("in", 0), ("in", 1)


def commits(*pairs: tuple[int, int]) -> list[Commit]:
    """Make commits of offsets at times."""
    return [Commit("in", 0, offset, "", at) for offset, at in pairs]


def test_recovery_ends_with_the_next_commit_that_moves_on() -> None:
    """For each partition of the victim: not one from before the kill, nor one that stays where it was."""
    kill = Kill(1_000, "w", {A: 10, B: 0}, counts=True)
    history = {A: commits((10, 900), (10, 1_100), (42, 3_500), (99, 4_000)), B: commits((5, 2_000))}
    assert record.recoveries([kill], history) == [2.5, 1.0]


def test_duplicates_belong_to_the_kill_before_them() -> None:
    """Documents are counted, not records; what came before the first kill belongs to none."""
    kills = [Kill(1_000, "w", {}, counts=True), Kill(2_000, "w", {}, counts=True)]
    verdict = Verdict()
    verdict.duplicates += [
        Duplicate(500, 0, 1, 0, "out.person"),
        Duplicate(1_500, 0, 7, 0, "out.person"),
        Duplicate(1_501, 0, 7, 0, "out.location"),
        Duplicate(2_500, 0, 7, 0, "out.person"),
    ]
    assert record.duplicates_by_kill(kills, verdict) == [1, 1]


def test_quantiles_and_gaps() -> None:
    """A quantile is one of the values; a gap is between commits of any partition."""
    assert record.quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert record.quantile([], 0.5) is None
    assert longest_gap({A: commits((1, 0), (2, 9_000)), B: commits((1, 4_000))}, "in") == 5.0
    assert soak.slope([float(n) for n in range(100)], [n / 3600 for n in range(100)]) == pytest.approx(1.0)
    assert soak.slope([0.0, 1.0], [1.0, 2.0]) is None


def entry(**changed: Any) -> dict[str, Any]:
    """Make a scenario's entry."""
    return {
        "scenario": 1,
        "name": "kill-workers",
        "title": "a title",
        "form": "long",
        "passed": True,
        "seed": 7,
        "documents": 1_000,
        "stored_twice": 1,
        "kills": 2,
        "kills_in_all": 3,
        "broker_restarts": 1,
        "lost": 0,
        "duplicates": 4,
        "documents_repeated": 3,
        "repeated_per_kill": {"allowed": 96, "most": 3, "mean": 1.0},
        "recovery_seconds": {"p50": 9.0, "p95": 11.5, "most": 12.0, "count": 6},
        "results": 1_500,
        "retries": 0,
        "dead": 5,
        "dead_by_reason": {"nan": 5},
        "commits": 60,
        "longest_gap_between_commits_seconds": 3.0,
        "most_memory_mib": 200,
        "most_descriptors": 22,
        "share_with_entity": 0.7,
        "objections": {},
        "examples": {},
        "faults": ["a kill", "a kill"],
        "figures": {"seconds": 60.5},
        "settings": {"sasl_password": "secret", "drain": "5"},
        "brokers": 1,
        "when": "2026-01-01T00:00:00+00:00",
        "commit": "abc",
        "digest": "sha256:0123456789abcdef0123",
        "versions": {"kafka": "4"},
    } | changed


def test_results_are_summed_and_read_back(tmp_path: Path) -> None:
    """The file has the sums of its scenarios, and says whether they saw the same code."""
    path = tmp_path / "results.json"
    record.write(path, [entry(), entry(name="storm", scenario=9, lost=1, passed=False, digest="sha256:1")], 7)
    found = record.read(path)
    wanted = {"documents": 2_000, "kills": 4, "broker_restarts": 2, "lost": 1, "duplicates": 8, "seed": 7}
    assert {name: found[name] for name in wanted} == wanted
    assert not found["passed"]
    assert not found["one_digest"]
    assert record.read(tmp_path / "none.json") == {"scenarios": []}


def test_the_page_says_what_the_file_says(tmp_path: Path) -> None:
    """Sums, each scenario, its recovery and its objections are there, and no password."""
    found = record.write(
        tmp_path / "results.json",
        [entry(lost=2, passed=False, objections={"I1": 2}, examples={"I1": ["gone"]})],
        7,
    )
    page = report.write(found)
    for words in (
        "**1,000 documents",
        "2 lost",
        "| 11.5 |",
        "**I1, 2 objections**: gone",
        "A kill (x 2)",
        "nan 5",
    ):
        assert words in page
    assert "secret" not in page
    assert "Measured on the tree up to" not in page
    assert "Measured on the tree up to commit abc1234:" in report.write({**found, "tree": "abc1234"})


def test_the_page_tells_each_piece_of_a_soak(tmp_path: Path) -> None:
    """What the pieces lost is summed, and a piece with growth of its own is not hidden in the mean."""

    def piece(hour: int, memory: float, lost: int) -> dict[str, Any]:
        slopes = [{"memory": memory, "descriptors": 0.0, "lag": None}]
        return {
            "when": f"2026-11-24T{hour}:00:00+00:00",
            "minutes": 20.0,
            "documents": 1_500,
            "lost": lost,
            "duplicates": 0,
            "objections": {"I1": lost} if lost else {},
            "slopes": slopes,
            "most_memory_mib": 180,
            "most_descriptors": 22,
            "most_lag": 40,
        }

    summed = soak._sum([piece(10, 10.0, 0), piece(11, 50.0, 3)], "sha256:0", 7)
    assert (summed["passed"], summed["lost"], summed["memory_mib_per_hour"]) == (False, 3, 30.0)
    page = report.write(record.write(tmp_path / "results.json", [entry()], 7, summed))
    assert "40 minutes in 2 pieces, 3,000 documents" in page
    for when, memory in (("2026-11-24 10:00", 10.0), ("2026-11-24 11:00", 50.0)):
        assert f"| {when} | 20 | 1,500 | 180 | {memory} |" in page


def test_every_scenario_of_the_issue_is_there() -> None:
    """The numbers run from 1 to 10, and each name stands for one scenario."""
    found = catalogue.load_all()
    assert {one.number for one in found} == set(range(1, 11))
    assert len({one.name for one in found}) == len(found)


def test_the_faulty_tagger_obeys_as_orders_change(tmp_path: Path) -> None:
    """It tags when it has no orders, raises on the same documents each time, and stops when told to."""
    path = tmp_path / "orders.json"
    tagger = FaultyTagger(WordTagger(), path)
    bad = next(number for number in range(1_000) if chosen(number, 0.05))
    good = next(number for number in range(1_000) if not chosen(number, 0.05))
    assert len(tagger.tag([f"Note {bad}: Paris."])[0]) == 1
    order(path, documents=0.05)
    for _ in range(2):
        with pytest.raises(RuntimeError):
            tagger.tag([f"Note {good}: Paris.", f"Note {bad}: Paris."])
        assert len(tagger.tag([f"Note {good}: Paris."])[0]) == 1
    order(path, always=True)
    with pytest.raises(RuntimeError):
        tagger.tag(["Paris."])
    order(path)
    assert len(tagger.tag([f"Note {bad}: Paris."])[0]) == 1
