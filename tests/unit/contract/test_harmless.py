"""What others wrote, shown: it steers nothing, forges no line, and as JSON it still says the same."""

from __future__ import annotations

import json
import unicodedata

import orjson
from hypothesis import given
from hypothesis import strategies as st

from fewnerd_stream.contract.harmless import harmless, indented
from fewnerd_stream.contract.jsonlines import compact_line, json_line
from tests.support.hostile import TEXTS, steers

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(TEXTS)
def test_a_text_becomes_one_line_that_steers_nothing(text: str) -> None:
    """As long as before, so that offsets still fit; with line feeds kept only where that is asked for."""
    shown = harmless(text)
    assert len(shown) == len(text)
    assert not steers(shown)
    assert "\n" not in shown
    assert len(shown.splitlines()) <= 1
    assert harmless(text, lines=True).count("\n") == text.count("\n")
    assert not steers(harmless(text, lines=True).replace("\n", "").replace("\t", ""))


def test_what_people_write_stays() -> None:
    """Words of all scripts, joiners, combining marks and emoji are shown as they are."""
    for text in ("Angela Merkel", "مرحبا", "می‌خواهم", "नमस्ते", "e\u0301", "👩‍👩‍👧‍👦", "東京", "שלום"):
        assert harmless(text) == text


@given(TEXTS)
def test_no_line_of_a_block_begins_where_ours_do(text: str) -> None:
    """Each is indented."""
    assert all(line.startswith("  ") for line in indented(text).split("\n"))


@given(VALUES)
def test_a_value_is_one_line_of_json_that_says_the_same(value: object) -> None:
    """Escapes stand for what steers; only an unpaired surrogate cannot be said in JSON."""
    line = json_line(value)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert not steers(line[:-1].decode())
    plain = (
        json.dumps(value, ensure_ascii=False)
        .encode("utf-16-be", "surrogatepass")
        .decode("utf-16-be", "replace")
    )
    if plain == json.dumps(value, ensure_ascii=False):
        assert json.loads(line) == json.loads(plain)


@given(VALUES, st.sampled_from([None, 1, 3, "\n", "\r\n"]), st.booleans())
def test_what_others_wrote_as_json_is_one_line_that_says_the_same(
    value: object,
    indent: object,
    ascii_only: bool,  # noqa: FBT001 - a case
) -> None:
    """However they laid it out."""
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)  # type: ignore[arg-type]  # a str does, too
    data = text.encode(errors="replace")
    try:
        expected = orjson.loads(data)
    except orjson.JSONDecodeError:
        assert compact_line(data) is None
        return
    line = compact_line(data)
    assert line is not None
    assert line.count(b"\n") == 1
    assert not steers(line[:-1].decode())
    assert orjson.loads(line) == expected


def test_numbers_and_repeats_stay_as_they_are_written() -> None:
    """A round trip through Python would change them."""
    data = b'{ "a" : 1.10e+40,\n"b":12345678901234567890 , "a": [ 1.0 , -0 ]}'
    assert compact_line(data) == b'{"a":1.10e+40,"b":12345678901234567890,"a":[1.0,-0]}\n'


@given(st.binary(max_size=40))
def test_what_is_no_json_is_said_to_be_none(data: bytes) -> None:
    """Nothing is made of it."""
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        assert compact_line(data) is None


def test_nothing_that_unicode_calls_a_control_passes() -> None:
    """Of all characters: controls, surrogates, separators of lines and paragraphs, and what turns the direction."""
    turning = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    for code in range(0x110000):
        character = chr(code)
        if (
            unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}
            or unicodedata.bidirectional(character) in turning
        ):
            assert harmless(character) != character, hex(code)
