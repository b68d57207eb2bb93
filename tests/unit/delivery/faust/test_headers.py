"""Batches whose headers are named in any bytes are read whole, with aiokafka's own fetcher on top."""

from __future__ import annotations

from typing import Any

import pytest
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.structs import TopicPartition

from fewnerd_stream.delivery.faust import headers

NONE, GZIP, LZ4 = 0, 1, 3


def batch(base: int, headers: list[list[tuple[str, bytes | None]]], codec: int = NONE) -> bytes:
    """Write a batch, ``????`` in a header's name standing for bytes that are no UTF-8."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, 0, 1 << 20)
    for number, each in enumerate(headers):
        assert builder.append(number, None, b"k%d" % number, b"v", each) is not None
    data = bytearray(builder.build())
    data[0:8] = base.to_bytes(8, "big")
    return bytes(data).replace(b"????", b"a\xff\xfeb")


def read(data: bytes, start: int = 0) -> list[Any]:
    """Read as the fetcher does."""
    tp = TopicPartition("raw", 0)
    return list(PartitionRecords(tp, headers.Records(data), [], start, None, None, False, READ_COMMITTED))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_name_that_is_not_utf_8_is_spelled_out(place: int) -> None:
    """Wherever it stands, every record comes once and in order, the others' headers as they are."""
    headers: list[list[tuple[str, bytes | None]]] = [[("é", b"1")], [("null", None), ("x", b"")], []]
    headers[place] = [("before", b"0"), ("????", b"\xff"), ("after", None)]
    found = read(batch(5, headers) + batch(8, [[("next", b"")]]))
    assert [record.offset for record in found] == [5, 6, 7, 8]
    assert found[place].headers == (("before", b"0"), ("a\\xff\\xfeb", b"\xff"), ("after", None))
    headers[place] = list(found[place].headers)
    assert [list(record.headers) for record in found[:3]] == headers
    assert [record.key for record in found] == [b"k0", b"k1", b"k2", b"k0"]


def test_reading_goes_on_in_the_middle_of_such_a_batch() -> None:
    """From an offset within it, what lies before is skipped."""
    found = read(batch(5, [[("????", b"")], [], [("????", b"")]]), start=6)
    assert [record.offset for record in found] == [6, 7]


@pytest.mark.parametrize("codec", [NONE, GZIP, LZ4])
def test_other_batches_are_read_as_ever(codec: int) -> None:
    """Compressed or not, also by the fetcher that production uses."""
    headers.read_any_header()
    assert fetcher.MemoryRecords is headers.Records
    found = read(batch(0, [[("ä", None)], []], codec))
    assert [(record.offset, record.headers) for record in found] == [(0, (("ä", None),)), (1, ())]
    assert read(b"") == []


def test_a_compressed_batch_with_such_a_name_is_read() -> None:
    """The slow reader decompresses for itself."""
    builder = DefaultRecordBatchBuilder(2, NONE, 0, -1, -1, 0, 1 << 20)
    builder.append(0, None, b"k", b"v", [("????", b"1")])
    plain = bytes(builder.build()).replace(b"????", b"a\xff\xfeb")
    from aiokafka.codec import gzip_encode

    head, body = bytearray(plain[:61]), gzip_encode(plain[61:])
    head[21:23] = (GZIP).to_bytes(2, "big")
    head[8:12] = (49 + len(body)).to_bytes(4, "big")
    (record,) = read(bytes(head) + body)
    assert record.headers == (("a\\xff\\xfeb", b"1"),)
