"""The heart of every stream, with or without a broker: what was read, what is in hand, what is finished.

No Kafka and no clock: a stream tells it what it reads and what its body has finished, and asks what to
commit. So the asynchronous, the synchronous and the in-memory stream behave alike.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from fewnerd_client.errors import UnreadableMessageError
from fewnerd_client.ledger import Ledger, Partition
from fewnerd_client.seen import Window

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from fewnerd_client.filters import Filter
    from fewnerd_client.messages import Enriched, Raw


class Session:
    """A subscriber's state, from its start to its end."""

    def __init__(
        self, filters: Filter, remember: int, unreadable: Callable[[Raw, Exception], object] | None
    ) -> None:
        """Begin with nothing.

        Args:
            filters: what is wanted.
            remember: ids of finished events to keep, so that repeats are passed over; 0 for none.
            unreadable: takes records that are no messages, which are then finished; None raises.
        """
        self._filter = filters
        self._unreadable = unreadable
        self._remember = remember
        self._window = Window(remember)
        self._ledger = Ledger()
        self._held: set[str] = set()
        self._stuck: Raw | None = None
        self._gathered: list[Enriched] = []
        self._hand: list[Enriched] = []
        self._given_up: set[Partition] = set()
        self._again: deque[Enriched] = deque()

    # -- reading ---------------------------------------------------------------------------------------

    def take(self, raw: Raw) -> Enriched | None:
        """Take a record that was read; None when the body need not see it.

        Raises:
            UnreadableMessageError: it is no message; it comes again until somebody takes it.
        """
        partition = _partition(raw)
        self._stuck = raw
        self._ledger.open(partition, raw.offset)
        try:
            message = self._filter.read(raw)
        except UnreadableMessageError as error:
            if self._unreadable is None:
                raise
            self._unreadable(raw, error)
            message = None
        self._stuck = None
        if message is not None and self._is_repeat(message.ce_id):
            message = None
        if message is None:
            self._ledger.close(partition, raw.offset)
        elif message.ce_id is not None:
            self._held.add(message.ce_id)
        return message

    def _is_repeat(self, identity: str | None) -> bool:
        return bool(self._remember) and (identity in self._window or identity in self._held)

    def again(self) -> Enriched | None:
        """Give a message that was read before and not finished, if there is one."""
        return self._again.popleft() if self._again else None

    @property
    def stuck(self) -> Raw | None:
        """The record that could not be read, and is to be taken before any other."""
        return self._stuck

    # -- handing over ----------------------------------------------------------------------------------

    def gather(self, message: Enriched) -> None:
        """Put a message to those that the body gets next."""
        self._gathered.append(message)

    @property
    def gathered(self) -> int:
        """Count them."""
        return len(self._gathered)

    def hand_over(self, messages: Iterable[Enriched] = ()) -> list[Enriched]:
        """Give the body what was gathered, and these."""
        self._hand, self._gathered, self._given_up = [*self._gathered, *messages], [], set()
        return self._hand

    @property
    def in_hand(self) -> list[Enriched]:
        """What the body has got and not finished."""
        return self._hand

    def finish(self, messages: Iterable[Enriched]) -> None:
        """Note that messages are done with: their offsets may be committed, and repeats are passed over."""
        for message in messages:
            if _partition(message.raw) not in self._given_up:
                self._ledger.close(_partition(message.raw), message.raw.offset)
            if message.ce_id is not None:
                self._held.discard(message.ce_id)
                self._window.add((message.ce_id,))

    def finish_hand(self) -> None:
        """Note that the body has finished what it had in hand."""
        hand, self._hand = self._hand, []
        self.finish(hand)
        self._given_up = set()

    def put_back(self, waiting: Iterable[Enriched] = ()) -> None:
        """Take back what is in hand, what was gathered, and these: they come again, before anything else."""
        hand = [one for one in self._hand if _partition(one.raw) not in self._given_up]
        self._again.extendleft(reversed([*hand, *self._gathered, *waiting]))
        self._hand, self._gathered, self._given_up = [], [], set()

    # -- committing ------------------------------------------------------------------------------------

    def due(self) -> dict[Partition, int]:
        """Give the offsets to commit."""
        return self._ledger.due()

    def committed(self, offsets: dict[Partition, int]) -> None:
        """Note what was committed."""
        self._ledger.committed(offsets)

    def revoke(self, partitions: Collection[Partition], waiting: Iterable[Enriched] = ()) -> None:
        """Give partitions up: their next owner reads what is not committed.

        What is in hand may still be finished: should it come to us again, it is passed over as a repeat.

        Args:
            partitions: those given up.
            waiting: messages that the stream held; those of other partitions come again.
        """
        gone = set(partitions)
        self._ledger.forget(gone)
        self._given_up |= gone
        kept = [one for one in (*self._gathered, *waiting, *self._again) if _partition(one.raw) not in gone]
        self._again, self._gathered = deque(kept), []
        if self._stuck is not None and _partition(self._stuck) in gone:
            self._stuck = None
        ours = [one for one in self._hand if _partition(one.raw) not in self._given_up]
        self._held = {one.ce_id for one in (*ours, *kept) if one.ce_id is not None}


def _partition(raw: Raw) -> Partition:
    return raw.topic, raw.partition
