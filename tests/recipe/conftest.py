"""A tiny DistilBERT, its word pieces, and sentences of our own writing to train it on."""

from __future__ import annotations

import importlib.util
import itertools
import json
import random
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# Without the recipe's libraries there is nothing here to collect.
collect_ignore_glob = [] if importlib.util.find_spec("optimum") else ["test_*.py"]

PEOPLE = ("Ada Karlsson", "Bruno Okafor", "Chen Weiss", "Dilara Novak", "Edgar Lindqvist")
PLACES = ("Norrvik", "Port Alder", "Casa Verde", "Tallmere", "Ostholm")
COMPANIES = ("Helvex", "Brightloom Group", "Orrin Motors", "Quaymark", "Sund Air")
CARS = ("Falk GT", "Merlo 5", "Orrin Swift")
TEMPLATES = (
    "P moved from L to L last spring .",
    "C hired P , who had worked for C .",
    "The new C plant in L builds the V .",
    "P drove a V through L .",
    "In L nobody had heard of the V .",
    "C and C share an office in L .",
    "It rained all day , and nothing happened .",
)
NAMES = {
    "P": ("person-politician", PEOPLE),
    "L": ("location-GPE", PLACES),
    "C": ("organization-company", COMPANIES),
    "V": ("product-car", CARS),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the recipe's libraries warn: what they deprecate among themselves is none of ours."""
    for item in items:
        if "recipe" in item.path.parts:
            item.add_marker(pytest.mark.filterwarnings("default"))


def rows(count: int, seed: int) -> list[dict[str, Any]]:
    """Return labelled sentences: every third says nothing of companies, every second is natural."""
    draw = random.Random(seed)
    out: list[dict[str, Any]] = []
    for number in range(count):
        tokens: list[str] = []
        tags: list[str] = []
        for word in draw.choice(TEMPLATES).split():
            label, names = NAMES.get(word, ("O", (word,)))
            for part in draw.choice(names).split():
                tokens.append(part)
                tags.append(label)
        tokens.insert(0, f"{seed}.{number}")
        tags.insert(0, "O")
        hidden = ["organization-company"] if number % 3 == 0 else []
        shown = ["O" if tag in hidden else tag for tag in tags]
        out.append({"tokens": tokens, "tags": shown, "unknown_types": hidden, "natural": not hidden})
    return out


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an untrained DistilBERT of two small layers, and word pieces for the sentences above."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import DistilBertConfig, DistilBertModel

    words = {word.lower() for word in " ".join((*TEMPLATES, *PEOPLE, *PLACES, *COMPANIES, *CARS)).split()}
    letters = [chr(code) for code in range(33, 127)]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *letters, *(f"##{letter}" for letter in letters)]
    pieces += sorted(words - set(pieces) - {"helvex", "quaymark"})
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    folder = tmp_path_factory.mktemp("start")
    torch.manual_seed(5)
    config = DistilBertConfig(
        vocab_size=len(pieces), max_position_embeddings=64, n_layers=2, n_heads=2, dim=32, hidden_dim=64
    )
    DistilBertModel(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Write 240 training and 40 held-out sentences as JSON lines."""
    folder = tmp_path_factory.mktemp("data")
    paths = (folder / "train.jsonl", folder / "held-out.jsonl")
    for path, (count, seed) in zip(paths, ((240, 1), (40, 2)), strict=True):
        complete = itertools.chain.from_iterable([json.dumps(row), "\n"] for row in rows(count, seed))
        path.write_text("".join(complete), "utf-8")
    return paths
