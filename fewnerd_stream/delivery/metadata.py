"""What a commit tells beside its offset: of which topic it is, by its id."""

from __future__ import annotations

import re

_METADATA = re.compile(r"fewnerd:1(?:;starts=\d{1,6};until=\d{1,19})?;topic=([A-Za-z0-9_-]{22})")


def with_topic(metadata: str, identity: str) -> str:
    """Add a topic's id to what a commit tells; an empty one adds nothing."""
    return f"{metadata or 'fewnerd:1'};topic={identity}" if identity else metadata


def topic_of(metadata: str) -> str:
    """Read the topic's id out of a commit; empty where it tells none."""
    found = _METADATA.fullmatch(metadata)
    return found[1] if found else ""
