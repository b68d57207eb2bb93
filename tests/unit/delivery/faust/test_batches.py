"""Whatever is in a batch is read within bounds, in order, to its last offset, with aiokafka's fetcher on top."""

from __future__ import annotations

import resource
from typing import Any, Literal

import cramjam
import pytest
from aiokafka.codec import gzip_encode, lz4_encode, snappy_encode, zstd_encode
from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.legacy_records import LegacyRecordBatchBuilder
from aiokafka.record.util import calc_crc32c
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from fewnerd_stream.contract.records import Withheld
from fewnerd_stream.delivery.faust import batches

NONE, GZIP, SNAPPY, LZ4, ZSTD = range(5)
PACKED = [GZIP, SNAPPY, LZ4, ZSTD]
MIB = 1 << 20
LIMITS = batches.Limits(record=2 * MIB, batch=4 * MIB, kept=4 * MIB)


class Limited(batches.Records):
    """Batches with limits."""

    limits = LIMITS


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
    return list(reading(data, start))


def reading(data: bytes, start: int = 0) -> Any:
    """Begin to read."""
    tp = TopicPartition("raw", 0)
    return PartitionRecords(
        tp, Limited(data), [], start, None, None, check_crcs=False, isolation_level=READ_COMMITTED
    )


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
    batches.read_anything(LIMITS)
    assert issubclass(fetcher.MemoryRecords, batches.Records)
    found = read(batch(0, [[("ä", None)], []], codec))
    assert [(record.offset, record.headers) for record in found] == [(0, (("ä", None),)), (1, ())]
    assert read(b"") == []


@pytest.mark.parametrize("codec", PACKED)
@pytest.mark.parametrize("size", [1, 400_000])
def test_a_packed_batch_with_such_a_name_is_read(codec: int, size: int) -> None:
    """However it is packed, and whichever reader it is for."""
    (record,) = read(packed(codec, plain([(b"k", b"v" * size, [("????", b"1")])])))
    assert (record.key, record.value) == (b"k", b"v" * size)
    assert record.headers == (("a\\xff\\xfeb", b"1"),)


Content = tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]


def plain(records: list[Content]) -> bytes:
    """Write a batch that is not packed, at offset 10."""
    builder = DefaultRecordBatchBuilder(2, NONE, 0, -1, -1, 0, 1 << 30)
    for number, (key, value, headers) in enumerate(records):
        assert builder.append(number, 1000 + number, key, value, headers) is not None
    data = bytearray(builder.build())
    data[0:8] = (10).to_bytes(8, "big")
    return bytes(data).replace(b"????", b"a\xff\xfeb")


def packed(codec: int, data: bytes, body: bytes | None = None) -> bytes:
    """Pack a batch, or put other packed bytes into it, and set its checksum right."""
    if body is None:
        body = {
            NONE: bytes,
            GZIP: gzip_encode,
            SNAPPY: snappy_encode,
            LZ4: lz4_encode,
            ZSTD: zstd_encode,
        }[codec](data[61:])
    head = bytearray(data[:61])
    head[21:23] = codec.to_bytes(2, "big")
    head[8:12] = (49 + len(body)).to_bytes(4, "big")
    head[17:21] = calc_crc32c(bytes(head[21:]) + body).to_bytes(4, "big")
    return bytes(head) + body


def small(number: int) -> Content:
    """Make an ordinary record."""
    return b"k%d" % number, b"v%d" % number, [("h", b"%d" % number)]


@pytest.mark.parametrize("codec", PACKED)
def test_a_bomb_comes_without_its_value(codec: int) -> None:
    """What stands before it in its batch is read, it and what stands behind it are withheld; reading goes on."""
    bomb = packed(codec, plain([small(0), small(1), (b"bomb", b"a" * (6 * MIB), []), small(3)]))
    behind = bytearray(plain([small(4)]))
    behind[0:8] = (14).to_bytes(8, "big")
    found = read(packed(NONE, bomb + behind, None) if codec == NONE else bomb + bytes(behind))
    assert [record.offset for record in found] == [10, 11, 12, 13, 14]
    values = [record.value for record in found]
    if codec != SNAPPY:  # a bare block of snappy says how large it is before any of it can be read
        assert values[:2] == [b"v0", b"v1"]
    assert all(isinstance(value, Withheld) for value in values[2:4])
    assert values[2].reason == "record-too-large"
    assert str(4 * MIB) in values[2].message
    assert values[4] == b"v4"


@pytest.mark.parametrize("codec", PACKED)
def test_a_bomb_takes_no_memory(codec: int) -> None:
    """A quarter of a gigabyte, well packed, is never there."""
    body = b"\0" * (256 * MIB)
    data = packed(codec, plain([small(0)]), pack_zeros(codec, body))
    del body
    before = high_water()
    (record,) = read(data)
    assert isinstance(record.value, Withheld)
    assert high_water() - before < 48


def pack_zeros(codec: int, body: bytes) -> bytes:
    """Pack quickly."""
    if codec == GZIP:
        return bytes(gzip_encode(body, 1))
    if codec == SNAPPY:
        return bytes(cramjam.snappy.compress_raw(body))
    return bytes(lz4_encode(body, 1) if codec == LZ4 else zstd_encode(body, 1))


