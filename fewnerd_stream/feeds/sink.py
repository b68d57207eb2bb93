"""Where all sources put their documents: one producer, many hands; each is told when its own are stored."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from fewnerd_stream.errors import BrokerError, TopicsError
from fewnerd_stream.feeds.sender import IN_FLIGHT, Sender

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from fewnerd_stream.settings import Settings

_log = logging.getLogger(__name__)

_OVERHEAD: Final = 1024
_PAUSES: Final = (0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True, slots=True)
class _Waiting:
    key: bytes | None
    value: bytes
    told: asyncio.Future[str | None]


class Sink:
    """Stores documents in a topic. While there is no broker, what was given waits, and so do those who gave it.

    A document that was under way when the broker went is sent again: it may be stored twice, never not at all.
    """

    def __init__(self, settings: Settings, topic: str) -> None:
        """Store in one topic."""
        self._settings = settings
        self._topic = topic
        self._most = settings.max_message_bytes - _OVERHEAD
        self._waiting: deque[_Waiting] = deque()
        self._some = asyncio.Event()
        self._batch: dict[int, _Waiting] = {}
        self._work: asyncio.Task[None] | None = None
        self.count = 0
        """Documents that were stored."""

    async def __aenter__(self) -> Self:
        """Begin."""
        self._work = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; what nobody was told of as stored may not be."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)

    async def store(self, documents: Sequence[tuple[bytes | None, bytes]]) -> list[str | None]:
        """Store documents, each a key and a value, in their order; waits while there is no broker.

        Returns:
            For each None, or why it was refused: it is too large for a record.

        Raises:
            TopicsError: the topic is gone.
        """
        told = []
        loop = asyncio.get_running_loop()
        for key, value in documents:
            one = _Waiting(key, value, loop.create_future())
            if len(value) + len(key or b"") > self._most:
                one.told.set_result(f"{len(value)} bytes are more than a record may have ({self._most})")
            else:
                self._waiting.append(one)
            told.append(one.told)
        self._some.set()
        try:
            return await asyncio.gather(*told)
        except asyncio.CancelledError:
            for future in told:
                future.cancel()
            raise

    def stored(self, number: int, size: int) -> None:  # noqa: ARG002 - the sender's protocol
        """Be told by the sender."""
        self.count += 1
        self._tell(number, None)

    def refused(self, number: int, error: str) -> None:
        """Be told by the sender."""
        self._tell(number, error)

    def _tell(self, number: int, error: str | None) -> None:
        one = self._batch.pop(number)
        if not one.told.done():
            one.told.set_result(error)

    async def _run(self) -> None:
        failures = 0
        while True:
            await self._some.wait()
            before = self.count
            try:
                async with Sender(self._settings, self._topic, self) as sender:
                    while True:
                        await self._send(sender)
            except TopicsError as error:
                for one in (*self._batch.values(), *self._waiting):
                    if not one.told.done():
                        one.told.set_exception(TopicsError(str(error)))
                self._batch.clear()
                self._waiting.clear()
                self._some.clear()
            except BrokerError as error:
                self._waiting.extendleft(one for _, one in sorted(self._batch.items(), reverse=True))
                self._batch.clear()
                failures = 0 if self.count > before else failures + 1
                pause = _PAUSES[min(failures, len(_PAUSES) - 1)]
                _log.warning("%s; %d documents wait, again in %g s", error, len(self._waiting), pause)
                await asyncio.sleep(pause)

    async def _send(self, sender: Sender) -> None:
        """Send what has come together, and wait until all of it is stored."""
        await self._some.wait()
        while self._waiting and len(self._batch) < IN_FLIGHT:
            one = self._waiting.popleft()
            if not one.told.cancelled():
                self._batch[len(self._batch)] = one
        if not self._waiting:
            self._some.clear()
        try:
            for number, one in list(self._batch.items()):
                await sender.send(number, one.key, one.value)
            await sender.finish()
        finally:
            if self._batch:
                with contextlib.suppress(Exception):
                    await sender.last_words()
                self._some.set()
