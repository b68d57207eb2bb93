"""The verifier passes a clean run, and objects to each thing that is wrong in one."""

from __future__ import annotations

import dataclasses
import json
import struct
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults import load
from tests.faults.expected import Expected
from tests.faults.outside import Commit, parse_commit
from tests.faults.reference import BIT, Tagged, tagged
from tests.faults.verdict import Names, Verdict
from tests.faults.verifier import Verifier
from tests.support.clients import Message
from tests.support.taggers import Found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SEED = 7
COUNT = 40
NAMES = Names("in", "out", ("in.retry.1", "in.retry.2"), "in.dead", "g")
DIES = frozenset({5, 17})
"""Documents on which the model fails."""
AGAIN = 5
"""One of them was replayed, and enriched then."""


class Reference:
    """Every document names a person, every third a place, and every fifth nothing."""

    def __init__(self) -> None:
        self.seed = SEED
        self._all = [self._of(number) for number in range(COUNT)]
        self.masks = [one.mask for one in self._all]

    @staticmethod
    def _of(number: int) -> Tagged:
        text = load.text(SEED, number)
        found = []
        if number % 5:
            found.append(Found(text[0:4], 0, 4, "person", "actor", "person-actor", 0.75))
            if not number % 3:
                found.append(Found(text[5:7], 5, 7, "location", "GPE", "location-GPE", 0.5))
        return tagged(found)

    def entities(self, number: int) -> dict[str, list[Any]]:
        """Give a document's entities."""
        return self._all[number].entities


REFERENCE: Any = Reference()


