"""The group changes at the worst moments: windows outlast the drain, the broker refuses, it never comes to rest."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from tests.support import clients
from tests.support.clients import New
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.flows import Flow
    from tests.support.workers import Worker


def raw(text: str, name: str = "d") -> bytes:
    """Write a raw document."""
    return json.dumps({"id": name, "text": text}).encode()


def load(count: int, text: str) -> list[New]:
    """Write documents over all partitions."""
    return [New(raw(text.replace("{n}", str(n)), f"d{n}"), f"k{n}".encode()) for n in range(count)]


def share(stream: Flow, *workers: Worker) -> None:
    """Wait until the workers own all of the flow's partitions together, each some."""
    every = len(stream.observer.partitions([*stream.inputs, *stream.retries]))

    def settled() -> bool:
        owned = [worker.health().get("assigned", []) for worker in workers]
        return all(owned) and len({tp for each in owned for tp in each}) == sum(map(len, owned)) == every

    until("the group has settled", settled, 120)


def test_windows_that_outlast_the_drain_are_let_go_and_done_again(flow: Callable[..., Flow]) -> None:
    """Workers join and leave while each window takes longer than the drain: nothing is lost, published late or dead."""
    stream = flow(partitions=3, window_size=4, drain=0.3)
    stream.send(load(120, "Angela Merkel in Paris {n} !slow=0.4"))
    first = stream.worker()
    stream.wait_committed(8)
    second = stream.worker()
    share(stream, first, second)
    stream.wait_committed(24)
    third = stream.worker()
    stream.wait_committed(48)
    stream.stop(second)
    stream.wait_committed(72)
    stream.stop(first)
    stream.wait_done()
    account = stream.account()
    # Four changes of the group; in each every worker lets go of its windows, which may be stored in part.
    assert account.duplicates <= 4 * 3 * (4 * 3) * 2
    assert stream.dead() == []
    assert "letting go of documents" in first.said()
    stream.stop(third)


def test_a_group_that_changes_again_and_again_condemns_no_document(flow: Callable[..., Flow]) -> None:
    """Seven changes of the group before a slow head is done count as no crash of it."""
    stream = flow(partitions=1, window_size=2, drain=0.2, session_timeout=3)
    stream.send(load(4, "Paris {n} !slow=8"))
    first = stream.worker()
    for _ in range(7):
        with stream.worker() as other:
            share(stream, first, other)
            stream.stop(other)
    assert stream.committed() == 0, "the head was done too soon: nothing was shown"
    stream.wait_done(280)
    stream.account()
    assert stream.dead() == []
    assert "one document at a time" not in first.said()
    stream.stop(first)


def test_a_worker_that_joins_while_the_broker_refuses_waits_too(flow: Callable[..., Flow]) -> None:
    """The group changes while an output topic refuses: windows are let go, and get through with their new owner."""
    stream = flow(partitions=2, window_size=4, drain=1)
    person = f"{stream.settings.output_prefix}.person"
    first = stream.worker()
    clients.alter_topic(stream.bootstrap, person, {"cleanup.policy": "compact"})
    documents = load(60, "Angela Merkel in Paris {n}")
    stream.send([dataclasses.replace(one, key=None, partition=n % 2) for n, one in enumerate(documents)])
    first.wait_state("waiting")
    second = stream.worker(checked=False)
    share(stream, first, second)
    for worker in (first, second):
        worker.wait_state("waiting")
    assert stream.committed() == 0
    stream.stop(first)
    clients.alter_topic(stream.bootstrap, person, {"cleanup.policy": "delete"})
    stream.wait_done()
    # What one category took while the other refused is stored again by each that tries.
    assert stream.account().duplicates <= 4 * 4 * 3
    assert stream.dead() == []
    stream.stop(second)


def test_commits_never_go_back(flow: Callable[..., Flow]) -> None:
    """While workers come, go, freeze and die, no committed offset is ever seen to go back."""
    stream = flow(partitions=2, window_size=4, drain=1, session_timeout=3)
    stream.send(load(400, "Paris {n} !slow=0.08"))
    seen: dict[tuple[str, int], int] = {}

    def watch() -> bool:
        for partition, offset in stream.observer.committed(stream.group, stream.inputs).items():
            assert offset >= seen.get(partition, -1001), (
                f"{partition} went back from {seen[partition]} to {offset}"
            )
            seen[partition] = offset
        return True

    def watched(offsets: int) -> None:
        until(f"{offsets} offsets are committed", lambda: watch() and stream.committed() >= offsets, 150)

    first = stream.worker()
    watched(40)
    second = stream.worker()
    watched(100)
    first.pause()
    watched(160)
    first.resume()
    watched(200)
    stream.kill(second)
    watched(240)
    third = stream.worker()
    watched(300)
    stream.stop(first)
    until("all is done", lambda: watch() and stream.lag() == 0, 150)
    assert stream.account().duplicates <= 3 * 4 * 3
    stream.stop(third)
