"""Records as they are read out of fetched batches: whatever is in a batch, it stops no partition and no worker.

aiokafka unpacks a batch whole and raises on a header name that is not UTF-8, on every fetch anew: the partition,
and each worker that is given it, would come no further. Here a batch is unpacked up to a bound, a name is spelled
out, and a record that is too large, or that nobody can read, comes without its value, so that it can be put away.
"""

# ruff: noqa: ANN401 - aiokafka's records have no types

from __future__ import annotations

import dataclasses
import itertools
import struct
import weakref
from typing import TYPE_CHECKING, Any, Final

from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import _LegacyRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy

from fewnerd_stream.contract.records import Withheld
from fewnerd_stream.delivery.faust.unpack import NONE, unpack
from fewnerd_stream.errors import Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fewnerd_stream.contract.records import Headers

_DEFAULT_MAGIC: Final = 2
_CODEC: Final = 0x07
_HEAD: Final = 61
_COUNT_AT: Final = 57
_ATTRIBUTES_AT: Final = 21
# aiokafka's quick reader reads a batch of at most so many bytes; it makes whatever it is told to of what it reads.
_QUICK_BYTES: Final = 256 * 1024
# What is kept of a record beside its value, so that it is known by its key, and by our own headers.
_ASIDE_BYTES: Final = 64 * 1024
_MOST_HEADERS: Final = 4096
_VARINT_BITS: Final = 63


@dataclasses.dataclass(frozen=True, slots=True)
class Limits:
    """How much of what comes in is ever in memory, in bytes.

    Attributes:
        record: a record of more is passed on without its value.
        batch: no more of a batch is unpacked; records behind it are passed on without their values.
        kept: unpacked bytes that are kept of all batches that are being read; what is let go is unpacked again.
    """

    record: int
    batch: int
    kept: int


@dataclasses.dataclass(frozen=True, slots=True)
class _Read:
    """A record, with what the fetcher looks at."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    checksum: None = None


class _Shelf:
    """The unpacked batches; those that were used longest ago are let go when there are too many bytes."""

    def __init__(self) -> None:
        self._held: weakref.WeakKeyDictionary[_Batch, int] = weakref.WeakKeyDictionary()

    def put(self, batch: _Batch, size: int, most: int) -> None:
        """Keep a batch, and let go of others if need be."""
        self._held.pop(batch, None)
        total = size + sum(self._held.values())
        for other, its_size in list(self._held.items()):
            if total <= most:
                break
            other.let_go()
            del self._held[other]
            total -= its_size
        self._held[batch] = size


_SHELF: Final = _Shelf()


class _Batch:
    """A batch that is read quickly, or with care where that could fail or take much memory."""

    def __init__(self, batch: Any, data: memoryview, limits: Limits) -> None:
        self._batch = batch
        self._data = data
        self._limits = limits
        self._body: memoryview | None = None
        self._whole = True
        self._failure = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:  # how the fetcher reads a control batch
        return next(self._batch)

    def let_go(self) -> None:
        """Forget what was unpacked; it is unpacked again when it is asked for."""
        self._body = None

    def _unpacked(self) -> memoryview:
        """Return what was unpacked, as much as may be."""
        if self._body is None:
            codec = int(self._batch.compression_type)
            most = len(self._data) if codec == NONE else self._limits.batch
            try:
                self._body, self._whole = unpack(codec, self._data[_HEAD:], most)
            except ValueError as error:
                self._body, self._failure = memoryview(b""), str(error)
            if codec != NONE and len(self._body) > _QUICK_BYTES:
                _SHELF.put(self, len(self._body), self._limits.kept)
        return self._body

    def __iter__(self) -> Iterator[Any]:
        read = 0
        offset, last = self._bounds()
        quick = self._quick()
        if quick is not None:
            try:
                for record in quick:
                    if not offset < record.offset <= last:
                        break
                    offset = record.offset
                    yield record
                    read += 1
                else:
                    return
            except (UnicodeDecodeError, CorruptRecordException):
                pass
        yield from itertools.islice(self._with_care(), read, None)

    def _bounds(self) -> tuple[int, int]:
        """Say behind which offset and up to which one the batch's records lie."""
        first = int(self._batch.base_offset)
        return first - 1, first + int(self._batch.last_offset_delta)

    def _quick(self) -> Any:
        """Give a small batch, as if it had never been packed, to aiokafka's own reader; None where it is none."""
        body = self._unpacked()
        if len(body) > _QUICK_BYTES or not self._whole or self._failure:
            return None
        plain = bytearray(self._data[:_HEAD])
        (attributes,) = struct.unpack_from(">h", plain, _ATTRIBUTES_AT)
        struct.pack_into(">h", plain, _ATTRIBUTES_AT, attributes & ~_CODEC)
        self.let_go()
        return DefaultRecordBatch(plain + body)

    def _with_care(self) -> Iterator[_Read]:
        """Read record by record; from where one cannot be read, all that follow come without their values."""
        (count,) = struct.unpack_from(">i", self._data, _COUNT_AT)
        position = 0
        offset, last = self._bounds()
        for number in range(count):
            try:
                record, position = self._one(position)
            except (IndexError, ValueError) as error:
                yield from self._rest(offset, count - number, str(error))
                return
            if not offset < record.offset <= last:
                yield from self._rest(offset, count - number, "a record's offset is not of its batch")
                return
            offset = record.offset
            yield record

    def _rest(self, read: int, count: int, error: str) -> Iterator[_Read]:
        """Give the records behind an offset that cannot be read, so many of them, without their values."""
        batch = self._batch
        value = (
            Withheld(Reason.UNREADABLE, _cannot_be_read(self._failure or error))
            if self._whole
            else Withheld(Reason.RECORD_TOO_LARGE, _becomes_more(len(self._data), self._limits.batch))
        )
        last = int(batch.base_offset) + int(batch.last_offset_delta)
        for offset in range(max(read, last - count) + 1, last + 1):
            yield _Read(offset, batch.max_timestamp, batch.timestamp_type, None, value, ())

    def _one(self, position: int) -> tuple[_Read, int]:
        """Read the record at a position of what is unpacked; return where the next one begins, too.

        Raises:
            IndexError: it is not there to its end.
            ValueError: it is none.
        """
        data, batch = self._unpacked(), self._batch
        length, start = _varint(data, position)
        end = start + length
        if length < 0 or end > len(data):
            raise IndexError("a record does not end")
        delta, at = _varint(data, start + 1)
        timestamp = batch.max_timestamp if batch.timestamp_type else batch.first_timestamp + delta
        number, at = _varint(data, at)
        key_size, at = _varint(data, at)
        key = data[at : at + key_size] if key_size >= 0 else None
        at += max(0, key_size)
        value_size, at = _varint(data, at)
        value_at = at
        at += max(0, value_size)
        headers_at = at
        count, at = _varint(data, at)
        if at > end or count < 0:
            raise ValueError("a record is longer than it says")
        value: bytes | None = None
        headers: Headers = ()
        if length <= self._limits.record and count <= _MOST_HEADERS:
            value = bytes(data[value_at : value_at + value_size]) if value_size >= 0 else None
        else:
            value = Withheld(
                Reason.RECORD_TOO_LARGE,
                f"the record has {length} bytes and {count} headers; {self._limits.record} bytes and "
                f"{_MOST_HEADERS} headers are read at most",
                max(0, value_size),
            )
            if key is not None and len(key) > _ASIDE_BYTES:
                key = None
        if count <= _MOST_HEADERS and (length <= self._limits.record or end - headers_at <= _ASIDE_BYTES):
            headers = _headers(data, at, end, count)
        return _Read(
            batch.base_offset + number,
            timestamp,
            batch.timestamp_type,
            None if key is None else bytes(key),
            value,
            headers,
        ), end


