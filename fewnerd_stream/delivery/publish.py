"""Confirmed publishing: returns when every record is stored; until then it waits, says so, drops nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiokafka.errors import KafkaError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import aiokafka

    from fewnerd_stream.delivery.progress import Progress
    from fewnerd_stream.delivery.transport import Producer
    from fewnerd_stream.records import Outgoing

_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 10.0
_LOOK_EVERY = 0.5


class Dropped(Exception):  # noqa: N818 - an outcome: the window is no longer ours, and comes again to its owner
    """The partitions went to another worker before the window was published."""


class Publisher:
    """Publishes windows, one after the other, through the app's producer."""

    def __init__(self, producer: Callable[[], Producer], progress: Progress) -> None:
        """Take a way to the running producer, and where to say that it does not take what we publish."""
        self._producer = producer
        self._progress = progress

    async def publish(self, records: Sequence[tuple[Outgoing, int]], owned: Callable[[], bool]) -> None:
        """Store records, in order within each output partition.

        Args:
            records: each with the partition that its source stands in; a record without a key goes to the
                output partition of that number, so that its order is kept.
            owned: whether they are still ours to publish; asked before each try and while waiting.

        Raises:
            Dropped: they are not ours any more.
        """
        pending = list(records)
        pause = _FIRST_PAUSE
        while pending:
            if not owned():
                raise Dropped
            failed, error = await self._try(pending, owned)
            if not failed:
                break
            # Some of the batch may be stored: then its owner's subscribers see it again, with the same ce_id.
            self._progress.waiting(f"{len(failed)} records not stored ({failed[0][0].topic}): {error!r}")
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, 2 * pause)
            pending = failed
            await self._renew()
        self._progress.flowing()

    async def _try(
        self, records: Sequence[tuple[Outgoing, int]], owned: Callable[[], bool]
    ) -> tuple[list[tuple[Outgoing, int]], BaseException | None]:
        client = self._producer().client
        futures: list[asyncio.Future[object]] = []
        error: BaseException | None = None
        for record, source in records:
            try:
                partition = None if record.key is not None else await self._place(record.topic, source)
                future = await _send(client, record, partition)
            except KafkaError as caught:
                error = caught
                break
            futures.append(future)
        waiting = set(futures)
        while waiting:
            _, waiting = await asyncio.wait(waiting, timeout=_LOOK_EVERY)
            if waiting:
                if not owned():
                    raise Dropped
                self._progress.waiting(f"{len(waiting)} records not acknowledged yet")
        failed: list[tuple[Outgoing, int]] = []
        for item, future in zip(records, futures, strict=False):
            refused = future.exception()
            if refused is not None:
                error = error or refused
                failed.append(item)
        return [*failed, *records[len(futures) :]], error

    async def _place(self, topic: str, source: int) -> int | None:
        partitions = await self._producer().client.partitions_for(topic)
        return source % len(partitions) if partitions else None

    async def _renew(self) -> None:
        # After an error that is not retriable an idempotent producer's sequence has a hole, and the broker
        # refuses everything behind it; a new producer has a new id and begins a new sequence.
        try:
            await self._producer().renew()
        except KafkaError as error:
            self._progress.waiting(f"no new producer: {error!r}")


async def _send(
    client: aiokafka.AIOKafkaProducer, record: Outgoing, partition: int | None
) -> asyncio.Future[object]:
    """Hand a record to the client; its future is the broker's word."""
    headers = list(record.headers)
    if record.key is None and record.value is None and partition is not None:
        # Kafka takes a record with neither, so one may be read and must be handed on; `send` refuses it.
        batch = client.create_batch()
        batch.append(timestamp=None, key=None, value=None, headers=headers)
        alone: asyncio.Future[object] = await client.send_batch(batch, record.topic, partition=partition)
        return alone
    future: asyncio.Future[object] = await client.send(
        record.topic, record.value, key=record.key, headers=headers, partition=partition
    )
    return future
