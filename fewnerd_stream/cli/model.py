"""`model`: info and evaluation of a bundle, and the recipe's commands, if the recipe is installed."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from fewnerd_stream.cli._group import LazyGroup, examples
from fewnerd_stream.cli._options import json_option, settings_options
from fewnerd_stream.errors import FewnerdError

if TYPE_CHECKING:
    from fewnerd_stream.settings import Settings

_RECIPE: Final = {
    "make": "Make the bundled model: all steps, from seed and data.",
    "recipe": "Recipe: any of its commands, with its own options before them.",
}
_THERE_IT_IS: Final = {"make": ["all"], "recipe": []}
"""What a command is called in the recipe, where that is not its own name."""
_EXTRA: Final = "the recipe is not installed: pip install 'fewnerd-stream[recipe]'"


class NoEvaluation(FewnerdError):  # noqa: N818 - what there is not
    """A file that cannot be evaluated on."""


@click.group(
    "model",
    cls=LazyGroup,
    epilog=examples(
        "fewnerd-stream model info",
        "fewnerd-stream model evaluate validation.jsonl --json",
        "fewnerd-stream model make",
        "fewnerd-stream model recipe --train train.txt --held-out dev.txt train mine",
    ),
)
def command() -> None:
    """Look at a model bundle, evaluate it, or make one."""


@command.command(
    short_help="Tell what a bundle is, and what it scored.",
    epilog=examples("fewnerd-stream model info", "fewnerd-stream model info --model ./my-bundle --json"),
)
@settings_options("model")
@json_option
def info(*, settings: Settings, as_json: bool) -> None:
    """Tell what a bundle is: its name, digest, size, labels, and what it scored when it was made.

    The digest is over the files that decide a result; every enriched document carries it.
    """
    from fewnerd_stream.terminal import console, print_json

    found = describe(settings.model)
    if as_json:
        print_json(found)
        return
    out = console()
    for name, value in found.items():
        if name == "labels":
            shown: object = f"{len(value)}, of {', '.join(sorted(set(found['categories'])))}"
        elif name in {"categories", "evaluation"}:
            continue
        else:
            shown = value
        out.field(name.replace("_", " "), shown, 12)
    for side, scores in found["evaluation"].items():
        line = ", ".join(f"{part} {100 * f1:.2f}" for part, f1 in scores.items())
        out.field(f"F1 {side}", line, 12)


def describe(source: str | None) -> dict[str, Any]:
    """Gather what a bundle says of itself; its graph is not opened.

    Raises:
        BundleRefused: there is none, or it cannot be used.
    """
    from agents.tagger import bundle_errors
    from model.bundle import open_bundle

    with bundle_errors():
        bundle = open_bundle(source)
        files = [path for path in bundle.folder.iterdir() if path.is_file()]
        return {
            "name": bundle.info.name,
            "folder": str(bundle.folder),
            "digest": bundle.info.digest,
            "precision": bundle.info.precision,
            "bytes": sum(path.stat().st_size for path in files),
            "labels": list(bundle.labels[1:]),
            "categories": [coarse for coarse, _ in bundle.types[1:]],
            "vocabulary": bundle.vocabulary,
            "letter_case": bool(bundle.case_classes),
            "window": bundle.window,
            "overlap": bundle.overlap,
            "evaluation": _evaluation(bundle.folder / "evaluation.json"),
        }


def _evaluation(path: Path) -> dict[str, dict[str, float]]:
    """Read the F1 scores that the recipe has kept beside a model; none where it kept none."""
    import orjson

    try:
        kept = orjson.loads(path.read_bytes())
        return {
            side: {part: float(kept[side][part]["f1"]) for part in ("fine", "coarse", "boundary")}
            for side in ("int8", "fp32")
            if side in kept
        }
    except (OSError, ValueError, KeyError, TypeError):
        return {}


@command.command(
    short_help="Measure a bundle on labelled sentences.",
    epilog=examples(
        "fewnerd-stream model evaluate validation.jsonl",
        "fewnerd-stream model evaluate validation.parquet --json --prose",
    ),
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--prose", is_flag=True, help="Join the tokens as a newspaper would, not by spaces.")
@settings_options("model", "threads")
@json_option
def evaluate(*, file: Path, prose: bool, settings: Settings, as_json: bool) -> None:
    """Measure a bundle as a user runs it, decoding included, on labelled sentences.

    FILE holds JSON lines with "tokens" and "tags", or parquet where pyarrow is installed. The measure is
    strict: exact spans and full labels, micro precision, recall and F1. A predicted span that cuts a token is
    wrong. "Routing" asks of each sentence and category whether it belongs on the category's topic. The bundle's own
    thresholds hold, and no label filters. Progress goes to standard error.
    """
    from agents.tagger import bundle_errors
    from fewnerd_stream.terminal import console, print_json, progress
    from model.evaluate import DataError, read_sentences
    from model.evaluate import evaluate as measure
    from model.tagger import Least, Tagger

    try:
        sentences = read_sentences(file)
    except DataError as error:
        raise NoEvaluation(str(error)) from error
    with bundle_errors():
        # The curve of routing is of all that is found.
        loaded = Tagger.load(settings.model, threads=settings.threads, thresholds=0)
    with closing(loaded) as tagger, progress("sentences", len(sentences)) as bar:
        least = Least.of(tagger.bundle)
        report = measure(tagger, sentences, prose=prose, least=least, progress=lambda done: bar(advance=done))
    if as_json:
        print_json({"model": tagger.info.name, "digest": tagger.info.digest, "prose": prose, **report})
        return
    out = console()
    out.print(
        f"{tagger.info.name} ({tagger.info.precision}) on {report['sentences']} sentences of {file}",
    )
    out.print(_scores(report))
    out.print("Routing by the least coarse score:")
    out.print(_curve(report["routing"]["curve"]))


def _scores(report: dict[str, Any]) -> Any:  # noqa: ANN401 - rich's table, imported late
    from fewnerd_stream.terminal import table

    shown = table("", "PRECISION", "RECALL", "F1", "GOLD", right=("PRECISION", "RECALL", "F1", "GOLD"))
    names = {"fine": "66 types", "coarse": "categories", "boundary": "boundaries", "routing": "routing"}
    rows = [(shown_as, report[name]) for name, shown_as in names.items()]
    rows += [(f"  {name}", scores) for name, scores in sorted(report.get("categories", {}).items())]
    routed = report.get("routing", {}).get("categories", {})
    rows += [(f"  {name}, routing", scores) for name, scores in sorted(routed.items())]
    for name, scores in rows:
        figures = (f"{100 * scores[part]:.2f}" for part in ("precision", "recall", "f1"))
        shown.add_row(name, *figures, str(scores.get("support", "")))
    return shown


def _curve(rows: list[dict[str, float]]) -> Any:  # noqa: ANN401 - as above
    from fewnerd_stream.terminal import table

    heads = ("PRECISION", "RECALL", "F1")
    shown = table("SCORE", *heads, right=("SCORE", *heads))
    for row in rows[::2]:
        figures = (f"{100 * row[part]:.2f}" for part in ("precision", "recall", "f1"))
        shown.add_row(f"{row['threshold']:.1f}", *figures)
    return shown


class _Passed(click.Command):
    """A command of the recipe: its arguments are the recipe's to read, ``--help`` included."""

    def __init__(self, name: str, short_help: str) -> None:
        arguments = click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)
        super().__init__(
            name,
            callback=self._pass,
            params=[arguments],
            short_help=short_help,
            add_help_option=False,
            context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
        )

    def _pass(self, arguments: tuple[str, ...]) -> None:
        try:
            from model.recipe.cli import main
        except ImportError as error:
            raise FewnerdError(f"{_EXTRA} ({error})") from error
        name = self.name or ""
        prefix = _THERE_IT_IS.get(name, [name])
        try:
            code = main.main(
                [*prefix, *arguments], prog_name="fewnerd-stream model recipe", standalone_mode=False
            )
        except ModuleNotFoundError as error:
            raise FewnerdError(f"{_EXTRA} (no module named {error.name})") from error
        click.get_current_context().exit(code if isinstance(code, int) else 0)


for _name, _short in _RECIPE.items():
    command.add_command(_Passed(_name, _short))
