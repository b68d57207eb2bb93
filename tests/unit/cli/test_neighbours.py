"""Another distribution's `agents` or `model` is said at a worker's start, with where it lies and what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fewnerd_stream.cli import _neighbours
from fewnerd_stream.errors import SettingsError
from fewnerd_stream.exits import Exit

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("name", ["agents", "model"])
def test_a_worker_says_who_stands_in_its_place(name: str, tmp_path: Path) -> None:
    """With a package of this name earlier on the path, the worker ends with its place and an advice."""
    other = tmp_path / name / "__init__.py"
    other.parent.mkdir()
    other.write_text("raise RuntimeError('somebody else is imported')\n")
    done = subprocess.run(
        [sys.executable, "-m", "fewnerd_stream", "worker", "--bootstrap-servers", "127.0.0.1:1"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == Exit.USAGE, done.stderr
    assert str(other) in done.stderr
    assert "environment" in done.stderr
    assert "Traceback" not in done.stderr


def test_ours_are_ours() -> None:
    """In this environment nobody stands in their place."""
    assert list(_neighbours.check_neighbours()) == []


def test_one_who_has_written_into_ours_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution that was installed into the same folder is named, and the worker goes on."""
    both = {"agents": ["fewnerd-stream", "openai-agents"], "model": ["fewnerd-stream"]}
    monkeypatch.setattr(_neighbours, "packages_distributions", lambda: both)
    (said,) = _neighbours.check_neighbours()
    assert "openai-agents" in said


def test_what_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is gone, as by another's uninstall, is missed by its name."""
    monkeypatch.setattr(_neighbours, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"import agents.*nowhere"):
        list(_neighbours.check_neighbours())
