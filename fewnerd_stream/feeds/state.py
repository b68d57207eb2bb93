"""What sources remember across restarts, in a compacted topic beside the input: ``<input>.feeds``.

A source's state is one record under the source's name. It is written after that of which it tells is stored:
a crash between the two repeats documents, and skips none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from aiokafka.admin import NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from fewnerd_stream.errors import TopicsError
from fewnerd_stream.feeds.sink import Sink
from fewnerd_stream.kafka import clients

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from fewnerd_stream.settings import Settings


def state_topic(topic: str) -> str:
    """Name the topic in which the sources of an input topic keep what they remember."""
    return f"{topic}.feeds"


class State:
    """Each source's state, by the source's name; read when it is opened."""

    def __init__(self, settings: Settings, topic: str) -> None:
        """Keep the state of an input topic's sources."""
        self._settings = settings
        self._topic = topic
        self._sink = Sink(settings, state_topic(topic))
        self._known: dict[str, dict[str, Any]] = {}

    async def __aenter__(self) -> Self:
        """Make the topic where it is missing, and read it.

        Raises:
            BrokerError: no broker answers.
            TopicsError: the input topic is missing, or the state's cannot be made.
        """
        name = state_topic(self._topic)
        async with clients.admin(self._settings) as admin:
            there = await clients.partitions(admin)
            if self._topic not in there:
                raise TopicsError(f"there is no topic {self._topic}: `fewnerd-stream topics create` makes it")
            if name not in there:
                replicas = self._settings.replication
                config = {
                    "cleanup.policy": "compact",
                    "min.insync.replicas": str(self._settings.min_insync_replicas),
                }
                answer = await admin.create_topics([NewTopic(name, 1, replicas, topic_configs=config)])
                for _, code, *message in answer.topic_errors:
                    if code and code != TopicAlreadyExistsError.errno:
                        reason = (message and message[0]) or for_code(code).__name__
                        raise TopicsError(f"{name} cannot be created: {reason}")
        if name in there:
            await self._load(name)
        await self._sink.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self._sink.__aexit__(kind, error, trace)

    async def _load(self, name: str) -> None:
        where = (name, 0)
        async with clients.consumer(self._settings) as reader:
            span = (await clients.bounds(reader, {name: [0]}))[where]
            async for batch in clients.read(reader, where, span):
                for record in batch:
                    try:
                        value = orjson.loads(record.value or b"{}")
                    except orjson.JSONDecodeError:
                        continue  # not ours: to forget it repeats documents, to trust it may skip some
                    if record.key is not None and isinstance(value, dict):
                        self._known[record.key.decode(errors="replace")] = value

    def get(self, source: str) -> dict[str, Any]:
        """Give a source's state, empty if there is none."""
        return self._known.get(source, {})

    async def put(self, source: str, state: dict[str, Any]) -> None:
        """Keep a source's state; waits until it is stored.

        Raises:
            TopicsError: it cannot be stored.
        """
        (refused,) = await self._sink.store([(source.encode(), orjson.dumps(state))])
        if refused:
            raise TopicsError(f"the state of {source} cannot be stored: {refused}")
        self._known[source] = state
