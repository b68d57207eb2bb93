"""Files in a shared folder: nobody else decides where we write, or what we are told."""

from __future__ import annotations

import os
import tempfile
import time
from typing import TYPE_CHECKING

import orjson
import pytest

from fewnerd_stream.settings import load_settings, private
from fewnerd_stream.telemetry.health import read_health

if TYPE_CHECKING:
    from pathlib import Path

STRANGER = 54_321
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to another user")


@pytest.fixture(autouse=True)
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a folder for temporary files that all may write to, as /tmp is."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def _well(path: Path) -> None:
    path.write_bytes(orjson.dumps({"time": time.time(), "state": "running", "since": 0, "assigned": ["x"]}))


def test_the_default_lies_in_a_folder_that_is_ours_alone(shared: Path) -> None:
    """Made when it is first written to, for nobody else to read or write."""
    path = load_settings(group="g").health_file
    assert path.parent.parent == shared
    private.write(path, b"x")
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert private.read(path) == b"x"
    private.write(path, b"y")
    assert private.read(path) == b"y"
    assert sorted(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["health.json", "health.json.part"])
@pytest.mark.parametrize("kind", ["link", "hard link", "dangling"])
def test_no_link_is_written_through(name: str, kind: str, shared: Path) -> None:
    """Whatever has our file's name, or our part's, is replaced; what it points to stays as it was."""
    victim = shared / "victim"
    if kind != "dangling":
        victim.write_bytes(b"precious")
    if kind == "hard link":
        (shared / name).hardlink_to(victim)
    else:
        (shared / name).symlink_to(victim)
    private.write(shared / "health.json", b"ours")
    assert (shared / "health.json").read_bytes() == b"ours"
    assert victim.exists() == (kind != "dangling")
    assert kind == "dangling" or victim.read_bytes() == b"precious"


def test_a_folder_in_the_way_is_an_error_and_no_crash(shared: Path) -> None:
    """The worker complains, and goes on."""
    (shared / "health.json.part").mkdir()
    with pytest.raises(OSError, match=r"health\.json\.part"):
        private.write(shared / "health.json", b"ours")


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "large"])
def test_only_a_plain_file_of_a_sensible_size_is_read(kind: str, shared: Path) -> None:
    """A link may lead to somebody else's; a pipe would keep us waiting; and a file is read whole into memory."""
    path = shared / "health.json"
    if kind == "link":
        _well(shared / "other")
        path.symlink_to(shared / "other")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(b" " * ((1 << 20) + 1))
    health = read_health(path, time.time())
    assert not health.well
    assert "cannot be believed" in health.line


@needs_root
def test_another_users_file_says_nothing_of_our_worker(shared: Path) -> None:
    """Not even when it says that all is well."""
    path = shared / "health.json"
    _well(path)
    assert read_health(path, time.time()).well
    os.chown(path, STRANGER, -1)
    health = read_health(path, time.time())
    assert not health.well
    assert f"belongs to user {STRANGER}" in health.line


@needs_root
@pytest.mark.parametrize("how", ["owner", "mode", "link"])
def test_a_folder_that_is_ours_by_name_only_is_not_used(how: str, shared: Path) -> None:
    """Somebody else made it first, or may write into it: nothing is written there, and nothing believed."""
    path = load_settings(group="g").health_file
    folder = private.folder()
    if how == "link":
        (shared / "elsewhere").mkdir()
        folder.symlink_to(shared / "elsewhere")
    else:
        folder.mkdir(mode=0o700)
    _well(path)
    if how == "owner":
        os.chown(folder, STRANGER, -1)
    elif how == "mode":
        folder.chmod(0o777)
    with pytest.raises(OSError, match=r"belongs to|written by others|no folder"):
        private.write(path, b"ours")
    assert not read_health(path, time.time()).well
