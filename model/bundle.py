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
                          (``model.decode.Decoding.save``); without it every word takes its likeliest category,
                          and all that is found is told
``parity.json``           optional: sentences and scores checked at load (``model.parity.write_parity``)
``evaluation.json``       optional, not read here: F1 tables
``MODEL_CARD.md``         optional, not read here
========================  ==========================================================================

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

Weight, temperature and transitions of the decoding are in ``decoding.json``, because 67 x 67 counts would
drown the rest of ``config.json``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, Final

from model.case import CASE_CLASSES
from model.decode import Decoding

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
        raise BundleError(f"{folder / CONFIG}: fewnerd.precision is {precision!r}, must be 'int8' or 'fp32'")
    tokenizer, specials = _tokenizer(folder / TOKENIZER)
    return Bundle(
        folder=folder,
        info=ModelInfo(str(own.get("name") or folder.resolve().name), digest(folder), precision),
        labels=labels,
        types=types,
        vocabulary=_whole(config, "vocab_size", None, folder),
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
        raise BundleError(f"{name}: a file; a bundle is a folder with {GRAPH}, {TOKENIZER} and {CONFIG}")
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


def digest(folder: Path) -> str:
    """Return ``sha256:`` and the hash over names and contents of the files that decide a result."""
    total = hashlib.sha256()
    deciding = {FUSED, TOKENIZER, CONFIG, DECODING}
    for path in sorted(folder.iterdir(), key=lambda p: p.name):
        if path.is_file() and (path.name in deciding or path.name.startswith(GRAPH)):
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").digest()
            total.update(path.name.encode() + b"\0" + content)
    return f"sha256:{total.hexdigest()}"


def _read_object(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: not readable as JSON: {error}") from error
    if not isinstance(content, dict):
        raise BundleError(f"{path}: must hold a JSON object")
    return content


def _whole(values: dict[str, Any], name: str, default: int | None, folder: Path) -> int:
    value = values.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise BundleError(f"{folder / CONFIG}: {name} is {value!r}, must be a whole number")
    return value


def _labels(config: dict[str, Any], folder: Path) -> tuple[str, ...]:
    named = config.get("id2label")
    if not isinstance(named, dict) or not named:
        raise BundleError(f"{folder / CONFIG}: no id2label in it, so its outputs have no meaning")
    labels = tuple(str(named.get(str(index))) for index in range(len(named)))
    if set(named) != {str(index) for index in range(len(named))} or len(set(labels)) != len(labels):
        raise BundleError(
            f"{folder / CONFIG}: id2label must name each index from 0 on, each by its own label"
        )
    if labels[0] != OUTSIDE:
        raise BundleError(
            f"{folder / CONFIG}: label 0 is {labels[0]!r}, must be 'O'; labels follow the IO scheme, "
            "one a type, without B- and I-"
        )
    if len(labels) == 1:
        raise BundleError(f"{folder / CONFIG}: id2label names no type beside 'O'")
    return labels


def _types(labels: tuple[str, ...], categories: Any, folder: Path) -> tuple[tuple[str, str], ...]:  # noqa: ANN401 - as read
    if not isinstance(categories, dict) or not all(isinstance(c, str) and c for c in categories.values()):
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
                f"{folder / CONFIG}: label {label!r} is not of the form category-type; map it to a category: "
                f'"fewnerd": {{"categories": {{"{label}": "<category>", ...}}}}'
            )
    return tuple(types)


def _windows(config: dict[str, Any], own: dict[str, Any], folder: Path) -> tuple[int, int]:
    most = _whole(config, "max_position_embeddings", None, folder) - 2
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
        return Decoding.load(path, labels, categories)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BundleError(f"{path}: {error}; write it anew with model.decode.Decoding.save") from error


def _tokenizer(path: Path) -> tuple[str, tuple[int, int, int]]:
    """Return the tokenizer's JSON and the ids of [CLS], [SEP] and [PAD]."""
    content = _read_object(path)
    kinds = [(content.get(part) or {}).get("type") for part in ("model", "pre_tokenizer", "normalizer")]
    if kinds != ["WordPiece", "BertPreTokenizer", "BertNormalizer"]:
        raise BundleError(
            f"{path}: not a BERT word-piece tokenizer ({kinds}); its pieces would not fit the words"
        )
    vocabulary = content["model"].get("vocab", {})
    missing = [name for name in SPECIALS if not isinstance(vocabulary.get(name), int)]
    if missing:
        raise BundleError(f"{path}: its vocabulary lacks {', '.join(missing)}")
    ids = [int(vocabulary[name]) for name in SPECIALS]
    return path.read_text("utf-8"), (ids[0], ids[1], ids[2])
