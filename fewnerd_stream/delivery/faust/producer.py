"""The producer: idempotent, and replaced after an error that leaves a hole in its sequence."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiokafka
from aiokafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)
from faust.transport.drivers import aiokafka as driver

from fewnerd_stream.contract.topology import ROOM
from fewnerd_stream.delivery.faust.thread import METADATA_AGE_MS
from fewnerd_stream.delivery.publish import BATCH_BYTES

if TYPE_CHECKING:
    from fewnerd_stream.contract.records import Outgoing

_STOP_SECONDS = 1.0


class Producer(driver.Producer):
    """Faust's producer service around an idempotent client that can be replaced after a fatal error."""

    errors = (KafkaError,)
    too_large = (MessageSizeTooLargeError, RecordListTooLargeError)

    def _new_producer(self, transactional_id: str | None = None) -> aiokafka.AIOKafkaProducer:  # noqa: ARG002 - Faust's signature
        settings = self.app.delivery.settings
        options: dict[str, Any] = {
            **settings.client_options(),
            "acks": "all",
            "enable_idempotence": settings.idempotence,
            "compression_type": None if settings.compression == "none" else settings.compression,
            "linger_ms": 0,
            "max_batch_size": BATCH_BYTES,
            # What is read and what is made of it is no larger; this is below what a broker takes as one request.
            "max_request_size": settings.max_result_bytes + ROOM,
            "request_timeout_ms": int(settings.request_timeout * 1000),
            "metadata_max_age_ms": METADATA_AGE_MS,
        }
        return aiokafka.AIOKafkaProducer(**options)

    @property
    def client(self) -> aiokafka.AIOKafkaProducer:
        """The aiokafka producer, once started."""
        return self._ensure_producer()

    async def send(self, record: Outgoing, source: int) -> asyncio.Future[object]:
        """Hand a record to the client; the future is the broker's word.

        Args:
            record: what to store.
            source: the partition that its source stands in: a record without a key goes to the one of that number,
                so that its order is kept.
        """
        client, partition = self.client, None
        if record.key is None:
            partitions = await client.partitions_for(record.topic)
            partition = source % len(partitions) if partitions else None
        return await hand(client, record, partition)

    async def renew(self) -> None:
        """Replace the client by a new one with an id of its own; what the old one still holds may be sent.

        Raises:
            KafkaError: no broker takes a new one, and the old one stays.
        """
        fresh = self._new_producer()
        limit = self.app.delivery.settings.request_timeout
        started = False
        try:
            await asyncio.wait_for(fresh.start(), limit)
            started = True
        except TimeoutError as error:
            raise KafkaTimeoutError(f"no new producer within {limit:g} s") from error
        finally:
            if not started:
                self.add_future(self._end(fresh))
        old, self._producer = self.client, fresh
        self.add_future(self._end(old))

    async def _end(self, client: aiokafka.AIOKafkaProducer) -> None:
        """Close a client, without waiting long for what it still holds."""
        try:
            await asyncio.wait_for(client.stop(), _STOP_SECONDS)
        except (KafkaError, TimeoutError) as error:
            self.log.warning("a producer did not stop in good order: %r", error)
            if client._sender.sender_task is not None:  # noqa: SLF001 - it would go on trying for ever
                client._sender.sender_task.cancel()  # noqa: SLF001
            await client.client.close()

    async def on_start(self) -> None:
        """Start the client, and say so."""
        await super().on_start()
        self.app.delivery.progress.producing = True

    async def flush(self) -> None:
        """Wait for nothing: whoever publishes waits for the broker's word on each record."""

    async def on_stop(self) -> None:
        """Close the client: none of what it still holds is committed."""
        self.app.delivery.progress.producing = False
        client, self._producer = self._producer, None
        await super().on_stop()
        if client is not None:
            await self._end(client)


async def hand(
    client: aiokafka.AIOKafkaProducer, record: Outgoing, partition: int | None
) -> asyncio.Future[object]:
    """Hand a record to a client; its future is the broker's word."""
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
