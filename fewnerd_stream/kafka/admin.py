"""An admin client that goes on to another broker when one is down or frozen, within a limit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aiokafka import errors as kafka
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.metadata import MetadataRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_Answer = TypeVar("_Answer")

TRY_SECONDS: Final = 4.0
"""Longest wait for one broker's answer, after which another one is asked."""

_PAUSE: Final = 0.2
_DENIED: Final = 29
_TRANSIENT: Final = (
    kafka.NodeNotReadyError,
    kafka.KafkaConnectionError,
    kafka.KafkaTimeoutError,
    kafka.RequestTimedOutError,
    kafka.StaleMetadata,
    kafka.NotControllerError,
    kafka.GroupCoordinatorNotAvailableError,
    kafka.GroupLoadInProgressError,
    kafka.NotCoordinatorForGroupError,
    TimeoutError,
)


async def patiently(ask: Callable[[], Awaitable[_Answer]], seconds: float) -> _Answer:
    """Ask again while a broker does not answer, or another one is to be asked.

    Args:
        ask: makes the request; aiokafka chooses a broker anew each time.
        seconds: after which it is given up.

    Raises:
        KafkaError, TimeoutError: the last answer, when the time is over.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while True:
        try:
            return await ask()
        except _TRANSIENT:
            if loop.time() + _PAUSE >= deadline:
                raise
            await asyncio.sleep(_PAUSE)


class PatientAdmin(AIOKafkaAdminClient):  # type: ignore[misc]  # aiokafka is not typed
    """Asks a broker for a few seconds, and then another one, until the patience is over."""

    def __init__(self, *, patience: float, **options: Any) -> None:  # noqa: ANN401 - aiokafka's
        """Take aiokafka's options; ``patience`` in seconds."""
        super().__init__(**options, request_timeout_ms=round(min(TRY_SECONDS, patience) * 1000))
        self._patience = patience

    async def describe_cluster(self) -> dict[str, Any]:
        """As aiokafka's."""
        return await patiently(super().describe_cluster, self._patience)

    async def describe_topics(self, topics: list[str] | None = None) -> list[Any]:
        """As aiokafka's."""
        ask = super().describe_topics
        return await patiently(lambda: ask(topics), self._patience)

    async def describe_configs(self, *args: Any, **kwargs: Any) -> list[Any]:  # noqa: ANN401 - aiokafka's
        """As aiokafka's."""
        ask = super().describe_configs
        return await patiently(lambda: ask(*args, **kwargs), self._patience)

    async def create_topics(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - aiokafka's
        """As aiokafka's; what an unheard answer has created exists at the next try."""
        ask = super().create_topics
        return await patiently(lambda: ask(*args, **kwargs), self._patience)

    async def describe_consumer_groups(self, *args: Any, **kwargs: Any) -> list[Any]:  # noqa: ANN401 - aiokafka's
        """As aiokafka's."""
        ask = super().describe_consumer_groups
        return await patiently(lambda: ask(*args, **kwargs), self._patience)

    async def list_consumer_group_offsets(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - aiokafka's
        """As aiokafka's."""
        ask = super().list_consumer_group_offsets
        return await patiently(lambda: ask(*args, **kwargs), self._patience)

    async def forbidden(self, names: list[str]) -> set[str]:
        """Say which topics we have no right to see; a list of all topics leaves them out as if there were none.

        Asks for them by name, and so that none is created.
        """
        if not names:
            return set()
        request = MetadataRequest(names, allow_auto_topic_creation=False)

        async def ask() -> Any:  # noqa: ANN401 - aiokafka's
            return await self._client.send(self._client.get_random_node(), request)

        answer = (await patiently(ask, self._patience)).to_object()
        return {one["topic"] for one in answer["topics"] if one["error_code"] == _DENIED}
