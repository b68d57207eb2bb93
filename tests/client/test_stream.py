"""What a stream promises to its body, on the broker in memory: nothing lost, repeats passed over."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from fewnerd_client import CATEGORIES, NONE, ClientError, Joined, Raw, SqliteStore, UnreadableMessageError
from fewnerd_client.ledger import Ledger
from fewnerd_client.testing import Memory, entity, messages
from hypothesis import given
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fewnerd_client import Enriched, Stream

TEXT = "Angela Merkel flew to Paris."
MERKEL, PARIS = ("Angela Merkel", "person-politician"), ("Paris", "location-GPE")


def _documents(count: int, *found: tuple[str, str]) -> list[list[Raw]]:
    """Build documents with keys, as many as are wanted, all with the same entities."""
    return [
        messages(TEXT, found or [MERKEL, PARIS], id=f"d-{n}", key=b"k%d" % (n % 7), offset=n)
        for n in range(count)
    ]


async def _ids(stream: Stream) -> list[str]:
    return [message.id async for message in stream]


async def test_the_example_of_the_readme() -> None:
    """A handler gets typed entities, and what it has finished is committed."""
    memory = Memory()
    for document in _documents(3):
        memory.publish(document)
    async with memory.subscribe("person", group="mine") as stream:
        found = [message async for message in stream]
    assert sorted(message.id for message in found) == ["d-0", "d-1", "d-2"]
    assert {entity.text for message in found for entity in message.entities} == {"Angela Merkel"}
    assert found[0].text()[found[0].entities[0].start : found[0].entities[0].end] == "Angela Merkel"
    assert memory.lag("mine") == 0


async def test_what_raised_comes_again() -> None:
    """A body that raises gets the same message in its next loop, and after a restart, before any other."""
    memory = Memory(partitions=1)
    for document in _documents(4):
        memory.publish(document)
    async with memory.subscribe("person") as stream:
        with pytest.raises(RuntimeError):
            async for message in stream:
                if message.id == "d-1":
                    raise RuntimeError
        async for message in stream:
            assert message.id == "d-1"
            break
    async with memory.subscribe("person") as stream:
        assert await _ids(stream) == ["d-1", "d-2", "d-3"]


async def test_commit_counts_what_is_in_hand() -> None:
    """Who leaves a loop with ``break`` after ``commit`` does not see the message again."""
    memory = Memory(partitions=1)
    for document in _documents(2):
        memory.publish(document)
    async with memory.subscribe("person") as stream:
        async for _ in stream:
            await stream.commit()
            break
    async with memory.subscribe("person") as stream:
        assert await _ids(stream) == ["d-1"]


async def test_a_batch_is_finished_as_a_whole() -> None:
    """All of a batch whose body raised comes again, and what came before does not."""
    memory = Memory(partitions=1)
    for document in _documents(7):
        memory.publish(document)
    got: list[list[str]] = []
    async with memory.subscribe("person") as stream:
        with pytest.raises(RuntimeError):
            async for batch in stream.batch(3, within=5):
                got.append([message.id for message in batch])
                if len(got) == 2:
                    raise RuntimeError
    async with memory.subscribe("person") as stream:
        got += [[message.id for message in batch] async for batch in stream.batch(3, within=5)]
    assert got == [["d-0", "d-1", "d-2"], ["d-3", "d-4", "d-5"], ["d-3", "d-4", "d-5"], ["d-6"]]


async def test_a_batch_comes_when_its_time_is_over() -> None:
    """A batch that is not full does not wait for more than its time."""
    memory = Memory()
    memory.publish(_documents(1)[0])
    async with memory.subscribe("person", until_end=False) as stream:
        async for batch in stream.batch(10, within=0.01):
            assert len(batch) == 1
            break


async def test_repeats_are_passed_over() -> None:
    """A repeat has the same ``ce_id``: it does not reach the body, in one batch neither, and is committed."""
    memory = Memory()
    for document in _documents(5):
        memory.repeat(memory.publish(document))
    async with memory.subscribe("person", group="one") as stream:
        assert len(await _ids(stream)) == 5
    async with memory.subscribe("person", group="two") as stream:
        assert [len(batch) async for batch in stream.batch(100, within=5)] == [5]
    async with memory.subscribe("person", group="all", remember=0) as stream:
        assert len(await _ids(stream)) == 10
    assert memory.lag("one") == memory.lag("two") == memory.lag("all") == 0


async def test_a_repeat_of_what_failed_is_no_repeat() -> None:
    """Only what the body has finished is remembered."""
    memory = Memory(partitions=1)
    stored = memory.publish(_documents(1)[0])
    memory.repeat(stored)
    async with memory.subscribe("person") as stream:
        with pytest.raises(RuntimeError):
            async for _ in stream:
                raise RuntimeError
    async with memory.subscribe("person") as stream:
        assert await _ids(stream) == ["d-0"]


async def test_the_window_survives_a_rebalance() -> None:
    """What comes again because the group has changed is passed over, if this member had finished it."""
    memory = Memory(partitions=1)
    for document in _documents(3):
        memory.publish(document)
    got = []
    async with memory.subscribe("person", commit_every=3600) as stream:
        async for message in stream:
            got.append(message.id)
            if message.id == "d-1":
                await memory.rebalance()  # d-1 is in hand, so it is not committed
                assert set(memory.committed("test").values()) == {1}
    assert got == ["d-0", "d-1", "d-2"]


async def test_what_was_taken_away_and_raised_comes_once() -> None:
    """A message whose partition left while it was in hand comes again from the broker only."""
    memory = Memory(partitions=1)
    for document in _documents(3):
        memory.publish(document)
    got: list[str] = []
    async with memory.subscribe("person") as stream:
        with pytest.raises(RuntimeError):
            async for batch in stream.batch(2, within=5):
                await memory.rebalance()
                got += [message.id for message in batch]
                raise RuntimeError
        with pytest.raises(RuntimeError):
            async for batch in stream.batch(3, within=5):
                got += [message.id for message in batch]
                raise RuntimeError
    assert got == ["d-0", "d-1", "d-0", "d-1", "d-2"]
    assert memory.lag("test") == 3


async def test_a_store_survives_a_restart(tmp_path: Path) -> None:
    """With a store, what was finished before a crash and not committed is passed over after it."""
    memory = Memory(partitions=1)
    stored = [memory.publish(document) for document in _documents(3)]
    store = SqliteStore(tmp_path / "seen.db")
    async with memory.subscribe("person", store=store) as stream:
        assert len(await _ids(stream)) == 3
    store.close()
    for records in stored:
        memory.repeat(records)
    store = SqliteStore(tmp_path / "seen.db")
    async with memory.subscribe("person", store=store) as stream:
        assert await _ids(stream) == []
    async with memory.subscribe("person", group="other", store=store, remember=0) as stream:
        assert await _ids(stream) == []
    store.close()
    assert memory.lag("test") == memory.lag("other") == 0


async def test_a_store_that_fails_loses_nothing() -> None:
    """A store that does not answer raises, and the message comes when it does."""

    class Failing:
        broken = True

        async def seen(self, identities: object, /) -> set[str]:  # noqa: ARG002 - the protocol's
            if self.broken:
                raise ConnectionError
            return set()

        async def add(self, identities: object, /) -> None: ...

    memory = Memory()
    memory.publish(_documents(1)[0])
    store = Failing()
    async with memory.subscribe("person", store=store) as stream:
        with pytest.raises(ConnectionError):
            await _ids(stream)
        store.broken = False
        assert await _ids(stream) == ["d-0"]


async def test_filters() -> None:
    """Type, score and category score let entities pass; a message without one is committed unseen."""
    memory = Memory(partitions=1)
    found = [
        entity(TEXT, "Angela Merkel", "person-politician", score=0.6, coarse_score=0.9),
        entity(TEXT, "Angela", "person-actor", score=0.3, coarse_score=0.95),
        entity(TEXT, "Merkel", "person-other", score=0.8, coarse_score=None),
    ]
    memory.publish(messages(TEXT, found))

    async def passing(group: str, **filters: object) -> list[str]:
        async with memory.subscribe("person", group=group, **filters) as stream:  # type: ignore[arg-type]
            return [entity.text async for message in stream for entity in message.entities]

    assert await passing("a", fine="politician") == ["Angela Merkel"]
    assert await passing("b", fine=["person-actor", "other"]) == ["Angela", "Merkel"]
    assert await passing("c", score=0.6) == ["Angela Merkel", "Merkel"]
    assert await passing("d", coarse_score=0.9) == ["Angela Merkel", "Angela"]
    assert await passing("e", fine=["scholar"]) == []
    assert memory.lag("e") == 0


async def test_documents_are_joined() -> None:
    """A document comes when all its categories are there, whatever came between, repeats and ``none``, too."""
    memory = Memory()
    documents = _documents(4)
    for document in documents:
        memory.publish(document[:1])
    memory.publish(documents[0][:1])
    memory.publish(messages("nothing", id="empty", offset=99))
    for document in reversed(documents):
        memory.publish(document[1:])
    async with memory.subscribe(*CATEGORIES, NONE) as stream:
        joined = {each.id: each async for each in stream.by_document()}
    assert set(joined) == {"d-0", "d-1", "d-2", "d-3", "empty"}
    assert all(each.complete for each in joined.values())
    assert [one.text for one in joined["d-2"].entities] == ["Angela Merkel", "Paris"]
    assert joined["empty"].entities == ()
    assert memory.lag("test") == 0


async def test_an_incomplete_document_says_so_and_holds_its_offsets() -> None:
    """What waits is not committed; when its time is over the document comes, and names what is missing."""
    memory = Memory()
    memory.publish(_documents(1)[0][:1])
    async with memory.subscribe("person", "location", until_end=False, commit_every=0) as stream:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                async for _ in stream.by_document(within=60):
                    pass
        assert set(memory.committed("test").values()) == {0}
        async for joined in stream.by_document(within=0):
            assert joined.missing == {"person"}
            assert not joined.complete
            break


async def test_only_subscribed_categories_are_waited_for() -> None:
    """Who reads persons alone gets documents of persons alone."""
    memory = Memory()
    memory.publish(_documents(1)[0])
    async with memory.subscribe("person") as stream:
        assert [each.complete async for each in stream.by_document()] == [True]


async def test_joining_wants_no_filter_and_equal_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where documents could look incomplete that are not, joining refuses."""
    memory = Memory()
    async with memory.subscribe("person", "art", score=0.5) as stream:
        with pytest.raises(ValueError, match="filter"):
            stream.by_document()
    async with memory.subscribe("person", "art") as stream:

        async def uneven() -> dict[str, int]:
            return {"entities.person": 3, "entities.art": 4}

        monkeypatch.setattr(stream._consumer, "partitions", uneven)
        with pytest.raises(ClientError, match=r"entities\.art has 4, entities\.person has 3"):
            async for _ in stream.by_document():
                pass


