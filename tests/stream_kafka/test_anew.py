"""What the broker does not remember, or was made anew under an old name: nothing is passed over, and it is said."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AdminClient

from tests.support import clients
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.flows import Flow


def raw(name: str) -> bytes:
    """Make a document with one location in it."""
    return b'{"id":"%b","text":"Paris"}' % name.encode()


def ids(stream: Flow) -> list[str]:
    """Give the ids of the documents that came out."""
    return [message.json()["id"] for message in stream.category("location")]


def make_anew(stream: Flow, documents: int) -> None:
    """Delete the input topic, create it again, and send to it."""
    clients.delete_topic(stream.bootstrap, stream.input)
    until("it is gone", lambda: not stream.observer.partitions([stream.input]), 30)
    clients.create_topics(stream.bootstrap, {stream.input: 1}, config={"max.message.bytes": str(2 << 20)})
    stream.send(raw(f"new{n}") for n in range(documents))


@pytest.mark.parametrize("documents", [3, 30], ids=["shorter than it was read", "longer"])
@pytest.mark.parametrize("running", [True, False], ids=["while a worker runs", "between two runs"])
def test_an_input_made_anew_is_read_whole_under_other_names(
    flow: Callable[..., Flow], documents: int, *, running: bool
) -> None:
    """Every new document comes out, and none under a ``ce_id`` that a subscriber has seen on an old one."""
    stream = flow(partitions=1)
    stream.send(raw(f"old{n}") for n in range(10))
    worker = stream.worker()
    stream.wait_done()
    if not running:
        stream.stop(worker)
    make_anew(stream, documents)
    if not running:
        stream.start(worker)
    until("the new documents are done", lambda: {f"new{n}" for n in range(documents)} <= set(ids(stream)), 90)
    named: dict[bytes | None, str] = {}
    for message in stream.category("location"):
        assert named.setdefault(message.header("ce_id"), message.json()["id"]) == message.json()["id"]
    assert {f"new{n}" for n in range(documents)} <= set(named.values())
    stream.stop(worker)


@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_a_group_whose_commits_were_forgotten_loses_nothing(flow: Callable[..., Flow], start: str) -> None:
    """Wherever a new group would start, it reads what waits, and says what has happened."""
    stream = flow(partitions=1, start=start)
    worker = stream.worker()
    stream.send(raw(f"a{n}") for n in range(5))
    stream.wait_done()
    stream.stop(worker)
    stream.send(raw(f"b{n}") for n in range(5))
    forget(stream)
    stream.start(worker)
    until("what waited is done", lambda: {f"b{n}" for n in range(5)} <= set(ids(stream)), 60)
    assert "offsets.retention.minutes" in worker.said()
    stream.stop(worker)


def forget(stream: Flow) -> None:
    """Have the broker forget a group's commits, as it does in time with those of a group without workers."""
    admin = AdminClient({"bootstrap.servers": stream.bootstrap})
    for future in admin.delete_consumer_groups([stream.group]).values():
        future.result(30)
    time.sleep(0.5)
