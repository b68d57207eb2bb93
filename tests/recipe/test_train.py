"""Training, resumed and not, and a teacher's distributions."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from model.recipe import predict
from model.recipe.data import encode, label_list, read_sentences
from model.recipe.sources import tokenizer_of
from model.recipe.train import Plan, Trainer, log_probabilities

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tokenizers import Tokenizer

    from model.recipe.data import Encoded


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Let a network this small run on one thread: more only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tokenizer(checkpoint: Path) -> Tokenizer:
    """Give the tiny model's word pieces."""
    return tokenizer_of(str(checkpoint))


@pytest.fixture(scope="module")
def labels(files: tuple[Path, Path]) -> list[str]:
    """Give all labels of the training file."""
    return label_list(read_sentences(str(files[0])))


@pytest.fixture(scope="module")
def data(files: tuple[Path, Path], tokenizer: Tokenizer, labels: list[str]) -> Encoded:
    """Give the training file as pieces."""
    return encode(read_sentences(str(files[0])), tokenizer, labels, 62)


@pytest.fixture(scope="module")
def plan(checkpoint: Path) -> Plan:
    """Plan a few steps over everything, then over the natural sentences."""
    return Plan(
        start=str(checkpoint), passes=("all", "natural"), budget=512, peak=5e-3, average=0.9, longest=62
    )


def weights(trainer: Trainer) -> list[torch.Tensor]:
    """Return what the trainer would ship, and what it would train on with."""
    assert trainer.averaged is not None
    return [*trainer.averaged, *trainer.weights]


def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    plan: Plan, data: Encoded, labels: list[str], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """Stopped on the way and resumed by another trainer, a run has the same weights, bit for bit."""
    straight = Trainer(plan, data, labels, tokenizer, tmp_path / "straight")
    assert straight.run()
    stopped = Trainer(plan, data, labels, tokenizer, tmp_path / "stopped")
    assert not stopped.run(most=stopped.total // 2)
    resumed = Trainer(plan, data, labels, tokenizer, tmp_path / "stopped")
    assert resumed.resume()
    assert resumed.step == stopped.total // 2
    assert resumed.run()
    assert all(torch.equal(a, b) for a, b in zip(weights(straight), weights(resumed), strict=True))


def test_a_run_stops_at_its_time(
    plan: Plan, data: Encoded, labels: list[str], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """A run whose time is up writes a checkpoint and says that it is not done."""
    trainer = Trainer(plan, data, labels, tokenizer, tmp_path)
    assert not trainer.run(until=time.monotonic() - 1)
    assert Trainer(plan, data, labels, tokenizer, tmp_path).resume()


def test_another_runs_checkpoint_is_left_alone(
    plan: Plan, data: Encoded, labels: list[str], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """A checkpoint of another plan, or of the same plan on other data, is not gone on with."""
    Trainer(plan, data, labels, tokenizer, tmp_path, marks={"data": "a"}).run(most=1)
    other = dataclasses.replace(plan, peak=1e-3)
    assert not Trainer(other, data, labels, tokenizer, tmp_path, marks={"data": "a"}).resume()
    assert not Trainer(plan, data, labels, tokenizer, tmp_path, marks={"data": "b"}).resume()
    assert Trainer(plan, data, labels, tokenizer, tmp_path, marks={"data": "a"}).resume()


def test_training_learns(
    plan: Plan, data: Encoded, labels: list[str], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """A short run puts most of the probability on the tags, and more than the untrained network does."""
    longer = dataclasses.replace(plan, passes=("all",) * 6, average=0.5)
    trainer = Trainer(longer, data, labels, tokenizer, tmp_path)
    complete = data.part(1, 3)
    tags = complete.target[complete.target >= 0]
    before = log_probabilities(trainer.finished(), complete, tokenizer)
    trainer.run()
    after = log_probabilities(trainer.finished(), complete, tokenizer)
    rows = np.arange(len(tags))
    assert after[rows, tags].mean() > before[rows, tags].mean() + 0.5


def test_a_teachers_file_does_not_depend_on_where_it_was_interrupted(  # noqa: PLR0917 - fixtures
    plan: Plan,
    data: Encoded,
    labels: list[str],
    tokenizer: Tokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Written in two goes or in one, two teachers' mean distribution is the same, and is one at each word."""
    monkeypatch.setattr(predict, "SENTENCES_A_PART", 50)

    def teachers() -> list[torch.nn.Module]:
        plans = (plan, dataclasses.replace(plan, seed=5))
        return [Trainer(p, data, labels, tokenizer, tmp_path).finished() for p in plans]

    assert not predict.write_teacher(teachers(), data, tokenizer, tmp_path / "a.npy", most=2)
    assert not (tmp_path / "a.npy").exists()
    assert predict.write_teacher(teachers(), data, tokenizer, tmp_path / "a.npy")
    assert predict.write_teacher(teachers(), data, tokenizer, tmp_path / "b.npy")
    found = np.load(tmp_path / "a.npy")
    np.testing.assert_array_equal(found, np.load(tmp_path / "b.npy"))
    assert found.shape == (int((data.target >= 0).sum()), len(labels))
    np.testing.assert_allclose(found.astype(np.float32).sum(1), 1, atol=0.01)
    alone = [np.exp(log_probabilities(t, data, tokenizer).astype(np.float32)) for t in teachers()]
    np.testing.assert_allclose(found, (alone[0] + alone[1]) / 2, atol=0.03)


def test_a_student_follows_its_teacher(
    plan: Plan, data: Encoded, labels: list[str], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """A student of nothing but a teacher takes over the teacher's odd opinion, whatever the tags say."""
    words = int((data.target >= 0).sum())
    teacher = np.zeros((words, len(labels)), np.float16)
    teacher[:, 2] = 1
    follow = dataclasses.replace(plan, passes=("complete",) * 4, distil=1.0, average=0.5)
    trainer = Trainer(follow, data, labels, tokenizer, tmp_path, teacher)
    trainer.run()
    found = log_probabilities(trainer.finished(), data, tokenizer)
    assert (found.argmax(1) == 2).mean() > 0.99
