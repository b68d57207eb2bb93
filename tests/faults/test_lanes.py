"""The lanes of the short form."""

from __future__ import annotations

from argparse import Namespace

from tests.faults import catalogue, lanes


def test_every_scenario_is_in_one_lane_and_what_shares_a_cluster_is_in_the_same() -> None:
    """Two processes never use one cluster, and nothing is left out."""
    everything = catalogue.load_all()
    found = lanes.lanes(everything)
    assert sorted(one.name for lane in found.values() for one in lane) == sorted(
        one.name for one in everything
    )
    kinds = [{one.kind for one in lane} for lane in found.values()]
    assert len(found) > 1
    assert sum(map(len, kinds)) == len(set.union(*kinds))


def test_a_lane_is_played_as_was_asked_and_has_no_lanes_itself() -> None:
    """The command names the lane's scenarios, seed, rate and flags, and no more."""
    options = Namespace(seed=7, rate=50.0, documents=None, results=None, resume=True, keep=False)
    for lane in lanes.lanes(catalogue.load_all()).values():
        words = lanes.command(options, lane)
        named = {words[place + 1] for place, word in enumerate(words) if word == "--scenario"}
        assert named == {one.name for one in lane}
        assert len(lanes.lanes([catalogue.SCENARIOS[name] for name in named])) == 1
        assert words[words.index("--seed") + 1] == "7"
        assert "--resume" in words
        assert "--keep" not in words
