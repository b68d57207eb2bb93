"""The page's plots, as SVG that is the same for the same results."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_OURS: Final = "#1b6ca8"
_OTHERS: Final = "#b0b7bf"
_WIDTH: Final = 7.5


def draw(sections: Mapping[str, Any], folder: Path) -> list[str]:
    """Draw what the results allow into a folder; return the files' names."""
    import matplotlib as mpl  # noqa: PLC0415 - a second to load, and only the page needs it

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "fewnerd-stream", "font.size": 9, "axes.spines.top": False})
    mpl.rcParams["axes.spines.right"] = False
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, section, plot in (
        ("tagger.svg", "tagger", _tagger),
        ("end-to-end.svg", "end_to_end", _end_to_end),
        ("latency.svg", "latency", _latency),
        ("workers.svg", "scale", _workers),
        ("memory.svg", "memory", _memory),
    ):
        if sections.get(section):
            _save(plot(sections[section]), folder / name)
            made.append(name)
    return made


def _axes(height: float) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def _save(figure: Any, path: Path) -> None:  # noqa: ANN401 - matplotlib's
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    # Matplotlib ends lines with spaces, which no one wants to see in a diff.
    path.write_text("\n".join(line.rstrip() for line in path.read_text("utf-8").splitlines()) + "\n", "utf-8")


def _bars(rates: Mapping[str, Mapping[str, float]], ours: str, label: str) -> Any:  # noqa: ANN401
    figure, axes = _axes(0.5 + 0.36 * len(rates))
    names = sorted(rates, key=lambda name: rates[name]["median"])
    middle = [rates[name]["median"] for name in names]
    errors = [
        [rates[name]["median"] - rates[name]["least"] for name in names],
        [rates[name]["most"] - rates[name]["median"] for name in names],
    ]
    colours = [_OURS if name == ours else _OTHERS for name in names]
    axes.barh(names, middle, xerr=errors, color=colours, ecolor="#444444", capsize=2)
    axes.set_xlabel(label)
    for place, value in enumerate(middle):
        inside = "white" if names[place] == ours else "black"
        axes.annotate(
            f"{value:,.0f}", (0, place), xytext=(3, 0), textcoords="offset points", va="center", color=inside
        )
    return figure


def _tagger(section: Mapping[str, Any]) -> Any:  # noqa: ANN401
    kind = section["kinds"]["sentences"]
    rates = {name: each["pieces_per_second"] for name, each in kind["contenders"].items()}
    return _bars(
        rates, "tagger", "word pieces a second, sentences; the lines show the least and the most round"
    )


def _end_to_end(section: Mapping[str, Any]) -> Any:  # noqa: ANN401
    rates = section["kinds"]["sentences"]["documents_per_second"]
    return _bars(rates, "worker", "documents a second through Apache Kafka, sentences")


def _latency(section: Mapping[str, Any]) -> Any:  # noqa: ANN401
    figure, axes = _axes(2.8)
    labels = []
    for number, told in enumerate(section["settings"]):
        settings = told["settings"]
        labels.append(
            "default"
            if "default" in settings
            else f"{settings['window_size']}, {1000 * settings['window_time']:g} ms"
        )
        for place, (share, shade) in enumerate((("p50", 0.45), ("p95", 0.7), ("p99", 1.0))):
            label = share if number == 0 else None
            axes.bar(number + 0.25 * (place - 1), told[share], 0.25, color=_OURS, alpha=shade, label=label)
    axes.axhline(250, color="#c0392b", linewidth=0.8, linestyle="--")
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlabel("window: documents, time")
    axes.set_ylabel("ms from produced to enriched")
    axes.legend(frameon=False)
    return figure


def by_workers(names: Iterable[str]) -> list[str]:
    """Order plans such as ``2`` and ``2, on a core each`` by their workers, those bound to cores last."""
    return sorted(names, key=lambda name: ("core" in name, int(name.split(",")[0])))


def _workers(section: Mapping[str, Any]) -> Any:  # noqa: ANN401
    rates = section["workers"]["documents_per_second"]
    figure, axes = _axes(2.6)
    names = by_workers(rates)
    axes.bar(names, [rates[name]["median"] for name in names], color=_OURS)
    axes.set_xlabel("workers of one thread, on as many partitions")
    axes.set_ylabel("documents a second")
    return figure


def _memory(section: Mapping[str, Any]) -> Any:  # noqa: ANN401
    figure, axes = _axes(2.6)
    axes.plot([d for _, d, _ in section["points"]], [mib for *_, mib in section["points"]], color=_OURS)
    axes.axhline(400, color="#c0392b", linewidth=0.8, linestyle="--")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("documents of the mix that the worker has done")
    axes.set_ylabel("MiB resident")
    return figure
