"""Sentences for the recipe: read from parquet, JSON lines, the official text files or a hub data set."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from model.case import CASE_CLASSES, case_classes
from model.recipe.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy.typing as npt
    from tokenizers import Tokenizer

OUTSIDE = "O"
UNKNOWN_PIECE = "[UNK]"


class DataError(RecipeError):
    """A training or evaluation file cannot be used; the message says which and why."""


@dataclasses.dataclass(frozen=True, slots=True)
class Sentence:
    """Words as Few-NERD splits them, one tag each (IO scheme), and the types it was not annotated for."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]
    unknown: tuple[str, ...] = ()
    natural: bool = True

    @property
    def key(self) -> str:
        """What makes two sentences the same one: their words, letter case aside."""
        return " ".join(self.tokens).lower()


def read_sentences(source: str, *, split: str = "train") -> list[Sentence]:
    """Read all sentences of a file, or of one split of a hub data set when no such file exists.

    Raises:
        DataError: the file is empty, malformed, or neither a file nor a loadable data set.
    """
    path = Path(source)
    if not path.exists():
        rows = _hub_rows(source, split)
    elif path.suffix == ".parquet":
        rows = _parquet_rows(path)
    elif path.suffix in {".jsonl", ".json"}:
        rows = (orjson.loads(line) for line in path.read_bytes().splitlines() if line.strip())
    else:
        rows = _official_rows(path)
    sentences = []
    for number, row in enumerate(rows, 1):
        tokens, tags = tuple(row["tokens"]), tuple(row["tags"])
        if len(tokens) != len(tags) or not tokens:
            raise DataError(f"{source}: sentence {number} has {len(tokens)} tokens and {len(tags)} tags")
        unknown = tuple(row.get("unknown_types") or ())
        sentences.append(Sentence(tokens, tags, unknown, bool(row.get("natural", True))))
    if not sentences:
        raise DataError(f"{source}: no sentence in it")
    return sentences


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq  # noqa: PLC0415 - only this reader needs pyarrow

    file = pq.ParquetFile(path)
    wanted = [c for c in ("tokens", "tags", "unknown_types", "natural") if c in file.schema_arrow.names]
    for batch in file.iter_batches(columns=wanted):
        yield from batch.to_pylist()


def _official_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Few-NERD's own files: a word, a tab and a tag a line, a blank line after each sentence."""
    tokens: list[str] = []
    tags: list[str] = []
    for number, line in enumerate([*path.read_text("utf-8").split("\n"), ""], 1):
        if not line.strip():
            if tokens:
                yield {"tokens": tokens, "tags": tags}
            tokens, tags = [], []
            continue
        word, tab, tag = line.partition("\t")
        if not tab or not word or not tag.strip():
            raise DataError(f"{path}, line {number}: expected a word, a tab and a tag")
        tokens.append(word)
        tags.append(tag.strip())


def _hub_rows(name: str, split: str) -> Iterator[dict[str, Any]]:
    try:
        datasets = importlib.import_module("datasets")  # optional: only hub data sets need it
    except ImportError as error:
        raise DataError(
            f"{name}: no such file, and `datasets` is not installed to look on the hub"
        ) from error
    loaded = datasets.load_dataset(name, split=split)
    if "fine_ner_tags" not in loaded.features:
        raise DataError(f"{name}: no column `fine_ner_tags`, so not a Few-NERD data set")
    names = loaded.features["fine_ner_tags"].feature.names
    for row in loaded:
        yield {"tokens": row["tokens"], "tags": [names[tag] for tag in row["fine_ner_tags"]]}


def label_list(sentences: Iterable[Sentence]) -> list[str]:
    """Return ``O`` and every other tag or unknown type of the sentences, sorted."""
    names = {name for s in sentences for name in (*s.tags, *s.unknown)}
    return [OUTSIDE, *sorted(names - {OUTSIDE})]


def refuse_overlap(train: Sequence[Sentence], held_out: Sequence[Sentence]) -> None:
    """Raise DataError when a training sentence is in the held-out file, letter case aside."""
    known = {s.key for s in held_out}
    shared = [s for s in train if s.key in known]
    if shared:
        raise DataError(
            f"{len(shared)} training sentences are in the evaluation file too "
            f"(the first: {shared[0].key[:60]!r}); take them out of the training data"
        )


