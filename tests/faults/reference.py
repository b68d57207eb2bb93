"""The reference: what the tagger alone says of every document, worked out once and kept on the disk.

Kept under a digest of all that decides it, in pieces of ``CHUNK`` documents, so that a run that was cut short
goes on where it stopped, and a longer load only adds to it.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from tests.faults import load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from model.tagger import Tagger

CATEGORIES: Final = ("art", "building", "event", "location", "organization", "other", "person", "product")
NONE: Final = "none"
DEAD: Final = "dead"
PLACES: Final = (*CATEGORIES, NONE, DEAD)
"""Where a document can end; a set of them is a number with a bit for each, in this order."""

BIT: Final = {name: 1 << index for index, name in enumerate(PLACES)}
ENRICHED: Final = BIT[DEAD] - 1
CHUNK: Final = 5_000

Entity = tuple[int, int, str, float]
"""Start and end in code points, label, score."""


@dataclass(frozen=True, slots=True)
class Tagged:
    """What is expected of a text: the entities of each category, and the set of topics."""

    mask: int
    entities: dict[str, list[Entity]]


def tagged(entities: Sequence[Any]) -> Tagged:
    """Sort a text's entities by category."""
    found: dict[str, list[Entity]] = {}
    for one in entities:
        found.setdefault(one.coarse, []).append((one.start, one.end, one.label, one.score))
    mask = sum(BIT[category] for category in found) or BIT[NONE]
    return Tagged(mask, found)


def cache_folder() -> Path:
    """Give the folder outside the checkout in which long work is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fewnerd-stream" / "faults"


class Reference:
    """The tagger's word on the documents of one seed, and on any other text."""

    def __init__(self, seed: int, model: str | None, folder: Path | None = None) -> None:
        """Name the seed and the bundle (None: the bundled one); nothing is loaded yet."""
        self.seed = seed
        self.model = model
        self._tagger: Tagger | None = None
        self._folder = folder
        self.masks: npt.NDArray[np.uint16] = np.zeros(0, np.uint16)
        self._chunk = lru_cache(maxsize=400)(self._read)

    @property
    def tagger(self) -> Tagger:
        """The real tagger, loaded on first use."""
        if self._tagger is None:
            from model.tagger import Tagger

            self._tagger = Tagger.load(self.model)
        return self._tagger

    @property
    def folder(self) -> Path:
        """Where this reference is kept."""
        if self._folder is None:
            import onnxruntime

            import model

            # All that decides a result: the model, the code around it, and the load's own text.
            code = [Path(load.__file__), *sorted(Path(model.__file__ or "").parent.glob("*.py"))]
            parts = [self.tagger.info.digest, onnxruntime.__version__, str(self.seed)]
            parts += [path.read_text(encoding="utf-8") for path in code]
            self._folder = cache_folder() / hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder

    def close(self) -> None:
        """Let go of the tagger: it is large, and the workers need the room."""
        if self._tagger is not None:
            self._tagger.close()
            self._tagger = None

    def tag(self, texts: Sequence[str]) -> list[Tagged]:
        """Tag any texts, now."""
        return [tagged(found) for found in self.tagger.tag(texts)]

    def ensure(self, count: int, passed: Callable[[int], object] = lambda _: None) -> None:
        """Have the first ``count`` documents tagged; ``passed`` is told of every piece that is there."""
        chunks = -(-count // CHUNK)
        for index in range(chunks):
            path = self._path(index)
            if not path.exists():
                self._make(index, path)
            passed(min(CHUNK, count - index * CHUNK))
        if len(self.masks) < chunks * CHUNK:
            known = [self._chunk(index)["masks"] for index in range(chunks)]
            self.masks = np.concatenate(known) if known else self.masks

    def share_with_entity(self, count: int) -> float:
        """Give the share of the first documents in which something is found."""
        return float(np.mean(self.masks[:count] != BIT[NONE])) if count else 0.0

    def entities(self, number: int) -> dict[str, list[Entity]]:
        """Give a document's entities by category."""
        chunk = self._chunk(number // CHUNK)
        row = number % CHUNK
        found: dict[str, list[Entity]] = {}
        labels = chunk["labels"]
        for index in range(chunk["first"][row], chunk["first"][row + 1]):
            label = str(labels[chunk["label"][index]])
            one = int(chunk["start"][index]), int(chunk["end"][index]), label, float(chunk["score"][index])
            found.setdefault(str(chunk["coarse"][chunk["label"][index]]), []).append(one)
        return found

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:05}.npz"

    def _read(self, index: int) -> dict[str, Any]:
        with np.load(self._path(index)) as stored:
            arrays = {name: stored[name] for name in stored.files}
        # Lists are read one by one four times as fast as arrays.
        return {name: array if name == "masks" else array.tolist() for name, array in arrays.items()}

    def _make(self, index: int, path: Path) -> None:
        numbers = range(index * CHUNK, (index + 1) * CHUNK)
        texts = [load.text(self.seed, number) for number in numbers]
        found = self.tagger.tag(texts)
        names: dict[str, int] = {}
        coarse: list[str] = []
        rows: list[tuple[int, int, int, float]] = []
        first = [0]
        for entities in found:
            for one in entities:
                if one.label not in names:
                    names[one.label] = len(names)
                    coarse.append(one.coarse)
                rows.append((one.start, one.end, names[one.label], one.score))
            first.append(len(rows))
        part = path.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            np.savez(
                file,
                masks=np.array([tagged(entities).mask for entities in found], np.uint16),
                first=np.array(first, np.int32),
                start=np.array([row[0] for row in rows], np.int32),
                end=np.array([row[1] for row in rows], np.int32),
                label=np.array([row[2] for row in rows], np.int16),
                score=np.array([row[3] for row in rows], np.float32),
                labels=np.array(list(names)),
                coarse=np.array(coarse),
            )
        part.rename(path)


def checksum(value: bytes | None, key: bytes | None) -> int:
    """Give a number that tells records apart by key and value; a null is not an empty one."""
    start = zlib.crc32(b"\0" if key is None else b"\1" + key)
    return zlib.crc32(b"\0" if value is None else b"\1" + value, start)
