"""The recipe's commands. Each first makes what it needs, and does nothing that is done already."""

from __future__ import annotations

import dataclasses
import logging
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from model.recipe.errors import RecipeError

if TYPE_CHECKING:
    from model.recipe.making import Making
    from model.recipe.runs import Run, Workplace

# Beside the checkout, where this project's copy of Few-NERD is kept.
SHARED = Path(__file__).parents[3] / "shared" / "fewnerd"
WORK = Path.home() / ".cache" / "fewnerd-stream" / "recipe"
PLANS = Path(__file__).parent / "bundled.toml"
ABLATIONS = Path(__file__).parent / "ablation.toml"
BUNDLED = Path(__file__).parents[1] / "bundled"


class _Recipe(click.Group):
    """Says what was wrong with the input in a line, instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - click's own signature
        from model.bundle import BundleError  # noqa: PLC0415 - keeps --help quick

        try:
            return super().invoke(ctx)
        except (RecipeError, BundleError) as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            raise click.ClickException("stopped; the same command goes on from the last checkpoint") from None


@click.group(cls=_Recipe, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--work",
    type=click.Path(path_type=Path, file_okay=False),
    default=WORK,
    show_default="~/.cache/fewnerd-stream/recipe",
    help="Where runs, graphs and bundles are kept; each run in a folder of its name.",
)
@click.option(
    "--train",
    "sources",
    multiple=True,
    default=[str(SHARED / "train.parquet")],
    show_default="../shared/fewnerd/train.parquet",
    help="Training sentences: parquet, JSON lines, Few-NERD's own text files, or a hub data set. Repeatable.",
)
@click.option(
    "--held-out",
    default=str(SHARED / "validation.parquet"),
    show_default="../shared/fewnerd/validation.parquet",
    help="Sentences that choose and measure. Training refuses to run when it finds one of them.",
)
@click.pass_context
def main(ctx: click.Context, work: Path, sources: tuple[str, ...], held_out: str) -> None:
    r"""Make the model: train, export, quantize, choose the decoding, evaluate, write the card.

    Each command first makes what it needs; it goes on where an interrupted one stopped, and repeats nothing
    that is done. On a CPU or, where torch sees one, on a GPU.

    \b
    Examples:
      python -m model.recipe all                     the bundled model, from seed and data
      python -m model.recipe ablate                  what each choice in its training is worth
      python -m model.recipe train small --passes all,natural
      python -m model.recipe train mine --start ./my-distilbert
      python -m model.recipe train student --teacher small --teacher mine
      python -m model.recipe card small              the bundle, in WORK/small/int8
      python -m model.recipe --train train.txt --held-out dev.txt train official
    """
    warnings.filterwarnings("ignore", module=r"(torch|transformers|optimum|onnx)(\..*)?")
    logging.getLogger("optimum").setLevel(logging.ERROR)
    ctx.obj = (work.expanduser(), sources, held_out)


def _place(ctx: click.Context) -> Workplace:
    from model.recipe.runs import Workplace  # noqa: PLC0415 - torch takes seconds, and --help needs none

    return Workplace(*ctx.obj)


def _making(ctx: click.Context, run: str) -> Making:
    from model.recipe.making import Making  # noqa: PLC0415 - as above

    return Making(_place(ctx), run, click.echo)


def _train(place: Workplace, run: Run, hours: float | None) -> None:
    """Train, or say that it is done or how to go on."""
    click.echo(f"{run.name}: {run.plan.start}, {', '.join(run.plan.passes)}, seed {run.plan.seed}")
    if place.train_run(run, until=None if hours is None else time.monotonic() + hours * 3600):
        click.echo(f"{place.folder / run.name}: trained")
    else:
        raise click.ClickException(f"{run.name} is not finished; the same command goes on with it")


@main.command()
@click.argument("name")
@click.option(
    "--start",
    help="minilm, bge-small, run:NAME to go on from a finished run, a BERT's .onnx, or a BERT or DistilBERT by "
    "folder or hub name.",
)
@click.option(
    "--passes", help="What each pass reads, by commas: all, complete (all types annotated) or natural."
)
@click.option("--peak", type=float, help="Highest learning rate.")
@click.option("--seed", type=int, help="The one seed.")
@click.option("--budget", type=int, help="Padded pieces in a batch.")
@click.option("--dropout", type=float)
@click.option("--distil", type=float, help="The teachers' share of the loss where a gold tag stands, 0 to 1.")
@click.option("--cased/--uncased", default=None, help="Read letter case or not.")
@click.option("--teacher", "teachers", multiple=True, help="A finished run to learn from. Repeatable.")
@click.option("--hours", type=float, help="Stop after so long, to go on another time.")
@click.pass_context
def train(
    ctx: click.Context,
    /,
    name: str,
    passes: str | None,
    teachers: tuple[str, ...],
    hours: float | None,
    **given: float | str | None,
) -> None:
    """Train run NAME, with the settings of bundled.toml when it is named there, else the defaults."""
    from model.recipe.runs import Run, plan_of, read_plans  # noqa: PLC0415 - as above

    known = {run.name: run for run in read_plans(PLANS)}
    settings: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if passes is not None:
        settings["passes"] = passes.split(",")
    base = known.get(name)
    plan = dataclasses.asdict(base.plan) if base else {}
    _train(
        _place(ctx),
        Run(name, plan_of({**plan, **settings}), teachers or (base.teachers if base else ())),
        hours,
    )


@main.command()
@click.argument("names", nargs=-1, required=True)
@click.pass_context
def predict(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Write the mean distribution of finished runs NAMES over the training sentences, for a student."""
    from model.recipe.train import Plan  # noqa: PLC0415 - as above

    click.echo(_place(ctx).predict("+".join(names), names, Plan().longest))


