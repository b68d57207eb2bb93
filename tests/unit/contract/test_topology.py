"""The topology: each topic's name, role and input, in one list."""

from __future__ import annotations

import pytest

from fewnerd_stream.contract.topology import Topology, all_topics
from fewnerd_stream.settings import load_settings

TWO = Topology("g", ("a", "b"), retries=2, output_prefix="ner")


def test_what_only_the_group_reads_carries_its_name() -> None:
    """Inputs and outputs are shared by whoever reads them, retries, dead letters and marks are the group's."""
    assert list(TWO.roles())[:5] == [
        ("a", "input"),
        ("g.a.retry.1", "retry"),
        ("g.a.retry.2", "retry"),
        ("g.a.dead", "dead"),
        ("g.a.dead.replayed", "marks"),
    ]
    assert TWO.outputs["person"] == "ner.person"
    assert list(TWO.roles())[-1] == ("ner.none", "output")
    assert len(list(TWO.roles())) == 2 * 5 + 9


def test_two_groups_share_nothing_but_the_input() -> None:
    """Whatever is theirs has another name, so that none retries what is another's."""
    one, other = (Topology(group, ("a",), retries=3, output_prefix=group) for group in ("g", "h"))
    assert {name for name, _ in one.roles()} & {name for name, _ in other.roles()} == {"a"}


def test_each_topic_finds_its_input() -> None:
    """From any topic of an input, all of that input's are found; from others none."""
    for one in TWO.inputs:
        assert {TWO.of(name) for name, _ in one.roles()} == {one}
        assert TWO.input(one.input) is one
    for name in ("a.dead", "a.retry.1", "g.a.retry.3", "ner.none", "h.a.dead", ""):
        assert TWO.of(name) is None
    for name in ("g.a.dead", "c"):
        with pytest.raises(KeyError):
            TWO.input(name)


def test_only_what_the_group_wrote_is_trusted() -> None:
    """Headers that look like ours are believed on its retry topics and among its dead letters."""
    assert TWO.retries == {"g.a.retry.1", "g.a.retry.2", "g.b.retry.1", "g.b.retry.2"}
    assert TWO.trusted == TWO.retries | {"g.a.dead", "g.b.dead"}


def test_every_topic_has_a_configuration() -> None:
    """What is created is the list, the marks compacted and in one partition."""
    settings = load_settings(partitions=6)
    specs = {spec.name: spec for spec in all_topics(settings)}
    assert list(specs) == [name for name, _ in settings.topology.roles()]
    marks = specs["fewnerd-stream.raw-documents.dead.replayed"]
    assert (marks.config["cleanup.policy"], marks.partitions) == ("compact", 1)
    assert {spec.partitions for spec in specs.values() if spec.role != "marks"} == {6}
