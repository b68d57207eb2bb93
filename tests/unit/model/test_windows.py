"""Windows cover every word once, the one with most around it speaks; batches hold every window once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.windows import Window, batches, cover, plan

if TYPE_CHECKING:
    import numpy.typing as npt


@st.composite
def sentences(draw: st.DrawFn) -> tuple[int, int, npt.NDArray[np.int64], int, int]:
    """Draw a sentence's first piece, its end and its words' first pieces, and a window and overlap."""
    longest = draw(st.integers(8, 64))
    overlap = draw(st.integers(0, longest // 2))
    sizes = draw(st.lists(st.sampled_from([1, 1, 1, 2, 3, 9, 30, 200]), min_size=1, max_size=120))
    start = draw(st.integers(0, 50))
    bounds = start + np.concatenate(([0], np.cumsum(sizes)))
    return start, int(bounds[-1]), bounds[:-1], longest, overlap


@given(sentences())
def test_windows_cover_every_piece_and_speak_for_every_word_once(
    problem: tuple[int, int, npt.NDArray[np.int64], int, int],
) -> None:
    """No piece is left out, no window is too long, and words are parted without gap or overlap."""
    start, end, first, longest, overlap = problem
    found = cover(start, end, first, 7, longest=longest, overlap=overlap)
    seen = np.zeros(end, np.bool_)
    word = 7
    for window in found:
        assert start <= window.start < window.end <= end
        assert window.end - window.start <= longest
        assert window.word == word
        assert window.past > window.word
        word = window.past
        own = first[window.word - 7 : window.past - 7]
        assert np.all((window.start <= own) & (own < window.end))
        seen[window.start : window.end] = True
    assert word == 7 + len(first)
    assert seen[first].all()


@given(sentences())
def test_a_word_is_told_by_the_window_with_the_most_around_it(
    problem: tuple[int, int, npt.NDArray[np.int64], int, int],
) -> None:
    """Of the windows that hold a word's first, none shows more on its poorer side than the one asked."""
    start, end, first, longest, overlap = problem
    found = cover(start, end, first, 0, longest=longest, overlap=overlap)

    def around(window: Window, piece: int) -> float:
        left = float("inf") if window.start == start else piece - window.start
        right = float("inf") if window.end == end else window.end - 1 - piece
        return min(left, right)

    for window in found:
        for piece in first[window.word : window.past].tolist():
            best = max(around(other, piece) for other in found if other.start <= piece < other.end)
            assert around(window, piece) == best


def test_windows_begin_and_end_between_words_where_they_can() -> None:
    """With words of three pieces no window cuts one."""
    first = np.arange(0, 300, 3)
    found = cover(0, 300, first, 0, longest=64, overlap=16)
    assert len(found) > 4
    assert all(window.start % 3 == 0 and window.end % 3 == 0 for window in found)


def test_a_word_longer_than_a_window_is_cut_and_told_once() -> None:
    """A word of a thousand pieces is spoken for by the window that holds its first; the next word follows."""
    first = np.array([0, 1, 1001])
    found = cover(0, 1002, first, 0, longest=32, overlap=8)
    assert found[0].word == 0
    assert found[-1].past == 3
    assert sum(window.past - window.word for window in found) == 3


def test_each_sentence_is_a_window_of_its_own() -> None:
    """Sentences are seen one at a time, and only a longer one takes several windows."""
    first = np.arange(100)
    sentence = np.isin(first, [0, 10, 25])
    found = plan(first, sentence, 100, longest=32, overlap=8)
    assert found[:2] == [Window(0, 10, 0, 10), Window(10, 25, 10, 25)]
    assert found[2].start == 25
    assert len(found) > 3
    assert [window.word for window in found[3:]] == [window.past for window in found[2:-1]]
    assert plan(first[:0], sentence[:0], 0, longest=32, overlap=8) == []


@given(st.lists(st.integers(2, 192), max_size=80), st.integers(16, 600))
def test_batches_hold_each_window_once_and_keep_to_the_budget(lengths: list[int], budget: int) -> None:
    """Rows times the longest row is within the budget, but for a window that is longer by itself."""
    groups = batches(lengths, budget)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    for group in groups:
        assert len(group) == 1 or len(group) * max(lengths[index] for index in group) <= budget


def test_windows_of_one_length_share_batches() -> None:
    """Starting a batch costs something, so like lengths go together; short ones go without long ones."""
    assert len(batches([32] * 16, 256)) == 2
    groups = batches([128, 8, 8, 8, 8, 8, 8], 1024)
    assert [len(group) for group in groups] == [1, 6]


@pytest.mark.parametrize("count", [0, 1])
def test_few_windows_are_batched_too(count: int) -> None:
    """None gives none, one gives one."""
    assert len(batches([50] * count, 256)) == count
