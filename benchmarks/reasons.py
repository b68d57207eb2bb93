"""Why a target is missed, in the figures of the run itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmarks.stats import show, slope
from benchmarks.targets import TARGETS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Sections = Mapping[str, Any]


def text(sections: Sections) -> str:
    """Return a section with a paragraph for each target that is missed and whose reason the run shows."""
    paragraphs = []
    for target in TARGETS:
        if target.row(sections)[3] == "**no**" and target.what in _REASONS:
            try:
                said = _REASONS[target.what](sections)
            except KeyError:  # a section that the reason needs was not measured
                continue
            paragraphs.append(f"- **{target.what[0].upper()}{target.what[1:]}**: {said}")
    return "## Where a target is missed, and why\n\n" + "\n".join(paragraphs) if paragraphs else ""


def _limit(sections: Sections) -> str:
    profile, stages = sections["experiments"]["profile"], sections["experiments"]["tagger"]
    share = sections["tagger"]["kinds"]["sentences"]["limit"]["share"]["tagger"]["median"]
    products = stages["graph_share"] * profile["MatMulIntegerToFloat"]
    return (
        f"the INT8 products that the limit counts are {products:.0%} of the tagger's time: this processor multiplies "
        "8-bit matrices so fast (AMX) that attention, norms, GELU and quantizing cost as much (operators under *What "
        f"was tried*). All that is no product takes {(1 - products) / share:.2f} times the limit's whole time by "
        "itself, where 75 % would leave 1.33 for everything. More takes another network, with ReLU in place of GELU to "
        "begin with."
    )


def _torch(sections: Sections) -> str:
    fp32 = sections["experiments"]["graphs"]["16 x 32"]["FP32, plain export"]["against_tagger"]["median"]
    return (
        f"the same weights in FP32 are only {show(1 / fp32)} times as slow in ONNX Runtime itself on this processor "
        "(one thread, 16 x 32 pieces, under *What was tried*); the rest of the ratio is batches, words and decoding."
    )


def _articles(sections: Sections) -> str:
    return _worker(sections, "articles")


def _sentences(sections: Sections) -> str:
    return _worker(sections, "sentences")


def _worker(sections: Sections, kind: str) -> str:
    found = sections["end_to_end"]["kinds"][kind]
    worker, tagger, broker = (
        found[f"{name}_ms_per_document"]["median"] for name in ("worker", "tagger", "broker")
    )
    records = found["records_per_document"]["median"]
    return (
        f"by processor time a document costs the tagger {show(tagger)} ms, the worker {show(worker)} ms and the broker "
        f"on the same two cores {show(broker)} ms, so the machine allows {tagger / (worker + broker):.0%}. In what is "
        f"left a core waits: the {show(records)} records of a document are encoded and sent by one thread."
    )


def _four(_: Sections) -> str:
    return (
        "there are two cores: four workers' threads take turns on them, and each worker brings a loop, a table of "
        "words and a graph of its own into the same caches."
    )


def _memory(sections: Sections) -> str:
    found = sections["memory"]
    points = [(documents / 100_000, mib) for _, documents, mib in found["points"]]
    half = points[-1][0] / 2
    later = slope([one for one in points if one[0] >= half])
    error = found.get("standard_error")
    known = "" if error is None else f", with a standard error of {show(error)}"
    return (
        f"it goes up and down{known}; over the second half of the run it is {show(later)} MiB. What a worker keeps is "
        "bounded: the table of words is thrown away at about 15 MB and filled anew (`model/pieces.py`)."
    )


_REASONS: Final[dict[str, Callable[[Sections], str]]] = {
    "tagger against the pipeline on torch FP32": _torch,
    "beyond: tagger's share of the arithmetic limit": _limit,
    "worker against the tagger alone, articles": _articles,
    "worker against the tagger alone, sentences": _sentences,
    "four workers against two": _four,
    "its slope for each 100,000 documents": _memory,
}
