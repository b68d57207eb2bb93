"""Takes records out of aiokafka's fetcher, a share of each partition.

aiokafka's own way drains the first partition that it has fetched before it goes on to the next one: with a
backlog of thousands of short documents in each of them, a partition waits for minutes while its neighbours move.
"""

# ruff: noqa: ANN401, SLF001 - aiokafka has no types, and nothing public takes a share

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiokafka.consumer.fetcher import FetchResult

from fewnerd_stream.contract.records import weight

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fewnerd_stream.delivery.read_ahead import Share


class Fetched(dict[Any, list[Any]]):
    """Records by partition, and what else was learnt on the way.

    Attributes:
        positions: where reading goes on: below lies no other record for us.
        more: whether the broker has more of a partition; None where it has not told yet.
        errors: what the broker gave of a partition in place of records, or what is wrong with them.
    """

    def __init__(
        self,
        records: Mapping[Any, list[Any]] | None = None,
        positions: Mapping[Any, int] | None = None,
        more: Mapping[Any, bool | None] | None = None,
        errors: Mapping[Any, Exception] | None = None,
    ) -> None:
        """Keep all of it."""
        super().__init__(records or {})
        self.positions = positions or {}
        self.more = more or {}
        self.errors = errors or {}


async def fetch(
    fetcher: Any,
    shares: Mapping[Any, Share],
    patience: float,
    waits: Callable[[Any], bool] = lambda _: False,
) -> Fetched:
    """Take what was fetched of the partitions, each one's share; wait for it if there is nothing yet.

    Args:
        fetcher: the consumer's.
        shares: of the partitions that are wanted.
        patience: longest wait, in seconds.
        waits: whether a record is not due yet; what lies behind one is not looked at.

    Raises:
        KafkaError: what the group's coordination has to tell.
    """
    subscriptions = fetcher._subscriptions
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    while True:
        # What was fetched for the last assignment must not be taken for the next one's.
        if subscriptions.reassignment_in_progress:
            await subscriptions.wait_for_assignment()
        records: dict[Any, list[Any]] = {}
        errors: dict[Any, Exception] = {}
        room = sum(share.size for share in shares.values())
        for tp, share in shares.items():
            if room <= 0:  # a record is never cut, but only one of them may be more than there is room for
                break
            try:
                taken = _take(fetcher, tp, share, waits)
            except Exception as error:  # noqa: BLE001 - whatever it is, the others must not wait for it
                errors[tp] = error
            else:
                if taken:
                    records[tp] = taken
                    room -= sum(map(weight, taken))
        left = deadline - loop.time()
        if records or errors or left <= 0:
            # Nothing happens between the taking and this look, so what lies below a position is in the records.
            return Fetched(records, *_places(subscriptions, shares), errors)
        waiter = fetcher._create_fetch_waiter()
        done, _ = await asyncio.wait({waiter}, timeout=left)
        if not done or fetcher._closed:
            waiter.cancel()
            return Fetched({}, *_places(subscriptions, shares))
        waiter.result()  # an error of the coordination


def _take(fetcher: Any, tp: Any, share: Share, waits: Callable[[Any], bool]) -> list[Any]:
    """Take a share of what was fetched of a partition, up to the first record that is not due.

    Raises:
        Exception: what the broker gave in place of records, or what is wrong with the batch.
    """
    found = fetcher._records.get(tp)
    if found is None:
        return []
    if not isinstance(found, FetchResult):
        drop(fetcher, tp)  # else it would not be fetched again
        found.check_raise()
    taken: list[Any] = []
    size = 0
    try:
        while len(taken) < share.records and size < share.size:
            record = found.getone()
            if record is None:
                break
            taken.append(record)
            size += weight(record)
            if waits(record):
                break
    except Exception:
        # Comes again with the next fetch, behind what was taken before it.
        drop(fetcher, tp)
        if not taken:
            raise
        return taken
    if not found.has_more():
        drop(fetcher, tp)
    return taken


def drop(fetcher: Any, tp: Any) -> None:
    """Forget what was fetched of a partition, and let it be fetched again."""
    fetcher._records.pop(tp, None)
    fetcher._notify(fetcher._wait_consume_future)


def _places(subscriptions: Any, asked: Mapping[Any, Share]) -> tuple[dict[Any, int], dict[Any, bool | None]]:
    """Tell where reading stands on each partition that was asked for, and whether there is more, of all."""
    subscription: Any = subscriptions.subscription
    assignment: Any = None if subscription is None else subscription.assignment
    positions: dict[Any, int] = {}
    more: dict[Any, bool | None] = {}
    for tp in () if assignment is None else assignment.tps:
        state = assignment.state_value(tp)
        if state is None or not state.has_valid_position:
            continue
        if tp in asked:
            positions[tp] = state.position
        # The stable end, where transactions are looked at: behind it there is nothing for us yet.
        known = [end for end in (state.lso, state.highwater) if end is not None and end >= 0]
        more[tp] = state.position < min(known) if known else None
    return positions, more