async def test_what_cannot_be_read_raises_until_somebody_takes_it() -> None:
    """A record that is no message is not passed over in silence, and holds its offset."""
    memory = Memory(partitions=1)
    memory.publish([Raw("entities.person", 0, 0, None, None, b"{", ())])
    memory.publish(_documents(1)[0])
    async with memory.subscribe("person") as stream:
        for _ in range(2):
            with pytest.raises(
                UnreadableMessageError, match=r"entities\.person, partition 0, offset 0: not JSON"
            ):
                await _ids(stream)
    assert set(memory.committed("test").values()) == {0}
    taken: list[bytes | None] = []
    async with memory.subscribe("person", unreadable=lambda raw, _: taken.append(raw.value)) as stream:
        assert await _ids(stream) == ["d-0"]
    assert taken == [b"{"]
    assert memory.lag("test") == 0


@pytest.mark.parametrize("names", [(), ("persons",), ("person", "entities.art")])
def test_categories_are_known(names: tuple[str, ...]) -> None:
    """A category that does not exist is refused, with those that do."""
    with pytest.raises(ValueError, match="organization"):
        Memory().subscribe(*names)


@given(
    seed=st.integers(0, 2**32),
    documents=st.integers(1, 25),
    way=st.sampled_from(["single", "batch", "document"]),
    members=st.integers(1, 3),
)
def test_nothing_is_lost_whatever_happens(seed: int, documents: int, way: str, members: int) -> None:
    """Over raising bodies, restarts, repeats and rebalances, each document is finished at least once.

    And what is committed was finished: a record below a committed offset, or a repeat of it, was seen.
    """
    asyncio.run(_chaos(random.Random(seed), documents, way, members))


