"""aiokafka's clients as the command line uses them: opened within a bound, closed in any case.

The worker's own transport is not here: this is for looking at topics, for sending, and for replaying.
"""

from __future__ import annotations

import asyncio
import functools
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka import errors as kafka
from aiokafka.admin import AIOKafkaAdminClient

from fewnerd_stream.contract.records import Record
from fewnerd_stream.errors import BrokerError, TopicsError
from fewnerd_stream.kafka.admin import PatientAdmin, patiently
from fewnerd_stream.kafka.reach import answering

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from aiokafka import ConsumerRecord

    from fewnerd_stream.settings import Settings

REACH: Final = 8.0
"""Seconds within which a broker must have answered for the first time."""

_Client = TypeVar("_Client", PatientAdmin, AIOKafkaConsumer, AIOKafkaProducer)

_STOP: Final = 5.0
_BATCH: Final = 500
_POLL_MS: Final = 500
_LOOK_MS: Final = 20
_TELL: Final = 2.0
_FOLLOW_MS: Final = 500
_MOVES: Final = 25.0
_TRY_MS: Final = 10_000
_REFUSED: Final = (
    kafka.AuthenticationFailedError,
    kafka.ClusterAuthorizationFailedError,
    kafka.GroupAuthorizationFailedError,
    kafka.IllegalSaslStateError,
    kafka.SaslAuthenticationFailed,
    kafka.TopicAuthorizationFailedError,
    kafka.UnsupportedSaslMechanismError,
)


@contextmanager
def broker_errors(settings: Settings) -> Iterator[None]:
    """Turn what aiokafka raises into a `BrokerError` or a `TopicsError` that an operator can read."""
    servers = settings.bootstrap_servers
    try:
        yield
    except _REFUSED as error:
        raise BrokerError(f"the broker at {servers} refused: {_said(error)}") from error
    except kafka.UnknownTopicOrPartitionError as error:
        raise TopicsError(f"no such topic at {servers}: {_said(error)}") from error
    except kafka.NodeNotReadyError as error:
        raise BrokerError(
            f"{servers} answers, but names brokers that do not: they are down, or their advertised.listeners "
            "cannot be reached from here"
        ) from error
    except kafka.KafkaConnectionError as error:
        why = "" if "Unable to bootstrap" in str(error) else f": {_said(error)}"
        raise BrokerError(f"no broker answers at {servers}{why}") from error
    except kafka.KafkaError as error:
        raise BrokerError(f"the broker at {servers} failed: {_said(error)}") from error
    except TimeoutError as error:
        raise BrokerError(f"the broker at {servers} did not answer in time") from error


def _made(kind: type[_Client], options: dict[str, Any], **more: Any) -> _Client:  # noqa: ANN401 - aiokafka's
    return kind(**options, **more)


def _said(error: kafka.KafkaError) -> str:
    text = str(error)
    return text if type(error).__name__ in text else f"{type(error).__name__}: {text}".removesuffix(": ")


@asynccontextmanager
async def _opened(settings: Settings, make: Callable[[dict[str, Any]], _Client]) -> AsyncIterator[_Client]:
    """Start a client within `REACH`, and stop it however the block is left."""
    servers = await answering(settings, REACH)
    client = make(settings.client_options() | {"bootstrap_servers": servers})
    stop = client.close if isinstance(client, AIOKafkaAdminClient) else client.stop
    with broker_errors(settings):
        try:
            try:
                async with asyncio.timeout(REACH):
                    await client.start()
                    await asyncio.sleep(0)  # aiokafka's tasks must have begun before they can be stopped
                    if isinstance(client, AIOKafkaAdminClient):
                        # The servers given have answered; those that they name may all be out of our reach.
                        await client.describe_cluster()
            except (TimeoutError, kafka.NodeNotReadyError) as error:
                raise BrokerError(
                    f"{servers[0]} answers, but names brokers that do not: they are down, or their "
                    "advertised.listeners cannot be reached from here"
                ) from error
            yield client
        finally:
            # A producer waits for what is under way: with the broker gone, that could be long.
            with suppress(TimeoutError):
                async with asyncio.timeout(_STOP):
                    await stop()


@asynccontextmanager
async def admin(settings: Settings) -> AsyncIterator[PatientAdmin]:
    """Open an admin client."""
    make = functools.partial(_made, PatientAdmin, patience=settings.request_timeout)
    async with _opened(settings, make) as opened:
        yield opened


@asynccontextmanager
async def consumer(settings: Settings, *, follow: bool = False) -> AsyncIterator[AIOKafkaConsumer]:
    """Open a consumer that is in no group: it looks, and moves nobody's offsets.

    Args:
        settings: where the broker is.
        follow: it is to wait for what comes. Else it reads what is there, and asks at short intervals, since
            aiokafka goes on to another partition only when its request for the last one was answered.
    """
    make = functools.partial(
        _made,
        AIOKafkaConsumer,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level=settings.isolation,
        fetch_max_wait_ms=_FOLLOW_MS if follow else _LOOK_MS,
        request_timeout_ms=min(_TRY_MS, round(settings.request_timeout * 1000)),
        max_partition_fetch_bytes=max(1 << 20, settings.max_message_bytes),
    )
    async with _opened(settings, make) as opened:
        yield opened


