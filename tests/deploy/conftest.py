"""What the tests of deploy/ need: programs that are found, or else a skip, or a failure where CI must have them."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """Find a program on the PATH; skip without it, or fail where ``CI_REQUIRE_DEPLOY`` is set."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None and os.environ.get("CI_REQUIRE_DEPLOY"):
            pytest.fail(f"no {name} on the PATH")
        if path is None:
            pytest.skip(f"no {name} on the PATH")
        return path

    return find
