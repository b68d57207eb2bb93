"""Lines of bytes from a file or a pipe, and keys out of them."""

from __future__ import annotations

import asyncio
import io
import os
import threading
from typing import IO, TYPE_CHECKING, Final

import orjson

from fewnerd_stream.errors import FewnerdError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_CHUNK: Final = 65_536


def key_of(line: bytes, field_name: str) -> bytes | None:
    """Give a field of a line's JSON object as a key: a string's UTF-8, a number's digits; else None."""
    try:
        fields = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    value = fields.get(field_name) if isinstance(fields, dict) else None
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value).encode()
    return None


async def read_lines(source: IO[bytes], most: int | None = None) -> AsyncIterator[tuple[bytes | None, int]]:
    """Read lines without their ends, each with the number of bytes that it took.

    The work is linear in a line's length, and what is held of one is bounded.

    Args:
        source: a file or a pipe.
        most: longest line in bytes; None comes in place of a longer one. Without it, any length goes.

    Raises:
        FewnerdError: the source cannot be read.
    """
    parts: list[bytes] = []
    length = 0

    def line(end: bytes, size: int) -> bytes | None:
        if most is not None and size > most + len(b"\r"):
            return None
        whole = b"".join([*parts, end])
        return whole if most is None or len(whole.removesuffix(b"\r")) <= most else None

    async for chunk in _chunks(source):
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            length += len(end)
            whole = line(end, length)
            yield None if whole is None else whole.removesuffix(b"\r"), length + 1
            parts, length = [], 0
        if rest:
            length += len(rest)
            if most is None or length <= most + len(b"\r"):
                parts.append(rest)
            else:
                parts.clear()
    if length:
        yield line(b"", length), length


async def _chunks(source: IO[bytes]) -> AsyncIterator[bytes]:
    """Read what comes, in a thread that nobody has to wait for: a pipe may be silent for hours."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[bytes | BaseException] = asyncio.Queue(maxsize=4)
    read = _reader(source)

    def work() -> None:
        chunk: bytes | BaseException = b"first"
        while chunk and not isinstance(chunk, BaseException):
            try:
                chunk = read()
            except Exception as error:  # noqa: BLE001 - raised where it is awaited
                chunk = error
            try:
                asyncio.run_coroutine_threadsafe(queue.put(chunk), loop).result()
            except (RuntimeError, asyncio.CancelledError):  # the loop has ended: nobody listens
                return

    threading.Thread(target=work, daemon=True, name="read input").start()
    while chunk := await queue.get():
        if isinstance(chunk, BaseException):
            raise FewnerdError(f"the input cannot be read: {chunk}") from chunk
        yield chunk


def _reader(source: IO[bytes]) -> Callable[[], bytes]:
    """Give a function that reads what is there, past Python's buffer: its lock would outlive the thread."""
    try:
        descriptor = source.fileno()
    except (OSError, io.UnsupportedOperation, AttributeError):
        return lambda: source.read(_CHUNK)
    return lambda: os.read(descriptor, _CHUNK)
