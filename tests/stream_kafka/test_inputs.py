"""Input as Kafka can hold it: in each codec, in transactions, compacted, grown, and gone before it was read."""

from __future__ import annotations

import base64
import json
import random
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fewnerd_stream.exits import Exit
from tests.support import clients
from tests.support.clients import New
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.flows import Flow


def raw(text: str, name: str = "d") -> bytes:
    """Write a raw document."""
    return json.dumps({"id": name, "text": text}).encode()


def texts(stream: Flow) -> list[str]:
    """Read the texts of the enriched documents that have a place in them, in their order."""
    return [message.json()["document"]["text"] for message in stream.category("location")]


def test_input_is_read_in_every_codec(flow: Callable[..., Flow]) -> None:
    """Batches packed with gzip, snappy, lz4, zstd or not at all are read alike."""
    stream = flow(partitions=1)
    expected = []
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        expected += [f"Paris {codec} {n}" for n in range(30)]
        stream.send([raw(text) for text in expected[-30:]], compression_type=codec)
    worker = stream.worker()
    stream.wait_done()
    assert stream.account().duplicates == 0
    assert texts(stream) == expected
    stream.stop(worker)


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd", "none"])
def test_output_is_written_in_every_codec(flow: Callable[..., Flow], codec: str) -> None:
    """What is published in each codec is read by another client, and lies on the topic packed with it."""
    stream = flow(partitions=1, compression=codec)
    stream.send([raw(f"Paris {n}") for n in range(20)])
    worker = stream.worker()
    stream.wait_done()
    assert stream.account().duplicates == 0
    assert len(texts(stream)) == 20
    stream.stop(worker)


def test_only_what_was_committed_is_read_of_transactions(flow: Callable[..., Flow]) -> None:
    """Aborted records are never enriched, open ones wait, and the commit passes the markers at the end."""
    stream = flow(partitions=1)
    topic = stream.input
    stream.send([raw(f"Paris yes {n}") for n in range(10)], transactional=f"{topic}-a")
    stream.send([raw(f"Paris no {n}") for n in range(10)], transactional=f"{topic}-a", abort=True)
    stream.send([raw(f"Paris plain {n}") for n in range(5)])
    stream.send([raw(f"Paris no {n}") for n in range(10)], transactional=f"{topic}-b", abort=True)
    worker = stream.worker()
    stream.wait_done()
    expected = [f"Paris yes {n}" for n in range(10)] + [f"Paris plain {n}" for n in range(5)]
    assert texts(stream) == expected
    assert stream.committed() == 10 + 1 + 10 + 1 + 5 + 10 + 1
    stream.stop(worker)
    # A restart begins behind the markers, and goes on.
    stream.send([raw("Paris again")])
    stream.start(worker)
    stream.wait_done()
    assert texts(stream) == [*expected, "Paris again"]
    stream.account()
    stream.stop(worker)


def test_uncommitted_records_are_read_if_asked_for(flow: Callable[..., Flow]) -> None:
    """With `read_uncommitted` records of aborted transactions are documents like others."""
    stream = flow(partitions=1, isolation="read_uncommitted")
    stream.send([raw("Paris 1")], transactional=f"{stream.input}-a", abort=True)
    stream.send([raw("Paris 2")])
    worker = stream.worker()
    stream.wait_done()
    assert texts(stream) == ["Paris 1", "Paris 2"]
    stream.stop(worker)


def test_a_compacted_input_is_read_over_its_holes(flow: Callable[..., Flow]) -> None:
    """Holes that compaction left, and tombstones, hold nothing up, and are passed by the commit."""
    stream = flow(partitions=1, window_size=4)
    quick = {
        "cleanup.policy": "compact",
        "segment.ms": "100",
        "min.cleanable.dirty.ratio": "0.01",
        "max.compaction.lag.ms": "100",
        "delete.retention.ms": "100000",
    }
    clients.alter_topic(stream.bootstrap, stream.input, quick)
    for turn in range(3):
        stream.send([New(raw(f"Paris {n} in turn {turn}"), str(n).encode()) for n in range(0, 40, turn + 1)])
    stream.send([New(None, b"7")])
    end = 40 + 20 + 14 + 1

    def compacted() -> bool:
        # Only a closed segment is compacted, and only a new record closes it.
        stream.send([New(raw("Paris last"), b"last")])
        return len(stream.observer.read([stream.input])) < end

    until("it is compacted", compacted, 120, every=1)
    left = stream.observer.read([stream.input])
    offsets = [message.offset for message in left]
    assert offsets != list(range(offsets[0], offsets[-1] + 1))
    worker = stream.worker()
    stream.wait_done()
    read = [m.json()["source"]["offset"] for m in stream.category("location")]
    assert read == [message.offset for message in left if message.value is not None]
    assert [m.header("__fewnerd.reason") for m in stream.dead()] == [b"tombstone"]
    stream.stop(worker)


