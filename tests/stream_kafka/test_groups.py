"""Groups beside each other on one broker: what is one's own, and how a clash of names is found."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from fewnerd_stream.kafka import topics
from fewnerd_stream.operations.dead.replay import Order, Replay
from fewnerd_stream.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.flows import Flow


def _raw(text: str, name: str) -> bytes:
    return json.dumps({"id": name, "text": text}).encode()


def test_two_groups_on_one_input_leave_each_others_documents_alone(flow: Callable[..., Flow]) -> None:
    """Each tags, retries, buries and replays every document of the input by itself, and none of the other's."""
    one = flow(partitions=1, retry_delays="0.2,0.4", window_size=1)
    other = flow(partitions=1, retry_delays="0.2,0.4", window_size=1, input_topics=one.input)
    one.send([_raw("Paris", "a"), _raw("Hamlet !fail", "b"), b"bad"])
    workers = [(stream, stream.worker()) for stream in (one, other)]
    for stream, _ in workers:
        stream.wait_done()
        account = stream.account()
        assert account.duplicates == 0
        assert account.retried == {stream.retries[0]: 1, stream.retries[1]: 1}
        assert sorted(m.header("__fewnerd.reason") or b"" for m in stream.dead()) == [
            b"model-error",
            b"not-json",
        ]
    before = other.count(*other.retries)
    assert asyncio.run(Replay(one.settings, one.input, Order(), run="r").run()).replayed == 2
    one.wait_count(3, one.retries[0])
    one.wait_done()
    assert other.count(*other.retries) == before
    for stream, worker in workers:
        stream.stop(worker)


def test_a_group_whose_topics_another_group_uses_is_told_so(flow: Callable[..., Flow], unique: str) -> None:
    """`a` on `b.c` and `a.b` on `c` would have one set of retry topics: the check names the other group."""
    inner = flow(partitions=1, retry_delays="0.2", group=f"{unique}.b", input_topics=f"{unique}c")
    worker = inner.worker()
    outer = load_settings(
        bootstrap_servers=inner.bootstrap,
        group=unique,
        input_topics=f"b.{unique}c",
        output_prefix=f"{unique}-outer",
        retry_delays="0.2",
    )
    assert outer.topology.inputs[0].retries == inner.retries
    errors = [one.message for one in asyncio.run(topics.check_topics(outer)) if one.severity == "error"]
    (clash,) = [message for message in errors if "uses this topic" in message]
    assert f"the group {inner.group} uses this topic, too, for its input {inner.input}" in clash
    assert asyncio.run(topics.check_topics(inner.settings)) == []
    inner.stop(worker)
