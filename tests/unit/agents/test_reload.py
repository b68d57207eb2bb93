"""Models that change while the worker runs: what is taken, what is refused, and what goes on meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import threading
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from agents import reload
from agents.reload import Reloader, signature
from agents.tagger import load_tagger
from fewnerd_stream.delivery.tagger import TaggerSlot
from fewnerd_stream.settings import load_settings
from fewnerd_stream.telemetry.status import WorkerStatus
from model.bundle import BUNDLED
from tests.support.taggers import Info, WordTagger

if TYPE_CHECKING:
    from pathlib import Path

    from fewnerd_stream.settings import Settings


class _Made(WordTagger):
    """Says which model it is, and whether it was closed."""

    def __init__(self, digest: str) -> None:
        self.info = Info(digest=digest)
        self.closed = False

    def close(self) -> None:
        """Remember it."""
        self.closed = True


class _Desk:
    """A folder in place of a bundle, whose file ``digest`` says which model it is, and a reloader over it."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.folder = folder
        self.loaded = 0
        self.write("one")
        first: Any = self.load()
        self.slot: TaggerSlot[Any] = TaggerSlot(first)
        self.status = WorkerStatus(settings)
        self.reloader = Reloader(settings, self.load, self.slot, self.status, threading.Event())

    def write(self, digest: str) -> None:
        (self.folder / "digest").write_text(digest)

    def load(self) -> _Made:
        self.loaded += 1
        text = (self.folder / "digest").read_text()
        if text == "bad":
            raise ValueError("it is bad")
        return _Made(text)


@pytest.fixture
def desk(tmp_path: Path) -> _Desk:
    """Have model ``one`` in use."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    return _Desk(folder, load_settings(model=str(folder)))


def test_a_change_is_left_alone_until_it_rests(desk: _Desk) -> None:
    """What is being written is not loaded; nothing is loaded where nothing changed."""
    assert not desk.reloader.changed()
    desk.write("two of many")
    assert not desk.reloader.changed()
    desk.write("two, and more of it")
    assert not desk.reloader.changed()
    assert desk.reloader.changed()
    assert desk.loaded == 1


def test_another_model_comes_into_use(desk: _Desk) -> None:
    """The one before is closed, and counts and metrics tell of the new one."""
    old = desk.slot.current
    desk.write("two")
    assert desk.reloader.reload()
    assert desk.slot.current.info.digest == "two"
    assert old.closed
    assert not desk.slot.current.closed
    assert desk.status.model is not None
    assert desk.status.model.digest == "two"
    assert desk.status.reloads == {"done": 1}
    assert not desk.reloader.changed()


def test_one_that_fails_is_refused_once(desk: _Desk, caplog: pytest.LogCaptureFixture) -> None:
    """It is said and counted, the one in use goes on, and it is not tried again until it changes."""
    desk.write("bad")
    assert not desk.reloader.reload()
    assert desk.slot.current.info.digest == "one"
    assert not desk.slot.current.closed
    assert desk.status.reloads == {"refused": 1}
    assert "it is bad" in caplog.text
    assert not desk.reloader.changed()
    assert not desk.reloader.changed()
    desk.write("three")
    assert not desk.reloader.changed()
    assert desk.reloader.changed()


def test_one_that_does_not_work_is_refused(desk: _Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """It loads and fails on a known-good sentence: it is closed again."""
    made: list[_Made] = []

    def broken(_self: _Made, _texts: Any) -> Any:
        raise RuntimeError("it is broken")

    def load() -> _Made:
        made.append(_Made("two"))
        return made[-1]

    monkeypatch.setattr(desk.reloader, "_load", load)
    monkeypatch.setattr(_Made, "tag", broken)
    assert not desk.reloader.reload()
    assert desk.status.reloads == {"refused": 1}
    assert made[0].closed


def test_other_categories_are_refused(
    desk: _Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The topics depend on them."""
    desk.write("two")
    one = desk.slot.current
    monkeypatch.setattr(
        reload, "categories_of", lambda tagger: frozenset({"person", "art"} if tagger is one else {"person"})
    )
    assert not desk.reloader.reload()
    assert "other categories" in caplog.text


def test_the_same_model_again_is_no_change(desk: _Desk) -> None:
    """A touched file is looked at, and the tagger stays; nothing is refused."""
    one = desk.slot.current
    os.utime(desk.folder / "digest", (1, 1))
    assert not desk.reloader.reload()
    assert desk.slot.current is one
    assert not desk.status.reloads


def test_a_bundle_that_changes_while_it_is_read_is_refused(
    desk: _Desk, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Half of it may be old; it is tried again when it rests."""

    def load() -> _Made:
        desk.write("three, while two is read")
        return _Made("two")

    desk.write("two")
    monkeypatch.setattr(desk.reloader, "_load", load)
    assert not desk.reloader.reload()
    assert "changed while it was read" in caplog.text
    assert not desk.reloader.changed()
    assert desk.reloader.changed()


def test_a_file_names_the_bundle(tmp_path: Path) -> None:
    """Renamed into place it changes at once; a file that names nothing is a change, too, and no crash."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    file, fresh = tmp_path / "current", tmp_path / "fresh"
    file.write_text("one\n")
    seen = [signature(str(file))]
    for line in ("two\n", "nothing\n", "", "one\n"):
        fresh.write_text(line)
        fresh.replace(file)
        seen.append(signature(str(file)))
    assert all(before != after for before, after in pairwise(seen))
    file.unlink()
    assert signature(str(file)) == ()


def _copy(folder: Path, change: float) -> None:
    """Copy the bundle that ships, with another temperature, so another digest."""
    folder.mkdir()
    for path in BUNDLED.iterdir():
        if path.suffix == ".onnx":
            (folder / path.name).hardlink_to(path)
        else:
            shutil.copy(path, folder)
    decoding = json.loads((folder / "decoding.json").read_text())
    decoding["temperature"] += change
    (folder / "decoding.json").write_text(json.dumps(decoding))


def test_a_real_bundle_is_loaded_beside_the_one_in_use(tmp_path: Path) -> None:
    """Named by a file; its bands are told; a damaged one is refused, and the one in use still tags."""
    _copy(tmp_path / "one", 0)
    _copy(tmp_path / "two", 0.5)
    file = tmp_path / "current"
    file.write_text("one")
    settings = load_settings(model=str(file), threads=1)
    slot: TaggerSlot[Any] = TaggerSlot(load_tagger(settings))
    status = WorkerStatus(settings)
    reloader = Reloader(settings, lambda: load_tagger(settings), slot, status, threading.Event())
    old = slot.current.info.digest
    file.write_text("two")
    assert reloader.reload()
    new = slot.current.info.digest
    assert new != old
    assert len(status.precision.bands) == 8
    (tmp_path / "two" / "tokenizer.json").write_text("{}")
    assert not reloader.reload()
    assert slot.current.info.digest == new
    assert slot.current.tag(["Angela Merkel flew to Paris."])[0]
    slot.current.close()
