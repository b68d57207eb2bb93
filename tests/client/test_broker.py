"""Both streams on a real broker: the embedded one, in a process of its own."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any

import pytest
from fewnerd_client import TopicMissingError, subscribe
from fewnerd_client import sync as synchronous
from fewnerd_client.testing import messages
from fewnerd_client.testing.plugin import fewnerd_broker  # noqa: F401 - found by pytest where it is installed

if TYPE_CHECKING:
    from collections.abc import Callable

    from fewnerd_client import Raw
    from fewnerd_client.testing import Broker

TEXT = "Angela Merkel flew to Paris."
FOUND = [("Angela Merkel", "person-politician"), ("Paris", "location-GPE")]


def _documents(count: int) -> list[list[Raw]]:
    return [messages(TEXT, FOUND, id=f"d-{n}", key=b"k%d" % n, offset=n) for n in range(count)]


async def _filled(broker: Broker, count: int) -> None:
    await broker.create_topics()
    await broker.publish(record for document in _documents(count) for record in document)


async def _until(check: Callable[[], bool]) -> None:
    while not check():  # noqa: ASYNC110 - what is waited for tells nobody
        await asyncio.sleep(0.05)


async def test_what_raised_comes_again(fewnerd_broker: Broker) -> None:  # noqa: F811 - the fixture
    """Typed entities come, and after a crash of the body the group goes on with what it had not finished."""
    await _filled(fewnerd_broker, 6)
    done: list[str] = []

    async def read(limit: int) -> None:
        async with subscribe("person", bootstrap=fewnerd_broker.bootstrap, group="g") as stream:
            async for message in stream:
                if len(done) == limit:
                    raise RuntimeError
                assert message.entities[0].label == "person-politician"
                done.append(message.id)
                if len(done) == 6:
                    return

    with pytest.raises(RuntimeError):
        await read(2)
    await read(-1)
    assert sorted(done) == [f"d-{n}" for n in range(6)]


async def test_members_share_and_lose_nothing(fewnerd_broker: Broker) -> None:  # noqa: F811 - the fixture
    """A second member comes and goes in the middle: every document is joined by one of them."""
    count = 60
    await _filled(fewnerd_broker, count)
    seen: Counter[str] = Counter()

    async def member(stop: asyncio.Event) -> None:
        options: dict[str, Any] = {"bootstrap": fewnerd_broker.bootstrap, "group": "g", "commit_every": 0.1}
        async with subscribe("person", "location", heartbeat_interval_ms=200, **options) as stream:
            async for joined in stream.by_document(within=20):
                assert joined.complete
                await asyncio.sleep(0.02)
                seen[joined.id] += 1
                if len(seen) == count or stop.is_set():
                    stop.set()
                    await stream.commit()
                    return

    first, second = asyncio.Event(), asyncio.Event()
    one = asyncio.ensure_future(member(first))
    await _until(lambda: len(seen) >= 5)
    two = asyncio.ensure_future(member(second))
    await _until(lambda: len(seen) >= 20)
    second.set()
    await one
    two.cancel()
    await asyncio.gather(two, return_exceptions=True)
    assert set(seen) == {f"d-{n}" for n in range(count)}


async def test_a_topic_that_does_not_exist_is_named(fewnerd_broker: Broker) -> None:  # noqa: F811 - the fixture
    """A wrong prefix is said at the start, and no topic is made."""
    await fewnerd_broker.create_topics()
    with pytest.raises(TopicMissingError, match=r"x\.person.*FEWNERD_OUTPUT_PREFIX"):
        async with subscribe("person", prefix="x", bootstrap=fewnerd_broker.bootstrap, group="g"):
            pass
    with (
        pytest.raises(TopicMissingError, match=r"x\.person"),
        synchronous.subscribe("person", prefix="x", bootstrap=fewnerd_broker.bootstrap, group="g"),
    ):
        pass


def test_the_synchronous_stream(fewnerd_broker: Broker) -> None:  # noqa: F811 - the fixture
    """The same without ``asyncio``: what raised comes again, to the next loop, in batches and joined, too."""
    asyncio.run(_filled(fewnerd_broker, 6))
    with synchronous.subscribe("person", "location", bootstrap=fewnerd_broker.bootstrap, group="g") as stream:
        first = next(iter(stream))
        with pytest.raises(RuntimeError):
            for message in stream:
                assert message == first
                raise RuntimeError
        with pytest.raises(RuntimeError):
            for batch in stream.batch(4):
                assert batch[0] == first
                assert len(batch) == 4
                raise RuntimeError
        joined = list(islice(stream.by_document(), 6))
        assert all(one.complete and len(one.entities) == 2 for one in joined)
        assert {one.id for one in joined} == {f"d-{n}" for n in range(6)}
        stream.commit()
        assert sum(one.offset for one in _committed(stream)) == 12


def _committed(stream: synchronous.Stream) -> list[Any]:
    consumer = stream._consumer
    found: list[Any] = consumer.committed(consumer.assignment())
    return [one for one in found if one.offset > 0]
