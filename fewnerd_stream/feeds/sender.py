"""The reliable sender: values to one topic, in their order, each confirmed or refused, none forgotten."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from aiokafka.errors import MessageSizeTooLargeError, OutOfOrderSequenceNumber, RecordListTooLargeError

from fewnerd_stream.kafka import clients

if TYPE_CHECKING:
    from types import TracebackType

    from fewnerd_stream.settings import Settings

IN_FLIGHT: Final = 1000
"""Most values that are under way at a time."""

_LAST_WORDS: Final = 5.0
_REFUSED: Final = (MessageSizeTooLargeError, RecordListTooLargeError)


class Tally(Protocol):
    """What is told of each value's end; ``number`` is what it was sent under."""

    def stored(self, number: int, size: int) -> None:
        """Be told that every in-sync replica has it; ``size`` is the value's, in bytes."""

    def refused(self, number: int, error: str) -> None:
        """Be told that the broker will never take it as it is."""


@dataclass(frozen=True, slots=True)
class _UnderWay:
    number: int
    key: bytes | None
    value: bytes
    stored: asyncio.Future[Any]


class Sender:
    """Values on their way to a topic, confirmed in their order, at most `IN_FLIGHT` at a time."""

    def __init__(self, settings: Settings, topic: str, tally: Tally) -> None:
        self._settings = settings
        self._topic = topic
        self._tally = tally
        self._open = AsyncExitStack()
        self._under_way: deque[_UnderWay] = deque()

    async def __aenter__(self) -> Self:
        """Open a producer.

        Raises:
            BrokerError: no broker answers.
        """
        await self._renew()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it; what aiokafka raised comes out as an error of ours, in an operator's words."""
        await self._open.__aexit__(kind, error, trace)

    def __len__(self) -> int:
        """Count what is under way."""
        return len(self._under_way)

    async def send(self, number: int, key: bytes | None, value: bytes) -> None:
        """Send a value after the one before it, and finish what is stored; waits while too many are open."""
        self._under_way.append(await self._begin(number, key, value))
        while self._under_way and (self._under_way[0].stored.done() or len(self) >= IN_FLIGHT):
            await self._first()

    async def finish(self) -> None:
        """Wait until every value is stored or refused."""
        while self._under_way:
            await self._first()

    async def last_words(self) -> None:
        """After an error or an interruption, tell what is stored of the values that are left."""
        if self._under_way:
            await asyncio.wait([one.stored for one in self._under_way], timeout=_LAST_WORDS)
            for one in self._under_way:
                if one.stored.done() and not one.stored.cancelled() and one.stored.exception() is None:
                    self._tally.stored(one.number, len(one.value))

    async def _renew(self) -> None:
        await self._open.aclose()
        self._producer = await self._open.enter_async_context(clients.producer(self._settings))

    async def _begin(self, number: int, key: bytes | None, value: bytes) -> _UnderWay:
        """Hand a value to the producer; one that the producer itself refuses has failed at once."""
        try:
            stored = await self._producer.send(self._topic, value=value, key=key)
        except MessageSizeTooLargeError as error:
            stored = asyncio.get_running_loop().create_future()
            stored.set_exception(error)
        return _UnderWay(number, key, value, stored)

    async def _first(self) -> None:
        """Finish the first value: tell what is wrong with it, raise what is wrong with the broker."""
        one = self._under_way.popleft()
        try:
            await one.stored
        except _REFUSED as error:
            self._tally.refused(one.number, str(error))
            await self._behind_a_hole()
        else:
            self._tally.stored(one.number, len(one.value))

    async def _behind_a_hole(self) -> None:
        """Send again what the broker refused only because of the value before it.

        A value that it refuses leaves a hole in an idempotent producer's sequence, and the broker takes nothing
        behind it in that partition; a new producer begins a sequence of its own.
        """
        if self._under_way:
            await asyncio.wait([one.stored for one in self._under_way])
        await self._renew()
        for place, one in enumerate(self._under_way):
            if isinstance(one.stored.exception(), OutOfOrderSequenceNumber):
                self._under_way[place] = await self._begin(one.number, one.key, one.value)