def _becomes_more(size: int, most: int) -> str:
    return f"its batch has {size} bytes, and more than {most} unpacked"


def _cannot_be_read(why: str) -> str:
    return f"its batch, whose checksum is right, cannot be read: {why}"


def _headers(data: memoryview, at: int, end: int, count: int) -> Headers:
    found = []
    for _ in range(count):
        size, at = _varint(data, at)
        name = bytes(data[at : at + size]).decode(errors="backslashreplace")
        at += size
        size, at = _varint(data, at)
        found.append((name, bytes(data[at : at + size]) if size >= 0 else None))
        at += max(0, size)
        if at > end:
            break
    if at != end:
        raise ValueError("a record's headers do not end where it does")
    return tuple(found)


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    shift = number = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follows
            return (number >> 1) ^ -(number & 1), at
        shift += 7
        if shift > _VARINT_BITS:
            raise ValueError("a number does not end")


class _LegacyBatch(_LegacyRecordBatchPy):  # type: ignore[misc] # final for type checkers only
    """A batch of the formats before Kafka 0.11; the wrapper has the offset of its last record."""

    limits: Limits
    _buffer: memoryview
    _decompressed: bool

    def __iter__(self) -> Iterator[Any]:
        if not self._compression_type or self._decompressed:
            yield from super().__iter__()
            return
        head = self.KEY_OFFSET_V1 if self._magic == 1 else self.KEY_OFFSET_V0
        size = struct.unpack_from(">i", self._buffer, head)[0]
        at = head + self.KEY_LENGTH + max(0, size) + self.VALUE_LENGTH
        try:
            data, whole = unpack(self._compression_type, self._buffer[at:], self.limits.batch)
        except ValueError as error:
            value = Withheld(Reason.UNREADABLE, _cannot_be_read(str(error)))
        else:
            if whole:
                self._buffer, self._decompressed = data, True
                yield from super().__iter__()
                return
            value = Withheld(Reason.RECORD_TOO_LARGE, _becomes_more(len(self._buffer), self.limits.batch))
        yield _Read(self._offset, self._timestamp or 0, self._timestamp_type or 0, None, value, ())


class Records(_MemoryRecordsPy):  # type: ignore[misc] # the same
    """The batches of a fetch."""

    limits: Limits

    def next_batch(self, *args: Any) -> Any:
        """Return the next batch, or None at the end."""
        data = self._next_slice
        batch = super().next_batch(*args)
        if data is None:
            return batch
        if data[self.MAGIC_OFFSET] >= _DEFAULT_MAGIC:
            return _Batch(batch, data, self.limits)
        legacy = _LegacyBatch(data, data[self.MAGIC_OFFSET])
        legacy.limits = self.limits
        return legacy


def read_anything(limits: Limits) -> None:
    """Have aiokafka's consumers in this process read batches so."""
    fetcher.MemoryRecords = type("Records", (Records,), {"limits": limits})
