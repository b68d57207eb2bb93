"""A bundle: the folder that holds a model and everything that decides its results.

========================  ==========================================================================
``model.onnx``            inputs ``input_ids`` and ``attention_mask`` (int64, [batch, length]), output
                          ``logits`` (float32, [batch, length, labels])
``fused.onnx``            optional: the same network in other steps, faster; a third input ``words`` (int64,
                          [words]: places in batch x length) names the pieces wanted, and ``logits`` is
                          [words, labels]. Used if its metadata ``weights`` is the SHA-256 of the
                          ``model.onnx`` beside it, and ONNX Runtime is new enough to open it
``tokenizer.json``        BERT word pieces in the ``tokenizers`` library's format
``config.json``           transformers' config, see below
``decoding.json``         optional: transition counts, temperatures and thresholds
                          (``model.Decoding.save``); without it every word takes its likeliest category,
                          and all that is found is told
``parity.json``           optional: sentences and scores checked at load (``model.parity.write_parity``)
``evaluation.json``       optional, not read here: F1 tables
``MODEL_CARD.md``         optional, not read here
========================  ==========================================================================

Weights that a graph keeps in other files must be files of this folder, no links (``model.outside``).

Keys of ``config.json`` that are read; others are ignored:

``id2label``
    index (a string) -> label. Index 0 must be ``O``; every index from 0 on must be there.
``vocab_size``, ``max_position_embeddings``
    as transformers writes them.
``case_classes``
    0 or absent: plain piece ids. 4: ids are ``piece + vocab_size * case class`` (``model.case``).
``fewnerd``
    optional object of this project's own settings, each with a default:

    ``name``        what messages call the model; default: the folder's name.
    ``precision``   ``"int8"`` or ``"fp32"`` (default).
    ``categories``  label -> category. Default: the part of the label before its first ``-``.
    ``window``      the longest run of pieces the graph sees at once, [CLS] and [SEP] not counted;
                    default 190, at most ``max_position_embeddings - 2``. The graph sees a sentence at a
                    time, as in training; only a longer one takes several windows.
    ``overlap``     pieces that neighbouring windows of one sentence share; default 48, at most half the
                    window.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, Final

import numpy as np

from model import outside
from model.case import CASE_CLASSES
from model.decoding import Decoding

BUNDLED: Final = Path(__file__).parent / "bundled"
OUTSIDE: Final = "O"
GRAPH: Final = "model.onnx"
FUSED: Final = "fused.onnx"
WEIGHTS_KEY: Final = "weights"
TOKENIZER: Final = "tokenizer.json"
CONFIG: Final = "config.json"
DECODING: Final = "decoding.json"
PARITY: Final = "parity.json"
DEFAULT_WINDOW: Final = 190
DEFAULT_OVERLAP: Final = 48
SPECIALS: Final = ("[CLS]", "[SEP]", "[PAD]")
# The most bytes of each file that is read whole, and what a bundle may say of itself: it may be a stranger's.
_MOST_BYTES: Final = {CONFIG: 4 * 2**20, DECODING: 16 * 2**20, TOKENIZER: 64 * 2**20, PARITY: 16 * 2**20}
_MOST_LABELS: Final = 1000
_LONGEST_PATH: Final = 4096
_LONGEST_NAME: Final = 128
_LONGEST_ROW: Final = 4096
_LARGEST_NUMBER: Final = 1_000_000
# What a hub name brings here; weights in other formats stay there.
_WANTED: Final = [f"{GRAPH}*", FUSED, "*.json", "MODEL_CARD.md"]
_SMALLEST_WINDOW: Final = 8


class BundleError(ValueError):
    """A bundle cannot be used; the message says which, why, and what to do."""


@dataclasses.dataclass(frozen=True, slots=True)
class ModelInfo:
    """What an enriched message says of its model: name, ``sha256:...`` digest, ``int8`` or ``fp32``."""

    name: str
    digest: str
    precision: str


@dataclasses.dataclass(frozen=True, slots=True)
class Bundle:
    """A validated bundle folder.

    ``labels`` are in the graph's order, ``O`` first; ``types`` holds the (category, fine type) of each, with
    two empty strings for ``O``; ``window`` and ``overlap`` count pieces.
    """

    folder: Path
    info: ModelInfo
    labels: tuple[str, ...]
    types: tuple[tuple[str, str], ...]
    vocabulary: int
    case_classes: int
    window: int
    overlap: int
    decoding: Decoding
    tokenizer: str
    specials: tuple[int, int, int]


def open_bundle(source: str | Path | None = None) -> Bundle:
    """Find and validate a bundle; the graph itself is not opened.

    Args:
        source: a folder, the name of a hub repository, or None for the bundle that ships.

    Raises:
        BundleError: nothing is there, a file is missing or malformed, or its labels have no categories.
    """
    folder = find(source)
    for name in (GRAPH, TOKENIZER, CONFIG):
        if not (folder / name).is_file():
            raise BundleError(f"{folder}: no {name} in it; a bundle needs {GRAPH}, {TOKENIZER} and {CONFIG}")
    config = _read_object(folder / CONFIG)
    own = config.get("fewnerd", {})
    if not isinstance(own, dict):
        raise BundleError(f"{folder / CONFIG}: `fewnerd` must be an object")
    labels = _labels(config, folder)
    types = _types(labels, own.get("categories", {}), folder)
    window, overlap = _windows(config, own, folder)
    case_classes = _whole(config, "case_classes", 0, folder)
    if case_classes not in {0, CASE_CLASSES}:
        raise BundleError(f"{folder / CONFIG}: case_classes is {case_classes}, must be 0 or {CASE_CLASSES}")
    precision = own.get("precision", "fp32")
    if precision not in {"fp32", "int8"}:
        raise BundleError(
            f"{folder / CONFIG}: fewnerd.precision is {shown(precision)}, must be 'int8' or 'fp32'"
        )
    vocabulary = _whole(config, "vocab_size", None, folder)
    tokenizer, specials = _tokenizer(folder / TOKENIZER, vocabulary)
    return Bundle(
        folder=folder,
        info=ModelInfo(_name(own, folder), digest(folder), precision),
        labels=labels,
        types=types,
        vocabulary=vocabulary,
        case_classes=case_classes,
        window=window,
        overlap=overlap,
        decoding=_decoding(folder, labels, [category for category, _ in types]),
        tokenizer=tokenizer,
        specials=specials,
    )


def find(source: str | Path | None) -> Path:
    """Return the folder of a bundle given by path, by hub name or not at all (the one that ships)."""
    if source is None:
        if not (BUNDLED / GRAPH).is_file():
            raise BundleError(
                f"{BUNDLED}: no bundle ships with this installation; name one, or run `make model`"
            )
        return BUNDLED
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    name = str(source)
    if folder.exists():
        return named_by(folder)
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise BundleError(f"{name}: no such folder")
    try:
        import huggingface_hub  # noqa: PLC0415 - optional: only a hub name needs it
    except ImportError as error:
        raise BundleError(
            f"{name}: no such folder, and huggingface-hub is not installed to look for it on the hub; "
            "give a folder, or `pip install huggingface-hub`"
        ) from error
    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=_WANTED))
    except Exception as error:
        raise BundleError(f"{name}: no such folder, and the hub does not give it: {error}") from error


def named_by(path: Path) -> Path:
    """Return the folder that a file names in its only line, from the file's own folder on.

    Raises:
        BundleError: it names none.
    """
    try:
        with path.open("rb") as file:
            line = file.read(_LONGEST_PATH + 1).decode().strip()
        folder = path.parent / line
        if line and len(line) <= _LONGEST_PATH and "\0" not in line and folder.is_dir():
            return folder
    except (OSError, UnicodeDecodeError):
        pass
    raise BundleError(
        f"{path}: a file that names no folder; a bundle is a folder with {GRAPH}, {TOKENIZER} and {CONFIG}"
    )


def digest(folder: Path) -> str:
    """Return ``sha256:`` and the hash over names and contents of the files that decide a result.

    They are those read here and those that the graphs keep weights in.
    """
    total = hashlib.sha256()
    deciding = {FUSED, TOKENIZER, CONFIG, DECODING}
    for graph in (GRAPH, FUSED):
        # What is no graph, or reads what it must not, is never opened: `model.graph` refuses it.
        with contextlib.suppress(outside.OutsideError, OSError):
            deciding.update(path.name for path in outside.files(folder / graph))
    for path in sorted(folder.iterdir(), key=lambda p: p.name):
        if path.is_file() and (path.name in deciding or path.name.startswith(GRAPH)):
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
            total.update(path.name.encode() + b"\0" + content)
    return f"sha256:{total.hexdigest()}"


def shown(value: object) -> str:
    """Return what a bundle says, fit for a message: short, and with nothing in it that a terminal obeys."""
    text = repr(value[:_LONGEST_NAME] if isinstance(value, str) else value)
    return text if len(text) <= _LONGEST_NAME else f"{text[:_LONGEST_NAME]}..."


def read_bounded(path: Path) -> bytes:
    """Return the bytes of one of a bundle's files that are read whole.

    Raises:
        BundleError: it is larger than any such file.
        OSError: it cannot be read.
    """
    most = _MOST_BYTES[path.name]
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise BundleError(f"{path}: more than {most:,} bytes; no such file is as large")
    return content


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_bounded(path))
    except BundleError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{path}: not readable as JSON: {shown(str(error))}") from error
    if not isinstance(content, dict):
        raise BundleError(f"{path}: must hold a JSON object")
    return content


def _whole(values: dict[str, Any], name: str, default: int | None, folder: Path) -> int:
    value = values.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BundleError(f"{folder / CONFIG}: {name} is {shown(value)}, must be a whole number")
    if value > _LARGEST_NUMBER:
        raise BundleError(f"{folder / CONFIG}: {name} is {shown(value)}, more than any bundle has")
    return value


def _name(own: dict[str, Any], folder: Path) -> str:
    name = own.get("name") or folder.resolve().name
    if not _printable(name):
        raise BundleError(
            f"{folder / CONFIG}: fewnerd.name is {shown(name)}, must be a line of at most {_LONGEST_NAME} "
            "characters that all can be seen"
        )
    return str(name)


def _printable(name: object) -> bool:
    """Say whether a name can stand in a message, on a terminal and in a setting: no control or format character."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= _LONGEST_NAME
        and name.isprintable()
        and name == name.strip()
        and not {",", "="} & set(name)
    )


