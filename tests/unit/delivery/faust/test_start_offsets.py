"""Where a worker goes on after the group has changed, and what a change in the middle of it leaves behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaTimeoutError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.types import TP

from fewnerd_stream.delivery.delay import Delays
from fewnerd_stream.delivery.faust.start_offsets import StartOffsets
from fewnerd_stream.delivery.faust.transport import Consumer
from fewnerd_stream.delivery.ledger import Partition
from fewnerd_stream.delivery.read_ahead import ReadAhead
from fewnerd_stream.delivery.state import State
from fewnerd_stream.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IN = [TopicPartition("raw-documents", number) for number in range(3)]
RETRY = TopicPartition("fewnerd-stream.raw-documents.retry.1", 0)


class Thread:
    """Stands for the consumer thread, its client and the broker."""

    def __init__(self) -> None:
        """Start with empty logs and no commits."""
        self.commits: dict[TopicPartition, OffsetAndMetadata] = {}
        self.begins: dict[TopicPartition, int] = {}
        self.ends: dict[TopicPartition, int] = {}
        self.sought: dict[Partition, int] = {}
        self.errors: list[Exception] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self.rejoins = 0
        self.ids: dict[str, str] = {}
        self.holding: set[str] = set()

    @property
    def client(self) -> Any:
        """It is its own client and coordinator."""
        return self

    _coordinator = client

    def partitions_for_topic(self, topic: str) -> set[int]:
        """Name a topic's partitions."""
        return {0, 1, 2} if topic == IN[0].topic else {0}

    async def topic_ids(self, topics: set[str]) -> dict[str, str]:
        """Tell what is known."""
        return {name: self.ids[name] for name in topics if name in self.ids}

    async def used(self, topics: list[str]) -> set[str]:
        """Tell which hold something."""
        return self.holding & set(topics)

    async def fetch_committed_offsets(self, asked: list[TopicPartition]) -> dict[TopicPartition, Any]:
        """Answer, fail, or let something happen meanwhile."""
        if self.errors:
            raise self.errors.pop(0)
        self.meanwhile()
        return {tp: self.commits[tp] for tp in asked if tp in self.commits}

    async def beginning_offsets(self, asked: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Answer."""
        return {tp: self.begins.get(tp, 0) for tp in asked}

    async def end_offsets(self, asked: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Answer."""
        return {tp: self.ends.get(tp, 0) for tp in asked}

    async def commit_once(self, plan: dict[TopicPartition, OffsetAndMetadata], _: int) -> None:
        """Store."""
        self.commits |= plan

    async def share_memory(self, _: int) -> None:
        """Do nothing."""

    async def go_to(self, plan: dict[Partition, int]) -> None:
        """Seek."""
        self.sought |= plan

    async def here(self, coroutine: Any) -> Any:
        """Run it."""
        return await coroutine

    def rejoin(self) -> None:
        """Count it."""
        self.rejoins += 1


class Ended(Exception):  # noqa: N818 - no error
    """The process was ended."""


def consumer(tmp_path: Path, *assigned: TopicPartition, **settings: Any) -> Any:
    """Make a consumer without its services, to which partitions were just assigned."""

    def end(reason: str, code: object) -> None:
        raise Ended(reason, code)

    made: Any = Consumer.__new__(Consumer)
    made.delivery = State(load_settings(health_file=tmp_path / "health.json", **settings), end)
    made._thread = Thread()
    made.delays = Delays()
    made._read_ahead = ReadAhead(100, 1_000_000, 64)
    made._places = StartOffsets(made.delivery, made)
    made.assignment = lambda: {TP(*tp) for tp in assigned}
    made._turn, made._generation, made._to_place = 1, 5, True
    return made


def position(made: Any, tp: TopicPartition) -> int | None:
    """Say where a partition's account stands."""
    found: int | None = made.delivery.ledger.position(Partition(*tp))
    return found


async def test_each_partition_is_sought_to_its_commit_and_to_no_other_offset(tmp_path: Path) -> None:
    """Also to offset 0, which Faust leaves out; the metadata comes along."""
    made = consumer(tmp_path, IN[0], IN[1])
    made._thread.commits = {
        IN[0]: OffsetAndMetadata(0, ""),
        IN[1]: OffsetAndMetadata(7, "fewnerd:1;starts=4;until=9"),
    }
    await made.perform_seek()
    assert made._thread.sought == {IN[0]: 0, IN[1]: 7}
    assert (position(made, IN[0]), position(made, IN[1])) == (0, 7)
    assert made.delivery.crashes.suspect()


async def test_what_is_placed_is_not_placed_anew(tmp_path: Path) -> None:
    """A seek in between goes on behind what was delivered; no account goes back for it."""
    made = consumer(tmp_path, IN[0])
    await made.perform_seek()
    made.delivery.ledger.deliver(Partition(*IN[0]), 0)
    await made.perform_seek()
    assert made._thread.sought == {IN[0]: 1}
    assert made.delivery.ledger.in_flight == 1


async def test_a_change_of_the_group_meanwhile_ends_the_placing(tmp_path: Path) -> None:
    """Nothing flows for an assignment that is gone."""
    made = consumer(tmp_path, IN[0])

    def change() -> None:
        made._turn += 1

    made._thread.meanwhile = change
    with pytest.raises(IllegalStateError):
        await made.perform_seek()
    assert made.delivery.progress.partitions == []


async def test_records_do_not_flow_when_the_group_changes_during_the_seek(tmp_path: Path) -> None:
    """Faust would let them, in the middle of the drain."""
    made = consumer(tmp_path, IN[0])
    go_to = made._thread.go_to

    async def changed(plan: dict[Partition, int]) -> None:
        made._turn += 1
        await go_to(plan)

    made._thread.go_to = changed
    with pytest.raises(IllegalStateError):
        await made.perform_seek()


async def test_a_refused_commit_ends_the_placing_and_not_the_worker(tmp_path: Path) -> None:
    """The group has moved on: the worker joins again, where trying on would never end."""
    made = consumer(tmp_path, IN[0])
    made._thread.errors = [CommitFailedError("too late")]
    with pytest.raises(IllegalStateError):
        await made.perform_seek()
    assert made._thread.rejoins == 1


async def test_a_broker_that_does_not_answer_is_waited_for(tmp_path: Path) -> None:
    """And it is said."""
    made = consumer(tmp_path, IN[0])
    made._thread.errors = [KafkaTimeoutError()]
    await made.perform_seek()
    assert position(made, IN[0]) == 0


@pytest.mark.parametrize(("siblings", "expected"), [({}, 40), ({IN[2]: OffsetAndMetadata(3, "")}, 0)])
async def test_a_partition_that_joins_a_known_topic_is_read_whole(
    tmp_path: Path, siblings: dict[TopicPartition, Any], expected: int
) -> None:
    """Even with `start = latest`, and even when the partitions that make it known are another worker's."""
    made = consumer(tmp_path, IN[0], start="latest")
    made._thread.commits = dict(siblings)
    made._thread.ends = {IN[0]: 40}
    await made.perform_seek()
    assert position(made, IN[0]) == expected
    assert made._thread.commits[IN[0]].offset == expected


@pytest.mark.parametrize("allowed", [False, True])
async def test_offsets_that_were_deleted_unread_are_loss(tmp_path: Path, allowed: bool) -> None:  # noqa: FBT001
    """When a fetch is refused, the log's start is held against the position: the worker ends, or goes on if told."""
    made = consumer(tmp_path, IN[0], allow_loss=allowed)
    made._thread.commits = {IN[0]: OffsetAndMetadata(10, "")}
    await made.perform_seek()
    made._thread.begins = {IN[0]: 25}
    made._thread.ends = {IN[0]: 30}
    if allowed:
        await made._places.reopen([Partition(*IN[0])])
        assert made._thread.sought == {IN[0]: 25}
    else:
        with pytest.raises(Ended, match="15 offsets"):
            await made._places.reopen([Partition(*IN[0])])
    assert made.delivery.progress.counts["lost"] == 15


async def test_a_topic_made_anew_is_read_from_its_start_by_the_next_worker(tmp_path: Path) -> None:
    """What is at work belongs to the topic before, so its accounts cannot go on."""
    made = consumer(tmp_path, RETRY)
    made._thread.commits = {RETRY: OffsetAndMetadata(19, "")}
    await made.perform_seek()
    made._thread.ends = {RETRY: 4}
    with pytest.raises(Ended, match="made anew"):
        await made._places.reopen([Partition(*RETRY)])
    assert made._thread.commits[RETRY].offset == 0


OLD, NEW = "o" * 22, "n" * 22


async def test_a_topic_that_was_made_anew_is_read_from_its_beginning(tmp_path: Path) -> None:
    """Also where it is longer than the old one was read, and a new group would begin at the end; and it is said."""
    made = consumer(tmp_path, IN[0], IN[1], start="latest")
    made._thread.ids = {IN[0].topic: NEW}
    made._thread.commits = {
        IN[0]: OffsetAndMetadata(20, f"fewnerd:1;starts=2;until=21;topic={OLD}"),
        IN[1]: OffsetAndMetadata(7, f"fewnerd:1;topic={NEW}"),
    }
    made._thread.begins, made._thread.ends = {IN[0]: 3}, {IN[0]: 50}
    await made.perform_seek()
    assert made._thread.sought == {IN[0]: 3, IN[1]: 7}
    assert made._thread.commits[IN[0]] == OffsetAndMetadata(3, f"fewnerd:1;topic={NEW}")


@pytest.mark.parametrize("metadata", ["", "fewnerd:1;starts=2;until=21", "somebody's"])
async def test_a_commit_that_names_no_topic_is_believed(tmp_path: Path, metadata: str) -> None:
    """It was stored before commits did, or by a broker that tells no ids; from now on they name it."""
    made = consumer(tmp_path, IN[0])
    made._thread.ids = {IN[0].topic: NEW}
    made._thread.commits = {IN[0]: OffsetAndMetadata(20, metadata)}
    await made.perform_seek()
    assert made._thread.sought == {IN[0]: 20}
    assert made.delivery.metadata(Partition(*IN[0])).endswith(f";topic={NEW}")


@pytest.mark.parametrize("start", ["earliest", "latest"])
async def test_a_group_whose_commits_were_forgotten_reads_what_waits(
    tmp_path: Path, start: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its topics hold what it made before, so it is not new: nothing is passed over, and it says what has happened."""
    made = consumer(tmp_path, IN[0], start=start)
    made._thread.begins, made._thread.ends = {IN[0]: 4}, {IN[0]: 50}
    made._thread.holding = {"entities.person"}
    await made.perform_seek()
    assert made._thread.sought == {IN[0]: 4}
    assert "offsets.retention.minutes" in caplog.text


async def test_a_group_that_made_nothing_yet_is_new(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It starts where it was told to, and there is nothing to say."""
    made = consumer(tmp_path, IN[0], start="latest")
    made._thread.ends = {IN[0]: 50}
    await made.perform_seek()
    assert made._thread.sought == {IN[0]: 50}
    assert not [record for record in caplog.records if record.levelname != "INFO"]


async def test_an_input_whose_commits_went_with_it_is_known_by_its_retries(tmp_path: Path) -> None:
    """A topic that was deleted and made anew under a running worker is read whole, wherever a new group would start."""
    made = consumer(tmp_path, IN[0], RETRY, start="latest")
    made._thread.commits = {RETRY: OffsetAndMetadata(0, "")}
    made._thread.begins, made._thread.ends = {IN[0]: 0}, {IN[0]: 50}
    await made.perform_seek()
    assert made._thread.sought == {IN[0]: 0, RETRY: 0}
