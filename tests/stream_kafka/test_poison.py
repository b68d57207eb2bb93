"""Documents that break the model, the process, or nothing: only the culprit goes to the dead letters."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest

from fewnerd_stream.delivery.crashes import CONDEMNED
from fewnerd_stream.exits import Exit
from tests.support.clients import New
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.flows import Flow
    from tests.support.workers import Worker

NAMED: Final[dict[str, Any]] = {"instance_id": "worker-1"}
"""With a name of its own a worker that comes back is known at once, and waits for no session to end."""
BROKEN = "tests.support.taggers:BrokenTagger"


def raw(text: str, name: str = "d") -> bytes:
    """Write a raw document."""
    return json.dumps({"id": name, "text": text}).encode()


def around(poison: dict[int, str], count: int) -> list[New]:
    """Write good documents with bad ones at some places; each is keyed by its place."""
    return [New(raw(poison.get(n, f"Paris {n}"), f"d{n}"), str(n).encode()) for n in range(count)]


def keep_up(worker: Worker, stream: Flow, done: Callable[[], bool], *, most: int) -> list[int]:
    """Start a worker again whenever it ends, as a supervisor would; return how it ended each time."""
    ends: list[int] = []

    def look() -> bool:
        status = worker.process.status
        if status is not None:
            ends.append(status)
            assert len(ends) <= most, f"it ended too often: {ends}\n{worker.process.tail(80)}"
            worker.start(wait=False)
        return done()

    try:
        until("it is done", look, 280)
    except AssertionError as error:
        error.add_note(f"{ends}, {stream.lag()} to go, {worker.health()}\n{worker.process.tail(80)}")
        raise
    return ends


def test_a_poisoned_window_loses_only_its_poison(flow: Callable[..., Flow]) -> None:
    """Documents on which the model fails leave their windows one by one; the rest is enriched at once."""
    stream = flow(partitions=1, retry_delays="0.3,0.5", window_size=32)
    bad = {n: f"Siemens {n} !fail" for n in (3, 40, 41, 42, 99)}
    stream.send(around(bad, 100))
    worker = stream.worker()
    stream.wait_done()
    account = stream.account()
    assert account.duplicates == 0
    assert {message.key for message in stream.dead()} == {str(n).encode() for n in bad}
    assert {message.header("__fewnerd.reason") for message in stream.dead()} == {b"model-error"}
    found = [int(message.key or b"") for message in stream.category("location")]
    assert found == [n for n in range(100) if n not in bad]
    assert account.retried.total() == 2 * len(bad)
    stream.stop(worker)


@pytest.mark.parametrize("order", ["die", "segv"])
def test_a_document_that_takes_its_process_with_it_is_dead_of_it(
    flow: Callable[..., Flow], order: str
) -> None:
    """A document that kills every process is dead by its crashes after six starts, and nothing else is."""
    stream = flow(partitions=1, window_size=8, windows_in_flight=3)
    stream.send(around({37: f"Siemens !{order}"}, 60))
    worker = stream.worker(start=False, **NAMED)
    worker.start(wait=False)
    ends = keep_up(worker, stream, lambda: stream.lag() == 0, most=12)
    stream.count_kills(len(ends))
    account = stream.account()
    [letter] = stream.dead()
    assert (letter.key, letter.header("__fewnerd.reason")) == (b"37", b"crash")
    assert all(end < 0 for end in ends)
    assert account.duplicates <= len(ends) * 8 * 3
    assert account.retried.total() == 0
    stream.stop(worker)


def test_two_documents_that_crash_and_workers_that_take_over(flow: Callable[..., Flow]) -> None:
    """Starts are counted across workers: two crashing documents on two partitions are the only dead."""
    stream = flow(partitions=2, window_size=4, session_timeout=2)
    stream.send(
        [New(raw("Siemens !die" if n == 9 else f"Paris {n}"), b"%d" % n, partition=n % 2) for n in range(40)]
    )
    stream.send([New(raw("Siemens !die"), b"even", partition=0)])
    stream.send([New(raw(f"Paris {n}"), b"more%d" % n, partition=n % 2) for n in range(20)])
    workers = [stream.worker(start=False) for _ in range(2)]
    for worker in workers:
        worker.start(wait=False)
    crashes = 0

    def look() -> bool:
        nonlocal crashes
        for worker in workers:
            if worker.process.status is not None:
                crashes += 1
                assert crashes < 40, worker.process.tail(80)
                worker.start(wait=False)
        return stream.lag() == 0

    until("both are dead and all else is done", look, 280, every=0.5)
    stream.count_kills(crashes)
    stream.account()
    assert {(m.key, m.header("__fewnerd.reason")) for m in stream.dead()} == {
        (b"9", b"crash"),
        (b"even", b"crash"),
    }
    for worker in workers:
        stream.stop(worker)


def test_a_document_on_which_the_model_hangs_is_dead_of_it(flow: Callable[..., Flow]) -> None:
    """A hang ends the process with the watchdog's code, and after six of them the document is dead, and it alone."""
    stream = flow(partitions=1, window_size=8, inference_timeout=2)
    stream.send(around({11: "Siemens !hang"}, 24))
    worker = stream.worker(start=False, **NAMED)
    worker.start(wait=False)
    ends = keep_up(worker, stream, lambda: stream.lag() == 0, most=12)
    assert set(ends) == {Exit.WATCHDOG}
    stream.account()
    [letter] = stream.dead()
    assert (letter.key, letter.header("__fewnerd.reason")) == (b"11", b"crash")
    assert "hangs" in worker.said()
    stream.stop(worker)


def test_a_broken_model_sends_nothing_to_the_dead(flow: Callable[..., Flow]) -> None:
    """A model that fails on all texts holds everything: exit 6, and no document dies of it, however often."""
    stream = flow(
        partitions=1, patience=4, session_timeout=2, request_timeout=3, inference_timeout=3, window_size=4
    )
    (stream.folder / "broken").touch()
    stream.send(around({}, 20))
    worker = stream.worker(start=False, tagger=BROKEN, **NAMED)
    for _ in range(CONDEMNED + 1):
        worker.start(wait=False)
        assert worker.wait(60) == Exit.WATCHDOG
    assert "the model fails on a known-good sentence too" in worker.said()
    assert (stream.committed(), stream.count(*stream.outputs, *stream.retries)) == (0, 0)
    (stream.folder / "broken").unlink()
    stream.start(worker)
    stream.wait_done()
    assert stream.account().duplicates == 0
    assert stream.dead() == []
    stream.stop(worker)


def test_a_model_that_is_broken_for_a_while_holds_all_until_it_works(flow: Callable[..., Flow]) -> None:
    """While the model fails the worker waits and says so, and goes on by itself when it works again."""
    stream = flow(partitions=1, window_size=4)
    (stream.folder / "broken").touch()
    stream.send(around({}, 20))
    worker = stream.worker(tagger=BROKEN)
    worker.wait_state("waiting")
    assert "known-good" in worker.health()["reason"]
    (stream.folder / "broken").unlink()
    stream.wait_done()
    assert stream.account().duplicates == 0
    assert stream.dead() == []
    worker.wait_state("running")
    stream.stop(worker)
