"""The categories' colours: each can be told from the others, and text on and beside them can be read."""

from __future__ import annotations

import math
import re
from importlib import resources
from itertools import combinations
from typing import TYPE_CHECKING

import pytest

from fewnerd_stream.contract.taxonomy import CATEGORIES

if TYPE_CHECKING:
    from collections.abc import Iterable

STYLE = (resources.files("fewnerd_stream.console") / "static" / "style.css").read_text("utf-8")
THEMES = [line for line in re.split(r"^(?=:root|@media)", STYLE, flags=re.MULTILINE) if "--art:" in line]
Colour = tuple[float, ...]


def _colours(theme: str) -> dict[str, Colour]:
    """Read a theme's variables, as shares of red, green and blue."""
    found: dict[str, Colour] = {}
    for name, digits in re.findall(r"--([a-z-]+): #([0-9a-f]{6}|[0-9a-f]{3});", theme):
        whole = digits if len(digits) == 6 else "".join(digit * 2 for digit in digits)
        found[name] = tuple(int(whole[at : at + 2], 16) / 255 for at in (0, 2, 4))
    return found


def _dot(one: Iterable[float], other: Iterable[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def _linear(colour: Colour) -> Colour:
    return tuple(c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour)


def _contrast(one: Colour, other: Colour) -> float:
    """WCAG's contrast, 1 to 21."""
    shares = (0.2126, 0.7152, 0.0722)
    dark, light = sorted(_dot(_linear(colour), shares) for colour in (one, other))
    return (light + 0.05) / (dark + 0.05)


def _seen(colour: Colour) -> Colour:
    """Give a colour's place in OKLab, where distances are about as they are seen."""
    to_cones = (
        (0.4122214708, 0.5363325363, 0.0514459929),
        (0.2119034982, 0.6806995451, 0.1073969566),
        (0.0883024619, 0.2817188376, 0.6299787005),
    )
    to_lab = (
        (0.2104542553, 0.7936177850, -0.0040720468),
        (1.9779984951, -2.4285922050, 0.4505937099),
        (0.0259040371, 0.7827717662, -0.8086757660),
    )
    cones = [_dot(row, _linear(colour)) ** (1 / 3) for row in to_cones]
    return tuple(_dot(row, cones) for row in to_lab)


@pytest.mark.parametrize("theme", THEMES, ids=["light", "dark", "dark-chosen"])
def test_categories_can_be_told_apart_and_read(theme: str) -> None:
    """In each theme: a distance between any two, and WCAG AA as text on a card and under an entity's text."""
    colours = _colours(theme)
    for one, other in combinations(CATEGORIES, 2):
        assert math.dist(_seen(colours[one]), _seen(colours[other])) > 0.11, (one, other)
    tint = re.search(r"--tint: (\d+)%", theme)
    assert tint
    share = int(tint[1]) / 100
    for category in CATEGORIES:
        assert _contrast(colours[category], colours["card"]) >= 4.5, category
        under = tuple(
            share * own + (1 - share) * card
            for own, card in zip(colours[category], colours["card"], strict=True)
        )
        assert _contrast(colours["ink"], under) >= 7, category


def test_both_ways_into_the_dark_theme_give_the_same_colours() -> None:
    """As the system wants it, and as chosen on the page."""
    assert len(THEMES) == 3
    assert _colours(THEMES[1]) == _colours(THEMES[2])
