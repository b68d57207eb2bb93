"""Flows on the embedded broker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.flows import Flow
from tests.support.tally import tally_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fewnerd_stream.kafka.embedded import EmbeddedBroker


@pytest.fixture
def flow(
    broker: EmbeddedBroker, unique: str, tmp_path: Path, pytestconfig: pytest.Config
) -> Iterator[Callable[..., Flow]]:
    """Make a flow; its workers end with the test."""
    made: list[Flow] = []

    def make(**settings: Any) -> Flow:
        name = f"{unique}{len(made) or ''}"
        flow = Flow(broker.bootstrap, name, tmp_path, tally_of(pytestconfig), idempotence="false", **settings)
        made.append(flow)
        return flow

    try:
        yield make
    finally:
        for each in made:
            each.close()
