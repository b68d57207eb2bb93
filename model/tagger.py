"""The tagger: texts in, entities out. Any number of callers share one graph and one set of threads."""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from model import decode, windows
from model.bundle import Bundle, ModelInfo, open_bundle
from model.cores import permitted_cores
from model.entity import Entity
from model.graph import Graph
from model.pieces import Encoder, Pieces
from model.pool import Pool, silent
from model.queue import BatchQueue, Chunk, parts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    import numpy.typing as npt

    from model.pool import Beat

    Floats = npt.NDArray[np.float32]
    Ints = npt.NDArray[np.int64]


# Windows that are grouped in one go: grouping takes its time, too.
_WINDOWS_AT_ONCE: Final = 8192


@dataclasses.dataclass(frozen=True, slots=True)
class Least:
    """The least scores told of each label, [labels]: ``coarse`` of its category, ``fine`` of itself."""

    labels: tuple[str, ...]
    coarse: Floats
    fine: Floats

    def tells(self, entity: Entity) -> bool:
        """Return whether an entity is told."""
        label = self.labels.index(entity.label)
        return bool(entity.coarse_score >= self.coarse[label] and entity.score >= self.fine[label])

    @classmethod
    def of(
        cls,
        bundle: Bundle,
        thresholds: Mapping[str, float] | float | None = None,
        labels: Collection[str] | None = None,
    ) -> Self:
        """Put together what is told.

        Args:
            bundle: whose labels, categories and own thresholds there are.
            thresholds: the least coarse score of every category, or by name: a category's least coarse score, a
                label's least score. Either replaces what the bundle says of a label or of all of a category's; what
                is not named keeps the bundle's.
            labels: the labels told; None for all. The others still compete, but are not told.

        Raises:
            ValueError: a name is unknown, or a number is not 0 to 1.
        """
        decoding = bundle.decoding
        own, categories = set(bundle.labels[1:]), set(decoding.names[1:])
        if thresholds is None:
            thresholds = {}
        elif not isinstance(thresholds, Mapping):
            thresholds = dict.fromkeys(sorted(categories), thresholds)
        unknown = sorted({*thresholds} - own - categories | {*(labels or ())} - own)
        if unknown:
            raise ValueError(f"the model has no label {', '.join(unknown)}")
        wrong = [f"{name}: {least}" for name, least in thresholds.items() if not 0 <= least <= 1]
        if wrong:
            raise ValueError(f"thresholds must be 0 to 1, not {wrong[0]}")
        coarse, fine = [0.0], [0.0]
        for label, category in zip(bundle.labels[1:], decoding.category_of[1:], strict=True):
            named = label in thresholds or category in thresholds
            kept = 0.0 if named else decoding.types.get(label, 0.0)
            own_coarse = 0.0 if named else decoding.thresholds.get(category, decoding.least)
            coarse.append(thresholds.get(category, own_coarse))
            fine.append(thresholds.get(label, kept) if labels is None or label in labels else 2.0)
        return cls(bundle.labels, np.array(coarse, np.float32), np.array(fine, np.float32))


