"""Dead letters for the page: look, search, repair and replay; what is done is done by `operations.dead`."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fewnerd_stream.contract.documents import decode
from fewnerd_stream.errors import FewnerdError, Reject
from fewnerd_stream.kafka import clients
from fewnerd_stream.operations.dead import store
from fewnerd_stream.operations.dead.filters import Filter, parse_offsets
from fewnerd_stream.operations.dead.letters import Letter, readable
from fewnerd_stream.operations.dead.replay import Order, Replay
from fewnerd_stream.operations.dead.replayed_offsets import ReplayedOffsets
from fewnerd_stream.operations.status.report import newest

if TYPE_CHECKING:
    from fewnerd_stream.settings import Settings

_LOOKED_AT: Final = 2_000
_MOST: Final = 200
_PREVIEW: Final = 160
_WHOLE: Final = 1 << 20


class LetterError(FewnerdError):
    """A letter that is not there, or a repair that is none."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a letter lies: its input topic, and partition and offset on the topic of its dead letters."""

    input: str
    partition: int
    offset: int

    @classmethod
    def of(cls, value: Any, settings: Settings) -> Place:  # noqa: ANN401 - what a browser sent
        """Read it.

        Raises:
            LetterError: it is none.
        """
        try:
            place = cls(str(value["input"]), int(value["partition"]), int(value["offset"]))
        except (KeyError, TypeError, ValueError) as error:
            raise LetterError("a letter is named by input, partition and offset") from error
        if place.input not in settings.input_topics or min(place.partition, place.offset) < 0:
            raise LetterError(f"there is no such letter: {place.input}/{place.partition}/{place.offset}")
        return place


class Letters:
    """The dead letters of a group."""

    def __init__(self, settings: Settings) -> None:
        """Read and replay where the settings say."""
        self._settings = settings
        self._turn = asyncio.Lock()

    async def search(self, words: str, reason: str) -> dict[str, Any]:
        """Find letters, the newest first.

        Args:
            words: must all be in the value, the key, the error or the reason, in any case; may be empty.
            reason: must be this; empty: any.

        Returns:
            ``letters``, at most 200; ``more``, whether there are; ``looked_at`` and ``total``, how many of how many.
        """
        wanted = words.casefold().split()
        found: list[tuple[int, dict[str, Any]]] = []
        total = looked = 0
        async with (
            self._turn,
            clients.admin(self._settings) as admin,
            clients.consumer(self._settings) as reader,
        ):
            there = await clients.partitions(admin)
            for topics in self._settings.topology.inputs:
                if topics.dead not in there:
                    continue
                marks = ReplayedOffsets(topics.dead)
                if topics.marks in there:
                    await store.load_marks(reader, topics.marks, marks)
                where = (topics.dead, there[topics.dead])
                spans = await store.spans(reader, self._settings, where, Filter(), marks)
                bounds = {span.partition: (span.start, span.end) for span in spans}
                total += sum(end - start for start, end in bounds.values())
                for partition, span in newest(bounds, _LOOKED_AT).items():
                    if span[0] >= span[1]:
                        continue
                    async for batch in store.letters(reader, self._settings, (topics.dead, partition), span):
                        looked += len(batch)
                        for letter in batch:
                            if (not reason or letter.reason == reason) and _has(letter, wanted):
                                replayed = (partition, letter.record.offset) in marks
                                found.append(
                                    (
                                        letter.record.timestamp or 0,
                                        _row(letter, topics.input, replayed=replayed),
                                    )
                                )
        found.sort(key=lambda one: -one[0])
        rows = [row for _, row in found[:_MOST]]
        return {"letters": rows, "more": len(found) > _MOST, "looked_at": looked, "total": total}

    async def one(self, place: Place) -> dict[str, Any]:
        """Give a letter whole; of a value over 1 MiB, its first MiB.

        Raises:
            LetterError: there is none.
        """
        async with self._turn:
            letter = await self._letter(place)
        value = letter.record.value
        cut = value is not None and len(value) > _WHOLE
        full = letter.full() if not cut else letter.summary()
        shown = None if value is None else readable(value[:_WHOLE] if cut else value)
        return full | {"input": place.input, "value": shown, "cut": cut, "problem": self.check(value)}

    async def _letter(self, place: Place) -> Letter:
        topic = self._settings.topology.input(place.input).dead
        async with clients.admin(self._settings) as admin:
            there = (await clients.partitions(admin)).get(topic, [])
        if place.partition in there:
            async with clients.consumer(self._settings) as reader:
                where = (topic, place.partition)
                first, end = (await clients.bounds(reader, {topic: [place.partition]}))[where]
                if first <= place.offset < end:
                    letter = await store.one_letter(reader, self._settings, where, place.offset)
                    if letter is not None:
                        return letter
        raise LetterError(f"there is no such letter: {place.input}/{place.partition}/{place.offset}")

    def check(self, value: bytes | None) -> dict[str, str] | None:
        """Say why no worker would take a document; None where one would."""
        try:
            decode(value, self._settings)
        except Reject as error:
            return {"reason": error.reason.value, "message": str(error)}
        return None

    async def replay(self, places: list[Place], repaired: bytes | None = None) -> dict[str, Any]:
        """Replay letters that were not replayed yet; a single one may be sent with another value.

        Returns:
            ``replayed``, ``before`` (were replayed already) and ``refused`` (died again after three replays).

        Raises:
            LetterError: the repaired value is no document, or it is for more than one letter.
            FewnerdError: the broker failed, or another replay is at work.
        """
        if repaired is not None:
            if len(places) != 1:
                raise LetterError("a repair is for one letter")
            if problem := self.check(repaired):
                raise LetterError(f"no worker would take this: {problem['message']}")
        done = {"replayed": 0, "before": 0, "refused": 0}
        async with self._turn:
            for name in dict.fromkeys(place.input for place in places):
                mine = [place for place in places if place.input == name]
                order = Order(
                    Filter(offsets=parse_offsets(f"{one.partition}:{one.offset}" for one in mine)),
                    repaired={(one.partition, one.offset): repaired for one in mine}
                    if repaired is not None
                    else {},
                )
                replay = Replay(self._settings, name, order, run=f"console-{secrets.token_hex(8)}")
                summary = await replay.run()
                done["replayed"] += summary.replayed
                done["refused"] += summary.refused
                done["before"] += len(mine) - summary.replayed - summary.refused
        return done


def _has(letter: Letter, words: list[str]) -> bool:
    if not words:
        return True
    record, end = letter.record, letter.end
    parts = [(record.value or b"").decode(errors="replace"), (record.key or b"").decode(errors="replace")]
    text = " ".join([*parts, end.message, end.exception, letter.reason, letter.origin]).casefold()
    return all(word in text for word in words)


def _row(letter: Letter, input_topic: str, *, replayed: bool) -> dict[str, Any]:
    value = letter.record.value
    preview = "" if value is None else value[:_PREVIEW].decode(errors="replace")
    row = letter.summary() | {"input": input_topic, "replayed": replayed, "preview": preview}
    return row | {"message": row["message"][:_PREVIEW], "key": None}
