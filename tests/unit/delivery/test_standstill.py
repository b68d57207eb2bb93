"""Standstill: a partition that stands while others move is seen; one that has nothing to do does not stand."""

from __future__ import annotations

from fewnerd_stream.contract.records import Partition
from fewnerd_stream.delivery.standstill import Standstill

A, B = Partition("raw", 0), Partition("raw", 1)


def test_one_that_stands_while_another_moves_is_told_with_its_time() -> None:
    """From when it was first seen there, until it moves."""
    seen = Standstill()
    assert seen.look({A: (5, True), B: (1, True)}, 100.0) == {}
    assert seen.look({A: (5, True), B: (2, True)}, 110.0) == {A: 10.0}
    assert seen.look({A: (5, True), B: (2, True)}, 130.0) == {A: 30.0}
    assert seen.look({A: (6, True), B: (3, True)}, 140.0) == {}


def test_when_none_moves_no_partition_is_to_blame() -> None:
    """A broker that takes nothing holds them all."""
    seen = Standstill()
    for now in (0.0, 50.0, 100.0):
        assert seen.look({A: (5, True), B: (1, True)}, now) == {}


def test_one_that_has_nothing_to_do_does_not_stand() -> None:
    """And its time begins when something comes."""
    seen = Standstill()
    seen.look({A: (5, False), B: (1, True)}, 0.0)
    assert seen.look({A: (5, False), B: (2, True)}, 10.0) == {}
    assert seen.look({A: (5, True), B: (3, True)}, 20.0) == {A: 10.0}
    assert seen.look({A: (5, True), B: (4, True)}, 30.0) == {A: 20.0}, (
        "since it was last seen with nothing to do"
    )


def test_one_that_was_let_go_is_forgotten() -> None:
    """When it comes back its time begins anew."""
    seen = Standstill()
    seen.look({A: (5, True), B: (1, True)}, 0.0)
    seen.look({B: (2, True)}, 10.0)
    seen.look({A: (5, True), B: (2, True)}, 20.0)
    assert seen.look({A: (5, True), B: (3, True)}, 25.0) == {A: 5.0}
