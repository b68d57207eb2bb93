"""The consumer's thread: what it hears, and what aiokafka keeps to itself."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import CommitFailedError, GroupAuthorizationFailedError, KafkaError

from fewnerd_stream.delivery.faust.thread import ConsumerThread


class Coordinator:
    """Stands for aiokafka's: at work, with or without an error that waits to be looked at."""

    def __init__(self) -> None:
        """Be at work."""
        self._coordination_task: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._heartbeat_task: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.error: KafkaError | None = None
        self.generation = 5
        self.commits: list[Any] = []
        self._commit_lock = asyncio.Lock()
        self.rejoins = 0

    def check_errors(self) -> None:
        """Raise what waits, once."""
        error, self.error = self.error, None
        if error is not None:
            raise error

    async def _do_commit_offsets(self, _: None, plan: Any) -> None:
        self.commits.append(plan)

    def request_rejoin(self) -> None:
        """Count it."""
        self.rejoins += 1


def thread(coordinator: Coordinator) -> Any:
    """Make a thread without its services, and a list of what it says."""

    class Bare(ConsumerThread):
        should_stop = False

    made: Any = Bare.__new__(Bare)
    fetcher = SimpleNamespace(_fetch_task=asyncio.get_running_loop().create_future())
    made._consumer = SimpleNamespace(_coordinator=coordinator, _fetcher=fetcher)
    made.said = []
    made.app = SimpleNamespace(delivery=SimpleNamespace(progress=SimpleNamespace(waiting=made.said.append)))
    made.parent_loop = asyncio.get_running_loop()
    return made


async def test_an_error_that_holds_the_coordination_up_is_said_and_cleared() -> None:
    """Else the group would go on without this worker, which sends its heartbeats and seems to be well."""
    coordinator = Coordinator()
    made = thread(coordinator)
    coordinator.error = GroupAuthorizationFailedError("group")
    made.look()
    made.look()
    await asyncio.sleep(0)
    assert len(made.said) == 1
    assert "GroupAuthorizationFailed" in made.said[0]
    assert made.broken == ""


async def test_heartbeats_that_ended_are_started_again_by_a_join() -> None:
    """An error that aiokafka does not know ends its heartbeats for good."""
    coordinator = Coordinator()
    coordinator._heartbeat_task.set_exception(KafkaError("unexpected"))
    thread(coordinator).look()
    assert coordinator.rejoins == 1


@pytest.mark.parametrize("part", ["coordination", "fetch"])
async def test_a_client_that_has_stopped_working_is_noticed(part: str) -> None:
    """Nothing would be read any more, or nothing shared out anew, with nobody the wiser."""
    coordinator = Coordinator()
    made = thread(coordinator)
    task = coordinator._coordination_task if part == "coordination" else made._consumer._fetcher._fetch_task
    task.set_exception(KafkaError("over"))
    made.look()
    assert "over" in made.broken


async def test_a_commit_is_sent_in_its_own_generation_or_not_at_all() -> None:
    """Else positions of before a rebalance could overwrite what a partition's new owner has committed since."""
    coordinator = Coordinator()
    made = thread(coordinator)
    await made.commit_once({"a": 1}, 5)
    coordinator.generation = 6
    with pytest.raises(CommitFailedError):
        await made.commit_once({"a": 2}, 5)
    assert coordinator.commits == [{"a": 1}]