def test_start_latest_leaves_out_what_was_there_before(flow: Callable[..., Flow]) -> None:
    """A new group that starts at the latest begins there for good, also when its first worker is killed at once."""
    stream = flow(partitions=2, start="latest")
    stream.send([New(raw(f"Paris old {n}"), partition=n % 2) for n in range(10)])
    worker = stream.worker()
    until("its place is kept", lambda: stream.committed() == 10, 30)
    stream.kill(worker)
    stream.send([New(raw(f"Paris new {n}"), partition=n % 2) for n in range(10)])
    stream.start(worker)
    stream.wait_done()
    assert sorted(texts(stream)) == [f"Paris new {n}" for n in range(10)]
    stream.stop(worker)


def test_a_partition_that_joins_later_is_read_from_its_beginning(flow: Callable[..., Flow]) -> None:
    """When an input topic grows, all that is written to its new partitions is read, wherever the group started."""
    streams = [flow(partitions=1, start=start) for start in ("earliest", "latest")]
    for stream in streams:
        workers = [stream.worker(start=False) for _ in range(2)]
        for worker in workers:
            worker.start(wait=False)
        for worker in workers:
            worker.wait_state("assigned")

        def kept(stream: Flow = stream) -> bool:
            return 0 in stream.observer.committed(stream.group, stream.inputs).values()

        until("its place is kept", kept)
        stream.send([New(raw(f"Paris {n}"), partition=0) for n in range(5)])
        stream.wait_committed(5)
        clients.add_partitions(stream.bootstrap, stream.input, 3)
        stream.send([New(raw(f"Paris {n}"), partition=n % 3) for n in range(5, 35)])
    for stream in streams:
        stream.wait_done()
        assert sorted(texts(stream)) == sorted(f"Paris {n}" for n in range(35))
        assert stream.account().duplicates == 0
        for worker in stream.workers:
            stream.stop(worker)


def test_loss_by_retention_before_the_start_is_said_and_stops(flow: Callable[..., Flow]) -> None:
    """Offsets that the broker deleted unread are said with their count: exit 1, until the loss is allowed."""
    stream = flow(partitions=1)
    stream.send([raw(f"Paris {n}") for n in range(10)])
    worker = stream.worker()
    stream.wait_done()
    stream.stop(worker)
    stream.send([raw(f"Paris {n}") for n in range(10, 30)])
    clients.delete_records(stream.bootstrap, stream.input, 0, 23)
    worker.start(wait=False)
    assert worker.wait(60) == Exit.FAILURE
    assert "LOST: 13 offsets" in worker.said()
    assert "FEWNERD_ALLOW_LOSS" in worker.said()
    assert stream.committed() == 10
    allowed = stream.worker(allow_loss="true")
    stream.wait_done()
    assert allowed.health()["lost"] == 13
    assert texts(stream) == [f"Paris {n}" for n in (*range(10), *range(23, 30))]
    stream.stop(allowed)


def test_loss_by_retention_while_running_is_said_and_stops(flow: Callable[..., Flow]) -> None:
    """Offsets that the broker deletes before a slow worker has come to them are said with their count, too."""
    stream = flow(partitions=1, window_size=1, windows_in_flight=1, max_poll_records=4)
    # Records so large that no fetch brings more than a few.
    filler = "x" * 900_000
    stream.send([raw(f"Paris {n} !slow=0.5 {filler}") for n in range(30)])
    worker = stream.worker(start=False)
    worker.start(wait=False)
    stream.wait_committed(2)
    clients.delete_records(stream.bootstrap, stream.input, 0, 28)
    assert worker.wait(120) == Exit.FAILURE
    assert "LOST: " in worker.said()
    allowed = stream.worker(allow_loss="true")
    stream.wait_done()
    done = {message.json()["source"]["offset"] for message in stream.category("location")}
    assert len(done) == 30 - allowed.health()["lost"]
    assert {28, 29} <= done
    stream.stop(allowed)


def test_a_topic_made_anew_is_read_from_its_beginning(flow: Callable[..., Flow]) -> None:
    """An input topic that was deleted and made again under the same name is read whole by a worker that starts then."""
    stream = flow(partitions=1)
    stream.send([raw(f"Paris {n}") for n in range(20)])
    worker = stream.worker()
    stream.wait_done()
    stream.stop(worker)
    clients.delete_topic(stream.bootstrap, stream.input)
    until("it is gone", lambda: not stream.observer.partitions([stream.input]), 30)
    clients.create_topics(stream.bootstrap, {stream.input: 1}, config={"max.message.bytes": str(2 << 20)})
    stream.send([raw(f"Paris anew {n}") for n in range(5)])
    stream.start(worker)
    stream.wait_done()
    assert texts(stream)[20:] == [f"Paris anew {n}" for n in range(5)]
    stream.stop(worker)


