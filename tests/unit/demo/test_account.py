"""The demonstration's account: nothing that is missing, doubled or strange escapes it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fewnerd_stream.contract.records import Record
from fewnerd_stream.demo.account import Account, Fate, place_of
from fewnerd_stream.demo.feed import Item
from fewnerd_stream.errors import Reason
from fewnerd_stream.settings import load_settings

SETTINGS = load_settings()
PLACE = ("raw-documents", 1, 7)


def _enriched(category: str, counts: dict[str, int], **source: int) -> Record:
    first: dict[str, Any] = {"topic": PLACE[0], "partition": PLACE[1], "offset": PLACE[2], "attempt": 0}
    value = orjson.dumps({"counts": counts, "source": first | source})
    return Record(f"entities.{category}", 0, 0, None, None, value)


def _ours(topic: str, reason: str = "") -> Record:
    names = {"topic": PLACE[0], "partition": PLACE[1], "offset": PLACE[2], "reason": reason}
    headers = tuple((f"__fewnerd.{name}", str(value).encode()) for name, value in names.items())
    return Record(topic, 0, 0, None, None, None, headers)


def _account(*records: Record) -> Account:
    fate = Fate()
    for record in records:
        assert place_of(record, SETTINGS) == PLACE
        fate.add(record, SETTINGS)
    return Account({PLACE: fate})


def _surprises(account: Account, reason: Reason | None = None, name: str = "n") -> list[str]:
    return account.surprises({PLACE: Item(name, b"", reason)}, flaky="flaky", attempts=2)


def test_nothing_came_of_it() -> None:
    """An input of which nothing came is lost."""
    assert _account().lost == [PLACE]
    assert _account(_ours("fewnerd-stream.raw-documents.retry.1")).lost == [PLACE]


def test_a_missing_category_is_a_loss() -> None:
    """A document that is not in each of its categories' topics is lost, though a part of it is there."""
    counts = {"art": 1, "person": 2}
    assert _account(_enriched("art", counts)).lost == [PLACE]
    assert _account(_enriched("art", counts), _enriched("person", counts)).lost == []


@pytest.mark.parametrize(
    "records",
    [
        [_enriched("none", {})],
        [_ours("fewnerd-stream.raw-documents.dead", "nan")],
        [_enriched("art", {"art": 1})],
    ],
)
def test_one_end_is_enough(records: list[Record]) -> None:
    """No entities, a dead letter, one category: each accounts for its input; a second copy is counted."""
    assert _account(*records).lost == []
    assert _account(*records).duplicates == 0
    assert _account(*records, *records).duplicates == 1


def test_an_unforeseen_end_is_a_surprise() -> None:
    """A document that should be enriched and is dead, the other way round, or for another reason, is told."""
    dead = _account(_ours("fewnerd-stream.raw-documents.dead", "nan"))
    assert _surprises(dead, Reason.NAN) == []
    assert _surprises(dead, Reason.NOT_JSON) == ["n: nan, not not-json"]
    assert _surprises(dead) == ["n: nan, not enriched"]
    assert _surprises(_account(_enriched("none", {})), Reason.NAN) == ["n: enriched, not nan"]


def test_retries_are_where_they_belong() -> None:
    """The document that fails is retried just so often, and no other is."""
    once = _account(_ours("fewnerd-stream.raw-documents.retry.1"), _enriched("none", {}, attempt=1))
    assert once.fates[PLACE].attempt == 1
    assert _surprises(once) == ["n: retried 1 times, not 0"]
    assert _surprises(once, name="flaky") == ["flaky: retried 1 times, not 2"]


def test_a_stranger_is_a_surprise() -> None:
    """A result of an input that was never sent is told."""
    account = _account(_enriched("none", {}))
    account.strangers.append(("raw-documents", 9, 9))
    assert len(_surprises(account)) == 1
