"""How far scores are from how often they are right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]


def reliability(
    score: Floats, right: npt.NDArray[np.bool_], bins: int
) -> tuple[float, list[dict[str, float]]]:
    """Return the expected calibration error over bins of equal mass, and the reliability curve."""
    order = np.argsort(score, kind="stable")
    parts = [part for part in np.array_split(order, bins) if part.size]
    curve = [
        {"entities": int(part.size), "score": float(score[part].mean()), "right": float(right[part].mean())}
        for part in parts
    ]
    error = sum(row["entities"] * abs(row["score"] - row["right"]) for row in curve) / max(1, score.size)
    return float(error), curve
