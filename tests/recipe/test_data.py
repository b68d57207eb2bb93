"""Reading sentences, turning them into pieces, and keeping held-out ones out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from model.recipe.data import (
    DataError,
    Sentence,
    batches,
    encode,
    label_list,
    padded,
    read_sentences,
    refuse_overlap,
)
from model.recipe.sources import tokenizer_of

if TYPE_CHECKING:
    from pathlib import Path

KARLSSON = Sentence(
    ("Ada", "Karlsson", "heard", "Norrvik"), ("person-politician", "person-politician", "O", "location-GPE")
)
RAIN = Sentence(("It", "rained", "."), ("O", "O", "O"), ("product-car",), natural=False)


def test_official_files_are_read(tmp_path: Path) -> None:
    """Few-NERD's own files have a word, a tab and a tag a line, and blank lines between sentences."""
    path = tmp_path / "train.txt"
    path.write_text(
        "Ada\tperson-politician\nKarlsson\tperson-politician\nheard\tO\nNorrvik\tlocation-GPE\n\n\nIt\tO",
        "utf-8",
    )
    assert read_sentences(str(path)) == [KARLSSON, Sentence(("It",), ("O",))]


def test_json_lines_and_parquet_agree(tmp_path: Path) -> None:
    """The two formats with unknown types give the same sentences."""
    rows = [
        {
            "tokens": list(s.tokens),
            "tags": list(s.tags),
            "unknown_types": list(s.unknown),
            "natural": s.natural,
        }
        for s in (KARLSSON, RAIN)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert read_sentences(str(tmp_path / "a.jsonl")) == [KARLSSON, RAIN]
    assert read_sentences(str(tmp_path / "a.parquet")) == [KARLSSON, RAIN]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.txt", "Ada person-politician\n", "line 1: expected a word, a tab and a tag"),
        ("a.jsonl", '{"tokens": ["a", "b"], "tags": ["O"]}', "sentence 1 has 2 tokens and 1 tags"),
        ("a.jsonl", "\n", "no sentence in it"),
    ],
)
def test_malformed_files_are_refused(tmp_path: Path, name: str, content: str, reason: str) -> None:
    """A file that cannot be used is refused with its place and reason."""
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(DataError, match=reason):
        read_sentences(str(tmp_path / name))


def test_held_out_sentences_are_refused_letter_case_aside() -> None:
    """A training sentence that is held out, however its letters are written, stops the run."""
    shouted = Sentence(tuple(t.upper() for t in KARLSSON.tokens), KARLSSON.tags)
    refuse_overlap([RAIN], [KARLSSON])
    with pytest.raises(DataError, match="1 training sentences are in the evaluation file"):
        refuse_overlap([RAIN, shouted], [KARLSSON])


def test_only_a_words_first_piece_is_labelled(checkpoint: Path) -> None:
    """A word of several pieces has its tag at the first of them, and a long sentence is cut."""
    labels = label_list([KARLSSON, RAIN])
    assert labels == ["O", "location-GPE", "person-politician", "product-car"]
    word = Sentence(("Helvex", "Norrvik"), ("O", "location-GPE"))
    data = encode([word, RAIN], tokenizer_of(str(checkpoint)), labels, 7)
    assert data.target[:7].tolist() == [0, -1, -1, -1, -1, -1, 1]
    assert data.case[:7].tolist() == [1, 0, 0, 0, 0, 0, 1]
    assert data.unknown.tolist() == [[False] * 4, [False, False, False, True]]
    short = encode([word, RAIN], tokenizer_of(str(checkpoint)), labels, 3)
    assert np.diff(short.bounds).tolist() == [3, 3]


def test_batches_hold_every_row_once_within_the_budget(checkpoint: Path) -> None:
    """A pass reads each sentence once, in batches within the budget, in the seed's order."""
    sentences = [Sentence(("It",) * (1 + n % 13), ("O",) * (1 + n % 13)) for n in range(200)]
    data = encode(sentences, tokenizer_of(str(checkpoint)), ["O"], 254)
    plan = batches(data, np.arange(200), 64, 3)
    assert sorted(np.concatenate(plan).tolist()) == list(range(200))
    lengths = np.diff(data.bounds) + 2
    assert all(lengths[rows].max() * len(rows) <= 64 for rows in plan)
    again, other = batches(data, np.arange(200), 64, 3), batches(data, np.arange(200), 64, 4)
    assert [rows.tolist() for rows in plan] == [rows.tolist() for rows in again]
    assert [rows.tolist() for rows in plan] != [rows.tolist() for rows in other]


def test_padding_frames_each_sentence(checkpoint: Path) -> None:
    """A batch's rows begin with [CLS], end with [SEP] and are padded, case folded into their ids."""
    data = encode([KARLSSON, RAIN], tokenizer_of(str(checkpoint)), label_list([KARLSSON, RAIN]), 254)
    ids, mask, target = padded(data, np.array([1, 0]), 1000, (2, 3, 0), cased=True)
    assert mask.sum(1).tolist() == [5, 6]
    assert ids[0, [0, 4, 5]].tolist() == [2, 3, 0]
    assert (ids[1, 1:5] // 1000).tolist() == [1, 1, 0, 1]
    assert target[1].tolist() == [-1, 2, 2, 0, 1, -1]
