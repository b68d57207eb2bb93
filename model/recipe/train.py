"""Train the token classifier, resumably, on sentences of which most are only partly annotated."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from model.recipe import augment
from model.recipe import data as recipe_data
from model.recipe.network import CasedDistilBertForTokenClassification, start_from

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt
    from tokenizers import Tokenizer

    from model.recipe.data import Encoded

CHECKPOINT = "checkpoint.pt"


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """Everything that, with the data, fixes a training run.

    ``passes`` names what each pass reads, in order: ``all`` sentences, the ``complete`` (fully annotated)
    ones or the ``natural`` ones. ``distil`` is the teacher's share of the loss where a gold tag stands;
    where the gold is a set of types, a teacher replaces the set by its distribution over it.
    ``activation`` is the feed-forward's; ``case_dropout`` and ``capitals`` are the shares of sentences that a
    step shows in lower case and in capitals; ``varied`` writes quotation marks and last full stops as news
    and messages do (`augment.varied`). ``steps`` ends a run, its rate at zero, before its passes are over.
    """

    start: str = "minilm"
    passes: tuple[str, ...] = ("all", "all", "natural", "natural", "natural")
    peak: float = 2e-4
    warmup: float = 0.03
    budget: int = 3072
    seed: int = 17
    cased: bool = True
    case_dropout: float = 0.1
    dropout: float = 0.1
    weight_decay: float = 0.01
    distil: float = 0.5
    average: float = 0.999
    longest: int = 254
    activation: str = "gelu"
    capitals: float = 0.0
    varied: bool = False
    steps: int | None = None

    @property
    def digest(self) -> str:
        """A short name of the plan, so that a checkpoint of another one is not resumed."""
        return hashlib.sha256(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()).hexdigest()[:12]


def set_loss(
    logits: torch.Tensor, target: torch.Tensor, unknown: torch.Tensor, outside: int = 0
) -> torch.Tensor:
    """Return the negative log-likelihood of each word, shape [words].

    A word tagged ``O`` in a sentence that was not annotated for some types may be any of those: its
    likelihood is that of the set {O} + unknown types.

    Args:
        logits: [words, labels].
        target: the tags' indices, [words].
        unknown: which labels each word's sentence was not annotated for, boolean [words, labels].
        outside: the index of ``O``.
    """
    allowed = functional.one_hot(target, logits.shape[1]).bool()
    allowed |= unknown & (target == outside)[:, None]
    chosen = logits.masked_fill(~allowed, -torch.inf)
    return torch.logsumexp(logits, 1) - torch.logsumexp(chosen, 1)


def soft_loss(
    logits: torch.Tensor, target: torch.Tensor, unknown: torch.Tensor, teacher: torch.Tensor, distil: float
) -> torch.Tensor:
    """Return each word's loss against a teacher's distribution, shape [words].

    Where the gold is a set of types the target is the teacher's distribution over that set; where it is
    one tag, the tag and the teacher's whole distribution are mixed, ``distil`` to the teacher.
    """
    allowed = functional.one_hot(target, logits.shape[1]).bool()
    is_set = (target == 0) & unknown.any(1)
    allowed |= unknown & is_set[:, None]
    within = teacher * allowed
    within = within / within.sum(1, keepdim=True).clamp_min(1e-6)
    gold = functional.one_hot(target, logits.shape[1]).float()
    mixed = torch.where(is_set[:, None], within, (1 - distil) * gold + distil * teacher)
    return -(mixed * torch.log_softmax(logits, 1)).sum(1)


class Trainer:
    """One training run: steps over the plan's passes, a checkpoint every few minutes, averaged weights."""

    def __init__(  # noqa: PLR0917 - drivers call it by place
        self,
        plan: Plan,
        data: Encoded,
        labels: Sequence[str],
        tokenizer: Tokenizer,
        folder: Path,
        teacher: npt.NDArray[np.float16] | None = None,
        *,
        source: str | None = None,
        marks: dict[str, Any] | None = None,
    ) -> None:
        """Build the network and its optimiser; nothing is read from ``folder`` yet.

        Args:
            plan: what fixes the run, with the data and the teacher.
            data: the encoded sentences.
            labels: all labels, ``O`` first.
            tokenizer: the word pieces that ``data`` was encoded with.
            folder: where the checkpoint is.
            teacher: probabilities at every labelled word of ``data``, [words, labels] (``predict``).
            source: what ``network.start_from`` opens, where that is not ``plan.start`` itself.
            marks: what else a checkpoint must agree in to be resumed, such as the data's digest.
        """
        self.plan, self.data, self.folder, self.teacher, self.marks = plan, data, folder, teacher, marks
        torch.manual_seed(plan.seed)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network = start_from(
            source or plan.start, labels, cased=plan.cased, dropout=plan.dropout, activation=plan.activation
        )
        self.names = [name for name, _ in network.named_parameters()]
        # The weights that learn are float32; the network that computes holds their bfloat16 copies.
        # Casting once a step instead of once an operator (autocast) made a step a quarter shorter on a CPU.
        self.weights = [p.detach().clone().to(self.device) for p in network.parameters()]
        self.network: CasedDistilBertForTokenClassification = network.to(self.device, torch.bfloat16)
        self.averaged: list[torch.Tensor] | None = None
        self.vocabulary = int(network.config.vocab_size)
        ids = [tokenizer.token_to_id(piece) for piece in ("[CLS]", "[SEP]", "[PAD]")]
        self.special = (ids[0], ids[1], ids[2])
        self.capitals = augment.capital_classes(tokenizer)
        matrices = [p for p in self.weights if p.ndim > 1]
        rest = [p for p in self.weights if p.ndim <= 1]
        groups = [
            {"params": matrices, "weight_decay": plan.weight_decay},
            {"params": rest, "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=plan.peak, fused=True)
        self.word_before = np.concatenate(([0], np.cumsum(data.target >= 0)))
        self.schedule = self._schedule()
        whole = sum(len(batches) for batches in self.schedule)
        self.total = whole if plan.steps is None else min(whole, plan.steps)
        self.step = 0

    def _schedule(self) -> list[list[npt.NDArray[np.int64]]]:
        everything = np.arange(len(self.data))
        subsets = {
            "all": everything,
            "complete": everything[~self.data.unknown.any(1)],
            "natural": everything[self.data.natural],
        }
        return [
            recipe_data.batches(self.data, subsets[name], self.plan.budget, self.plan.seed * 1000 + number)
            for number, name in enumerate(self.plan.passes)
        ]

    def resume(self) -> bool:
        """Go on from the folder's checkpoint, when there is one and it is of this plan."""
        path = self.folder / CHECKPOINT
        if not path.exists():
            return False
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["plan"] != self.plan.digest or state["total"] != self.total:
            return False
        if state.get("marks", self.marks) != self.marks:
            return False
        self._put(self.weights, state["weights"])
        self._put(list(self.network.parameters()), state["weights"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.averaged, self.step = state["averaged"], state["step"]
        return True

    def save(self) -> None:
        """Write the checkpoint, whole or not at all."""
        state = {
            "plan": self.plan.digest,
            "marks": self.marks,
            "total": self.total,
            "weights": self.weights,
            "optimiser": self.optimiser.state_dict(),
            "averaged": self.averaged,
            "step": self.step,
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / (CHECKPOINT + ".part")
        torch.save(state, part)
        part.replace(self.folder / CHECKPOINT)

    def _rate(self) -> float:
        done = (self.step + 1) / self.total
        if done < self.plan.warmup:
            return self.plan.peak * done / self.plan.warmup
        return self.plan.peak * max(0.0, 1 - done) / (1 - self.plan.warmup)

    def _loss(self, rows: npt.NDArray[np.int64]) -> torch.Tensor:
        # A step's own generator: a resumed run draws what an uninterrupted one would have drawn.
        torch.manual_seed(self.plan.seed * 1_000_003 + self.step)
        ids, mask, target = recipe_data.padded(
            self.data, rows, self.vocabulary, self.special, cased=self.plan.cased
        )
        if self.plan.cased:
            draw = np.random.default_rng((self.plan.seed, self.step)).random(len(rows))
            lower = draw < self.plan.case_dropout
            upper = ~lower & (draw < self.plan.case_dropout + self.plan.capitals)
            plain = ids % self.vocabulary
            ids[lower] = plain[lower]
            ids[upper] = plain[upper] + self.vocabulary * self.capitals[plain[upper]]
        targets = torch.from_numpy(target).to(self.device)
        words = targets >= 0
        unknown = torch.from_numpy(self.data.unknown[rows]).to(self.device)[words.nonzero()[:, 0]]
        hidden = self.network.distilbert(
            torch.from_numpy(ids).to(self.device), torch.from_numpy(mask).to(self.device)
        ).last_hidden_state
        logits = self.network.classifier(self.network.dropout(hidden[words]))
        if self.teacher is None:
            return set_loss(logits.float(), targets[words], unknown).mean()
        firsts, pasts = (self.word_before[self.data.bounds[rows + after]] for after in (0, 1))
        bounds = zip(firsts, pasts, strict=True)
        soft = np.concatenate([self.teacher[start:end] for start, end in bounds]).astype(np.float32)
        given = torch.from_numpy(soft).to(self.device)
        return soft_loss(logits.float(), targets[words], unknown, given, self.plan.distil).mean()

    @staticmethod
    @torch.no_grad()
    def _put(into: list[torch.Tensor], values: list[torch.Tensor]) -> None:
        for tensor, value in zip(into, values, strict=True):
            tensor.copy_(value)

    def _update(self, loss: torch.Tensor) -> None:
        parameters = list(self.network.parameters())
        for parameter in parameters:
            parameter.grad = None
        loss.backward()
        for weight, parameter in zip(self.weights, parameters, strict=True):
            weight.grad = None if parameter.grad is None else parameter.grad.float()
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        self.optimiser.step()
        self._put(parameters, self.weights)

    def _average(self) -> None:
        if self.averaged is None:
            self.averaged = [weight.clone() for weight in self.weights]
            return
        # The usual bias correction: early on, the average is the plain mean of what there was.
        keep = min(self.plan.average, self.step / (self.step + 9))
        torch._foreach_lerp_(self.averaged, self.weights, 1 - keep)

    def run(self, *, until: float = math.inf, most: int | None = None, every: float = 180.0) -> bool:
        """Train, and return whether the end was reached.

        Args:
            until: stop at this time of the monotonic clock.
            most: stop after so many steps.
            every: seconds between checkpoints; one is written at the end too.
        """
        self.network.train()
        flat = [batch for part in self.schedule for batch in part]
        saved = time.monotonic()
        bar = tqdm(total=self.total, initial=self.step, unit="step", smoothing=0.02, mininterval=5.0)
        recent = 0.0
        last = self.total if most is None else min(self.total, self.step + most)
        while self.step < last and time.monotonic() < until:
            loss = self._loss(flat[self.step])
            self._update(loss)
            self.step += 1
            if self.step % 4 == 0:
                self._average()
            recent = 0.99 * recent + 0.01 * loss.item() if recent else loss.item()
            bar.update()
            bar.set_postfix(loss=f"{recent:.4f}", refresh=False)
            if time.monotonic() - saved > every:
                self.save()
                saved = time.monotonic()
        bar.close()
        self.save()
        return self.step >= self.total

    def finished(self) -> CasedDistilBertForTokenClassification:
        """Return a float32 network with the averaged weights, in evaluation mode."""
        network = CasedDistilBertForTokenClassification(self.network.config)
        chosen = self.averaged or self.weights
        network.load_state_dict(dict(zip(self.names, chosen, strict=True)))
        return network.to(self.device).eval()


@torch.no_grad()
def log_probabilities(
    network: CasedDistilBertForTokenClassification,
    data: Encoded,
    tokenizer: Tokenizer,
    *,
    cased: bool | None = None,
    budget: int = 8192,
    progress: bool = False,
) -> npt.NDArray[np.float16]:
    """Return the log-probabilities at every labelled word of ``data``, in order, shape [words, labels].

    ``cased`` says whether the network reads letter case; left out, its config does.
    """
    if cased is None:
        cased = bool(getattr(network.config, "case_classes", 0))
    device = next(network.parameters()).device
    ids = [tokenizer.token_to_id(piece) for piece in ("[CLS]", "[SEP]", "[PAD]")]
    before = np.concatenate(([0], np.cumsum(data.target >= 0)))
    out = np.zeros((int(before[-1]), network.config.num_labels), np.float16)
    plan = recipe_data.batches(data, np.arange(len(data)), budget, 0)
    for rows in tqdm(plan, disable=not progress, mininterval=5.0, unit="batch"):
        inputs, mask, target = recipe_data.padded(
            data, rows, int(network.config.vocab_size), (ids[0], ids[1], ids[2]), cased=cased
        )
        words = torch.from_numpy(target >= 0)
        logits = network(torch.from_numpy(inputs).to(device), torch.from_numpy(mask).to(device)).logits
        found = torch.log_softmax(logits.float(), -1)[words].cpu().numpy().astype(np.float16)
        start = 0
        for row, count in zip(rows, (target >= 0).sum(1), strict=True):
            first = before[data.bounds[row]]
            out[first : first + count] = found[start : start + count]
            start += int(count)
    return out


def write_checkpoint(
    network: CasedDistilBertForTokenClassification, tokenizer: Tokenizer, folder: Path, facts: dict[str, Any]
) -> None:
    """Write weights, config and tokenizer as a transformers folder, ``facts`` about the run beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    network.save_pretrained(str(folder))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "training.json").write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
