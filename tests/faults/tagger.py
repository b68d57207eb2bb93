"""The real tagger, made to fail by orders in a file: no production worker is ever given it.

``tests.support.workers`` puts it in where ``TEST_TAGGER`` names ``tests.faults.tagger:load``.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fewnerd_stream.delivery.pulse import silent, with_beat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fewnerd_stream.contract.documents import EntityLike, ModelLike
    from fewnerd_stream.delivery.process import TaggerLike
    from fewnerd_stream.delivery.pulse import Beat

ENTRY: Final = "tests.faults.tagger:load"
ORDERS: Final = "FAULTS_ORDERS"
"""Names the file with the orders; it is read again whenever it changes."""

_NUMBER: Final = re.compile(r"\bNote (\d+):")


def chosen(number: int, share: float) -> bool:
    """Say whether a document is among that share of all; the same ones each time."""
    return zlib.crc32(b"%d" % number) % 10_000 < share * 10_000


class FaultyTagger:
    """Tags as the real one does, but for what it is ordered.

    Orders, any of them: ``documents``: raise on this share of documents; ``calls``: on this share of calls, at
    random; ``always``: on all; ``hang``: never come back from this document; ``die``: lose the process on this
    document; ``slow``: take so many times as long.
    """

    def __init__(self, tagger: TaggerLike, path: Path) -> None:
        """Wrap a tagger; the orders are in the file at ``path``, if it exists."""
        self._tagger = tagger
        self._path = path
        self._read_at = -1
        self._orders: dict[str, Any] = {}

    @property
    def info(self) -> ModelLike:
        """What the real one is."""
        return self._tagger.info

    def tag(self, texts: Sequence[str], beat: Beat = silent) -> Sequence[Sequence[EntityLike]]:
        """Obey, then tag."""
        orders = self._current()
        numbers = {int(match[1]) for text in texts if (match := _NUMBER.search(text))} if orders else set()
        if orders.get("always"):
            message = "told to fail always"
            raise RuntimeError(message)
        if random.random() < orders.get("calls", 0):
            message = "told to fail on some calls"
            raise RuntimeError(message)
        if any(chosen(number, orders.get("documents", 0)) for number in numbers):
            message = "told to fail on some documents"
            raise RuntimeError(message)
        if orders.get("hang", -1) in numbers:
            time.sleep(3600)
        if orders.get("die", -1) in numbers:
            os.kill(os.getpid(), signal.SIGKILL)
        started = time.monotonic()
        found = with_beat(self._tagger.tag, beat)(texts)
        if orders.get("slow"):
            time.sleep((orders["slow"] - 1) * (time.monotonic() - started))
        return found

    def _current(self) -> dict[str, Any]:
        try:
            changed = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return {}
        if changed != self._read_at:
            self._orders = json.loads(self._path.read_text())
            self._read_at = changed
        return self._orders


def order(path: Path, **orders: float) -> None:
    """Give orders to all workers, in place of the earlier ones."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(orders))
    part.replace(path)


def load() -> FaultyTagger:
    """Load the real tagger as the command line does, and wrap it."""
    from agents.tagger import load_tagger
    from fewnerd_stream.settings import load_settings

    return FaultyTagger(load_tagger(load_settings()), Path(os.environ[ORDERS]))
