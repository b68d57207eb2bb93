"""How far two models agree: what is counted as the same, and what is shown of the rest."""

from __future__ import annotations

import json

from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from fewnerd_stream.cli import cli
from fewnerd_stream.operations.diff import Agreement, Comparison
from tests.support.taggers import Found

PERSON = Found("Paris", 0, 5, "person", "actor", "person-actor")
PLACE = Found("Paris", 0, 5, "location", "GPE", "location-GPE")
PARK = Found("Paris", 0, 5, "location", "park", "location-park")
TEXT = "Paris " + "x" * 100


def test_extent_and_category_or_label_make_it_the_same() -> None:
    """Two labels of one category agree by category alone, and two categories not at all."""
    compared = Comparison()
    compared.add("1", TEXT, [PLACE], [PARK])
    compared.add("2", TEXT, [PLACE], [PERSON])
    compared.add("3", TEXT, [], [])
    assert compared.categories() == {"location": Agreement(1, 1, 0), "person": Agreement(0, 0, 1)}
    assert compared.labels()["location-GPE"] == Agreement(0, 2, 0)
    assert compared.labels()["location-park"] == Agreement(0, 0, 1)
    assert (compared.documents, compared.same) == (3, 1)


def test_examples_are_few_and_short() -> None:
    """As many as were asked for, with a little text around each."""
    compared = Comparison(examples=3)
    for number in range(10):
        compared.add(str(number), TEXT, [PLACE], [PERSON])
    assert [(each.document, each.found_by) for each in compared.examples] == [
        ("0", "first"),
        ("0", "second"),
        ("1", "first"),
    ]
    assert all(len(each.around) < 60 for each in compared.examples)


@given(st.lists(st.sampled_from([PERSON, PLACE, PARK])), st.lists(st.sampled_from([PERSON, PLACE, PARK])))
def test_it_is_the_same_the_other_way_round(first: list[Found], second: list[Found]) -> None:
    """The agreement has no side; that with oneself is whole."""
    one, other, itself = Comparison(), Comparison(), Comparison()
    one.add("", TEXT, first, second)
    other.add("", TEXT, second, first)
    itself.add("", TEXT, first, first)
    assert {k: v.share for k, v in one.labels().items()} == {k: v.share for k, v in other.labels().items()}
    assert all(each.share == 1 for each in itself.labels().values())
    assert itself.same == 1


def test_the_command_compares_two_models() -> None:
    """The bundled model agrees with itself, and the table and JSON say so."""
    arguments = ["diff", "bundled", "bundled", "Angela Merkel flew to Paris.", "--threads", "1"]
    said = CliRunner().invoke(cli, [*arguments, "--json"])
    assert said.exit_code == 0, said.output
    told = json.loads(said.output)
    assert told["documents"] == told["same"] == 1
    assert told["models"]["first"] == told["models"]["second"]
    assert told["categories"]["person"] == {"both": 1, "first": 0, "second": 0, "agreement": 1.0}
    shown = CliRunner().invoke(cli, arguments)
    assert "1 of 1 documents are the same" in shown.output
    assert CliRunner().invoke(cli, ["diff", "bundled", "/no/such", "x"]).exit_code == 5
