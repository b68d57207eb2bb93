"""From a finished run to a bundle: export, quantize, decoding, evaluation, card; nothing is done twice."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from optimum.onnxruntime import ORTQuantizer
from optimum.onnxruntime.configuration import AutoQuantizationConfig

from model.bundle import DECODING, FUSED, PARITY
from model.parity import write_parity
from model.recipe import ablation, fit, measure
from model.recipe.card import write_card
from model.recipe.data import encode, padded
from model.recipe.export import export
from model.recipe.pack import PARITY_SENTENCES, write_bundle
from model.recipe.quantize import CALIBRATION_SENTENCES, quantize
from model.tagger import Tagger

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from model.decoding import Decoding
    from model.recipe.runs import Workplace

CALIBRATION_SEED = 17
SIDES = ("int8", "fp32")


class Making:
    """The way of one finished run to its bundle; each method makes one thing, and what it needs first."""

    def __init__(self, place: Workplace, run: str, tell: Callable[[str], object] = print) -> None:
        self.place, self.run, self.tell = place, run, tell
        self.folder = place.folder / run
        self.bundle = self.folder / "int8"
        self.twin = self.folder / "fp32"

    def exported(self) -> Path:
        """Return the FP32 graph."""
        path = self.folder / "fp32.onnx"
        network, _ = self.place.finished(self.run)
        needs = {"run": self.place.facts(self.run)}
        if not _made(path, needs):
            difference = export(network, path)
            self.tell(f"{path}: within {difference:.1g} of torch")
            _mark(path, needs)
        return path

    def quantized(self) -> Path:
        """Return the INT8 graph, calibrated on training sentences."""
        source, path = self.exported(), self.folder / "int8.onnx"
        needs = {"source": _digest(source), "sentences": CALIBRATION_SENTENCES, "seed": CALIBRATION_SEED}
        if not _made(path, needs):
            quantize(source, path, self._calibration())
            self.tell(
                f"{path}: {path.stat().st_size / 1e6:.1f} MB, FP32 was {source.stat().st_size / 1e6:.1f} MB"
            )
            _mark(path, needs)
        return path

    def decoded(self) -> Path:
        """Return the INT8 bundle's folder, its decoding chosen but unmeasured; its FP32 twin has the same."""
        graphs = {"int8": self.quantized(), "fp32": self.exported()}
        path = self.bundle / DECODING
        needs = {
            "graph": _digest(graphs["int8"]),
            "held_out": self._held_out_digest(),
            "code": _code_digest(),
        }
        made = (self.bundle / FUSED, self.bundle / PARITY, self.twin / DECODING, self.twin / PARITY)
        if _made(path, needs) and all(file.is_file() for file in made):
            return self.bundle
        network, tokenizer = self.place.finished(self.run)
        counted = fit.transitions(self.place.train, self.place.labels)
        chosen: Decoding = counted
        for side in SIDES:
            folder = self.folder / side
            write_bundle(
                folder,
                graph=graphs[side],
                config=network.config,
                tokenizer=tokenizer,
                decoding=chosen,
                name=f"fewnerd-distilbert-l{network.config.n_layers}-{network.config.dim}",
                precision=side,
                facts=self._facts(),
            )
            if side == "int8":
                with Tagger.load(folder, check=False) as tagger:
                    chosen, by_weight = fit.choose(fit.score(tagger, self.place.held_out), counted)
                self.tell(
                    f"decoding: weight {chosen.weight}, temperatures {chosen.temperature}, {chosen.sharpness}; F1 "
                    f"{by_weight[0.0]:.4f} without, {by_weight[chosen.weight]:.4f} with"
                )
                chosen.save(folder)
            write_parity(folder, PARITY_SENTENCES)
        _mark(path, needs)
        return self.bundle

    def evaluated(self) -> dict[str, Any]:
        """Return the evaluation, kept as the bundle's ``evaluation.json``."""
        self.decoded()
        path = self.bundle / measure.EVALUATION
        needs = {"held_out": self._held_out_digest(), "decoding": _digest(self.bundle / DECODING)}
        needs |= {side: _digest(self.folder / f"{side}.onnx") for side in SIDES}
        needs["code"] = _code_digest()
        if not _made(path, needs):
            name = self.place.held_out_source.rsplit("/", 1)[-1]
            evaluation = measure.measure(
                self.bundle, self.twin, self.place.held_out, name=name, speed={"dynamic": self._dynamic()}
            )
            evaluation["data"]["train_sentences"] = self.place.facts(self.run)["sentences"]
            measure.write(evaluation, self.bundle)
            _mark(path, needs)
        return dict(json.loads(path.read_bytes()))

    def carded(self) -> Path:
        """Return the bundle's folder, measured and with its card."""
        evaluation = self.evaluated()
        rows = [
            {key: value for key, value in row.items() if key != "marks"}
            for row in ablation.read(self.place.folder)
        ]
        if evaluation.get("ablation") != rows:
            measure.write(evaluation | {"ablation": rows}, self.bundle)
        write_card(self.bundle)
        return self.bundle

    def deliver(self, target: Path) -> None:
        """Put the finished bundle's files into ``target``, leaving alone what is the same already."""
        source = self.carded()
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(source.iterdir()):
            there = target / path.name
            if path.suffix != _MARK and not (there.is_file() and _digest(there) == _digest(path)):
                shutil.copyfile(path, there)
                self.tell(f"{there}: written")

    def _calibration(self) -> list[npt.NDArray[np.int64]]:
        network, tokenizer = self.place.finished(self.run)
        natural = [s for s in self.place.train if s.natural]
        draw = np.random.default_rng(CALIBRATION_SEED)
        rows = draw.choice(len(natural), min(CALIBRATION_SENTENCES, len(natural)), replace=False)
        data = encode([natural[row] for row in rows], tokenizer, self.place.labels, 254)
        ids = [tokenizer.token_to_id(piece) for piece in ("[CLS]", "[SEP]", "[PAD]")]
        cased = bool(getattr(network.config, "case_classes", 0))
        return [
            padded(data, np.array([row]), network.config.vocab_size, (ids[0], ids[1], ids[2]), cased=cased)[
                0
            ][0]
            for row in range(len(data))
        ]

    def _dynamic(self) -> Path:
        """Return the graph that Optimum's usual dynamic configuration gives, to be compared in speed."""
        folder = self.folder / "dynamic"
        path = folder / "fp32_quantized.onnx"
        source = self.exported()
        needs = {"source": _digest(source)}
        if not _made(path, needs):
            ORTQuantizer(source, self.place.finished(self.run)[0].config).quantize(
                AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True), folder
            )
            _mark(path, needs)
        return path

    def _facts(self) -> dict[str, Any]:
        facts = self.place.facts(self.run)
        return {
            "license": "CC-BY-SA-4.0",
            "training": {
                "plan": facts["plan"],
                "teachers": facts["teachers"],
                "sentences": facts["sentences"],
            },
        }

    def _held_out_digest(self) -> str:
        keys = "\n".join(f"{s.key}\t{' '.join(s.tags)}" for s in self.place.held_out)
        return hashlib.sha256(keys.encode("utf-8", "surrogatepass")).hexdigest()[:12]


_MARK = ".made"


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _code_digest() -> str:
    """Return a short name of the code that turns a bundle into entities, and fits one: what is measured is both."""
    total = hashlib.sha256()
    own = Path(__file__).parent
    for path in (*sorted(own.parent.glob("*.py")), *(own / f"{name}.py" for name in ("fit", "fuse", "pack"))):
        total.update(path.read_bytes())
    return total.hexdigest()[:16]


def _made(path: Path, needs: dict[str, Any]) -> bool:
    """Return whether a file is there and was made from just these."""
    mark = path.with_name(path.name + _MARK)
    return (
        path.is_file() and mark.is_file() and json.loads(mark.read_bytes()) == json.loads(json.dumps(needs))
    )


def _mark(path: Path, needs: dict[str, Any]) -> None:
    path.with_name(path.name + _MARK).write_text(json.dumps(needs), "utf-8")
