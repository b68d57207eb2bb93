"""What the tests of deploy/ need: programs that are found, or else a skip, or a failure where CI must have them."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="session")
def require() -> Callable[[str], None]:
    """Skip with a reason, or fail with it where ``CI_REQUIRE_DEPLOY`` is set."""

    def missing(reason: str) -> None:
        if os.environ.get("CI_REQUIRE_DEPLOY"):
            pytest.fail(reason)
        pytest.skip(reason)

    return missing


@pytest.fixture(scope="session")
def program(require: Callable[[str], None]) -> Callable[[str], str]:
    """Find a program on the PATH."""

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            require(f"no {name} on the PATH")
        return path or ""

    return find
