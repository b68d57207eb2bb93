"""What was asked for, and where in the results it stands."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

from benchmarks.stats import show

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """A figure that is to be reached: at least, or at most, ``bound``."""

    what: str
    bound: float
    path: tuple[str | int, ...]
    at_most: bool = False
    unit: str = ""

    def row(self, sections: Mapping[str, Any]) -> tuple[str, str, str, str]:
        """Return what, target, measured and whether it is met, for a table."""
        found = self._find(sections)
        wanted = f"{'at most' if self.at_most else 'at least'} {show(self.bound)}{self.unit}"
        if found is None:
            return self.what, wanted, "not measured", ""
        met = found <= self.bound if self.at_most else found >= self.bound
        return self.what, wanted, f"{show(found)}{self.unit}", "yes" if met else "**no**"

    def _find(self, sections: Mapping[str, Any]) -> float | None:
        here: Any = sections
        for step in self.path:
            try:
                here = here[step]
            except (KeyError, IndexError, TypeError):
                return None
        if isinstance(here, dict):
            here = here.get("median")
        return None if here is None else float(here)


_TAGGER: Final = ("tagger", "kinds", "sentences", "ratios")
_KINDS: Final = ("end_to_end", "kinds")

TARGETS: Final = (
    Target(
        "tagger against the bare loop on the plain dynamic export", 1.3, (*_TAGGER, "bare loop, dynamic INT8")
    ),
    Target(
        "tagger against the bare loop on the bundle's model.onnx", 0.95, (*_TAGGER, "bare loop, own graph")
    ),
    Target("tagger against the bare loop on the fused graph", 0.95, (*_TAGGER, "bare loop, fused graph")),
    Target("tagger against the pipeline over Optimum INT8", 2.5, (*_TAGGER, "pipeline, Optimum INT8")),
    Target("tagger against the pipeline on torch FP32", 7, (*_TAGGER, "pipeline, torch FP32")),
    Target(
        "beyond: tagger's share of the arithmetic limit",
        0.75,
        ("tagger", "kinds", "sentences", "limit", "share", "tagger"),
    ),
    Target("worker against the tagger alone, articles", 0.9, (*_KINDS, "articles", "ratios", "tagger alone")),
    Target(
        "worker against the tagger alone, sentences", 0.8, (*_KINDS, "sentences", "ratios", "tagger alone")
    ),
    Target(
        "worker against a consumer with torch FP32",
        5,
        (*_KINDS, "sentences", "ratios", "consumer, torch FP32"),
    ),
    Target(
        "worker against a consumer with Optimum INT8",
        2.5,
        (*_KINDS, "sentences", "ratios", "consumer, Optimum INT8"),
    ),
    Target("tagger against Spark NLP in batch", 3.5, ("spark_nlp", "batch", "ratios", "Spark NLP, batch")),
    Target(
        "worker against Spark NLP in Structured Streaming",
        3,
        ("spark_nlp", "stream", "ratios", "Spark NLP, Structured Streaming"),
    ),
    Target(
        "p99 at half load, default window", 250, ("latency", "settings", 0, "p99"), at_most=True, unit=" ms"
    ),
    Target("two workers of one thread against one", 1.7, ("scale", "workers", "against_one", "2")),
    Target(
        "two workers on a core each against one on a core",
        1.7,
        ("scale", "workers", "against_one", "2, on a core each"),
    ),
    Target("four workers against two", 0.9, ("scale", "workers", "four_against_two")),
    Target(
        "cost of a piece, 10 times the documents",
        1.05,
        ("scale", "number", "against_first", "4000"),
        at_most=True,
    ),
    Target(
        "cost of a piece, 100 times the documents",
        1.05,
        ("scale", "number", "against_first", "40000"),
        at_most=True,
    ),
    Target(
        "cost of a piece, 100 times the length",
        1.05,
        ("scale", "length", "against_first", "100"),
        at_most=True,
    ),
    Target(
        "memory of a worker after ten minutes",
        400,
        ("memory", "mib_after_ten_minutes"),
        at_most=True,
        unit=" MiB",
    ),
    Target(
        "its slope for each 100,000 documents",
        1,
        ("memory", "mib_per_100_000_documents"),
        at_most=True,
        unit=" MiB",
    ),
)


def rows(sections: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return the targets' table."""
    return [target.row(sections) for target in TARGETS]
