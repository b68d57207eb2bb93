"""Runner threads: work that several callers hand in, done a piece at a time, each caller in turn."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Job = Callable[[], None]
# What is called again and again while work goes on, as a sign of life; any thread may call it.
Beat = Callable[[], None]


def silent() -> None:
    """Be the beat that nobody listens to."""


class PoolClosedError(RuntimeError):
    """Work was handed to a pool that is closed."""


class Pool:
    """A fixed number of threads. A submission's jobs start in order; submissions take turns, job by job."""

    def __init__(self, threads: int, name: str) -> None:
        self._waiting: deque[deque[Job]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def __len__(self) -> int:
        """Return the number of threads."""
        return len(self._threads)

    def submit(self, jobs: Iterable[Job]) -> None:
        """Hand in jobs; they must not raise, which is for whoever waits for them to arrange.

        Raises:
            PoolClosedError: the pool is closed.
        """
        queue = deque(jobs)
        if not queue:
            return
        with self._changed:
            # What was begun is finished: a job may still hand in what follows from it.
            if self._closed and threading.current_thread() not in self._threads:
                raise PoolClosedError("the tagger is closed")
            self._waiting.append(queue)
            self._changed.notify(len(queue))

    def close(self) -> None:
        """Do what was handed in, then end the threads; closing twice does nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    if self._closed:
                        return
                    self._changed.wait()
                queue = self._waiting.popleft()
                job = queue.popleft()
                if queue:
                    self._waiting.append(queue)
            job()