def test_input_that_is_larger_than_its_topic_once_it_is_unpacked(flow: Callable[..., Flow]) -> None:
    """A packed record may hold more than the topic's limit: it is dead of its size, and holds nothing up."""
    stream = flow(partitions=1)
    big, larger = raw("Paris " * 1_000_000), raw("Paris " * 2_000_000)
    assert 2 * stream.settings.max_message_bytes < len(big) < stream.settings.max_result_bytes < len(larger)
    # librdkafka looks at a record's size before it packs it.
    limits = {"compression_type": "gzip", "message_max_bytes": str(64 << 20), "batch_size": "1"}
    stream.send([big, larger, raw("Paris")], **limits)
    worker = stream.worker()
    stream.wait_done()
    assert texts(stream) == ["Paris"]
    letter, without = stream.dead()
    assert letter.header("__fewnerd.reason") == b"text-too-large"
    assert letter.value == big
    # What is longer than any record that is written is not kept.
    assert without.header("__fewnerd.reason") == b"record-too-large"
    assert without.value is None
    assert without.header("__fewnerd.size.value") == b"%d" % len(larger)
    stream.stop(worker)


ALONE = {"message_max_bytes": str(64 << 20), "batch_size": "1"}
"""Options of a producer for large records, each in a batch of its own."""
MIB = 1 << 20


def peak(pid: int) -> int:
    """Tell the most memory that a process ever had, in MiB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


def test_no_record_stops_a_partition_for_its_size(flow: Callable[..., Flow]) -> None:
    """What fits the input packed and nothing else, and what unpacks without end, is dead without its value."""
    stream = flow(partitions=1)
    # 6 bits of 8: packed by zstd it fits, and by lz4, as the worker packs, it does not.
    hard = raw(base64.b64encode(random.Random(1).randbytes(1_900_000)).decode())
    [place] = stream.send([New(hard, b"hard", (("h", b"1"),))], compression_type="zstd", **ALONE)
    bomb = b'{"id": "bomb", "text": "' + b"a" * (40 * MIB) + b'"}'
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        stream.send([bomb], compression_type=codec, **ALONE)
    stream.send([raw(f"Paris {n}") for n in range(20)])
    worker = stream.worker()
    stream.wait_done()
    assert stream.account().duplicates == 0
    assert len(texts(stream)) == 20
    dead = stream.dead()
    assert [letter.header("__fewnerd.reason") for letter in dead] == [b"record-too-large"] * 5
    assert all(letter.value is None for letter in dead)
    [known] = [letter for letter in dead if letter.key == b"hard"]
    assert clients.first_place(known) == place
    assert known.header("h") == b"1"
    assert known.header("__fewnerd.size.value") == b"%d" % len(hard)
    assert "is refused" in worker.said() or "refuses a record for its size" in worker.said()
    assert peak(worker.pid) < 400
    stream.stop(worker)


def test_headers_that_outgrow_their_room_stop_nothing(flow: Callable[..., Flow]) -> None:
    """A record at its input topic's limit, whose letter finds no room, is dead without value and headers."""
    stream = flow(partitions=1, max_message_bytes=200_000, max_text_bytes=100_000, compression="none")
    many = tuple((f"h{n}", b"x" * 20) for n in range(3000))
    noise = base64.b64encode(random.Random(2).randbytes(70_000))
    for topic in (stream.retries[0], stream.settings.topology.inputs[0].dead):
        clients.alter_topic(stream.bootstrap, topic, {"max.message.bytes": "150000"})
    stream.send([New(noise, b"large", many)], **ALONE)
    stream.send(
        [New(json.dumps({"id": "r", "text": "!fail", "x": noise.decode()}).encode(), b"retry", many)], **ALONE
    )
    stream.send([raw("Paris")])
    worker = stream.worker(checked=False)
    stream.wait_done()
    assert len(texts(stream)) == 1
    letters = {letter.key: letter for letter in stream.dead()}
    assert {key: letter.header("__fewnerd.reason") for key, letter in letters.items()} == {
        b"large": b"record-too-large",
        b"retry": b"record-too-large",
    }
    for letter in letters.values():
        assert letter.value is None
        assert letter.header("h0") is None
        assert int(letter.header("__fewnerd.size.headers") or b"") > 60_000
    stream.stop(worker)


def test_memory_is_bounded_whatever_comes_in(flow: Callable[..., Flow]) -> None:
    """Texts of a megabyte full of entities, batches that unpack to many, and retries that wait, by the hundred."""
    stream = flow(partitions=4, retry_delays="60,90")
    worker = stream.worker()
    due = str(int((time.time() + 50) * 1000)).encode()
    place = (("attempt", b"1"), ("replay", b"0"), ("topic", stream.input.encode()), ("partition", b"0"))
    ours = tuple(
        (f"__fewnerd.{name}", value) for name, value in (*place, ("offset", b"0"), ("not-before", due))
    )
    waiting = raw("a" * (MIB - 100))
    for part in range(4):
        stream.send(
            [New(waiting, partition=part, headers=ours)] * 40,
            topic=stream.retries[0],
            compression_type="lz4",
            message_max_bytes=str(64 << 20),
        )
    full = raw("Paris, " * (MIB // 7 - 10))
    for part in range(4):
        stream.send(
            [New(full, partition=part)] * 2,
            compression_type="zstd",
            message_max_bytes=str(64 << 20),
        )
    stream.wait_committed(8)
    assert {letter.header("__fewnerd.reason") for letter in stream.dead()} == {b"result-too-large"}
    assert peak(worker.pid) < 500
    stream.stop(worker)