@asynccontextmanager
async def producer(settings: Settings, *, linger: float = 0.005) -> AsyncIterator[AIOKafkaProducer]:
    """Open a producer that counts a record as sent when every in-sync replica has it."""
    make = functools.partial(
        _made,
        AIOKafkaProducer,
        acks="all",
        enable_idempotence=settings.idempotence,
        compression_type=None if settings.compression == "none" else settings.compression,
        linger_ms=round(linger * 1000),
        max_request_size=settings.max_result_bytes,
        request_timeout_ms=round(settings.request_timeout * 1000),
    )
    async with _opened(settings, make) as opened:
        yield opened


async def partitions(client: AIOKafkaAdminClient) -> dict[str, list[int]]:
    """List every topic's partitions; asks for all topics, since asking for one may create it."""
    described = await client.describe_topics()
    return {
        topic["topic"]: sorted(partition["partition"] for partition in topic["partitions"])
        for topic in described
    }


async def require(client: PatientAdmin, there: Mapping[str, object], names: Sequence[str]) -> None:
    """See that there are topics, and that we may see them.

    Raises:
        TopicsError: some are missing, or not ours to see.
    """
    missing = [name for name in names if name not in there]
    forbidden = await client.forbidden(missing) if missing else set()
    if forbidden:
        raise TopicsError(
            f"no right to see {', '.join(sorted(forbidden))}: Describe is needed, or Read or Write"
        )
    if missing:
        raise TopicsError(f"there is no topic {', '.join(missing)}: `fewnerd-stream topics create` makes it")


def to_record(message: ConsumerRecord) -> Record:
    """Take over what aiokafka read; its headers are a tuple in their order, repeated names included."""
    return Record(
        message.topic,
        message.partition,
        message.offset,
        message.timestamp,
        message.key,
        message.value,
        tuple(message.headers),
    )


async def read(
    client: AIOKafkaConsumer, where: tuple[str, int], span: tuple[int, int], *, patience: float = 30.0
) -> AsyncIterator[list[Record]]:
    """Read one partition in batches, from the span's first offset up to, not including, its end.

    Holes in the log (compaction, markers of transactions) are passed over. The consumer is assigned to this
    partition alone. ``where`` is a topic and a partition.

    Raises:
        TimeoutError: nothing came for ``patience`` seconds and the end is not reached.
    """
    partition, (start, end) = TopicPartition(*where), span
    client.assign([partition])
    client.seek(partition, start)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    while (position := await client.position(partition)) < end:
        found = await client.getmany(partition, timeout_ms=_POLL_MS, max_records=_BATCH)
        batch = [to_record(message) for message in found.get(partition, ()) if message.offset < end]
        if batch:
            yield batch
        if await client.position(partition) > position:
            deadline = loop.time() + patience
        elif loop.time() > deadline:
            raise TimeoutError


async def bounds(
    client: AIOKafkaConsumer, where: Mapping[str, list[int]]
) -> dict[tuple[str, int], tuple[int, int]]:
    """Give the first offset and one past the last of each partition; the last as our isolation sees it.

    The ends are those of a fetch. The embedded broker answers a question for them with the beginning of the
    last batch; where a fetch tells nothing in time, that answer has to do.
    """
    wanted = [TopicPartition(topic, number) for topic, numbers in where.items() for number in numbers]
    if not wanted:
        return {}
    # A frozen broker's partitions are led by another one after a while.
    starts = await patiently(lambda: client.beginning_offsets(wanted), _MOVES)
    ends = await patiently(lambda: client.end_offsets(wanted), _MOVES)
    client.assign(wanted)
    for one in wanted:
        client.seek(one, ends[one])
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _TELL
    while (asked := [one for one in wanted if client.highwater(one) is None]) and loop.time() < deadline:
        try:
            await client.getmany(*asked, timeout_ms=_LOOK_MS)
        except kafka.TopicAuthorizationFailedError:
            break  # who may see a topic, and not read it, is told its ends all the same
    for one in wanted:
        # Who reads what is not committed is told no stable offset, -1.
        told = [client.last_stable_offset(one), client.highwater(one)]
        ends[one] = max(ends[one], next((end for end in told if end is not None and end >= 0), 0))
    return {(one.topic, one.partition): (starts[one], ends[one]) for one in wanted}


async def since(
    client: AIOKafkaConsumer, where: Mapping[str, list[int]], timestamp: int
) -> dict[tuple[str, int], int | None]:
    """Give each partition's first offset with a timestamp not before this one: nothing below it is so young.

    None where there is none. A partition of which the broker tells nothing sensible is left out.
    """
    wanted = {
        TopicPartition(topic, number): timestamp for topic, numbers in where.items() for number in numbers
    }
    told = await client.offsets_for_times(wanted)
    found: dict[tuple[str, int], int | None] = {}
    for one in wanted:
        answer = told.get(one)
        if answer is None:
            found[one.topic, one.partition] = None
        elif answer.timestamp is not None and answer.timestamp >= timestamp:
            found[one.topic, one.partition] = answer.offset
    return found
