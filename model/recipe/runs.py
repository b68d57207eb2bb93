"""Training runs by name: what fixes each, where it is kept, and whether it is done already."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tomllib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from model.recipe.augment import varied
from model.recipe.data import DataError, encode, label_list, read_sentences, refuse_overlap
from model.recipe.errors import RecipeError
from model.recipe.network import CasedDistilBertForTokenClassification
from model.recipe.predict import write_teacher
from model.recipe.sources import resolve, tokenizer_of
from model.recipe.train import Plan, Trainer, write_checkpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from tokenizers import Tokenizer

    from model.recipe.data import Encoded, Sentence

FINISHED = "finished"
FACTS = "training.json"
RUN = "run:"
PASSES = frozenset({"all", "complete", "natural"})


class PlanError(RecipeError):
    """A plan file or a run's settings do not fit; the message names what."""


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """A named training run: its plan, and the runs whose distributions it learns from."""

    name: str
    plan: Plan
    teachers: tuple[str, ...] = ()


def read_plans(path: Path, *, after: Sequence[str] = ()) -> list[Run]:
    """Read runs from a TOML file: a table ``[[runs]]`` each, in the order in which they are made.

    Args:
        path: the file.
        after: runs made before these, whose names may be teachers too.

    Raises:
        PlanError: the file is malformed, a key is unknown, or a teacher does not come before its student.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8"))["runs"]
        runs: list[Run] = []
        for table in tables:
            rest = dict(table)
            name, teachers = rest.pop("name"), tuple(rest.pop("teachers", ()))
            if not {*after, *(run.name for run in runs)}.issuperset(teachers):
                raise PlanError(f"{path}: run {name} names a teacher that does not come before it")
            runs.append(Run(name, plan_of(rest), teachers))
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise PlanError(f"{path}: not a file of [[runs]]: {error}") from error
    if not runs:
        raise PlanError(f"{path}: no run in it")
    return runs


def plan_of(settings: dict[str, Any]) -> Plan:
    """Return the plan of some settings, the others at their defaults.

    Raises:
        PlanError: a setting is unknown.
    """
    known = {field.name for field in dataclasses.fields(Plan)}
    unknown = sorted(set(settings) - known)
    if unknown:
        raise PlanError(f"no training setting {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    strange = sorted(set(settings.get("passes", ())) - PASSES)
    if strange:
        raise PlanError(f"passes are {', '.join(sorted(PASSES))}, not {strange[0]!r}")
    as_tuples = {name: tuple(value) for name, value in settings.items() if isinstance(value, list)}
    return Plan(**{**settings, **as_tuples})


class Workplace:
    """The folder in which runs are kept, and the data they are made with."""

    def __init__(self, folder: Path, train: Sequence[str], held_out: str) -> None:
        self.folder, self.train_sources, self.held_out_source = folder, tuple(train), held_out

    @cached_property
    def held_out(self) -> list[Sentence]:
        """The sentences that choose and measure, and that nothing is trained on."""
        return read_sentences(self.held_out_source, split="validation")

    @cached_property
    def train(self) -> list[Sentence]:
        """The training sentences.

        Raises:
            DataError: one of them is among the held-out ones.
        """
        sentences = [s for source in self.train_sources for s in read_sentences(source)]
        refuse_overlap(sentences, self.held_out)
        return sentences

    @cached_property
    def labels(self) -> list[str]:
        """All labels of the training sentences, ``O`` first."""
        labels = label_list(self.train)
        strange = {tag for s in self.held_out for tag in s.tags} - set(labels)
        if strange:
            raise DataError(f"{self.held_out_source}: tags that training lacks: {', '.join(sorted(strange))}")
        return labels

    @cached_property
    def data_digest(self) -> str:
        """A short name of the training sentences as their files or hub names give them."""
        total = hashlib.sha256()
        for source in self.train_sources:
            total.update(Path(source).read_bytes() if Path(source).is_file() else source.encode())
        return total.hexdigest()[:12]

    def encoded(self, tokenizer: Tokenizer, longest: int, *, vary: bool = False) -> Encoded:
        """Return the training sentences as pieces, written as news and messages are when ``vary`` says so."""
        return encode(varied(self.train) if vary else self.train, tokenizer, self.labels, longest)

    def facts(self, name: str) -> dict[str, Any]:
        """Return what a finished run recorded of itself, or nothing when there is no such run."""
        path = self.folder / name / FINISHED / FACTS
        return dict(json.loads(path.read_bytes())) if path.is_file() else {}

    def finished(self, name: str) -> tuple[CasedDistilBertForTokenClassification, Tokenizer]:
        """Open a finished run's network and word pieces.

        Raises:
            PlanError: the run is not finished.
        """
        folder = self.folder / name / FINISHED
        if not (folder / FACTS).is_file():
            raise PlanError(f"{folder.parent}: no finished run; `train {name}` makes it")
        network = CasedDistilBertForTokenClassification.from_pretrained(folder, attn_implementation="eager")
        return network.eval(), tokenizer_of(str(folder))

    def train_run(self, run: Run, *, until: float | None = None) -> bool:
        """Make a run, its teachers' distributions first; return whether it is finished.

        Args:
            run: what to make; an earlier, interrupted attempt at the same is gone on with.
            until: stop at this time of the monotonic clock, to go on another time.
        """
        marks = {"plan": run.plan.digest, "data": self.data_digest, "teachers": self._marks(run)}
        if self.facts(run.name).get("marks") == marks:
            return True
        source = self._source(run.plan.start)
        tokenizer = tokenizer_of(source)
        data = self.encoded(tokenizer, run.plan.longest, vary=run.plan.varied)
        teacher = self._teacher(run, data) if run.teachers else None
        folder = self.folder / run.name
        trainer = Trainer(run.plan, data, self.labels, tokenizer, folder, teacher, source=source, marks=marks)
        trainer.resume()
        if not trainer.run(until=float("inf") if until is None else until):
            return False
        facts = {
            "marks": marks,
            "plan": dataclasses.asdict(run.plan),
            "teachers": {name: self.facts(name)["plan"] for name in run.teachers},
            "sentences": len(data),
            "steps": trainer.total,
        }
        write_checkpoint(trainer.finished(), tokenizer, folder / FINISHED, facts)
        return True

    def _source(self, start: str) -> str:
        if not start.startswith(RUN):
            return resolve(start, self.folder / "starts")
        name = start.removeprefix(RUN)
        if not self.facts(name):
            raise PlanError(f"{name}: no finished run to go on from; `train {name}` makes it")
        return str(self.folder / name / FINISHED)

    def predict(self, name: str, teachers: Sequence[str], longest: int, *, vary: bool = False) -> Path:
        """Write some runs' mean distributions over the training sentences; return the file.

        Raises:
            PlanError: a run is not finished, or they read different word pieces.
        """
        opened = [self.finished(teacher) for teacher in teachers]
        vocabularies = [tokenizer.get_vocab() for _, tokenizer in opened]
        if any(vocabulary != vocabularies[0] for vocabulary in vocabularies):
            raise PlanError(f"{', '.join(teachers)}: teachers of one student must share their word pieces")
        networks = [network for network, _ in opened]
        path = self.folder / "teachers" / f"{name}{'-varied' if vary else ''}.npy"
        write_teacher(networks, self.encoded(opened[0][1], longest, vary=vary), opened[0][1], path)
        return path

    def _teacher(self, run: Run, data: Encoded) -> npt.NDArray[np.float16]:
        path = self.predict("+".join(run.teachers), run.teachers, run.plan.longest, vary=run.plan.varied)
        teacher = np.load(path, mmap_mode="r")
        words = int((data.target >= 0).sum())
        if len(teacher) != words:
            raise PlanError(
                f"{run.name} labels {words:,} words and its teachers {len(teacher):,}: their pieces differ"
            )
        return teacher

    def _marks(self, run: Run) -> dict[str, Any]:
        before = run.plan.start.removeprefix(RUN) if run.plan.start.startswith(RUN) else None
        names = [*run.teachers, *([before] if before else [])]
        return {name: self.facts(name).get("marks") for name in names}
