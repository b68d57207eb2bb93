"""The one error that a recipe's step ends with when what it was given cannot be used."""

from __future__ import annotations


class RecipeError(ValueError):
    """A file, a setting or a start cannot be used; the message says which, why, and what would help."""
