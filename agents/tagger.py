"""The model as the command line puts it together with the settings: loaded, or refused with its reason."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Protocol

import orjson

from fewnerd_stream.contract.taxonomy import CATEGORIES, LABELS
from fewnerd_stream.errors import BundleRefused, SettingsError
from fewnerd_stream.telemetry.precision import Band

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from fewnerd_stream.contract.documents import EntityLike, ModelLike
    from fewnerd_stream.settings import Settings


log = logging.getLogger("fewnerd_stream.worker")

_MOST_BYTES = 16 * 2**20


class BundleLike(Protocol):
    """What is asked of a bundle: where it is, its labels (``O`` first), and the category and type of each."""

    @property
    def folder(self) -> Path:
        """Its folder."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Its labels."""

    @property
    def types(self) -> tuple[tuple[str, str], ...]:
        """Category and fine type of each label."""


class TaggerLike(Protocol):
    """What is asked of a tagger."""

    @property
    def info(self) -> ModelLike:
        """Its model's name, digest and precision."""

    def tag(self, texts: Sequence[str]) -> Sequence[Sequence[EntityLike]]:
        """Find each text's entities."""

    def close(self) -> None:
        """End its threads."""


def load_tagger(settings: Settings) -> TaggerLike:
    """Load the model that the settings name, with their threads, thresholds and labels.

    Raises:
        BundleRefused: it cannot be used: files, labels, or scores that differ on this processor.
        SettingsError: the settings name labels that are not the bundle's.
    """
    from model.bundle import open_bundle
    from model.tagger import Tagger

    with bundle_errors():
        bundle = open_bundle(settings.model)
        check_labels(bundle)
        check_names(bundle, "FEWNERD_LABELS", settings.labels or ())
        if isinstance(settings.thresholds, dict):
            check_names(bundle, "FEWNERD_THRESHOLDS", settings.thresholds)
        return Tagger.load(
            settings.model,
            threads=settings.threads,
            thresholds=thresholds(bundle, settings.thresholds),
            labels=chosen(bundle, settings.labels),
        )


def pieces_of(tagger: object) -> Callable[[], int] | None:
    """Give a way to ask a tagger how many word pieces it has looked at; None for one that does not count."""
    counted = getattr(tagger, "pieces_seen", None)
    return counted if callable(counted) else None


def categories_of(tagger: object) -> frozenset[str]:
    """Give the categories that a tagger's bundle finds; those of the taxonomy for a tagger without one."""
    bundle = getattr(tagger, "bundle", None)
    return frozenset(CATEGORIES if bundle is None else (coarse for coarse, _ in bundle.types[1:]))


def bands(tagger: object, settings: Settings) -> dict[str, Band]:
    """Say what precision a tagger's bundle lets one expect of each category.

    Nothing of a tagger without a bundle, of a bundle without an evaluation, or where the settings choose other
    entities than those that were evaluated.
    """
    bundle = getattr(tagger, "bundle", None)
    if bundle is None or settings.thresholds is not None or settings.labels is not None:
        return {}
    try:
        with (bundle.folder / "evaluation.json").open("rb") as file:
            report = orjson.loads(file.read(_MOST_BYTES))  # what is longer is cut, and so no JSON
        error = float(report["cross_fitted"]["coarse"]["ece"])
        scored = report["int8"]["categories"]
        # With its support recall gives how many were right, and that with precision how many were found.
        return {
            category: Band.around(
                each["precision"], round(each["recall"] * each["support"] / each["precision"]), error
            )
            for category, each in scored.items()
            if category in CATEGORIES and each["precision"] > 0
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        log.warning("%s has no evaluation that can be read: no precision is expected of it", bundle.folder)
        return {}


@contextmanager
def bundle_errors() -> Iterator[None]:
    """Turn what is raised over a bundle into `BundleRefused`."""
    try:
        yield
    except (ValueError, OSError) as error:  # a BundleError is a ValueError
        raise BundleRefused(f"the model cannot be used: {error}") from error


def check_labels(bundle: BundleLike) -> None:
    """Refuse a bundle with labels that are not Few-NERD's and that its config does not map to a category.

    Raises:
        BundleRefused: with the labels, and what to write into the config.
    """
    config = orjson.loads((bundle.folder / "config.json").read_bytes())
    mapped = config.get("fewnerd", {}).get("categories", {})
    strange = [label for label in bundle.labels[1:] if label not in LABELS and label not in mapped]
    if strange:
        raise BundleRefused(
            f"the labels of {bundle.folder} are not Few-NERD's: {_some(strange)}. Map each to a category in "
            f'its config.json: "fewnerd": {{"categories": {{"{strange[0]}": "<category>"}}}}'
        )
    wrong = sorted({coarse for coarse, _ in bundle.types[1:]} - set(CATEGORIES))
    if wrong:
        raise BundleRefused(
            f"{bundle.folder} maps labels to what is no category: {_some(wrong)}. "
            f"There are {', '.join(CATEGORIES)}"
        )


def check_names(bundle: BundleLike, variable: str, names: Iterable[str]) -> None:
    """Refuse names that are neither a label of the bundle nor a category: the one place that judges them.

    Raises:
        SettingsError: with the names, and the nearest that there are.
    """
    known = [*CATEGORIES, *bundle.labels[1:]]
    wrong = [name for name in names if name not in known]
    if wrong:
        close = get_close_matches(wrong[0], known, n=1)
        meant = f"; did you mean {close[0]}?" if close else ""
        raise SettingsError(f"{variable}: no label of the model and no category: {_some(wrong)}{meant}")


def _some(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"  # noqa: PLR2004 - as above


def chosen(bundle: BundleLike, wanted: Collection[str] | None) -> list[str] | None:
    """Give the bundle's labels that are wanted, by name or by category; None for all.

    Raises:
        ValueError: none of the bundle's labels is among them.
    """
    if wanted is None:
        return None
    found = [
        label
        for label, (coarse, _) in zip(bundle.labels[1:], bundle.types[1:], strict=True)
        if label in wanted or coarse in wanted
    ]
    if not found:
        raise ValueError(f"it finds none of the labels asked for: {_some(wanted)}")
    return found


def thresholds(
    bundle: BundleLike, wanted: Mapping[str, float] | float | None
) -> Mapping[str, float] | float | None:
    """Give the wanted thresholds that are of the bundle's labels and their categories.

    A category's is the least coarse score, a label's the least score; what neither names keeps the bundle's own.
    """
    if wanted is None or isinstance(wanted, float | int):
        return wanted
    known = {*bundle.labels[1:], *(coarse for coarse, _ in bundle.types[1:])}
    return {name: least for name, least in wanted.items() if name in known}
