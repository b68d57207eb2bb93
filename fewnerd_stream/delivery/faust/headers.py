"""Records as they lie in a fetched batch, whatever bytes their headers' names are made of.

Kafka's brokers check no header, and its own clients read names that are not UTF-8 with replacements. aiokafka
raises on one, on every fetch anew: the partition, and each worker that is given it, would come no further.
"""

# ruff: noqa: ANN401 - aiokafka's records have no types

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEFAULT_MAGIC = 2


class _Lenient(bytearray):
    """Bytes whose slices spell out, as a text, what is not UTF-8."""

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return _Lenient(found) if isinstance(index, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)


class _LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc] # final for type checkers only
    """A batch read by aiokafka's own slow reader; where it decodes header names, nothing can fail."""

    def __iter__(self) -> Any:
        super().__iter__()
        self._buffer: bytearray = _Lenient(self._buffer)
        return self


class _Batch:
    """A batch that is read fast, and slowly from the first header name on that is not UTF-8."""

    def __init__(self, batch: Any, data: memoryview) -> None:
        self._batch = batch
        self._data = data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:  # how the fetcher reads a control batch
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        read = 0
        try:
            for record in self._batch:
                yield record
                read += 1
        except UnicodeDecodeError:
            for number, record in enumerate(_LenientBatch(self._data)):
                if number >= read:
                    yield record


class Records(_MemoryRecordsPy):  # type: ignore[misc] # the same
    """The batches of a fetch."""

    def next_batch(self, *args: Any) -> Any:
        """Return the next batch, or None at the end."""
        data = self._next_slice
        batch = super().next_batch(*args)
        return batch if data is None or data[self.MAGIC_OFFSET] < _DEFAULT_MAGIC else _Batch(batch, data)


def read_any_header() -> None:
    """Have aiokafka's consumers in this process read batches so."""
    fetcher.MemoryRecords = Records
