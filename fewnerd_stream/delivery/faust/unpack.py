"""Unpacks what Kafka's codecs packed, and never more of it than a bound: a bomb stays as small as it came.

aiokafka unpacks a whole batch at once, however large: 200 KB of zeros, well packed, become a gigabyte.
"""

from __future__ import annotations

import mmap
import struct
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

import cramjam
from aiokafka.errors import UnsupportedCodecError

if TYPE_CHECKING:
    from collections.abc import Callable

NONE: Final = 0
_GZIP, _SNAPPY, _LZ4, _ZSTD = 1, 2, 3, 4
_XERIAL: Final = b"\x82SNAPPY\x00"
_XERIAL_HEAD: Final = 16
# What cramjam says when the buffer is full; it has no error of its own for it.
_FULL: Final = "failed to write whole buffer"


class Unpacked(NamedTuple):
    """What was unpacked, and whether that is all; else it is the beginning, as long as the bound allowed."""

    data: memoryview
    whole: bool


def unpack(codec: int, packed: memoryview, most: int) -> Unpacked:
    """Unpack at most so many bytes.

    Args:
        codec: Kafka's number of it, 0 for none.
        packed: the bytes as they lie in the batch.
        most: bytes that may come of them.

    Raises:
        UnsupportedCodecError: there is no such codec.
        ValueError: it was not packed so.
    """
    if codec == NONE:
        return Unpacked(packed[:most], len(packed) <= most)
    if codec == _GZIP:
        return _gunzip(packed, most)
    if codec == _SNAPPY:
        return _unsnap(packed, most)
    if codec == _LZ4:
        return _filled(cramjam.lz4.decompress_into, packed, most)
    if codec == _ZSTD:
        return _filled(cramjam.zstd.decompress_into, packed, most)
    raise UnsupportedCodecError(f"there is no codec {codec}")


def _filled(into: Callable[[memoryview, memoryview], int], packed: memoryview, most: int) -> Unpacked:
    # Anonymous memory costs nothing until it is written to.
    data = memoryview(mmap.mmap(-1, most or 1))[:most]
    try:
        return Unpacked(data[: into(packed, data)], whole=True)
    except cramjam.DecompressionError as error:
        if _FULL in str(error):
            return Unpacked(data, whole=False)
        raise ValueError(str(error)) from error


def _gunzip(packed: memoryview, most: int) -> Unpacked:
    parts: list[bytes] = []
    room, rest = most, bytes(packed)
    while rest:  # members may follow each other
        stream = zlib.decompressobj(wbits=31)
        try:
            part = stream.decompress(rest, room + 1)
        except zlib.error as error:
            raise ValueError(str(error)) from error
        if len(part) > room:
            parts.append(part[:room])
            return Unpacked(memoryview(b"".join(parts)), whole=False)
        if not stream.eof:
            raise ValueError("the packed bytes end too soon")
        parts.append(part)
        room -= len(part)
        # As gzip's own reader: zeros may fill up what is left.
        rest = stream.unused_data.lstrip(b"\0")
    return Unpacked(memoryview(parts[0] if len(parts) == 1 else b"".join(parts)), whole=True)


def _unsnap(packed: memoryview, most: int) -> Unpacked:
    if bytes(packed[: len(_XERIAL)]) != _XERIAL:
        return _unsnap_block(packed, most)
    parts: list[memoryview] = []
    room, position = most, _XERIAL_HEAD
    while position < len(packed):
        try:
            (size,) = struct.unpack_from(">i", packed, position)
        except struct.error as error:
            raise ValueError("the packed bytes end too soon") from error
        position += 4
        if size < 0 or position + size > len(packed):
            raise ValueError("the packed bytes end too soon")
        block, whole = _unsnap_block(packed[position : position + size], room)
        if not whole:
            return Unpacked(memoryview(b"".join(parts)), whole=False)
        parts.append(block)
        room -= len(block)
        position += size
    return Unpacked(memoryview(b"".join(parts)), whole=True)


def _unsnap_block(packed: memoryview, most: int) -> Unpacked:
    """Unpack a block, whole or not at all: it says itself how large it is."""
    try:
        if cramjam.snappy.decompress_raw_len(packed) > most:
            return Unpacked(memoryview(b""), whole=False)
        return Unpacked(memoryview(bytes(cramjam.snappy.decompress_raw(packed))), whole=True)
    except cramjam.DecompressionError as error:
        raise ValueError(str(error)) from error
