"""Which files an ONNX graph reads beside its own: found in its bytes, before anything opens it.

A tensor of a graph may lie in another file, named by the graph itself. Those files decide results as the graph does,
so they must be known. The walk follows every message that can hold a tensor (onnx.proto, release 1.19) and nothing
else, and needs neither the ``onnx`` package nor the whole file in memory.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# For each kind of message: the numbers of its fields that lead to tensors, and what they hold.
_LEADS: Final[dict[str, dict[int, str]]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
    "entry": {},
}
_KEY: Final = 1
_VALUE: Final = 2
_LOCATION: Final = b"location"
_DEEPEST: Final = 64
_LONGEST_NAME: Final = 255
_LONGEST_NUMBER: Final = 10


class OutsideError(ValueError):
    """A graph reads what it must not; the message says what."""


class NoGraphError(OutsideError):
    """A file is no ONNX graph, or not a whole one."""


def names(graph: Path) -> list[str]:
    """Return the locations that a graph names for its tensors, as they stand there, sorted.

    Raises:
        NoGraphError: its bytes are no ONNX graph.
        OSError: it cannot be read.
    """
    with graph.open("rb") as file:
        if not graph.stat().st_size:
            raise NoGraphError("it is empty")
        # Closed when nothing looks into it any more: an error keeps its frames, and they their parts of it.
        content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return sorted(set(_locations(memoryview(content), "model", 0)))


def files(graph: Path) -> list[Path]:
    """Return the files, beside the graph's own, that opening it reads; all lie in its folder.

    Raises:
        NoGraphError: its bytes are no ONNX graph.
        OutsideError: it names what is no regular file of its folder.
        OSError: it cannot be read.
    """
    return [_beside(graph, name) for name in names(graph)]


def _beside(graph: Path, name: str) -> Path:
    shown = repr(name[:80])
    if not name or len(name) > _LONGEST_NAME or name in {".", ".."} or not name.isprintable():
        raise OutsideError(f"it keeps weights in {shown}, which is no name of a file")
    if "/" in name or "\\" in name:
        raise OutsideError(f"it keeps weights in {shown}; they must lie in the bundle's own folder")
    path = graph.parent / name
    # On a hub's cache all files are links into one folder; there the weights lie beside the graph, too.
    beside = path.resolve().parent in {graph.parent.resolve(), graph.resolve().parent}
    if path.is_symlink() and not (graph.is_symlink() and beside):
        raise OutsideError(f"it keeps weights in {shown}, which is a link; put the file itself there")
    if not path.is_file():
        raise OutsideError(f"it keeps weights in {shown}, and there is no such file in the folder")
    return path


def _locations(message: memoryview, kind: str, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise NoGraphError("its graphs are nested too deep")
    leads = _LEADS[kind]
    for number, value in _fields(message):
        inner = leads.get(number)
        if inner == "entry":
            yield from _location(value)
        elif inner is not None:
            yield from _locations(value, inner, depth + 1)


def _location(entry: memoryview) -> Iterator[str]:
    """Yield the values of a pair of strings whose key is ``location``; of several, the reader takes one."""
    pairs = list(_fields(entry))
    if any(number == _KEY and bytes(value[: len(_LOCATION) + 1]) == _LOCATION for number, value in pairs):
        values = [value for number, value in pairs if number == _VALUE] or [memoryview(b"")]
        for value in values:
            yield bytes(value[: _LONGEST_NAME + 1]).decode("utf-8", "replace")


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and content of the fields of bytes in a message of protocol buffers; numbers are passed over."""
    place = 0
    while place < len(message):
        tag, place = _number(message, place)
        number, wire = tag >> 3, tag & 7
        if not 0 < number < 2**29:
            raise NoGraphError("it is no ONNX graph")
        if wire == 0:
            _, place = _number(message, place)
        elif wire in {1, 5}:
            place += 8 if wire == 1 else 4
        elif wire == 2:  # noqa: PLR2004 - the format's own number for bytes
            size, place = _number(message, place)
            if size > len(message) - place:
                raise NoGraphError("it is no ONNX graph, or is cut off")
            yield number, message[place : place + size]
            place += size
        else:
            raise NoGraphError("it is no ONNX graph")
    if place > len(message):
        raise NoGraphError("it is no ONNX graph, or is cut off")


def _number(message: memoryview, place: int) -> tuple[int, int]:
    """Return the number of variable length at a place, and where it ends."""
    value = 0
    for step in range(_LONGEST_NUMBER):
        if place + step >= len(message):
            break
        byte = message[place + step]
        value |= (byte & 127) << 7 * step
        if byte < 128:  # noqa: PLR2004 - the bit that says that more follows
            return value, place + step + 1
    raise NoGraphError("it is no ONNX graph, or is cut off")
