"""Few-NERD's 8 coarse categories and 66 fine types: the one place that names them.

Source: Ding et al., "Few-NERD: A Few-shot Named Entity Recognition Dataset", ACL 2021.
"""

from __future__ import annotations

from typing import Final

FINE_TYPES: Final[dict[str, tuple[str, ...]]] = {
    "art": (
        "broadcastprogram",
        "film",
        "music",
        "other",
        "painting",
        "writtenart",
    ),
    "building": (
        "airport",
        "hospital",
        "hotel",
        "library",
        "other",
        "restaurant",
        "sportsfacility",
        "theater",
    ),
    "event": (
        "attack/battle/war/militaryconflict",
        "disaster",
        "election",
        "other",
        "protest",
        "sportsevent",
    ),
    "location": (
        "GPE",
        "bodiesofwater",
        "island",
        "mountain",
        "other",
        "park",
        "road/railway/highway/transit",
    ),
    "organization": (
        "company",
        "education",
        "government/governmentagency",
        "media/newspaper",
        "other",
        "politicalparty",
        "religion",
        "showorganization",
        "sportsleague",
        "sportsteam",
    ),
    "other": (
        "astronomything",
        "award",
        "biologything",
        "chemicalthing",
        "currency",
        "disease",
        "educationaldegree",
        "god",
        "language",
        "law",
        "livingthing",
        "medical",
    ),
    "person": (
        "actor",
        "artist/author",
        "athlete",
        "director",
        "other",
        "politician",
        "scholar",
        "soldier",
    ),
    "product": (
        "airplane",
        "car",
        "food",
        "game",
        "other",
        "ship",
        "software",
        "train",
        "weapon",
    ),
}
"""The fine types of each category, both sorted."""

CATEGORIES: Final[tuple[str, ...]] = tuple(FINE_TYPES)
"""The 8 coarse categories, sorted; each has an output topic."""

NONE: Final = "none"
"""The output topic's last part for a document in which nothing was found; no category."""

LABELS: Final[tuple[str, ...]] = tuple(
    f"{coarse}-{fine}" for coarse, fines in FINE_TYPES.items() for fine in fines
)
"""The 66 labels as Few-NERD writes them, ``<coarse>-<fine>``."""
