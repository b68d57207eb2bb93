"""Whether the packages that come with this one are ours: `agents` and `model` are names that others use, too.

A worker is an application and wants an environment of its own. Where it has none, it says so before it fails
in a way that nobody understands.
"""

from __future__ import annotations

from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import fewnerd_stream
from fewnerd_stream.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS: Final = ("agents", "model")
_DISTRIBUTION: Final = "fewnerd-stream"
_ADVICE: Final = "a worker is an application: give it an environment, or an image, of its own"


def check_neighbours() -> Iterator[str]:
    """Say which of our packages others have written into, too.

    Raises:
        SettingsError: the import of one of them gives another package.
    """
    home = Path(fewnerd_stream.__file__).resolve().parents[1]
    installed = packages_distributions()
    for name in OURS:
        spec = find_spec(name)
        found = list(spec.submodule_search_locations or ()) if spec else []
        if not found or Path(found[0]).resolve() != home / name:
            where = spec.origin if spec and spec.origin else "nowhere"
            raise SettingsError(f"`import {name}` finds {where}, not {home / name}: {_ADVICE}")
        others = sorted(set(installed.get(name, ())) - {_DISTRIBUTION})
        if others and _DISTRIBUTION in installed.get(name, ()):
            yield f"{home / name} belongs to {', '.join(others)}, too, which may have written over it: {_ADVICE}"
