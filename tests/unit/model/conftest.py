"""The bundle that ships, for the tests that need a model."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from model.bundle import BUNDLED, GRAPH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model.tagger import Tagger


@pytest.fixture(scope="session")
def bundled() -> Path:
    """Return the folder of the bundle that ships, or of the one that TEST_BUNDLE names."""
    folder = Path(os.environ.get("TEST_BUNDLE") or BUNDLED)
    if not (folder / GRAPH).is_file():
        pytest.skip(f"no bundle in {folder}")
    return folder


@pytest.fixture(scope="session")
def tagger(bundled: Path) -> Iterator[Tagger]:
    """Load the bundle that ships, once for all tests."""
    from model.tagger import Tagger

    with Tagger.load(bundled, threads=2) as loaded:
        yield loaded


@pytest.fixture
def copy(bundled: Path, tmp_path: Path) -> Path:
    """Return a copy of the bundle, to be spoilt; the graphs are links."""
    folder = tmp_path / "bundle"
    folder.mkdir()
    for path in bundled.iterdir():
        if path.suffix == ".onnx":
            (folder / path.name).hardlink_to(path)
        else:
            shutil.copy(path, folder)
    return folder


WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "b",
    "##b",
    "berlin",
    "##s",
    ".",
    "'",
    "s",
    "i",
    '"',
]


def write_small(folder: Path, **config: Any) -> Path:
    """Write a bundle without a model: three labels and fifteen pieces, for what needs no graph."""
    folder.mkdir(exist_ok=True)
    (folder / GRAPH).write_bytes(b"no graph")
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": i,
                "content": word,
                "special": True,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
            }
            for i, word in enumerate(WORDS[:5])
        ],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {word: i for i, word in enumerate(WORDS)},
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), "utf-8")
    content = {
        "id2label": {"0": "O", "1": "person-other", "2": "location-GPE"},
        "vocab_size": len(WORDS),
        "max_position_embeddings": 64,
        "case_classes": 4,
        **config,
    }
    (folder / "config.json").write_text(json.dumps(content), "utf-8")
    return folder


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Return the folder of a bundle without a model."""
    return write_small(tmp_path / "small")
