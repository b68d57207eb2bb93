"""Models that change while the worker runs: loaded, checked and warmed beside the one in use, then switched.

A bundle that changes in place is seen half made, so a change is left alone until it has come to rest. Safer is
a file that names the bundle's folder, renamed into place.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from agents.tagger import bands, categories_of, pieces_of
from fewnerd_stream.delivery.policy import KNOWN_GOOD, refuse_broken_model
from fewnerd_stream.errors import BundleRefused, FewnerdError, Stop

if TYPE_CHECKING:
    from collections.abc import Callable

    from fewnerd_stream.delivery.process import TaggerLike
    from fewnerd_stream.delivery.tagger import TaggerSlot
    from fewnerd_stream.settings import Settings
    from fewnerd_stream.telemetry.status import WorkerStatus

log = logging.getLogger("fewnerd_stream.worker")

_WARM = 32
Signature = tuple[tuple[str, int, int, int], ...]


class Reloader:
    """Watches a bundle, and puts another tagger into the slot when it has changed."""

    def __init__(
        self,
        settings: Settings,
        load: Callable[[], TaggerLike],
        slot: TaggerSlot[TaggerLike],
        status: WorkerStatus,
        wake: threading.Event,
    ) -> None:
        """Remember how the bundle looks now, which the slot's tagger came from.

        Args:
            settings: which bundle, and how often to look.
            load: loads it, and checks its labels and scores.
            slot: what windows take their tagger from.
            status: where to tell what came of it.
            wake: set to look at once.
        """
        self._settings, self._load, self._slot, self._status = settings, load, slot, status
        self._wake = wake
        self._known = signature(settings.model)
        self._seen = self._known

    def start(self) -> None:
        """Watch from now on, in a thread that ends with the process."""
        threading.Thread(target=self._run, name="reload", daemon=True).start()

    def _run(self) -> None:
        every = self._settings.model_watch
        while True:
            asked = self._wake.wait(every or None)
            self._wake.clear()
            try:
                if asked or self.changed():
                    self.reload()
            except Exception:
                log.exception("the model could not be looked at; the one in use goes on")

    def changed(self) -> bool:
        """Whether the bundle is another one than the last that was tried, and has come to rest since last asked."""
        now = signature(self._settings.model)
        rests, self._seen = now == self._seen, now
        return rests and now != self._known

    def reload(self) -> bool:
        """Load the bundle as it is now, and switch to it; return whether another model is in use now.

        One that is refused is said and counted, and the one in use goes on.
        """
        self._known = self._seen = before = signature(self._settings.model)
        began = time.monotonic()
        fresh: TaggerLike | None = None
        try:
            fresh = self._load()
            if fresh.info.digest == self._slot.current.info.digest:
                log.info("the model is the same as before: %s", fresh.info.digest)
                _close(fresh)
                return False
            self._check(fresh)
            if signature(self._settings.model) != before:
                raise BundleRefused("the bundle changed while it was read")
        except (FewnerdError, Stop, ValueError, OSError, RuntimeError, MemoryError) as error:
            if fresh is not None:
                _close(fresh)
            self._status.model_refused(str(error))
            return False
        old = self._slot.current
        self._status.uses(fresh.info, bands(fresh, self._settings), pieces_of(fresh))
        self._slot.switch(fresh, lambda: _close(old))
        self._status.model_changed(time.monotonic() - began)
        return True

    def _check(self, fresh: TaggerLike) -> None:
        """Refuse a tagger that the topics were not made for, or that does not work; the others' work warms it.

        Raises:
            BundleRefused: it finds other categories.
            Stop: it fails on a known-good sentence.
        """
        new, old = categories_of(fresh), categories_of(self._slot.current)
        if new != old:
            raise BundleRefused(
                f"it finds other categories ({', '.join(sorted(new))}) than the model in use "
                f"({', '.join(sorted(old))}), and the topics depend on them; start workers anew for that"
            )
        refuse_broken_model(fresh.tag, must_find=False)
        fresh.tag([KNOWN_GOOD * (1 + number % 8) for number in range(_WARM)])


def signature(source: str | None) -> Signature:
    """Describe a bundle's files, without reading them: their names, sizes, times and places on the disk.

    Empty where nothing is there, or it is a hub's.
    """
    if source is None:
        return ()
    place = Path(source).expanduser()
    found = []
    try:
        paths = [place]
        if place.is_file():
            from model.bundle import BundleError, named_by  # noqa: PLC0415 - it needs ONNX Runtime's tools

            try:
                paths.append(named_by(place))
            except BundleError:
                stat = place.stat()
                return ((place.name, stat.st_size, stat.st_mtime_ns, stat.st_ino),)
        paths += sorted(paths[-1].iterdir())
        for path in paths:
            stat = path.stat()
            found.append((str(path.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino))
    except OSError:
        return ()
    return tuple(found)


def _close(tagger: TaggerLike) -> None:
    close = getattr(tagger, "close", None)
    if callable(close):
        close()
