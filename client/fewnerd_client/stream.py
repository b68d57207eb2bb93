"""The asynchronous stream: what the body of its loop has finished is committed, what it has not comes again."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from fewnerd_client.errors import ClientError
from fewnerd_client.filters import Filter
from fewnerd_client.joining import Joiner
from fewnerd_client.messages import CATEGORIES, NONE
from fewnerd_client.session import Session

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
    from types import TracebackType

    from fewnerd_client.ledger import Partition
    from fewnerd_client.messages import Enriched, Joined, Raw
    from fewnerd_client.seen import Store

_LOG: Final = logging.getLogger("fewnerd_client")
_LAST_COMMIT_SECONDS: Final = 15.0
REMEMBER: Final = 100_000
"""Ids of finished events that a stream keeps by default."""


class Consumer(Protocol):
    """Where a stream's records come from: Kafka, or a test's memory."""

    @property
    def ended(self) -> bool:
        """Whether no record will ever come again."""

    async def start(
        self,
        revoked: Callable[[Collection[Partition]], Awaitable[None]],
        /,
    ) -> None:
        """Join the group; ``revoked`` is awaited before partitions are given up."""

    async def next(self, seconds: float, /) -> Raw | None:
        """Give the next record of the partitions that are ours; None when none came in that time."""

    async def commit(self, offsets: dict[Partition, int], /) -> bool:
        """Commit offsets; False when the group has changed, so that they are not ours to commit."""

    async def partitions(self) -> dict[str, int]:
        """Count the partitions of each topic subscribed to."""

    async def stop(self) -> None:
        """Leave the group."""


def topics_of(categories: Iterable[str], prefix: str) -> list[str]:
    """Name the topics of categories.

    Raises:
        ValueError: no category is named, or one that does not exist.
    """
    named = list(dict.fromkeys(categories))
    known = (*CATEGORIES, NONE)
    wrong = [name for name in named if name not in known]
    if wrong or not named:
        problem = f"no category: {', '.join(map(repr, wrong))}" if wrong else "name at least one category"
        raise ValueError(f"{problem}; there are {', '.join(known)}")
    return [f"{prefix}.{category}" for category in named]


class Stream:
    """Enriched documents, at least once.

    ``async for`` gives one after the other. When the body asks for the next, the one before counts as
    finished: it is committed within ``commit_every`` seconds, at a rebalance, and at the end. Where the body
    raises, or leaves its loop with ``break``, the message that it had counts as not finished: it comes again
    to the next loop, here or after a restart. Call ``commit`` first where that is not what you want.

    One task may iterate; it has one loop at a time.
    """

    def __init__(
        self,
        consumer: Consumer,
        categories: Collection[str],
        *,
        filters: Filter,
        remember: int = REMEMBER,
        store: Store | None = None,
        unreadable: Callable[[Raw, Exception], object] | None = None,
        commit_every: float = 1.0,
        drain: float = 5.0,
    ) -> None:
        """Take what ``subscribe`` makes of its arguments, which are explained there."""
        self._consumer = consumer
        self._categories = tuple(categories)
        self._filter = filters
        self._store = store
        self._commit_every = commit_every
        self._drain = drain
        self._session = Session(filters, remember, unreadable)
        self._joiner: Joiner | None = None
        self._next_commit = 0.0
        self._idle = asyncio.Event()
        self._idle.set()

    async def __aenter__(self) -> Stream:
        """Join the group."""
        await self._consumer.start(self._revoked)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit what is finished, and leave the group."""
        self._idle.set()
        try:
            await asyncio.wait_for(self._commit(), _LAST_COMMIT_SECONDS)
        except Exception as failure:  # noqa: BLE001 - what is not committed comes again; the body's error matters more
            _LOG.warning("the last finished messages are not committed and will come again: %r", failure)
        finally:
            await self._consumer.stop()

    # -- what a subscriber calls -----------------------------------------------------------------------

    def __aiter__(self) -> Stream:
        """Begin a loop: with what an earlier one left unfinished."""
        self._put_back()
        return self

    async def __anext__(self) -> Enriched:
        """Finish the message before, and give the next."""
        await self._finish()
        message = await self._message(None)
        if message is None:
            raise StopAsyncIteration
        return self._hand_over([message])[0]

    def batch(self, size: int = 500, within: float = 1.0) -> AsyncIterator[list[Enriched]]:
        """Give messages in lists, each of which is finished as a whole.

        Args:
            size: most messages in a list.
            within: seconds that a list waits for more after its first.
        """
        if size < 1:
            raise ValueError(f"a batch has 1 or more messages, not {size}")
        return _Batches(self, size, within)

    def by_document(self, within: float = 60.0, most: int = 10_000) -> AsyncIterator[Joined]:
        """Join the messages of each document: it comes when all categories of its ``counts`` are there.

        Only categories that are subscribed to are waited for. The topics must have the same number of
        partitions, so that one member of the group gets all of a document.

        Args:
            within: seconds to wait for the rest; then the document comes with ``missing`` filled.
            most: documents that may wait at a time; over that, the oldest comes as if it were late.

        Raises:
            ValueError: the stream has filters, which would make documents look incomplete.
        """
        if not self._filter.open:
            raise ValueError("by_document() joins whole documents: filter what it gives, not the stream")
        return _Documents(self, within, most)

    async def commit(self) -> None:
        """Count what the body has in hand as finished, and commit all that is."""
        await self._finish()
        await self._commit()

    # -- the machine -----------------------------------------------------------------------------------

    def _put_back(self) -> None:
        waiting = self._joiner.clear() if self._joiner else ()
        self._joiner = None
        self._session.put_back(waiting)
        self._idle.set()

    def _hand_over(self, messages: Iterable[Enriched] = ()) -> list[Enriched]:
        self._idle.clear()
        return self._session.hand_over(messages)

    async def _finish(self) -> None:
        """Remember what the body had in hand, and note that it is finished."""
        if self._store is not None:
            finished = [one.ce_id for one in self._session.in_hand if one.ce_id is not None]
            if finished:
                await _awaited(self._store.add(finished))
        self._session.finish_hand()
        self._idle.set()

    async def _message(self, until: float | None) -> Enriched | None:
        """Give the next message that the body is to see; None after a time, or when no more will come."""
        while True:
            now = time.monotonic()
            if now >= self._next_commit:
                await self._commit()
            message = self._session.again()
            if message is None:
                raw = self._session.stuck
                if raw is None:
                    pause = max(0.0, self._next_commit - now)
                    raw = await self._consumer.next(
                        pause if until is None else max(0.0, min(pause, until - now))
                    )
                if raw is not None:
                    message = self._session.take(raw)
            if message is not None and not await self._known(message):
                return message
            if message is None and (
                (until is not None and time.monotonic() >= until) or self._consumer.ended
            ):
                return None

    async def _known(self, message: Enriched) -> bool:
        """Say whether the store knows a message; then it is finished."""
        if self._store is None or message.ce_id is None:
            return False
        try:
            known = await _awaited(self._store.seen([message.ce_id]))
        except BaseException:
            self._session.put_back([message])
            raise
        if message.ce_id in known:
            self._session.finish([message])
            return True
        return False

    async def _commit(self) -> None:
        self._next_commit = time.monotonic() + self._commit_every
        due = self._session.due()
        if due and await self._consumer.commit(due):
            self._session.committed(due)

    async def _revoked(self, partitions: Collection[Partition]) -> None:
        """Let the body finish what it has in hand, for a while; then commit, and give the partitions up."""
        try:
            await asyncio.wait_for(self._idle.wait(), self._drain)
        except asyncio.TimeoutError:
            _LOG.info("a rebalance did not wait for the message in hand, which may come to another member")
        try:
            await self._commit()
        finally:
            self._session.revoke(partitions, self._joiner.clear() if self._joiner else ())