@dataclasses.dataclass(slots=True)
class Encoded:
    """Sentences as one run of pieces, sentence ``i`` at ``bounds[i]:bounds[i + 1]``, specials left out.

    ``target`` is the label's index at a word's first piece and -1 elsewhere; ``unknown`` is, per sentence,
    the boolean set of labels it was not annotated for.
    """

    pieces: npt.NDArray[np.int32]
    case: npt.NDArray[np.int8]
    target: npt.NDArray[np.int16]
    bounds: npt.NDArray[np.int64]
    unknown: npt.NDArray[np.bool_]
    natural: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of sentences."""
        return len(self.bounds) - 1

    @property
    def digest(self) -> str:
        """A short name of all there is to learn from, so that no run goes on with other data."""
        total = hashlib.sha256()
        for part in (self.pieces, self.case, self.target, self.bounds, self.unknown, self.natural):
            total.update(part.tobytes())
        return total.hexdigest()[:12]

    def part(self, first: int, past: int) -> Encoded:
        """Return the sentences ``first`` to ``past`` alone."""
        start, end = self.bounds[first], self.bounds[past]
        return Encoded(
            self.pieces[start:end],
            self.case[start:end],
            self.target[start:end],
            self.bounds[first : past + 1] - start,
            self.unknown[first:past],
            self.natural[first:past],
        )


def encode(
    sentences: Sequence[Sentence], tokenizer: Tokenizer, labels: Sequence[str], longest: int
) -> Encoded:
    """Turn sentences into pieces, case classes and targets; those over ``longest`` pieces are cut there."""
    index = {label: i for i, label in enumerate(labels)}
    pieces: list[int] = []
    case: list[npt.NDArray[np.int64]] = []
    target: list[int] = []
    bounds = [0]
    unknown = np.zeros((len(sentences), len(labels)), np.bool_)
    for first in range(0, len(sentences), 2048):
        part = sentences[first : first + 2048]
        encodings = tokenizer.encode_batch(
            [list(s.tokens) for s in part], is_pretokenized=True, add_special_tokens=False
        )
        for row, (sentence, encoding) in enumerate(zip(part, encodings, strict=True), first):
            ids, words, offsets = encoding.ids, encoding.word_ids, encoding.offsets
            word_starts = np.cumsum([0, *(len(t) for t in sentence.tokens)])
            spans = np.array(offsets, np.int64).reshape(-1, 2)
            shift = word_starts[np.array(words, np.int64)] if ids else np.zeros(0, np.int64)
            classes = case_classes("".join(sentence.tokens), spans[:, 0] + shift, spans[:, 1] + shift)
            size = min(len(ids), longest)
            pieces.extend(ids[:size])
            case.append(classes[:size])
            previous = -1
            for word in words[:size]:
                target.append(index[sentence.tags[word]] if word != previous else -1)
                previous = word
            bounds.append(len(pieces))
            for name in sentence.unknown:
                unknown[row, index[name]] = True
    return Encoded(
        np.array(pieces, np.int32),
        np.concatenate(case).astype(np.int8),
        np.array(target, np.int16),
        np.array(bounds, np.int64),
        unknown,
        np.array([s.natural for s in sentences], np.bool_),
    )


def batches(
    data: Encoded, rows: npt.NDArray[np.int64], budget: int, seed: int
) -> list[npt.NDArray[np.int64]]:
    """Split rows into shuffled batches of like length, each at most ``budget`` padded pieces."""
    order = np.random.default_rng(seed).permutation(rows)
    lengths = np.diff(data.bounds) + 2
    out: list[npt.NDArray[np.int64]] = []
    for first in range(0, len(order), 4096):
        chunk = order[first : first + 4096]
        chunk = chunk[np.argsort(lengths[chunk], kind="stable")]
        start = 0
        for end in range(1, len(chunk) + 1):
            if end == len(chunk) or lengths[chunk[end]] * (end - start + 1) > budget:
                out.append(chunk[start:end])
                start = end
    random.Random(seed).shuffle(out)  # noqa: S311 - an order of batches is no secret
    return out


def padded(
    data: Encoded, rows: npt.NDArray[np.int64], vocabulary: int, special: tuple[int, int, int], *, cased: bool
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return ids (case folded in), attention mask and targets of some sentences, each [rows, longest]."""
    cls, sep, pad = special
    lengths = np.diff(data.bounds)[rows]
    shape = (len(rows), int(lengths.max()) + 2)
    ids, mask = np.full(shape, pad, np.int64), np.zeros(shape, np.int64)
    target = np.full(shape, -1, np.int64)
    for row, (sentence, length) in enumerate(zip(rows, lengths, strict=True)):
        start, end = data.bounds[sentence], data.bounds[sentence] + length
        ids[row, 0], ids[row, length + 1] = cls, sep
        ids[row, 1 : length + 1] = data.pieces[start:end]
        if cased:
            ids[row, 1 : length + 1] += vocabulary * data.case[start:end].astype(np.int64)
        mask[row, : length + 2] = 1
        target[row, 1 : length + 1] = data.target[start:end]
    return ids, mask, target


__all__ = [
    "CASE_CLASSES",
    "OUTSIDE",
    "DataError",
    "Encoded",
    "Sentence",
    "batches",
    "encode",
    "label_list",
    "padded",
    "read_sentences",
    "refuse_overlap",
]
