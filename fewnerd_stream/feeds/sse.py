"""Server-sent events: a parser after the WHATWG's HTML standard (section 9.2), and a source that reconnects."""

from __future__ import annotations

import asyncio
import codecs
import logging
import random
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import aiohttp

from fewnerd_stream.errors import FewnerdError
from fewnerd_stream.feeds.entries import from_bytes
from fewnerd_stream.feeds.net import RequestError

if TYPE_CHECKING:
    from fewnerd_stream.feeds.net import Fetcher
    from fewnerd_stream.feeds.sink import Sink
    from fewnerd_stream.feeds.state import State
    from fewnerd_stream.settings import Settings

_log = logging.getLogger(__name__)

_END: Final = re.compile(r"\r\n|\n|\r")
_OK: Final = 200
_NO_MORE: Final = 204
_RETRY: Final = 3.0
_LONGEST: Final = 300.0
_SILENCE: Final = 300.0


class TooLongError(FewnerdError):
    """An event that is larger than any document may be."""


@dataclass(frozen=True, slots=True)
class Event:
    """An event; ``id`` is the last that the stream has told, with this event or before it."""

    data: str
    type: str = "message"
    id: str = ""


@dataclass(slots=True)
class EventStream:
    """Makes events of bytes as they come, cut anywhere."""

    last_id: str = ""
    retry: float | None = None
    """Seconds to wait before connecting again, if the stream has told."""
    most: int = 2 << 20
    """Most characters of an event."""
    _decoder: codecs.IncrementalDecoder = field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )
    _rest: str = ""
    _begun: bool = False
    _data: list[str] = field(default_factory=list)
    _size: int = 0
    _type: str = ""
    _id: str | None = None

    def feed(self, chunk: bytes) -> list[Event]:
        """Give the events that are complete with this chunk.

        Raises:
            TooLongError: an event does not end.
        """
        text = self._rest + self._decoder.decode(chunk)
        if not self._begun and text:
            self._begun = True
            text = text.removeprefix("\ufeff")
        # A CR at the end may be half of an end: wait for the next character.
        held = text.endswith("\r")
        *lines, self._rest = _END.split(text[:-1] if held else text)
        if held:
            self._rest += "\r"
        if len(self._rest) + self._size > self.most:
            raise TooLongError(f"an event has more than {self.most} characters")
        return [event for line in lines if (event := self._line(line)) is not None]

    def _line(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
                self._size += len(value) + 1
                if self._size > self.most:
                    raise TooLongError(f"an event has more than {self.most} characters")
            case "event":
                self._type = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self.retry = min(_LONGEST, int(value[:9]) / 1000)
        return None

    def _dispatch(self) -> Event | None:
        if self._id is not None:
            self.last_id = self._id
        data, kind = self._data, self._type
        self._data, self._type, self._size = [], "", 0
        return Event("\n".join(data), kind or "message", self.last_id) if data else None


@dataclass(slots=True)
class EventSource:
    """Follows a stream of events, and takes it up where the last stored one was, also after a restart."""

    url: str
    settings: Settings
    sink: Sink
    state: State
    fetcher: Fetcher
    failures: int = 0

    async def run(self) -> None:
        """Follow it until it is cancelled, or the server says that there is no more.

        Raises:
            TopicsError: a topic is gone.
        """
        retry = _RETRY
        while True:
            stream = EventStream(self.state.get(self.url).get("id", ""), most=self.settings.max_message_bytes)
            try:
                if not await self._follow(stream):
                    _log.info("%s: no more, says its server", self.url)
                    return
                self.failures += 1
            except (aiohttp.ClientError, OSError, TimeoutError, RequestError, TooLongError) as error:
                self.failures += 1
                _log.warning("%s: %s", self.url, str(error) or type(error).__name__)
            retry = stream.retry or retry
            pause = min(_LONGEST, retry * 2 ** min(self.failures - 1, 10)) * random.uniform(0.9, 1.1)  # noqa: S311
            await asyncio.sleep(pause)

    async def _follow(self, stream: EventStream) -> bool:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if stream.last_id:
            headers["Last-Event-ID"] = stream.last_id
        async with self.fetcher.open(self.url, headers, silence=_SILENCE) as response:
            if response.status == _NO_MORE:
                return False
            if response.status != _OK or response.content_type != "text/event-stream":
                raise RequestError(
                    f"it answers {response.status}, {response.content_type}: no stream of events"
                )
            async for chunk in response.content.iter_any():
                events = stream.feed(chunk)
                if events:
                    await self._store(events)
                    self.failures = 0
        return True

    async def _store(self, events: list[Event]) -> None:
        # An event without an id of its own has that of the one before it: only with its data it is itself.
        documents = [
            from_bytes(one.data.encode(), self.url, f"{one.id}\n{one.data}", self.settings) for one in events
        ]
        for refused in await self.sink.store(documents):
            if refused:
                _log.warning("%s: an event is left out: %s", self.url, refused)
        if events[-1].id and events[-1].id != self.state.get(self.url).get("id"):
            await self.state.put(self.url, {"id": events[-1].id})