class Tagger:
    """A loaded bundle. Make one by `load`; use it as a context manager, or close it."""

    def __init__(
        self,
        bundle: Bundle,
        graph: Graph,
        threads: int,
        least: Least,
    ) -> None:
        self.info: ModelInfo = bundle.info
        self.labels: tuple[str, ...] = bundle.labels[1:]
        self.bundle = bundle
        self.threads = threads
        self._graph = graph
        self._least = least
        self._encoder = Encoder(bundle.tokenizer, bundle.vocabulary, bundle.case_classes)
        self._pool = Pool(threads, "tagger")
        self._pieces = 0
        self._counting = threading.Lock()
        self._board = BatchQueue()

    @classmethod
    def load(
        cls,
        folder: str | Path | None = None,
        *,
        threads: int | None = None,
        thresholds: Mapping[str, float] | float | None = None,
        labels: Collection[str] | None = None,
        check: bool = True,
    ) -> Self:
        """Load a bundle.

        Args:
            folder: a bundle's folder or hub name; None for the one that ships.
            threads: runner threads; None for all the cores that this process may use.
            thresholds: what is told, as `Least.of` reads it; None for what the bundle says of itself, 0 for
                whatever was found.
            labels: the labels told; None for all. The others still compete, but are not told.
            check: compare a few sentences' scores with those kept in the bundle.

        Raises:
            BundleError: the bundle cannot be used, or gives other scores on this processor.
            ValueError: a threshold or label is unknown or out of range, or ``threads`` is below 1.
        """
        if threads is not None and threads < 1:
            raise ValueError(f"threads is {threads}, must be at least 1")
        bundle = open_bundle(folder)
        least = Least.of(bundle, thresholds, labels)
        tagger = cls(bundle, Graph.open(bundle), threads or permitted_cores(), least)
        if check:
            from model import parity  # noqa: PLC0415 - it uses taggers itself

            try:
                parity.check(tagger)
            except BaseException:
                tagger.close()
                raise
        return tagger

    def tag(self, texts: Sequence[str], beat: Beat = silent) -> list[list[Entity]]:
        """Return each text's entities in their order; what a text gets depends on nothing but itself.

        Args:
            texts: any texts.
            beat: called after each step on them, from any thread: while it is, the work goes on.

        Raises:
            PoolClosedError: the tagger is closed.
            ScoresError: the model's scores mean nothing.
        """
        return [entities for slab in self._slabs(texts, beat) for entities in slab.collect()]

    def log_probabilities(self, texts: Sequence[str]) -> list[tuple[npt.NDArray[np.int64], Floats]]:
        """Return each text's words, [words, 2] code points, and their log-probabilities [words, labels].

        For parity checks, and for choosing a temperature or a decoding; `tag` keeps much less of a text.
        """
        out: list[tuple[npt.NDArray[np.int64], Floats]] = []
        for text in texts:
            pieces = self._encoder.encode([text])
            spans = np.stack([pieces.start, pieces.end], 1)
            scores = np.zeros((len(spans), len(self.bundle.labels)), np.float32)
            for group in self.batches(pieces):
                words = np.concatenate([np.arange(window.word, window.past) for window in group])
                scores[words] = self.infer([(pieces, group)])
            out.append((spans, decode.log_probabilities(scores)))
        return out

    def pieces_seen(self) -> int:
        """Return how many word pieces the graph was run on so far, those of overlapping windows twice."""
        return self._pieces

    def close(self) -> None:
        """Finish what was begun and end the threads."""
        self._pool.close()

    def __enter__(self) -> Self:
        """Return the tagger itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def _slabs(self, texts: Sequence[str], beat: Beat) -> Iterator[Chunk]:
        """Yield the texts' slabs in order, each begun while the one before it still runs."""
        begun: deque[Chunk] = deque()
        try:
            for part in parts(texts):
                begun.append(Chunk(self, self._pool, self._board, part, beat))
                if len(begun) > 1 + self.threads // 2:
                    yield begun.popleft()
            while begun:
                yield begun.popleft()
        finally:
            for slab in begun:
                slab.abandon()

    def batches(self, pieces: Pieces, beat: Beat = silent) -> list[list[windows.Window]]:
        """Return the windows over all texts, grouped into batches of like length; call ``beat`` meanwhile."""
        all_windows = windows.plan(
            pieces.first,
            pieces.sentence,
            len(pieces.ids),
            longest=self.bundle.window,
            overlap=self.bundle.overlap,
        )
        lengths = [window.end - window.start + 2 for window in all_windows]
        out: list[list[windows.Window]] = []
        for first in range(0, len(lengths), _WINDOWS_AT_ONCE):
            groups = windows.batches(lengths[first : first + _WINDOWS_AT_ONCE], windows.BATCH_PIECES)
            out += [[all_windows[first + index] for index in group] for group in groups]
            beat()
        if len(lengths) > _WINDOWS_AT_ONCE:
            out.sort(key=lambda group: -max(window.end - window.start for window in group))
        return out

    def encode(self, texts: Sequence[str], beat: Beat = silent) -> Pieces:
        """Return the texts' pieces and words; call ``beat`` meanwhile."""
        return self._encoder.encode(texts, beat)

    def infer(self, batch: Sequence[tuple[Pieces, Sequence[windows.Window]]]) -> Floats:
        """Run the graph once and return the scores of the windows' words, one window after the other."""
        begin, end, pad = self.bundle.specials
        width = max(window.end - window.start for _, group in batch for window in group) + 2
        rows = sum(len(group) for _, group in batch)
        ids = np.full((rows, width), pad, np.int64)
        mask = np.zeros((rows, width), np.int64)
        ids[:, 0] = begin
        places: list[Ints] = []
        row = 0
        for pieces, group in batch:
            for window in group:
                size = window.end - window.start
                ids[row, 1 : size + 1] = pieces.ids[window.start : window.end]
                ids[row, size + 1] = end
                mask[row, : size + 2] = 1
                places.append(pieces.first[window.word : window.past] + (row * width + 1 - window.start))
                row += 1
        with self._counting:
            self._pieces += int(mask.sum()) - 2 * rows
        return self._graph.scores(ids, mask, np.concatenate(places))

    def entities(
        self, texts: Sequence[str], pieces: Pieces, words: Ints, logits: Floats
    ) -> list[list[Entity]]:
        """Decode the undecided words, given in order with their scores; every other word is ``O``."""
        found: list[list[Entity]] = [[] for _ in texts]
        if not words.size:
            return found
        begins = pieces.apart
        linked = np.zeros(words.size, np.bool_)
        linked[1:] = (np.diff(words) == 1) & ~begins[words[1:]]
        closed = ~np.append(begins, True)[words + 1]
        decoding = self.bundle.decoding
        mass = decode.masses(logits, decoding)
        path = decode.best_path(mass, linked, closed, decoding)
        firsts, pasts = decode.runs(path, linked)
        coarse_scores = decode.scores(mass, linked, path, firsts, pasts, temperature=decoding.temperature)
        labels, shares = decode.types(logits, path, firsts, pasts, decoding)
        scores = coarse_scores * shares
        told = np.flatnonzero(
            (coarse_scores >= self._least.coarse[labels]) & (scores >= self._least.fine[labels])
        )
        first_words = words[firsts[told]]
        owners = np.searchsorted(pieces.text_words, first_words, side="right") - 1
        rows = zip(
            owners.tolist(),
            pieces.start[first_words].tolist(),
            pieces.end[words[pasts[told] - 1]].tolist(),
            labels[told].tolist(),
            scores[told].astype(np.float64).round(4).tolist(),
            coarse_scores[told].astype(np.float64).round(4).tolist(),
            strict=True,
        )
        names, types = self.bundle.labels, self.bundle.types
        for owner, start, end, label, score, coarse_score in rows:
            coarse, fine = types[label]
            text = texts[owner][start:end]
            found[owner].append(Entity(text, start, end, coarse, fine, names[label], score, coarse_score))
        return found
