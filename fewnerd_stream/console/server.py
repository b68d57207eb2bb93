"""The application: the page's files, the stream of events, and what the pages ask for."""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from fewnerd_stream.console import guard
from fewnerd_stream.console.hub import write
from fewnerd_stream.console.letters import Letters, Place
from fewnerd_stream.errors import BrokerError, FewnerdError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from importlib.resources.abc import Traversable

    from fewnerd_stream.console.follow import Follower
    from fewnerd_stream.console.hub import Hub
    from fewnerd_stream.contract.documents import EntityLike
    from fewnerd_stream.settings import Settings

    Tag = Callable[[str], Sequence[EntityLike]]

_LATEST: Final = 50
_MOST_BODY: Final = 4 << 20
_MOST_TEXT: Final = 20_000
_MOST_LETTERS: Final = 1_000
_TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}


@dataclass(frozen=True, slots=True)
class Options:
    """What the console offers.

    Attributes:
        hosts: names under which it may be asked for; empty: any.
        token: with it, dead letters can be seen and replayed; None: they cannot.
        tag: finds a text's entities; None: there is nothing to try.
    """

    hosts: Iterable[str] = guard.LOCAL
    token: str | None = None
    tag: Tag | None = None


class Console:
    """The handlers."""

    def __init__(self, settings: Settings, hub: Hub, follower: Follower, options: Options) -> None:
        """Show what a follower sees to a hub's browsers."""
        self._settings = settings
        self._hub = hub
        self._follower = follower
        self._options = options
        self._letters = Letters(settings)
        self._tagging = asyncio.Semaphore(1)
        self._files = dict(_files(resources.files("fewnerd_stream.console") / "static"))

    def application(self) -> web.Application:
        """Make the application."""
        made = web.Application(middlewares=[guard.guarded(self._options.hosts)], client_max_size=_MOST_BODY)
        add = made.router.add_route
        add("GET", "/api/events", self._events)
        add("GET", "/api/document", self._document)
        add("GET", "/api/about", self._about)
        if self._options.tag is not None:
            add("POST", "/api/tag", self._tag)
        if self._options.token is not None:
            only = guard.only_with(self._options.token)
            add("GET", "/api/dead", only(_told(self._search)))
            add("GET", "/api/dead/letter", only(_told(self._letter)))
            add("POST", "/api/dead/check", only(_told(self._check)))
            add("POST", "/api/dead/replay", only(_told(self._replay)))
        add("GET", "/{path:.*}", self._file)
        return made

    async def _file(self, request: web.Request) -> web.Response:
        found = self._files.get(request.match_info["path"] or "index.html")
        if found is None:
            raise web.HTTPNotFound
        body, kind, etag = found
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag})
        headers = {"ETag": etag, "Cache-Control": "no-cache"}
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)

    async def _about(self, _: web.Request) -> web.Response:
        return guard.answer(
            {
                "dead": self._options.token is not None,
                "try": self._options.tag is not None,
                "group": self._settings.group,
                "inputs": list(self._settings.input_topics),
            }
        )

    async def _events(self, request: web.Request) -> web.StreamResponse:
        watcher = self._hub.join()
        if watcher is None:
            return guard.problem(503, "too many browsers watch")
        try:
            headers = {**guard.HEADERS, "Content-Type": "text/event-stream", "Cache-Control": "no-store"}
            response = web.StreamResponse(headers=headers)
            await response.prepare(request)
            first = {"documents": self._follower.documents.latest(_LATEST), "skipped": 0, "dead": []}
            await response.write(
                b"retry: 1000\n\n" + write("start", first) + write("numbers", self._follower.report())
            )
            while True:
                await response.write(await watcher.next())
        except ConnectionError:
            return web.Response()
        finally:
            self._hub.leave(watcher)

    async def _document(self, request: web.Request) -> web.Response:
        found = self._follower.documents.whole(request.query.get("place", ""))
        if found is None:
            return guard.problem(404, "this document is no longer kept here")
        return guard.answer(found)

    async def _tag(self, request: web.Request) -> web.Response:
        text = (await guard.json_body(request)).get("text")
        tag = self._options.tag
        if not isinstance(text, str) or not text.strip() or tag is None:
            return guard.problem(422, "there is no text")
        if len(text) > _MOST_TEXT:
            return guard.problem(413, f"more than {_MOST_TEXT} characters")
        async with self._tagging:
            found = await asyncio.to_thread(tag, text)
        rows = [[one.start, one.end, one.coarse, one.fine, round(float(one.score), 3)] for one in found]
        return guard.answer({"text": text, "entities": rows})

    async def _search(self, request: web.Request) -> web.Response:
        query = request.query
        return guard.answer(await self._letters.search(query.get("search", ""), query.get("reason", "")))

    async def _letter(self, request: web.Request) -> web.Response:
        return guard.answer(await self._letters.one(Place.of(dict(request.query), self._settings)))

    async def _check(self, request: web.Request) -> web.Response:
        value = (await guard.json_body(request)).get("value")
        problem = self._letters.check(value.encode(errors="replace") if isinstance(value, str) else None)
        return guard.answer({"problem": problem})

    async def _replay(self, request: web.Request) -> web.Response:
        body = await guard.json_body(request)
        named = body.get("letters")
        if not isinstance(named, list) or not 0 < len(named) <= _MOST_LETTERS:
            return guard.problem(422, f"name 1 to {_MOST_LETTERS} letters")
        places = [Place.of(one, self._settings) for one in named]
        value = body.get("value")
        repaired = value.encode(errors="replace") if isinstance(value, str) else None
        return guard.answer(await self._letters.replay(places, repaired))


def _told(handler: Callable[[web.Request], Any]) -> Callable[[web.Request], Any]:
    """Tell the page what goes wrong in words of ours."""

    async def told(request: web.Request) -> web.StreamResponse:
        try:
            found: web.StreamResponse = await handler(request)
        except BrokerError as error:
            return guard.problem(503, str(error))
        except FewnerdError as error:
            return guard.problem(409, str(error))
        return found

    return told


def _files(folder: Traversable, name: str = "") -> Iterator[tuple[str, tuple[bytes, str, str]]]:
    """Read the page's files: body, type and ETag of each."""
    for one in folder.iterdir():
        path = f"{name}/{one.name}".lstrip("/")
        if one.is_dir():
            yield from _files(one, path)
        else:
            body = one.read_bytes()
            suffix = f".{one.name.rpartition('.')[2]}"
            kind = _TYPES.get(suffix) or mimetypes.guess_type(one.name)[0] or "text/plain"
            yield path, (body, kind, f'"{hashlib.sha256(body).hexdigest()[:16]}"')