class _Batches:
    """Lists of messages."""

    def __init__(self, stream: Stream, size: int, within: float) -> None:
        self._stream, self._size, self._within = stream, size, within

    def __aiter__(self) -> _Batches:
        self._stream._put_back()
        return self

    async def __anext__(self) -> list[Enriched]:
        stream, session = self._stream, self._stream._session
        await stream._finish()
        try:
            until: float | None = None
            # A rebalance may take away what was gathered: then it begins anew.
            while session.gathered < self._size:
                message = await stream._message(until)
                if message is not None:
                    session.gather(message)
                    until = until or time.monotonic() + self._within
                elif session.gathered or stream._consumer.ended:
                    break
                else:
                    until = None
        except BaseException:
            stream._put_back()
            raise
        if not session.gathered:
            raise StopAsyncIteration
        return stream._hand_over()


class _Documents:
    """Documents, joined."""

    def __init__(self, stream: Stream, within: float, most: int) -> None:
        self._stream, self._within, self._most = stream, within, most
        self._checked = False

    def __aiter__(self) -> _Documents:
        stream = self._stream
        stream._put_back()
        stream._joiner = Joiner(stream._categories, within=self._within, most=self._most)
        return self

    async def __anext__(self) -> Joined:
        stream, joiner = self._stream, self._stream._joiner
        if joiner is None:
            raise ClientError("another loop over this stream has begun: this one is over")
        if not self._checked:
            check_partitions(await stream._consumer.partitions())
            self._checked = True
        await stream._finish()
        joined = None
        while joined is None:
            now = time.monotonic()
            joined = joiner.late(now)
            if joined is None:
                message = await stream._message(now + joiner.next_late(now) if len(joiner) else None)
                if message is not None and joiner.repeats(message):
                    stream._session.finish([message])
                elif message is not None:
                    joined = joiner.add(message, time.monotonic())
                elif stream._consumer.ended:
                    joined = joiner.late(float("inf"))
                    if joined is None:
                        raise StopAsyncIteration
        stream._hand_over(joined.messages.values())
        return joined


