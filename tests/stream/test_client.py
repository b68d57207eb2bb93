"""What a worker publishes, read by the client that subscribers install, on the embedded broker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from fewnerd_client import CATEGORIES, NONE, subscribe

from tests.support.clients import New

if TYPE_CHECKING:
    from collections.abc import Callable

    from fewnerd_client import Joined

    from tests.support.flows import Flow

TEXTS = {
    "d-1": "Angela Merkel flew to Paris.",
    "d-2": "nothing here",
    "d-3": "🛫 Angela Merkel in Paris, Louvre!",
}


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_a_subscriber_gets_what_the_worker_found(flow: Callable[..., Flow], mode: str) -> None:
    """Each document comes whole, in either mode, and its entities are where they say."""
    news = flow(cloudevents=mode)
    news.worker()
    news.send(
        [
            New(f'{{"id":"{name}","text":"{text}"}}'.encode(), key=name.encode())
            for name, text in TEXTS.items()
        ]
    )
    news.wait_done()
    found = asyncio.run(_documents(news))
    assert set(found) == set(TEXTS)
    for name, joined in found.items():
        assert joined.complete
        text = joined.first.text()
        assert text == TEXTS[name]
        assert [text[one.start : one.end] for one in joined.entities] == [one.text for one in joined.entities]
        assert joined.first.key == name.encode()
    assert set(found["d-2"].messages) == {NONE}
    assert set(found["d-3"].messages) == {"person", "location", "building"}
    assert sum(found["d-3"].first.counts.values()) == len(found["d-3"].entities) == 3


async def _documents(news: Flow) -> dict[str, Joined]:
    prefix = news.settings.output_prefix
    found: dict[str, Joined] = {}
    async with subscribe(
        *CATEGORIES, NONE, bootstrap=news.bootstrap, group=f"{prefix}-reader", prefix=prefix
    ) as stream:
        async for joined in stream.by_document():
            found[joined.id] = joined
            if len(found) == len(TEXTS):
                break
    return found