def _labels(config: dict[str, Any], folder: Path) -> tuple[str, ...]:
    named = config.get("id2label")
    if not isinstance(named, dict) or not named:
        raise BundleError(f"{folder / CONFIG}: no id2label in it, so its outputs have no meaning")
    if len(named) > _MOST_LABELS:
        raise BundleError(f"{folder / CONFIG}: id2label names {len(named)} labels, more than {_MOST_LABELS}")
    for label in named.values():
        if not _printable(label):
            raise BundleError(
                f"{folder / CONFIG}: label {shown(label)} is none: a label has up to {_LONGEST_NAME} characters that "
                "all can be seen, without commas and equals signs"
            )
    labels = tuple(str(named.get(str(index))) for index in range(len(named)))
    if set(named) != {str(index) for index in range(len(named))} or len(set(labels)) != len(labels):
        raise BundleError(
            f"{folder / CONFIG}: id2label must name each index from 0 on, each by its own label"
        )
    if labels[0] != OUTSIDE:
        raise BundleError(
            f"{folder / CONFIG}: label 0 is {shown(labels[0])}, must be 'O'; labels follow the IO scheme, "
            "one a type, without B- and I-"
        )
    if len(labels) == 1:
        raise BundleError(f"{folder / CONFIG}: id2label names no type beside 'O'")
    return labels


