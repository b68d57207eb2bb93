"""What is fetched while the group changes must come again, and until then count as never delivered."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock

import pytest
from aiokafka.structs import TopicPartition
from faust.types import TP

from fewnerd_stream.delivery.delay import Delays
from fewnerd_stream.delivery.due import DueTimes
from fewnerd_stream.delivery.faust.fetch import Fetched
from fewnerd_stream.delivery.faust.transport import Consumer
from fewnerd_stream.delivery.ledger import Ledger, Partition
from fewnerd_stream.delivery.read_ahead import ReadAhead
from fewnerd_stream.settings import load_settings
from fewnerd_stream.telemetry.status import WorkerStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fewnerd_stream.delivery.read_ahead import Share

IN = TopicPartition("raw-documents", 0)
RETRY = TopicPartition("fewnerd-stream.raw-documents.retry.1", 0)


@dataclasses.dataclass
class Read:
    """As much of a record as the consumer looks at."""

    offset: int
    key: bytes = b""
    value: bytes = b"x"
    headers: tuple[tuple[str, bytes], ...] = (("__fewnerd.not-before", b"99999999999999"),)
    timestamp: int = 99_999_999_999_000
    topic: str = RETRY.topic
    partition: int = RETRY.partition


class Thread:
    """A consumer thread that fetches one record of each partition while something else happens."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        self._meanwhile = meanwhile
        self.back: dict[Partition, int] = {}

    async def fetch(self, shares: Mapping[Any, Share], _timeout: float, _waits: object) -> Fetched:
        """Fetch."""
        self._meanwhile()
        return Fetched({tp: [Read(7, topic=tp.topic)] for tp in shares}, dict.fromkeys(shares, 9))

    async def go_back(self, places: Mapping[Partition, int]) -> None:
        """Note from where it is to be read again."""
        self.back = dict(places)

    async def here(self, coroutine: Any) -> Any:
        """Run it."""
        return await coroutine


def consumer(meanwhile: Callable[[Any], None]) -> Any:
    """Make a consumer without its services, whose two partitions stand at offset 7."""
    made: Any = Consumer.__new__(Consumer)
    made.delivery = SimpleNamespace(
        ledger=Ledger(), settings=load_settings(), backlog=100, progress=WorkerStatus(load_settings())
    )
    made.delays = Delays()
    made.due = DueTimes(())
    made.flow_active = True
    made._read_ahead = ReadAhead(100, 1_000_000, 64)
    made._refused = {}
    made._active_partitions = {TP(*IN), TP(*RETRY)}
    made.perform_seek = AsyncMock()
    made._thread = Thread(lambda: meanwhile(made))
    assign(made)
    return made


def assign(made: Any) -> None:
    """Open both accounts anew."""
    made.delivery.ledger.next_epoch()
    for tp in (IN, RETRY):
        made.delivery.ledger.assign(Partition(*tp), 7)


def rebalance(made: Any) -> None:
    """Let the group change, and documents flow again before the fetch is answered."""
    assign(made)


def revoke(made: Any) -> None:
    """Let the group begin to change, so that nothing flows."""
    assign(made)
    made.flow_active = False


async def test_what_is_fetched_in_peace_is_delivered() -> None:
    """A due record is handed over and pending; one that is not due is read again when it is, and not kept."""
    made = consumer(lambda _: None)
    records, _ = await made._wait_next_records(0.1)
    assert set(records) == {IN}
    assert made.delivery.ledger.in_flight == 1
    assert Partition(*RETRY) in made.delays
    assert made._thread.back == {Partition(*RETRY): 7}
    assert made.delivery.ledger.next(Partition(*RETRY)) == 7, "nothing is passed"


@pytest.mark.parametrize("change", [rebalance, revoke])
async def test_what_is_fetched_while_the_group_changes_is_not_delivered(
    change: Callable[[Any], None],
) -> None:
    """Nothing is pending or waits, so the partition's position does not wait for what Faust has dropped."""
    made = consumer(change)
    records, _ = await made._wait_next_records(0.1)
    assert records == ({} if change is rebalance else None), "Faust would seek by itself"
    assert made.delivery.ledger.in_flight == 0
    assert len(made.delays) == 0
    # While nothing flows, a seek is still to come.
    assert made.perform_seek.await_count == (1 if change is rebalance else 0)


async def test_what_was_found_due_is_not_asked_again() -> None:
    """To ask again, behind a record of another clock, would measure that clock anew, and put the first off for ever."""
    made = consumer(lambda _: None)
    asked: list[int] = []

    def due(record: Read) -> int:
        asked.append(record.offset)
        return 0 if record.offset == 7 else 99_999_999_999_999

    made.due = due
    tp = TopicPartition(*RETRY)
    await made._admitted(Fetched({tp: [Read(7), Read(8)]}, {tp: 9}))
    assert made.delivery.ledger.head(Partition(*RETRY)) == 7
    assert made._thread.back == {Partition(*RETRY): 8}
    assert set(asked) == {8}
