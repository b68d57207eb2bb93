"""Files and directories: JSON lines as they are appended, and texts as documents of their own."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from watchfiles import awatch

from fewnerd_stream.errors import FewnerdError
from fewnerd_stream.feeds.entries import Entry, from_bytes, stable_id
from fewnerd_stream.feeds.plain import plain

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fewnerd_stream.feeds.sink import Sink
    from fewnerd_stream.feeds.state import State
    from fewnerd_stream.settings import Settings

_log = logging.getLogger(__name__)

_LINES: Final = frozenset({".jsonl", ".ndjson"})
_MARKUP: Final = frozenset({".htm", ".html", ".xhtml"})
_TEXTS: Final = frozenset({".md", ".rst", ".text", ".txt"}) | _MARKUP
_CHUNK: Final = 1 << 20
_HEAD: Final = 1024


@dataclass(slots=True)
class Files:
    """Reads files, and follows them; what was stored of one is not stored again after a restart.

    A ``.jsonl`` file's lines are documents, read from where the last one ended; a ``.txt``, ``.md`` or
    ``.html`` file is one document, and another one when its content has changed.
    """

    settings: Settings
    sink: Sink
    state: State
    left_out: int = 0
    """Documents that are too large, and files that cannot be read."""

    async def run(self, paths: Iterable[Path], *, once: bool) -> None:
        """Read all there is, and then, unless once, what changes.

        Raises:
            FewnerdError: a path does not exist.
            TopicsError: a topic is gone.
        """
        roots = await asyncio.to_thread(_roots, list(paths))
        if once:
            await self._all(roots, whole=True)
            return
        watched = await asyncio.to_thread(_folders, roots)
        changes = awatch(*watched, yield_on_timeout=True, rust_timeout=500)
        first = True
        async for batch in changes:
            if first:  # the watch is on now, so that nothing falls between
                first = False
                await self._all(roots, whole=False)
            for path in sorted({Path(name) for _, name in batch}):
                if any(path == root or root in path.parents for root in roots):
                    await self._file(path, whole=False)

    async def _all(self, roots: Iterable[Path], *, whole: bool) -> None:
        for root in roots:
            found = await asyncio.to_thread(_within, root)
            for path in found:
                await self._file(path, whole=whole)

    async def _file(self, path: Path, *, whole: bool) -> None:
        """Read a file as far as it was not read before; ``whole`` says that nobody writes to it any more."""
        suffix = path.suffix.lower()
        if suffix not in _LINES | _TEXTS or any(part.startswith(".") for part in path.parts):
            return
        try:
            if not await asyncio.to_thread(path.is_file):  # gone again, or a pipe
                return
            if suffix in _LINES:
                await self._lines(path, whole=whole)
            else:
                await self._text(path)
        except OSError as error:
            self.left_out += 1
            _log.warning("%s: %s", path, error.strerror or error)

    async def _lines(self, path: Path, *, whole: bool) -> None:
        name = path.as_uri()
        known = self.state.get(name)
        at = known.get("offset", 0)
        if at and await asyncio.to_thread(_head, path, known["head_size"]) != known["head"]:
            at = 0  # another file of that name: from its start
        while True:
            data = await asyncio.to_thread(_read, path, at, max(_CHUNK, self.settings.max_message_bytes))
            end = len(data) if whole and len(data) < _CHUNK else data.rfind(b"\n") + 1
            if not end:
                if len(data) >= self.settings.max_message_bytes:
                    raise OSError(f"a line at byte {at} is larger than a record may be")
                return
            documents = [
                from_bytes(line.removesuffix(b"\r"), name, "", self.settings)
                for line in data[:end].split(b"\n")
                if line.strip()
            ]
            await self._store(path, documents)
            at += end
            size = min(at, _HEAD)
            head = await asyncio.to_thread(_head, path, size)
            await self.state.put(name, {"offset": at, "head": head, "head_size": size})

    async def _text(self, path: Path) -> None:
        most = self.settings.max_message_bytes
        data = await asyncio.to_thread(_read, path, 0, most + 1)
        if len(data) > most:
            raise OSError(f"larger than a record may be ({most} bytes)")
        name, digest = path.as_uri(), hashlib.sha256(data).hexdigest()
        known = self.state.get(name)
        if known.get("digest") == digest:
            return
        text = data.decode("utf-8-sig", "replace")
        if path.suffix.lower() in _MARKUP:
            text = await asyncio.to_thread(plain, text)
        if not text.strip():
            return  # just made: what is to stand in it comes
        made = Entry(stable_id(name, digest), text, feed=path.name, source=name)
        await self._store(path, [made.document(self.settings)])
        await self.state.put(name, {"digest": digest})

    async def _store(self, path: Path, documents: list[tuple[Any, bytes]]) -> None:
        stored = 0
        for refused in await self.sink.store(documents):
            stored += refused is None
            if refused:
                self.left_out += 1
                _log.warning("%s: a document is left out: %s", path, refused)
        if stored:
            _log.info("%s: %d documents", path, stored)


def _roots(paths: Iterable[Path]) -> list[Path]:
    roots = [path.resolve() for path in paths]
    for root in roots:
        if not root.exists():
            raise FewnerdError(f"{root}: no such file or directory")
    return roots


def _folders(roots: list[Path]) -> set[Path]:
    """Name what to watch: a file by its folder, since editors put another in its place."""
    return {root if root.is_dir() else root.parent for root in roots}


def _within(root: Path) -> list[Path]:
    return sorted(root.rglob("*")) if root.is_dir() else [root]


def _read(path: Path, at: int, most: int) -> bytes:
    with path.open("rb") as file:
        file.seek(at)
        return file.read(most)


def _head(path: Path, size: int) -> str:
    return hashlib.sha256(_read(path, 0, size)).hexdigest()
