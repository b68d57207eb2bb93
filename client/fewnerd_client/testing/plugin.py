"""For pytest: ``fewnerd_broker``, found by itself once this package is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fewnerd_client.testing.broker import Broker


@pytest.fixture
def fewnerd_broker() -> Iterator[Broker]:
    """Start an empty broker (`await fewnerd_broker.create_topics()`); skips where its program does not exist."""
    from fewnerd_client.errors import ClientError  # noqa: PLC0415 - a plugin costs nothing until it is used
    from fewnerd_client.testing.broker import Broker, find  # noqa: PLC0415 - the same

    try:
        find()
    except ClientError as error:
        pytest.skip(str(error))
    with Broker() as broker:
        yield broker