def high_water() -> float:
    """Tell the most memory that this process had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize("codec", [NONE, *PACKED])
def test_a_record_that_is_too_large_leaves_its_neighbours_alone(codec: int) -> None:
    """It comes without its value, and with what tells where it comes from: key, headers, and its size."""
    found = read(packed(codec, plain([small(0), (b"large", b"b" * (3 * MIB), [("h", b"x")]), small(2)])))
    assert [record.value for record in found] == [b"v0", b"", b"v2"]
    large = found[1]
    assert (large.key, large.headers, large.value.size) == (b"large", (("h", b"x"),), 3 * MIB)
    assert large.timestamp == 1001


@pytest.mark.parametrize("codec", [NONE, *PACKED])
def test_headers_without_number_are_not_made(codec: int) -> None:
    """A header of two bytes takes a hundred in memory, and a megabyte holds half a million of them."""
    crowd: list[tuple[str, bytes | None]] = [("", None)] * 200_000
    found = read(packed(codec, plain([small(0), (b"many", b"v" * 10, crowd), small(2)])))
    assert [record.value for record in found] == [b"v0", b"", b"v2"]
    assert (found[1].key, found[1].headers, found[1].value.reason) == (b"many", (), "record-too-large")


@pytest.mark.parametrize("codec", PACKED)
def test_what_nobody_can_unpack_is_put_away(codec: int) -> None:
    """The checksum is right, so the batch will never be any better: each of its records comes, and reading goes on."""
    found = read(packed(codec, plain([small(0), small(1)]), b"\x07 no such thing") + plain([]))
    assert [(record.offset, record.value.reason) for record in found] == [
        (10, "unreadable"),
        (11, "unreadable"),
    ]


@pytest.mark.parametrize("codec", PACKED)
def test_records_that_are_none_are_put_away(codec: int) -> None:
    """What stands before them in the batch is read."""
    data = plain([small(0), small(1)])
    cut = data[:-3]
    found = read(packed(codec, cut))
    assert [record.offset for record in found] == [10, 11]
    assert found[0].value == b"v0"
    assert found[1].value.reason == "unreadable"


def test_what_is_unpacked_of_many_batches_is_bounded() -> None:
    """Read in turns, the batches of many partitions are let go and unpacked again; nothing is lost or twice."""
    records: list[Content] = [(None, b"%d" % number + bytes(300_000), []) for number in range(8)]
    data = packed(ZSTD, plain(records))
    readers = [reading(data) for _ in range(12)]
    before = high_water()
    rounds = list(zip(*readers, strict=True))
    assert [[record.offset for record in one] for one in rounds] == [[10 + n] * 12 for n in range(8)]
    assert all(
        record.value == value for one, (_, value, _) in zip(rounds, records, strict=True) for record in one
    )
    assert sum(batches._SHELF._held.values()) <= LIMITS.kept
    assert high_water() - before < 60


@given(
    records=st.lists(
        st.tuples(
            st.none() | st.binary(max_size=20),
            st.none() | st.binary(max_size=300),
            st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=3),
        ),
        min_size=1,
        max_size=6,
    ),
    codec=st.sampled_from([NONE, *PACKED]),
)
def test_reading_with_care_finds_what_aiokafka_finds(records: list[Content], codec: int) -> None:
    """Offsets, times, keys, values and headers."""
    data = packed(codec, plain(records))
    batch = Limited(data).next_batch()
    keys = ("offset", "timestamp", "timestamp_type", "key", "value")
    careful = [[getattr(one, key) for key in keys] + [list(one.headers)] for one in batch._with_care()]
    quick = [[getattr(one, key) for key in keys] + [list(one.headers)] for one in DefaultRecordBatch(data)]
    assert careful == quick


@pytest.mark.parametrize("magic", [0, 1])
def test_old_formats_are_bounded_as_well(magic: Literal[0, 1]) -> None:
    """A wrapper of old is unpacked up to the bound; a bomb in it ends at the wrapper's own offset."""
    for size, kind in ((100, bytes), (6 * MIB, Withheld)):
        builder = LegacyRecordBatchBuilder(magic, GZIP, 1 << 30)
        assert builder.append(0, 5, b"k", b"a" * size) is not None
        found = read(bytes(builder.build()))
        assert [(one.offset, type(one.value)) for one in found] == [(0, kind)]


@pytest.mark.parametrize("offsets", [[0, 1_000_000, 2, 3], [0, 0, 1, 3], [2, 1, 0, 3], [0, 1, 2, 9]])
def test_offsets_that_are_not_of_their_batch_pass_nobody_by(offsets: list[int]) -> None:
    """What a strange writer numbers beyond its batch, twice or backwards ends without its value; each place once."""
    builder = DefaultRecordBatchBuilder(2, NONE, 0, -1, -1, 0, 1 << 20)
    for offset in offsets:
        builder.append(offset, None, b"k", b"v", [])
    data = bytearray(builder.build())
    data[0:8], data[23:27] = (5).to_bytes(8, "big"), (3).to_bytes(4, "big")
    found = [record.offset for record in read(bytes(data) + batch(9, [[]]))]
    assert found == sorted(set(found))
    assert set(found) <= set(range(5, 10))
    assert found[-1] == 9
    assert 8 in found
