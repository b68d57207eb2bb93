"""Texts on their way through the runner threads, some at a time, and the board on which their batches meet."""

from __future__ import annotations

import contextlib
import threading
from bisect import bisect_right
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from model import decode, windows
from model.pool import PoolClosedError, silent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from model.bundle import Bundle
    from model.entity import Entity
    from model.pieces import Pieces
    from model.pool import Beat, Pool
    from model.windows import Window

    Floats = npt.NDArray[np.float32]
    Ints = npt.NDArray[np.int64]

# Texts, and code points, that are tokenized, batched and decoded together.
CHUNK_TEXTS: Final = 256
CHUNK_LENGTH: Final = 262_144
# Undecided words that are decoded in one go, and the most of a chain without end: no name is as long.
_DECODED_AT_ONCE: Final = 8192
_LONGEST_CHAIN: Final = 65_536


class Steps(Protocol):
    """What a tagger does with a slab at each step."""

    bundle: Bundle

    def encode(self, texts: Sequence[str], beat: Beat) -> Pieces:
        """Tokenize; call ``beat`` meanwhile."""

    def batches(self, pieces: Pieces, beat: Beat) -> list[list[Window]]:
        """Group the windows over all texts, longest first; call ``beat`` meanwhile."""

    def infer(self, batch: Sequence[tuple[Pieces, Sequence[Window]]]) -> Floats:
        """Run the graph."""

    def entities(
        self, texts: Sequence[str], pieces: Pieces, words: Ints, logits: Floats
    ) -> list[list[Entity]]:
        """Decode."""


class Chunk:
    """Some texts: tokenized and batched, inferred batch by batch, decoded by whoever finishes the last."""

    def __init__(
        self, steps: Steps, pool: Pool, board: BatchQueue, texts: Sequence[str], beat: Beat = silent
    ) -> None:
        self._steps, self._pool, self._board, self._texts = steps, pool, board, texts
        # Called after each step, so that what is slow can be told from what hangs.
        self.beat = beat
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._failure: BaseException | None = None
        self._parts: list[tuple[Ints, Floats]] = []
        self._left = 0
        self._found: list[list[Entity]] = []
        # The board's: what is not taken yet, the shortest first, and how long each group's longest row is.
        self.groups: list[list[Window]] = []
        self.lengths: list[int] = []
        self.pieces: Pieces
        # The board's, too: how many runners are at work on it.
        self.at_work = 0
        board.begin(self)
        pool.submit([self._prepare])

    def collect(self) -> list[list[Entity]]:
        """Wait for the texts' entities; raise what went wrong on the way."""
        self._done.wait()
        if self._failure is not None:
            raise self._failure
        return self._found

    def abandon(self) -> None:
        """Do no more for these texts: nobody waits for them."""
        self.fail(PoolClosedError("abandoned"))

    def fail(self, failure: BaseException) -> None:
        """Let whoever waits raise this."""
        self._board.drop(self)
        self._failure = self._failure or failure
        self._end()

    def _end(self) -> None:
        self._board.end(self)
        self._done.set()

    def deliver(self, words: Ints, logits: Floats) -> None:
        """Take the undecided words of one of the groups; decode after the last."""
        with self._lock:
            self._parts.append((words, logits))
            self._left -= 1
            if self._left:
                return
        order = np.argsort(np.concatenate([part for part, _ in self._parts]))
        words = np.concatenate([part for part, _ in self._parts])[order]
        logits = np.concatenate([part for _, part in self._parts])[order]
        self._parts.clear()
        found: list[list[Entity]] = [[] for _ in self._texts]
        for first, past in decoded_at_once(words, self.pieces.apart):
            part = self._steps.entities(self._texts, self.pieces, words[first:past], logits[first:past])
            for of_text, more in zip(found, part, strict=True):
                of_text.extend(more)
            self._board.beat([self])
        self._found = found
        self._end()

    def _prepare(self) -> None:
        def beat() -> None:
            self._board.beat([self])

        try:
            with self._board.working([self]):
                self.pieces = self._steps.encode(self._texts, beat)
                self.groups = self._steps.batches(self.pieces, beat)[::-1]
            self.lengths = [max(window.end - window.start for window in group) + 2 for group in self.groups]
            self._left = len(self.groups)
            if not self._left:
                self._found = [[] for _ in self._texts]
                self._end()
                return
            self._board.put(self)
            self._pool.submit([self._infer] * self._left)
        except BaseException as failure:  # noqa: BLE001 - whoever waits gets it, whatever it is
            self.fail(failure)

    def _infer(self) -> None:
        """Run the longest group that is left, if any is, and those of other slabs that go well with it."""
        batch = self._board.take(self)
        if not batch:
            return
        slabs = [slab for slab, _ in batch]
        try:
            with self._board.working(slabs):
                logits = self._steps.infer([(slab.pieces, group) for slab, group in batch])
                rows = decode.undecided(logits, self._steps.bundle.decoding)
            self._board.beat(slabs)
            begin = 0
            for slab, group in batch:
                words = np.concatenate([np.arange(window.word, window.past) for window in group])
                own = rows[np.searchsorted(rows, begin) : np.searchsorted(rows, begin + words.size)]
                slab.deliver(words[own - begin], logits[own])
                begin += words.size
        except BaseException as failure:  # noqa: BLE001 - whoever waits gets it, whatever it is
            for slab in slabs:
                slab.fail(failure)