class World:
    """A run as it should be, in memory: two partitions, two documents retried and dead, one replayed."""

    def __init__(self) -> None:
        self.topics: dict[str, list[Message]] = {}
        self.log: list[Commit] = []
        self.clock = 1_000_000
        for number in range(COUNT):
            new = load.record(SEED, number)
            self.put("in", number % 2, new.key, new.value, new.headers)
        for number in range(COUNT):
            self.clock += 10
            if number in DIES:
                self._retry(number)
            else:
                self.enrich(number)
            self.clock += 10
            self.commit("in", number % 2, number // 2 + 1)
        for attempt in (1, 2):
            for place, number in enumerate(sorted(DIES)):
                self.clock += 5_000
                if attempt == 1:
                    self._retry(number, attempt=2)
                else:
                    self._bury(number)
                self.commit(f"in.retry.{attempt}", 0, place + 1)
        self._retry(AGAIN, attempt=1, replay=1, due=0)
        self.clock += 10
        self.enrich(AGAIN, attempt=1, replay=1)
        self.clock += 10
        self.commit("in.retry.1", 0, len(DIES) + 1)

    def put(self, topic: str, partition: int, key: Any, value: Any, headers: Any) -> Message:
        """Store a record at the end of a partition."""
        lane = self.topics.setdefault(topic, [])
        offset = sum(message.partition == partition for message in lane)
        message = Message(topic, partition, offset, self.clock, key, value, tuple(headers))
        lane.append(message)
        return message

    def commit(self, topic: str, partition: int, offset: int | None) -> None:
        """Store a commit, now."""
        self.log.append(Commit(topic, partition, offset, "", self.clock))

    def enrich(self, number: int, attempt: int = 0, replay: int = 0) -> None:
        """Store what should come of a document."""
        new = load.record(SEED, number)
        assert new.value is not None
        found = REFERENCE.entities(number)
        for category in found or {"none": []}:
            source = {
                "topic": "in",
                "partition": number % 2,
                "offset": number // 2,
                "timestamp": 1,
                "attempt": attempt,
                "replay": replay,
            }
            text = load.text(SEED, number)
            entities = [
                {"text": text[start:end], "start": start, "end": end, "label": label, "score": score}
                for start, end, label, score in found.get(category, [])
            ]
            value = b'{"entities":%s,"document":%s,"source":%s}' % (
                json.dumps(entities).encode(),
                new.value,
                json.dumps(source).encode(),
            )
            name = f"in/{number % 2}/{number // 2}/{category}".encode()
            headers = (("ce_id", name), *new.headers)
            self.put(f"out.{category}", number % 2, new.key, value, headers)

    def _ours(self, number: int, attempt: int, replay: int) -> list[tuple[str, bytes]]:
        values = {
            "topic": "in",
            "partition": number % 2,
            "offset": number // 2,
            "attempt": attempt,
            "replay": replay,
        }
        return [(f"__fewnerd.{name}", str(value).encode()) for name, value in values.items()]

    def _retry(self, number: int, attempt: int = 1, replay: int = 0, due: int | None = None) -> None:
        new = load.record(SEED, number)
        due = self.clock + 1_000 if due is None else due
        ours = [*self._ours(number, attempt, replay), ("__fewnerd.not-before", str(due).encode())]
        self.put(f"in.retry.{attempt}", 0, new.key, new.value, (*new.headers, *ours))

    def _bury(self, number: int) -> None:
        new = load.record(SEED, number)
        ours = [*self._ours(number, 2, 0), ("__fewnerd.reason", b"model-error")]
        self.put("in.dead", 0, new.key, new.value, (*new.headers, *ours))

    def read(self, topic: str) -> Iterator[Message]:
        """Give a topic's records."""
        return iter(self.topics.get(topic, []))

    def commits(self, group: str) -> Iterator[Commit]:
        """Give the group's commits."""
        assert group == "g"
        return iter(self.log)


def judge(world: World) -> Verdict:
    """Verify a world."""
    expected = Expected(
        REFERENCE,
        COUNT,
        dies=lambda number, replay: "model-error" if number in DIES and not replay else None,
        replays=lambda number: int(number == AGAIN),
    )
    return Verifier(world, NAMES, expected, seed=SEED, attempts=2).run()


def test_a_clean_run_passes() -> None:
    """No objection, nothing lost, nothing twice, and everything counted."""
    verdict = judge(World())
    assert verdict.examples == {}
    assert verdict.holds
    assert (verdict.documents, verdict.lost, verdict.duplicates) == (COUNT, 0, [])
    assert (verdict.dead, verdict.retries, verdict.early) == (2, 5, 0)


def test_an_input_stored_twice_must_come_out_twice() -> None:
    """What the load's producer stored again is an input of its own: without a result of its own it is lost."""
    world = World()
    new = load.record(SEED, 2)
    world.put("in", 0, new.key, new.value, new.headers)
    verdict = judge(world)
    assert verdict.stored_twice == 1
    assert verdict.lost == len(REFERENCE.entities(2) or ["none"])
    assert set(verdict.objections) == {"I1"}


def _drop(topic: str, index: int) -> Callable[[World], None]:
    def drop(world: World) -> None:
        del world.topics[topic][index]

    return drop


def _change(topic: str, index: int, **fields: Any) -> Callable[[World], None]:
    def change(world: World) -> None:
        old = world.topics[topic][index]
        made = {name: value(getattr(old, name)) for name, value in fields.items()}
        world.topics[topic][index] = dataclasses.replace(old, **made)

    return change


def _replace(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def replaced(value: bytes) -> bytes:
        assert old in value
        return value.replace(old, new, 1)

    return replaced


def _swap(world: World) -> None:
    """Let two documents of one source partition change places in one output partition."""
    lane = world.topics["out.person"]
    first, second = [index for index, message in enumerate(lane) if message.partition == 1][4:6]
    a, b = lane[first], lane[second]
    lane[first] = dataclasses.replace(b, offset=a.offset, timestamp=a.timestamp)
    lane[second] = dataclasses.replace(a, offset=b.offset, timestamp=a.timestamp)


def _early(world: World) -> None:
    """Let a commit be stored before the last document below it was."""
    index = max(i for i, one in enumerate(world.log) if one.topic == "in" and one.partition == 0)
    world.log[index] = dataclasses.replace(world.log[index], timestamp=world.log[index].timestamp - 15)


def _early_retry(world: World) -> None:
    """Let the commit of a waiting retry be stored before it was tried again."""
    index = next(i for i, one in enumerate(world.log) if one.topic == "in.retry.1")
    world.log[index] = dataclasses.replace(world.log[index], timestamp=1_000_500)


def _back(world: World) -> None:
    world.clock += 10
    world.commit("in", 0, 3)


def _past_end(world: World) -> None:
    world.clock += 10
    world.commit("in", 0, COUNT)


def _again(world: World) -> None:
    world.enrich(4)


def _never_sent(world: World) -> None:
    new = load.record(SEED, COUNT)
    world.put("in", 0, new.key, new.value, new.headers)


def _not_due(world: World) -> None:
    world.topics["in.retry.1"][0] = dataclasses.replace(
        world.topics["in.retry.1"][0],
        headers=(
            *(
                header
                for header in world.topics["in.retry.1"][0].headers
                if header[0] != "__fewnerd.not-before"
            ),
            ("__fewnerd.not-before", b"2000000"),
        ),
    )


@pytest.mark.parametrize(
    ("invariant", "plant"),
    [
        pytest.param("I1", _drop("out.none", 3), id="a loss"),
        pytest.param("I1", _drop("out.location", 2), id="a missing category"),
        pytest.param("I1", _drop("in.dead", 0), id="a lost dead letter"),
        pytest.param("I1", lambda world: world.enrich(17), id="a result of a document that should be dead"),
        pytest.param("I1", _never_sent, id="an input that nobody sent"),
        pytest.param("I1", _change("in.dead", 0, headers=lambda old: (*old[:-1], ("__fewnerd.reason", b"nan"))),
                     id="another reason"),
        pytest.param("I2", lambda world: world.enrich(17), id="dead and enriched"),
        pytest.param("I3", _swap, id="a reordering"),
        pytest.param("I4", _early, id="an early commit"),
        pytest.param("I4", _early_retry, id="an early commit on a retry topic"),
        pytest.param("I4", _back, id="a commit that goes back"),
        pytest.param("I4", _past_end, id="a commit past the end"),
        pytest.param("I4", _not_due, id="a retry before it was due"),
        pytest.param("I5", _change("out.person", 3, value=_replace(b'"start": 0', b'"start": 1')),
                     id="an altered entity"),
        pytest.param("I5", _change("out.person", 3, value=_replace(b"0.75", b"0.752")), id="an altered score"),
        pytest.param("I5", _change("out.person", 3, value=_replace(b"person-actor", b"person-artist")),
                     id="another label"),
        pytest.param("I6", _change("out.person", 3, headers=lambda old: (("ce_id", b"in/0/1/person"), *old[1:])),
                     id="another ce_id"),
        pytest.param("I8", lambda world: world.enrich(4, attempt=3), id="an attempt too many"),
        pytest.param("I9", _change("out.person", 3, headers=lambda old: old[:1]), id="no traceparent"),
        pytest.param("I9", _change("out.person", 3, value=_replace(b"1.10", b"1.1")), id="an altered document"),
        pytest.param("I9", _change("out.person", 3, key=lambda _: b"other"), id="another key"),
        pytest.param("I9", _change("out.person", 3, value=_replace(b'"offset": ', b'"offset": 9')),
                     id="another source"),
        pytest.param("I9", _change("in.dead", 0, value=lambda old: old + b" "), id="an altered dead letter"),
    ],
)  # fmt: skip
def test_it_objects(invariant: str, plant: Callable[[World], None]) -> None:
    """What was planted is objected to, under its own invariant."""
    world = World()
    plant(world)
    verdict = judge(world)
    assert verdict.objections[invariant], verdict.examples


def test_a_loss_is_counted_by_topic() -> None:
    """A document missing from two topics is two losses."""
    world = World()
    for topic in ("out.person", "out.location"):
        there = world.topics[topic]
        world.topics[topic] = [
            one for one in there if b'"partition": 1, "offset": 1,' not in (one.value or b"")
        ]
    assert judge(world).lost == 2


def test_a_duplicate_is_counted_and_no_loss() -> None:
    """A second copy with the same ce_id is a duplicate, and not out of order."""
    world = World()
    _again(world)
    verdict = judge(world)
    assert verdict.holds, verdict.examples
    assert [(one.partition, one.offset) for one in verdict.duplicates] == [(0, 2)]


def test_commits_of_a_deleted_topic_count_no_more() -> None:
    """When a topic is deleted the broker takes its commits back, and they begin anew."""
    world = World()
    world.commit("in.retry.2", 0, 99)
    world.commit("in.retry.2", 0, None)
    world.commit("in.retry.2", 0, 1)
    assert judge(world).holds


@pytest.mark.parametrize("version", [1, 3, 4])
def test_commits_are_read_in_every_version_of_their_format(version: int) -> None:
    """Group, topic, partition, offset, metadata and time come out as they went in."""
    key = struct.pack(">hh1sh2si", 1, 1, b"g", 2, b"in", 3)
    metadata = b"fewnerd:1;starts=1;until=9"
    value = struct.pack(">hq", version, 42)
    if version >= 3:
        value += struct.pack(">i", 7)
    value += bytes([len(metadata) + 1]) if version == 4 else struct.pack(">h", len(metadata))
    value += metadata + struct.pack(">q", 1234)
    value += b"\0" if version == 4 else struct.pack(">q", 99) if version == 1 else b""
    assert parse_commit(key, value, "g") == Commit("in", 3, 42, metadata.decode(), 1234)
    assert parse_commit(key, value, "other") is None
    assert parse_commit(key, None, "g") == Commit("in", 3, None, "", 0)


def test_the_places_are_all_different_bits() -> None:
    """Ten places, ten bits."""
    assert sorted(BIT.values()) == [1 << index for index in range(10)]
