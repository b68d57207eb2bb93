"""Runner threads take turns among submissions, and end when told."""

from __future__ import annotations

import threading

import pytest

from model.pool import Pool, PoolClosedError


def test_submissions_take_turns_job_by_job() -> None:
    """With one thread, a later submission's jobs come between an earlier one's."""
    pool = Pool(1, "test")
    order: list[str] = []
    begin, end = threading.Event(), threading.Event()

    def wait() -> None:
        begin.wait()

    pool.submit([wait])
    pool.submit([lambda name=name: order.append(name) for name in ("a1", "a2", "a3")])  # type: ignore[misc]  # mypy cannot infer such a lambda
    pool.submit([lambda name=name: order.append(name) for name in ("b1", "b2")])  # type: ignore[misc]  # the same
    begin.set()
    pool.submit([end.set])
    end.wait()
    pool.close()
    assert [name for name in order if name[0] == "a"] == ["a1", "a2", "a3"]
    assert order[:4] == ["a1", "b1", "a2", "b2"]


def test_closing_does_what_was_handed_in() -> None:
    """Jobs, and what they hand in themselves, are done before the threads end; others are refused."""
    pool = Pool(2, "test")
    done: list[int] = []
    go = threading.Event()

    def first() -> None:
        go.wait()
        pool.submit([lambda: done.append(2)])
        done.append(1)

    pool.submit([first])
    closer = threading.Thread(target=pool.close)
    closer.start()
    go.set()
    closer.join()
    assert sorted(done) == [1, 2]
    with pytest.raises(PoolClosedError):
        pool.submit([go.set])
    pool.close()


def test_no_jobs_are_no_work() -> None:
    """An empty submission leaves nothing waiting."""
    pool = Pool(1, "test")
    pool.submit([])
    assert len(pool) == 1
    pool.close()
