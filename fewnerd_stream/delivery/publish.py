"""Confirmed publishing: returns when every record is stored, but for those that no topic will ever take.

Until then it waits, says so, and drops nothing.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fewnerd_stream.contract.records import size_of
from fewnerd_stream.delivery.state import Dropped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fewnerd_stream.contract.records import Outgoing
    from fewnerd_stream.delivery.group import Producer
    from fewnerd_stream.delivery.state import Ownership
    from fewnerd_stream.telemetry.status import WorkerStatus

# As many bytes of records share a request; a longer one is alone.
BATCH_BYTES = 131_072
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0
_LOOK_EVERY = 0.5


class Publisher:
    """Publishes windows, one after the other, through the app's producer."""

    def __init__(self, producer: Callable[[], Producer], progress: WorkerStatus) -> None:
        """Take a way to the running producer, and where to say that it does not take what we publish."""
        self._producer = producer
        self._progress = progress

    async def publish(
        self, records: Sequence[tuple[Outgoing, int]], claim: Ownership, *, insist: bool = False
    ) -> dict[int, BaseException]:
        """Store records, in order within each output partition.

        Args:
            records: each with the partition that its source stands in; a record without a key goes to the
                output partition of that number, so that its order is kept.
            claim: whether they are still ours to publish; asked before each is sent and while waiting.
            insist: also wait for those that are refused for their size.

        Returns:
            The numbers of those that are refused for their size, each alone in its request, and with what
            words. All others are stored.

        Raises:
            Dropped: they are not ours any more.
        """
        refused: dict[int, BaseException] = {}
        groups = [list(range(len(records)))] if records else []
        pause = _FIRST_PAUSE
        while groups:
            await claim.wait()
            group = groups.pop(0)
            failed, error = await self._try([records[number] for number in group], claim)
            if error is None:  # what is left was not tried: it was not sure any more that it is ours
                if failed:
                    groups.insert(0, [group[at] for at in failed])
                continue
            others = []
            for number, why in ((group[at], why) for at, why in failed.items()):
                if insist or not isinstance(why, self._producer().too_large):
                    others.append(number)
                elif len(group) == 1 or size_of(records[number][0]) > BATCH_BYTES:
                    refused[number] = why
                else:  # records that share a request are refused together: alone it shows which of them it is
                    groups.append([number])
            if others:
                groups.insert(0, others)
                # Some of the batch may be stored: then its owner's subscribers see it again, with the same ce_id.
                topic = records[others[0]][0].topic
                self._progress.waiting(f"{len(others)} records not stored ({topic}): {error!r}")
                await asyncio.sleep(pause)
                pause = min(_LONGEST_PAUSE, 2 * pause)
            await self._renew(claim)
        self._progress.flowing()
        return refused

    async def _try(
        self, records: list[tuple[Outgoing, int]], claim: Ownership
    ) -> tuple[dict[int, BaseException | None], BaseException | None]:
        """Send records; return those that are not stored, each with its error, and the error to tell of."""
        futures: list[asyncio.Future[object]] = []
        sending: asyncio.Future[object] = asyncio.ensure_future(self._send_all(records, futures, claim))
        try:
            await self._watched({sending}, claim, f"{records[0][0].topic} takes no records")
            await self._watched(set(futures), claim, "records not acknowledged")
        except BaseException:
            # What the client holds may still be stored; what it does not hold must not be.
            for future in (sending, *futures):
                future.cancel()
            raise
        error = sending.exception()
        failed: dict[int, BaseException | None] = {}
        for number, future in enumerate(futures):
            refused = future.exception()
            if refused is not None:
                error = error or refused
                failed[number] = refused
        failed |= dict.fromkeys(range(len(futures), len(records)))
        if error is not None and not isinstance(error, self._producer().errors):
            raise error
        return failed, error

    async def _send_all(
        self, records: list[tuple[Outgoing, int]], futures: list[asyncio.Future[object]], claim: Ownership
    ) -> None:
        producer = self._producer()
        for record, source in records:
            if not claim.sure():  # frozen in the middle: the rest has to wait for the coordinator
                break
            try:
                futures.append(await producer.send(record, source))
            except producer.too_large as error:  # the client's own word: the others are sent all the same
                futures.append(asyncio.get_running_loop().create_future())
                futures[-1].set_exception(error)

    async def _watched(self, waiting: set[asyncio.Future[object]], claim: Ownership, said: str) -> None:
        """Wait for futures, for as long as the records are ours."""
        while waiting:
            _, waiting = await asyncio.wait(waiting, timeout=_LOOK_EVERY)
            if waiting:
                if claim.lost():
                    raise Dropped
                self._progress.waiting(f"{said} yet")

    async def _renew(self, claim: Ownership) -> None:
        # After an error that is not retriable an idempotent producer's sequence has a hole, and the broker
        # refuses everything behind it; a new producer has a new id and begins a new sequence.
        producer = self._producer()
        renewing: asyncio.Future[object] = asyncio.ensure_future(producer.renew())
        try:
            await self._watched({renewing}, claim, "no new producer")
            renewing.result()
        except producer.errors as error:
            self._progress.waiting(f"no new producer: {error!r}")
        finally:
            renewing.cancel()
