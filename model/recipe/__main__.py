"""``python -m model.recipe``: see ``model.recipe.cli``."""

from __future__ import annotations

from model.recipe.cli import main

main(prog_name="python -m model.recipe")