class BatchQueue:
    """The groups of all slabs under way, so that callers with few texts each still fill their batches."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slabs: list[Chunk] = []
        self._under_way: set[Chunk] = set()

    def begin(self, slab: Chunk) -> None:
        """Know of a slab from its beginning on."""
        with self._lock:
            self._under_way.add(slab)

    def end(self, slab: Chunk) -> None:
        """Forget a slab that is done, or has failed."""
        with self._lock:
            self._under_way.discard(slab)

    @contextlib.contextmanager
    def working(self, slabs: Sequence[Chunk]) -> Iterator[None]:
        """Note that a runner is at work on these."""
        with self._lock:
            for slab in slabs:
                slab.at_work += 1
        try:
            yield
        finally:
            with self._lock:
                for slab in slabs:
                    slab.at_work -= 1

    def beat(self, slabs: Sequence[Chunk]) -> None:
        """Give a sign of life for these, and for all that only wait for their turn: it is why they do."""
        with self._lock:
            alive = {*slabs, *(slab for slab in self._under_way if not slab.at_work)}
        for slab in alive:
            slab.beat()

    def put(self, slab: Chunk) -> None:
        """Offer a slab's groups to all runners."""
        with self._lock:
            self._slabs.append(slab)

    def drop(self, slab: Chunk) -> None:
        """Take back what is left of a slab."""
        with self._lock:
            slab.groups.clear()
            slab.lengths.clear()
            if slab in self._slabs:
                self._slabs.remove(slab)

    def take(self, slab: Chunk) -> list[tuple[Chunk, list[Window]]]:
        """Take the slab's longest group, and from each other slab one that is cheaper run along than alone.

        Returns nothing where others have taken all of the slab's groups along already.
        """
        with self._lock:
            if not slab.groups:
                return []
            batch = [(slab, slab.groups.pop())]
            rows, longest = len(batch[0][1]), slab.lengths.pop()
            for other in self._slabs:
                if other is slab:
                    continue
                near = bisect_right(other.lengths, longest)
                for place in (near - 1, near):
                    if not 0 <= place < len(other.groups):
                        continue
                    length, more = other.lengths[place], len(other.groups[place])
                    padded = (rows + more) * max(length, longest)
                    waste = padded - rows * longest - more * length
                    if padded <= windows.BATCH_PIECES and waste < windows.COST_OF_BATCH:
                        batch.append((other, other.groups.pop(place)))
                        del other.lengths[place]
                        rows, longest = rows + more, max(length, longest)
                        break
            self._slabs = [each for each in self._slabs if each.groups]
            return batch


def decoded_at_once(words: Ints, apart: npt.NDArray[np.bool_]) -> Iterator[tuple[int, int]]:
    """Cut undecided words into runs to decode one after the other: between chains, or where one never ends.

    Args:
        words: the words' indices, increasing.
        apart: whether a word is parted from the one before, for all words.
    """
    between = np.append(np.flatnonzero((np.diff(words) != 1) | apart[words[1:]]) + 1, words.size)
    first = 0
    while first < words.size:
        place = int(np.searchsorted(between, first + _DECODED_AT_ONCE, side="right"))
        # The last boundary within reach, or else the first beyond it.
        past = int(between[place - 1]) if place and between[place - 1] > first else int(between[place])
        past = min(past, first + _LONGEST_CHAIN)
        yield first, past
        first = past


def parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut the texts into runs of bounded number and length; a longer text is a run of its own."""
    first = length = 0
    for number, text in enumerate(texts):
        if number > first and (number - first == CHUNK_TEXTS or length + len(text) > CHUNK_LENGTH):
            yield texts[first:number]
            first, length = number, 0
        length += len(text)
    if first < len(texts):
        yield texts[first:]
