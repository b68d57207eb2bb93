"""The same stream without ``asyncio``, by confluent-kafka: ``pip install 'fewnerd-stream-client[sync]'``.

with subscribe("person", bootstrap="localhost:9092", group="mine") as stream:
    for message in stream:
        print(message.id, [entity.text for entity in message.entities])
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from fewnerd_client.errors import ClientError, check_topics
from fewnerd_client.filters import Filter
from fewnerd_client.joining import Joiner
from fewnerd_client.messages import Raw
from fewnerd_client.session import Session
from fewnerd_client.stream import REMEMBER, check_partitions, topics_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
    from types import TracebackType
    from typing import Protocol

    from fewnerd_client.messages import Enriched, Joined

    class Store(Protocol):
        """As ``fewnerd_client.Store``, without coroutines."""

        def seen(self, identities: Sequence[str], /) -> Collection[str]:
            """Give those of these ids that were added before."""

        def add(self, identities: Sequence[str], /) -> None:
            """Remember ids, durably when it returns."""


_LOG: Final = logging.getLogger("fewnerd_client")
_OURS: Final = {
    "bootstrap.servers",
    "group.id",
    "auto.offset.reset",
    "enable.auto.commit",
    "enable.auto.offset.store",
}
_ASK_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.5
_PASSING: Final = {
    KafkaError._PARTITION_EOF,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TRANSPORT,
    KafkaError._MAX_POLL_EXCEEDED,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.NOT_COORDINATOR,
    KafkaError.REBALANCE_IN_PROGRESS,
}
_NOT_OURS: Final = {
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError._NO_OFFSET,
    KafkaError._STATE,
}


class Stream:
    """Enriched documents, at least once; see ``fewnerd_client.Stream``, whose loops mean the same."""

    def __init__(
        self,
        topics: list[str],
        categories: Sequence[str],
        options: dict[str, Any],
        *,
        filters: Filter,
        remember: int,
        store: Store | None,
        unreadable: Callable[[Raw, Exception], object] | None,
        commit_every: float,
    ) -> None:
        """Take what ``subscribe`` makes of its arguments."""
        self._topics, self._categories, self._options = topics, tuple(categories), options
        self._filter, self._store, self._commit_every = filters, store, commit_every
        self._session = Session(filters, remember, unreadable)
        self._joiner: Joiner | None = None
        self._next_commit = 0.0
        self._consumer: Any = None

    def __enter__(self) -> Stream:
        """Join the group."""
        self._consumer = Consumer(self._options)
        try:
            check_topics(self._topics, self._consumer.list_topics(timeout=_ASK_SECONDS).topics)
            self._consumer.subscribe(self._topics, on_revoke=self._revoked, on_lost=self._lost)
        except BaseException:
            self._consumer.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit what is finished, and leave the group."""
        try:
            self._commit()
        except KafkaException as failure:
            _LOG.warning("the last finished messages are not committed and will come again: %r", failure)
        finally:
            self._consumer.close()

    def __iter__(self) -> Iterator[Enriched]:
        """Begin a loop: with what an earlier one left unfinished."""
        self._put_back()
        while True:
            self._finish()
            message = self._message(None)
            if message is not None:
                yield self._session.hand_over([message])[0]

    def batch(self, size: int = 500, within: float = 1.0) -> Iterator[list[Enriched]]:
        """Give messages in lists, each of which is finished as a whole.

        Args:
            size: most messages in a list.
            within: seconds that a list waits for more after its first.
        """
        if size < 1:
            raise ValueError(f"a batch has 1 or more messages, not {size}")
        self._put_back()
        while True:
            self._finish()
            until: float | None = None
            while self._session.gathered < size:
                message = self._message(until)
                if message is not None:
                    self._session.gather(message)
                    until = until or time.monotonic() + within
                elif self._session.gathered:
                    break
                else:
                    until = None
            yield self._session.hand_over()

    def by_document(self, within: float = 60.0, most: int = 10_000) -> Iterator[Joined]:
        """Join the messages of each document; see ``fewnerd_client.Stream.by_document``."""
        if not self._filter.open:
            raise ValueError("by_document() joins whole documents: filter what it gives, not the stream")
        known = self._consumer.list_topics(timeout=_ASK_SECONDS).topics
        check_partitions({topic: len(known[topic].partitions) for topic in self._topics})
        self._put_back()
        joiner = self._joiner = Joiner(self._categories, within=within, most=most)
        while True:
            if self._joiner is not joiner:
                raise ClientError("another loop over this stream has begun: this one is over")
            self._finish()
            joined = None
            while joined is None:
                now = time.monotonic()
                joined = joiner.late(now)
                if joined is None:
                    message = self._message(now + joiner.next_late(now) if len(joiner) else None)
                    if message is not None and joiner.repeats(message):
                        self._session.finish([message])
                    elif message is not None:
                        joined = joiner.add(message, time.monotonic())
            self._session.hand_over(joined.messages.values())
            yield joined

    def commit(self) -> None:
        """Count what the body has in hand as finished, and commit all that is."""
        self._finish()
        self._commit()

    def _put_back(self) -> None:
        self._session.put_back(self._joiner.clear() if self._joiner else ())
        self._joiner = None

    def _finish(self) -> None:
        if self._store is not None:
            finished = [one.ce_id for one in self._session.in_hand if one.ce_id is not None]
            if finished:
                self._store.add(finished)
        self._session.finish_hand()

    def _message(self, until: float | None) -> Enriched | None:
        """Give the next message that the body is to see; None after a time."""
        while True:
            now = time.monotonic()
            if now >= self._next_commit:
                self._commit()
            message = self._session.again()
            if message is None:
                raw = self._session.stuck
                if raw is None:
                    wait = _POLL_SECONDS if until is None else min(_POLL_SECONDS, until - now)
                    raw = self._record(max(0.0, wait))
                if raw is not None:
                    message = self._session.take(raw)
            if message is not None and not self._known(message):
                return message
            if message is None and until is not None and time.monotonic() >= until:
                return None

    def _known(self, message: Enriched) -> bool:
        if self._store is None or message.ce_id is None:
            return False
        try:
            known = message.ce_id in self._store.seen([message.ce_id])
        except BaseException:
            self._session.put_back([message])
            raise
        if known:
            self._session.finish([message])
        return known

    def _record(self, seconds: float) -> Raw | None:
        record = self._consumer.poll(seconds)
        if record is None:
            return None
        if record.error() is not None:
            if record.error().code() in _PASSING and not record.error().fatal():
                return None
            raise KafkaException(record.error())
        kind, timestamp = record.timestamp()
        return Raw(
            record.topic(),
            record.partition(),
            record.offset(),
            timestamp if kind else None,
            record.key(),
            record.value(),
            tuple(record.headers() or ()),
        )

    def _commit(self) -> None:
        self._next_commit = time.monotonic() + self._commit_every
        due = self._session.due()
        if not due:
            return
        offsets = [TopicPartition(*partition, offset) for partition, offset in due.items()]
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() not in _NOT_OURS:
                raise
        else:
            self._session.committed(due)

    def _revoked(self, consumer: object, partitions: list[Any]) -> None:
        """Commit, and give partitions up: called while we poll, so the body has nothing unfinished but joins."""
        try:
            self._commit()
        finally:
            self._lost(consumer, partitions)

    def _lost(self, consumer: object, partitions: list[Any]) -> None:  # noqa: ARG002 - confluent's own
        waiting: Iterable[Enriched] = self._joiner.clear() if self._joiner else ()
        self._session.revoke([(one.topic, one.partition) for one in partitions], waiting)


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
    kafka: dict[str, Any] | None = None,
) -> Stream:
    """Subscribe to categories; the stream begins with ``with``.

    The arguments are those of ``fewnerd_client.subscribe``; ``kafka`` holds more of librdkafka's settings,
    such as ``security.protocol``.

    Raises:
        ValueError: a category does not exist, or a number is out of its bounds.
    """
    topics = topics_of(categories, prefix)
    if not group:
        raise ValueError("the group needs a name: what it has finished is kept under it")
    if start not in {"earliest", "latest"}:
        raise ValueError(f"start is 'earliest' or 'latest', not {start!r}")
    if wrong := sorted(_OURS & (kafka or {}).keys()):
        raise ValueError(f"not to be set here: {', '.join(wrong)}")
    options = {
        "partition.assignment.strategy": "range",
        **(kafka or {}),
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "auto.offset.reset": start,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
    }
    return Stream(
        topics,
        categories,
        options,
        filters=Filter(frozenset([fine] if isinstance(fine, str) else fine), score, coarse_score),
        remember=remember,
        store=store,
        unreadable=unreadable,
        commit_every=commit_every,
    )