async def _chaos(chance: random.Random, documents: int, way: str, members: int) -> None:
    memory = Memory(partitions=2)
    records = [one for document in _documents(documents) for one in _published(memory, document, chance)]
    finished: set[str | None] = set()

    async def work(parts: list[Enriched]) -> None:
        if chance.random() < 0.1:
            await memory.rebalance()
        await asyncio.sleep(0)
        if chance.random() < 0.15:
            raise RuntimeError
        finished.update(part.ce_id for part in parts)

    async def member() -> None:
        async with memory.subscribe("person", "location", commit_every=0, drain=0.001) as stream:
            for _ in range(3):
                with suppress(RuntimeError):
                    async for parts in _read(stream, way, chance):
                        await work(parts)
                    return

    for _ in range(200):
        await asyncio.gather(*(member() for _ in range(members)))
        committed = memory.committed("test")
        below = [one for one in records if one.offset < committed[one.topic, one.partition]]
        assert {_event(record) for record in below} <= finished
        if memory.lag("test") == 0:
            break
    assert finished == {_event(record) for record in records}


def _published(memory: Memory, document: list[Raw], chance: random.Random) -> list[Raw]:
    stored = memory.publish(document)
    return stored + memory.repeat(stored) if chance.random() < 0.3 else stored


class _read:  # noqa: N801 - a function in all but the fact that a generator would hide what its reader raises
    """What one loop gives, always as a list."""

    def __init__(self, stream: Stream, way: str, chance: random.Random) -> None:
        ways: dict[str, Callable[[], Any]] = {
            "single": lambda: stream,
            "batch": lambda: stream.batch(chance.randint(1, 6), within=0.001),
            "document": lambda: stream.by_document(within=3600),
        }
        self._loop: Any = ways[way]()

    def __aiter__(self) -> _read:
        self._loop = aiter(self._loop)
        return self

    async def __anext__(self) -> list[Enriched]:
        found = await anext(self._loop)
        if isinstance(found, Joined):
            return list(found.messages.values())
        return found if isinstance(found, list) else [found]


def _event(record: Raw) -> str:
    return (dict(record.headers)["ce_id"] or b"").decode()


def test_what_was_given_up_is_forgotten() -> None:
    """A partition that comes back begins where its committed offset is, whatever was known of it before."""
    ledger = Ledger()
    partition = ("entities.person", 0)
    for offset in (5, 6):
        ledger.open(partition, offset)
    ledger.close(partition, 5)
    assert ledger.due() == {partition: 6}
    ledger.forget([partition])
    ledger.close(partition, 6)
    assert ledger.due() == {}
    ledger.open(partition, 2)
    assert ledger.due() == {}
    ledger.close(partition, 2)
    assert ledger.due() == {partition: 3}
