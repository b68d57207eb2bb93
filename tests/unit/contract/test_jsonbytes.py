"""Looking at JSON without making objects of it."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fewnerd_stream.contract.jsonbytes import nesting, without_member

_texts = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\[]{},:'), max_size=20)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, width=32)
    | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=20,
)


def _depth(value: object) -> int:
    inner: list[object] = []
    if isinstance(value, dict):
        inner = list(value.values())
    elif isinstance(value, list):
        inner = value
    else:
        return 0
    return 1 + max(map(_depth, inner), default=0)


@given(value=_json, ascii_only=st.booleans())
def test_nesting_is_the_depth_of_the_objects(value: object, ascii_only: bool) -> None:  # noqa: FBT001 - a strategy
    """What is counted in the bytes is what Python would count, however the strings are escaped."""
    assert nesting(json.dumps(value, ensure_ascii=ascii_only).encode()) == _depth(value)


@pytest.mark.parametrize(
    ("value", "depth"),
    [
        (b"", 0),
        (b"1", 0),
        (b'"[[["', 0),
        (rb'"\"[["', 0),
        (rb'["\\"]', 1),
        (b'[[],{"a":[{}]}]', 4),
        (b"[" * 9, 9),
    ],
)
def test_nesting_of_odd_values(value: bytes, depth: int) -> None:
    """Brackets in strings do not count, and what is no JSON is counted as far as it goes."""
    assert nesting(value) == depth


def test_nesting_is_quick_on_what_is_made_to_be_slow() -> None:
    """A million open quotes and backslashes take one pass, not a million."""
    assert nesting(b'"' + rb"\"" * 1_000_000) == 0
    assert nesting(b"[]" * 1_000_000) == 1


@given(
    members=st.dictionaries(_texts, _json, min_size=1), indent=st.none() | st.integers(0, 2), data=st.data()
)
def test_a_member_goes_and_the_rest_stays(
    members: dict[str, object], indent: int | None, data: st.DataObject
) -> None:
    """Without a member, an object reads as if that had been deleted."""
    name = data.draw(st.sampled_from(sorted(members)))
    value = json.dumps(members, indent=indent, ensure_ascii=data.draw(st.booleans())).encode()
    assert json.loads(without_member(value, name)) == {
        key: one for key, one in members.items() if key != name
    }


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (b'{"text":"a"}', b"{}"),
        (b' { "text" : "a" } \n', b" {} \n"),
        (b'{"a":1.10,"text":"x","b":12345678901234567890123}', b'{"a":1.10,"b":12345678901234567890123}'),
        (b'{"text":"x", "a":{"text":"y"}, "text":["z"]}', b'{ "a":{"text":"y"}}'),
        (rb'{"t\u0065xt":"x","a":"\u00e9"}', rb'{"a":"\u00e9"}'),
        (b'{"a":"text","b":["text",{"text":1}]}', b'{"a":"text","b":["text",{"text":1}]}'),
        (rb'{"a":"\"text\":,{","text":"}"}', rb'{"a":"\"text\":,{"}'),
        (b"{}", b"{}"),
    ],
)
def test_what_is_left_is_left_byte_for_byte(value: bytes, left: bytes) -> None:
    """Numbers keep their digits, strings their escapes; all members of that name go, none inside others."""
    assert without_member(value, "text") == left
    orjson.loads(left)
