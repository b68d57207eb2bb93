"""The onlooker's judgement: what counts as standing, and what does not."""

from __future__ import annotations

from tests.faults.standing import Standing

A, B = ("in", 0), ("in", 1)
BOTH = {A, B}


def test_a_stand_is_measured_in_time_and_in_what_passed_by() -> None:
    """Documents count only in a stand that is longer than allowed."""
    seen = Standing(5.0)
    for turn in range(5):
        seen.look({A: 10, B: 100 * turn}, BOTH, BOTH, 2.0 * turn)
    assert seen.longest.seconds == 8.0
    assert seen.longest.documents == 400
    short = Standing(5.0)
    for turn in range(3):
        short.look({A: 10, B: 100 * turn}, BOTH, BOTH, 2.0 * turn)
    assert short.longest.documents == 0


def test_a_partition_that_moves_or_has_no_owner_or_nothing_to_do_does_not_stand() -> None:
    """Its time begins anew."""
    for behind, owned in ((BOTH, {B}), ({B}, BOTH)):
        seen = Standing(5.0)
        for turn in range(5):
            seen.look({A: 10, B: 100 * turn}, behind, owned, 2.0 * turn)
        assert seen.longest.seconds == 0.0
