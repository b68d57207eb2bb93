"""Letter case as input: what class a span of a text gets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.case import CAPITALISED, CASE_CLASSES, LOWER, MIXED, UPPER, case_classes

ANY_TEXT = st.text(st.characters(), max_size=40)


def spans(*bounds: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the starts and ends of some spans as arrays."""
    table = np.array(bounds, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def defined(span: str) -> int:
    """Return a span's class as the module's words define it, one character at a time."""
    upper = [c.isupper() or c.istitle() for c in span]
    letters = sum(c.isalpha() for c in span)
    if not any(upper):
        return LOWER
    if sum(upper) == 1 and upper[0]:
        return CAPITALISED
    return UPPER if sum(upper) == letters and sum(upper) > 1 else MIXED


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ("merkel", LOWER),
        ("Merkel", CAPITALISED),
        ("NATO", UPPER),
        ("A", CAPITALISED),
        ("iPhone", MIXED),
        ("McDonald", MIXED),
        ("1997", LOWER),
        ("B2B", UPPER),
        ("Ünal", CAPITALISED),
        ("ÇA", UPPER),
        ("日本", LOWER),
        ("ǅ", CAPITALISED),
        ("𝐀𝐁", UPPER),
        ("\ud800", LOWER),
        ("", LOWER),
    ],
)
def test_class_of_a_word(span: str, expected: int) -> None:
    """A word's class says whether no, the first, every or some other letter is upper-case."""
    assert case_classes(f"X{span} x", *spans((1, 1 + len(span)))).tolist() == [expected]


def test_no_spans() -> None:
    """A text without pieces has no classes."""
    assert case_classes("", *spans()).tolist() == []


def test_empty_span_at_the_end() -> None:
    """An empty span at the end of a text is lower-case, and reads nothing past it."""
    assert case_classes("AB", *spans((2, 2))).tolist() == [LOWER]


@given(ANY_TEXT, st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=8))
def test_every_span_of_any_text_is_classed_as_defined(text: str, bounds: list[tuple[int, int]]) -> None:
    """For any Unicode text and spans within it, the vectorised classes are the defined ones."""
    inside = [(min(a, b, len(text)), min(max(a, b), len(text))) for a, b in bounds]
    found = case_classes(text, *spans(*inside)).tolist()
    assert found == [defined(text[start:end]) for start, end in inside]
    assert all(0 <= value < CASE_CLASSES for value in found)


@given(ANY_TEXT, ANY_TEXT)
def test_a_spans_class_does_not_depend_on_the_text_around_it(before: str, span: str) -> None:
    """The same span has the same class wherever it stands."""
    alone = case_classes(span, *spans((0, len(span))))
    within = case_classes(before + span + "Z", *spans((len(before), len(before) + len(span))))
    assert alone.tolist() == within.tolist()
