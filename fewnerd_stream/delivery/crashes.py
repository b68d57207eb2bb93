"""Counts starts at an unmoved head of a partition, so that a document that kills its process cannot loop.

The count travels in the metadata of the committed offset: across restarts and across workers. A start is
counted just before the head is tried, and taken back when the partition is let go in good order. After
``SUSPECT`` starts the worker goes on in windows of one, one window at a time in the whole process, up to
the last offset that was in flight; after ``CONDEMNED`` the head itself is the culprit.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fewnerd_stream.delivery.ledger import Partition

SUSPECT = 3
CONDEMNED = 6
_METADATA = re.compile(r"fewnerd:1;starts=(\d{1,6});until=(\d{1,19})(?:;topic=[A-Za-z0-9_-]{22})?")


@dataclasses.dataclass(slots=True)
class _Head:
    offset: int
    starts: int
    until: int
    counted: bool = False


class CrashCounter:
    """The starts at the head of each assigned partition."""

    def __init__(self) -> None:
        """Start with no partition."""
        self._heads: dict[Partition, _Head] = {}

    def assign(self, partition: Partition, committed: int, metadata: str) -> None:
        """Take over a partition with the metadata of its commit; foreign metadata counts as none."""
        found = _METADATA.fullmatch(metadata)
        starts, until = (int(found[1]), int(found[2])) if found else (0, committed)
        self._heads[partition] = _Head(committed, starts, until)

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """Forget partitions."""
        for partition in partitions:
            self._heads.pop(partition, None)

    def suspect(self) -> bool:
        """Whether some head has been started so often that documents must be tried one at a time."""
        return any(head.starts >= SUSPECT for head in self._heads.values())

    def condemned(self, partition: Partition, offset: int) -> bool:
        """Whether this record is a head that was tried alone, and never survived."""
        head = self._heads.get(partition)
        if head is None or offset < head.offset:
            return False
        return head.starts - head.counted >= CONDEMNED

    def count(self, last: Mapping[Partition, int]) -> dict[Partition, int]:
        """Count a start for every partition in a window that was not counted at this head yet.

        Args:
            last: the partitions in the window, each with its last offset there.

        Returns:
            The partitions whose metadata must be stored, at their unmoved offset, before the window is
            tried; empty when all were counted before.
        """
        out = {}
        for partition, offset in last.items():
            head = self._heads.get(partition)
            if head is None:
                continue
            if not head.counted:
                head.counted = True
                head.starts += 1
                head.until = max(head.until, offset)
                out[partition] = head.offset
        return out

    def moved(self, partition: Partition, offset: int) -> None:
        """Note a new head: the count begins anew, or stays ``SUSPECT`` up to where the last one crashed."""
        head = self._heads.get(partition)
        if head is None or offset <= head.offset:
            return
        head.offset = offset
        head.starts = SUSPECT if head.starts >= SUSPECT and offset <= head.until else 0
        head.counted = False

    def let_go(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Take back the starts that were counted and did not crash; return whose metadata must be stored."""
        out = {}
        for partition in partitions:
            head = self._heads.get(partition)
            if head is not None and head.counted:
                head.counted = False
                head.starts -= 1
                out[partition] = head.offset
        return out

    def metadata(self, partition: Partition) -> str:
        """Return what the next commit of a partition is to carry; empty when there is nothing to tell."""
        head = self._heads.get(partition)
        if head is None or not head.starts:
            return ""
        return f"fewnerd:1;starts={head.starts};until={head.until}"