def _types(labels: tuple[str, ...], categories: Any, folder: Path) -> tuple[tuple[str, str], ...]:  # noqa: ANN401 - as read
    if not isinstance(categories, dict) or not all(map(_printable, categories.values())):
        raise BundleError(f"{folder / CONFIG}: fewnerd.categories must map labels to categories")
    types = [("", "")]
    for label in labels[1:]:
        before, dash, after = label.partition("-")
        category = categories.get(label)
        if category is not None:
            types.append((category, after if dash and before == category else label))
        elif before and dash and after:
            types.append((before, after))
        else:
            raise BundleError(
                f"{folder / CONFIG}: label {shown(label)} is not of the form category-type; map it to a category: "
                f'"fewnerd": {{"categories": {{"{label}": "<category>", ...}}}}'
            )
    return tuple(types)


def _windows(config: dict[str, Any], own: dict[str, Any], folder: Path) -> tuple[int, int]:
    most = min(_LONGEST_ROW, _whole(config, "max_position_embeddings", None, folder)) - 2
    window = _whole(own, "window", min(DEFAULT_WINDOW, most), folder)
    if not _SMALLEST_WINDOW <= window <= most:
        raise BundleError(
            f"{folder / CONFIG}: fewnerd.window is {window}, must be {_SMALLEST_WINDOW} to {most}"
        )
    overlap = _whole(own, "overlap", min(DEFAULT_OVERLAP, window // 4), folder)
    if overlap > window // 2:
        raise BundleError(
            f"{folder / CONFIG}: fewnerd.overlap is {overlap}, more than half the window ({window})"
        )
    return window, overlap


def _decoding(folder: Path, labels: tuple[str, ...], categories: list[str]) -> Decoding:
    path = folder / DECODING
    if not path.is_file():
        return Decoding.plain(labels, categories)
    try:
        read_bounded(path)
        return _finite(Decoding.load(path, labels, categories))
    except BundleError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        message = shown(str(error))
        raise BundleError(f"{path}: {message}; write it anew with model.Decoding.save") from error


def _finite(decoding: Decoding) -> Decoding:
    """Refuse numbers that are none, or that no decoding has.

    Raises:
        ValueError: there are such.
    """
    for field in dataclasses.fields(decoding):
        value = getattr(decoding, field.name)
        if isinstance(value, float | int) and not abs(value) <= _LARGEST_NUMBER:
            raise ValueError(f"{field.name} is {value}")
        if isinstance(value, np.ndarray) and not (np.isfinite(value).all() and (value >= 0).all()):
            raise ValueError(f"{field.name} has numbers below 0, or none")
    return decoding


def _tokenizer(path: Path, size: int) -> tuple[str, tuple[int, int, int]]:
    """Return the tokenizer's JSON and the ids of [CLS], [SEP] and [PAD]."""
    content = _read_object(path)
    parts = [content.get(part) for part in ("model", "pre_tokenizer", "normalizer")]
    kinds = [part.get("type") if isinstance(part, dict) else None for part in parts]
    if kinds != ["WordPiece", "BertPreTokenizer", "BertNormalizer"]:
        raise BundleError(
            f"{path}: not a BERT word-piece tokenizer ({shown(kinds)}); its pieces would not fit the words"
        )
    vocabulary = content["model"].get("vocab", {})
    if not isinstance(vocabulary, dict):
        raise BundleError(f"{path}: has no vocabulary")
    if not all(isinstance(piece, int) and 0 <= piece < size for piece in vocabulary.values()):
        raise BundleError(f"{path}: has pieces that are none of config.json's vocab_size ({size})")
    missing = [name for name in SPECIALS if not isinstance(vocabulary.get(name), int)]
    if missing:
        raise BundleError(f"{path}: its vocabulary lacks {', '.join(missing)}")
    ids = [int(vocabulary[name]) for name in SPECIALS]
    return json.dumps(content), (ids[0], ids[1], ids[2])
