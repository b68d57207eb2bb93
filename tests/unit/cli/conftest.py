"""A way to run the command line in this process, and to see what it said and with which code it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from fewnerd_stream.cli import cli

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def run() -> Callable[..., Result]:
    """Give a function that runs the command line with arguments, and standard input where there is some."""

    def invoke(*arguments: str, stdin: bytes | None = None, **environment: str) -> Result:
        options: dict[str, Any] = {"input": stdin, "env": environment}
        return CliRunner().invoke(cli, arguments, prog_name="fewnerd-stream", **options)

    return invoke
