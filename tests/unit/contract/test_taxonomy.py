"""The one place that names categories and types."""

from __future__ import annotations

from fewnerd_stream.contract.taxonomy import CATEGORIES, FINE_TYPES, LABELS, NONE


def test_there_are_8_categories_and_66_labels() -> None:
    """Few-NERD has 8 coarse categories and 66 fine types, each label once."""
    assert len(CATEGORIES) == 8
    assert len(LABELS) == len(set(LABELS)) == 66


def test_a_label_is_its_category_and_type() -> None:
    """What stands before the first dash is the category: no category has a dash."""
    assert all(fine in FINE_TYPES[coarse] for coarse, _, fine in (label.partition("-") for label in LABELS))


def test_names_are_sorted_and_none_is_no_category() -> None:
    """Order is by name, so that it is the same in every message; `none` is the topic of the others."""
    assert list(CATEGORIES) == sorted(CATEGORIES)
    assert all(list(fines) == sorted(fines) for fines in FINE_TYPES.values())
    assert NONE not in CATEGORIES