def check_partitions(partitions: dict[str, int]) -> None:
    """See that topics can be joined.

    Raises:
        ClientError: they have different numbers of partitions.
    """
    if len(set(partitions.values())) > 1:
        listed = ", ".join(f"{topic} has {count}" for topic, count in sorted(partitions.items()))
        raise ClientError(
            f"by_document() needs topics with the same number of partitions, or parts of a document come to "
            f"different members of the group: {listed}"
        )


async def _awaited(value: Any) -> Any:  # noqa: ANN401 - whatever the user's store gives
    return await value if inspect.isawaitable(value) else value


def subscribe(
    *categories: str,
    bootstrap: str,
    group: str,
    prefix: str = "entities",
    fine: Iterable[str] = (),
    score: float = 0.0,
    coarse_score: float = 0.0,
    remember: int = REMEMBER,
    store: Store | None = None,
    unreadable: Callable[[Raw, Exception], object] | None = None,
    start: str = "earliest",
    commit_every: float = 1.0,
    drain: float = 5.0,
    **kafka: Any,  # noqa: ANN401 - aiokafka's own
) -> Stream:
    """Subscribe to categories; the stream begins with ``async with``.

    Args:
        categories: of ``CATEGORIES``, or ``NONE``.
        bootstrap: Kafka brokers to start from, ``host:port``, commas between.
        group: the consumer group, whose members share the messages.
        prefix: the worker's ``FEWNERD_OUTPUT_PREFIX``.
        fine: types wanted, as ``politician`` or ``person-politician``; none: all.
        score: least score of an entity, 0 to 1.
        coarse_score: least score of an entity's category, 0 to 1.
        remember: ids of finished events to keep, so that repeats are passed over; 0 for none.
        store: remembers them over a restart; see ``SqliteStore``.
        unreadable: is called with a record that is no message, and why; then it counts as finished. Without
            it such a record raises ``UnreadableMessageError``, and comes again.
        start: where a new group begins, ``earliest`` or ``latest``.
        commit_every: seconds between commits.
        drain: longest that a rebalance waits for what the body has in hand, in seconds.
        kafka: more for ``aiokafka.AIOKafkaConsumer``: ``security_protocol``, ``ssl_context``, ...

    Raises:
        ValueError: a category does not exist, or a number is out of its bounds.
    """
    from fewnerd_client.kafka import KafkaConsumer  # noqa: PLC0415 - tests without a broker need no Kafka client

    topics = topics_of(categories, prefix)
    return Stream(
        KafkaConsumer(topics, bootstrap=bootstrap, group=group, start=start, options=kafka),
        categories,
        filters=Filter(frozenset([fine] if isinstance(fine, str) else fine), score, coarse_score),
        remember=remember,
        store=store,
        unreadable=unreadable,
        commit_every=commit_every,
        drain=drain,
    )