@main.command()
@click.argument("name")
@click.pass_context
def export(ctx: click.Context, name: str) -> None:
    """Export run NAME to ONNX, and hold it against torch."""
    click.echo(_making(ctx, name).exported())


@main.command()
@click.argument("name")
@click.pass_context
def quantize(ctx: click.Context, name: str) -> None:
    """Quantize run NAME's graph to INT8, calibrated on training sentences."""
    click.echo(_making(ctx, name).quantized())


@main.command()
@click.argument("name")
@click.pass_context
def decoding(ctx: click.Context, name: str) -> None:
    """Count run NAME's transitions on training tags; choose weight and temperature on held-out sentences."""
    click.echo(_making(ctx, name).decoded())


@main.command()
@click.argument("name")
@click.pass_context
def evaluate(ctx: click.Context, name: str) -> None:
    """Measure run NAME's bundle, INT8 and FP32 side by side, on the held-out sentences."""
    evaluation = _making(ctx, name).evaluated()
    for part in ("fine", "coarse", "boundary"):
        both = ", ".join(f"{side} {100 * evaluation[side][part]['f1']:.2f}" for side in ("int8", "fp32"))
        click.echo(f"{part:9} F1 {both}")


@main.command()
@click.argument("name")
@click.pass_context
def card(ctx: click.Context, name: str) -> None:
    """Write run NAME's model card; every figure in it is from evaluation.json."""
    click.echo(_making(ctx, name).carded())


@main.command()
@click.option(
    "--plans",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    default=[PLANS, ABLATIONS],
    show_default="model/recipe/bundled.toml and ablation.toml",
    help="The runs to make and compare, a table [[runs]] each. Repeatable; a teacher may be in an earlier file.",
)
@click.pass_context
def ablate(ctx: click.Context, plans: tuple[Path, ...]) -> None:
    """Measure what each choice in training is worth; cards that are written afterwards show it."""
    from model.recipe import ablation  # noqa: PLC0415 - as above
    from model.recipe.runs import read_plans  # noqa: PLC0415 - as above

    place = _place(ctx)
    runs: list[Run] = []
    for path in plans:
        runs += read_plans(path, after=[run.name for run in runs])
    for run in runs:
        _train(place, run, None)
        for row in ablation.measured(place, run.name):
            click.echo(
                f"{run.name:14} {row['variant']:22} F1 arg-max {100 * row['argmax']:.2f}, "
                f"decoded {100 * row['decoded']:.2f}"
            )


@main.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False)
)
@click.option(
    "--bundle", "bundles", multiple=True, help="A bundle's folder; repeatable. Default: model/bundled."
)
def others(files: tuple[Path, ...], bundles: tuple[str, ...]) -> None:
    """Measure bundles by category on other people's texts: JSON lines with "tokens" and BIO "tags"."""
    from model.recipe.others import by_category, read  # noqa: PLC0415 - as above
    from model.tagger import Tagger  # noqa: PLC0415 - as above

    texts = {path: read(path) for path in files}
    for bundle in bundles or (str(BUNDLED),):
        with Tagger.load(bundle) as tagger:
            for path, own in texts.items():
                found = by_category(tagger, own)
                figures = (
                    f"{part} P {100 * found[part]['precision']:.2f} R {100 * found[part]['recall']:.2f} "
                    f"F1 {100 * found[part]['f1']:.2f}"
                    for part in ("spans", "routing")
                )
                click.echo(f"{tagger.info.digest[:15]} {path.stem}: {', '.join(figures)}")


@main.command(name="all")
@click.option(
    "--plans",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    default=PLANS,
    show_default="model/recipe/bundled.toml",
    help="The runs to make, a table [[runs]] each.",
)
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, file_okay=False),
    default=BUNDLED,
    show_default="model/bundled",
    help="Where the last run's bundle goes.",
)
@click.pass_context
def everything(ctx: click.Context, plans: Path, bundle: Path) -> None:
    """Make all runs of a plan file and put the last one's bundle in its place (model/bundled)."""
    from model.recipe.making import Making  # noqa: PLC0415 - as above
    from model.recipe.runs import read_plans  # noqa: PLC0415 - as above

    place = _place(ctx)
    runs = read_plans(plans)
    for run in runs:
        _train(place, run, None)
    Making(place, runs[-1].name, click.echo).deliver(bundle)
