"""The verifier: holds topics and commits against the reference, topic by topic, and objects.

It shares no code with the product: it knows the contract as a subscriber would. Each topic is streamed once,
and what is kept of a document is a few numbers in arrays, so that a million documents fit.
"""

from __future__ import annotations

import itertools
import re
from array import array
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import orjson

from tests.faults.load import number_of
from tests.faults.reference import BIT, CATEGORIES, DEAD, ENRICHED, NONE, checksum
from tests.faults.verdict import Duplicate, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from tests.faults.outside import Commit, Topics
    from tests.faults.reference import Entity
    from tests.faults.verdict import Names
    from tests.support.clients import Message

NEVER: Final = (1 << 62) - 1
SCORE: Final = 1e-3
_OURS: Final = "__fewnerd."
_TOPIC_ID: Final = re.compile(rb"(?<=[^/]):[A-Za-z0-9_-]{22}(?=/\d+/\d+/\w+\Z)")


class Expectations(Protocol):
    """What must come of each document, by its number."""

    def sent(self) -> Sequence[range]:
        """Give the numbers that were sent, each once."""

    def replays(self, number: int) -> int:
        """Say how often a document is replayed."""

    def mask(self, number: int, replay: int) -> int:
        """Give the set of topics, of the first delivery (replay 0) or of a replay."""

    def reason(self, number: int, replay: int) -> str | None:
        """Give the reason with which it is dead; None where any reason, or none, will do."""

    def entities(self, number: int) -> dict[str, list[Entity]]:
        """Give its entities by category."""


class _Partition:
    """What is known of the documents of one input partition, by offset."""

    def __init__(self) -> None:
        self.first = 0
        self.numbers = array("q")
        self.checks = array("I")

    def add(self, offset: int, number: int, check: int) -> None:
        while len(self.numbers) < offset:  # a hole in the log
            self.numbers.append(-1)
            self.checks.append(0)
        self.numbers.append(number)
        self.checks.append(check)

    def close(self, expected: Expectations) -> None:
        """Have all input read: make room for what comes of it."""
        size = len(self.numbers)
        self.mask = np.zeros(size, np.uint16)
        masks = self.mask
        for offset, number in enumerate(self.numbers):
            if number >= 0:
                masks[offset] = expected.mask(number, 0)
        self.seen = array("H", bytes(2 * size))
        self.complete: npt.NDArray[np.int64] = np.where(self.mask & ENRICHED, 0, NEVER)
        self.retried = array("q", [NEVER]) * size
        self.died = array("q", [NEVER]) * size

    def handed_over(self) -> npt.NDArray[np.int64]:
        """Give the time at which each offset was stored somewhere, ``NEVER`` where it was not."""
        out = np.minimum(
            self.complete, np.minimum(np.array(self.retried, np.int64), np.array(self.died, np.int64))
        )
        out[np.array(self.numbers, np.int64) < 0] = 0
        return out


Unit = tuple[int, int, int, int]
"""A document's try: partition and offset of its source, attempt, replay."""


class Verifier:
    """One run's verification."""

    def __init__(
        self, topics: Topics, names: Names, expected: Expectations, *, seed: int, attempts: int = 3
    ) -> None:
        """Say what to read, what must be there, and how many attempts a document may have after its first."""
        self._topics = topics
        self._names = names
        self._expected = expected
        self._attempts = attempts
        self._trace = b"00-%016x" % (seed + 1)
        self._parts: dict[int, _Partition] = {}
        self._stored: dict[Unit, dict[int, int]] = {}
        self._again: dict[Unit, int] = {}
        self._died: dict[Unit, int] = {}
        self._replayed: defaultdict[tuple[int, int, int], int] = defaultdict(int)
        self._waiting: dict[tuple[str, int], dict[int, Unit]] = defaultdict(dict)
        self._due: dict[Unit, int] = {}
        self._ids: set[bytes] = set()
        self._topic_ids: set[bytes] = set()
        self.verdict = Verdict()

    def run(self) -> Verdict:
        """Read everything and judge it."""
        self._read_inputs()
        for topic in self._names.retries:
            for message in self._topics.read(topic):
                self._see_retry(message)
        for category in (*CATEGORIES, NONE):
            self._read_outputs(category)
        for message in self._topics.read(self._names.dead):
            self._see_dead(message)
        self._judge_places()
        self._judge_commits()
        return self.verdict

    # -- inputs ----------------------------------------------------------------------------------------

    def _read_inputs(self) -> None:
        found: list[npt.NDArray[np.int64]] = []
        for message in self._topics.read(self._names.input):
            number = number_of(_header(message, "traceparent"))
            if number is None:
                self.verdict.object("I1", f"{message.place} is an input of nobody's")
                number = -1
            part = self._parts.setdefault(message.partition, _Partition())
            part.add(message.offset, number, checksum(message.value, message.key))
        for part in self._parts.values():
            part.close(self._expected)
            numbers = np.array(part.numbers, np.int64)
            found.append(numbers[numbers >= 0])
        numbers = np.concatenate(found) if found else np.zeros(0, np.int64)
        self.verdict.documents = len(numbers)
        # Brokers that are killed may let the load's own producer store a record twice: those are two inputs, each
        # with a place of its own, and each must come out.
        there = np.unique(numbers)
        self.verdict.stored_twice = len(numbers) - len(there)
        wanted = np.concatenate(
            [np.arange(one.start, one.stop) for one in self._expected.sent()] or [numbers[:0]]
        )
        if not np.array_equal(there, np.sort(wanted)):
            self.verdict.object("I1", f"{len(there)} numbers are on the input topic, {len(wanted)} were sent")

    def _known(self, message: Message, place: tuple[Any, Any, Any]) -> tuple[_Partition, int] | None:
        """Find the input that a record names as its source, and check that it is the right one."""
        topic, partition, offset = place
        part = self._parts.get(partition) if topic == self._names.input else None
        if part is None or not isinstance(offset, int) or not 0 <= offset < len(part.numbers):
            self.verdict.object("I9", f"{message.place} came of {place}, which is no input")
            return None
        number = part.numbers[offset]
        given = _header(message, "traceparent") or b""
        if number < 0 or number_of(given) != number or not given.startswith(self._trace):
            self.verdict.object("I9", f"{message.place} came of {place}, number {number}, but says {given!r}")
        return part, number

    # -- what came of them -----------------------------------------------------------------------------

    def _read_outputs(self, category: str) -> None:
        bit = BIT[category]
        firsts = {p: array("q", [NEVER]) * len(part.numbers) for p, part in self._parts.items()}
        last: dict[tuple[int, int], int] = {}
        for message in self._topics.read(f"{self._names.prefix}.{category}"):
            self._see_output(message, category, firsts, last)
        for number, part in self._parts.items():
            first = np.array(firsts[number], np.int64)
            due = (part.mask & bit) != 0
            part.complete[due] = np.maximum(part.complete[due], first[due])

    def _see_output(
        self, message: Message, category: str, firsts: dict[int, array[int]], last: dict[tuple[int, int], int]
    ) -> None:
        verdict = self.verdict
        verdict.results += 1
        raw = message.value or b""
        try:
            value = orjson.loads(raw)
            source = value["source"]
            place = source["topic"], source["partition"], source["offset"]
            attempt, replay = source["attempt"], source["replay"]
        except (ValueError, KeyError, TypeError) as error:
            verdict.object("I9", f"{message.place} is no enriched document: {error!r}")
            return
        known = self._known(message, place)
        if known is None:
            return
        part, number = known
        _, partition, offset = place
        if attempt > self._attempts:
            verdict.object("I8", f"{message.place} is of attempt {attempt}")
        self._check_content(message, category, value, part.checks[offset], number)
        name = b"%s/%d/%d/%s" % (place[0].encode(), partition, offset, category.encode())
        given = _header(message, "ce_id") or b""
        if _TOPIC_ID.sub(b"", given) != name:
            verdict.object("I6", f"{message.place} has ce_id {given!r}, not {name!r}")
        self._topic_ids.update(_TOPIC_ID.findall(given))
        if len(self._topic_ids) > 1:
            verdict.object("I6", f"{message.place} is of another topic of the same name, says {given!r}")
        self._appears(message, BIT[category], (partition, offset, attempt, replay))
        if attempt == replay == 0:
            times = firsts[partition]
            if times[offset] == NEVER:
                lane = message.partition, partition
                if last.get(lane, -1) >= offset:
                    verdict.object(
                        "I3", f"{message.place}: offset {offset} of {partition} after {last[lane]}"
                    )
                last[lane] = max(offset, last.get(lane, -1))
            times[offset] = min(times[offset], message.timestamp)
        else:
            stored = self._stored.setdefault((partition, offset, attempt, replay), {})
            stored[BIT[category]] = min(stored.get(BIT[category], NEVER), message.timestamp)

    def _appears(self, message: Message, bit: int, unit: Unit) -> None:
        """Note that a document is in a topic; a second time it is a duplicate."""
        partition, offset, attempt, replay = unit
        if replay == 0:
            seen = self._parts[partition].seen
            before = seen[offset]
            seen[offset] = before | bit
        else:
            before = self._replayed[partition, offset, replay]
            self._replayed[partition, offset, replay] = before | bit
        if before & bit:
            self.verdict.duplicates.append(
                Duplicate(message.timestamp, partition, offset, attempt, message.topic)
            )

    def _check_content(self, message: Message, category: str, value: Any, check: int, number: int) -> None:
        raw = message.value or b""
        document = raw[raw.find(b'"document":') + 11 : raw.rfind(b',"source":')]
        if checksum(document, message.key) != check:
            self.verdict.object("I9", f"{message.place} has another key or document than its input")
        wanted = self._expected.entities(number).get(category, [])
        found = value["entities"]
        text = value["document"].get("text") if isinstance(value["document"], dict) else None
        same = len(found) == len(wanted) and all(
            (one["start"], one["end"], one["label"]) == (start, end, label)
            and abs(one["score"] - score) <= SCORE
            and isinstance(text, str)
            and text[start:end] == one["text"]
            for one, (start, end, label, score) in zip(found, wanted, strict=True)
        )
        if not same:
            self.verdict.object("I5", f"{message.place}: {found}, but the reference has {wanted}")

    def _unit(self, message: Message) -> tuple[_Partition, int, Unit] | None:
        """Read whose try a retried or dead record tells of, and check it against its input."""
        headers = {name: value for name, value in message.headers if name.startswith(_OURS)}
        try:
            topic = (headers[_OURS + "topic"] or b"").decode()
            partition, offset, attempt, replay = (
                int(headers[_OURS + name] or b"") for name in ("partition", "offset", "attempt", "replay")
            )
        except (KeyError, ValueError):
            self.verdict.object("I9", f"{message.place} does not name its source")
            return None
        known = self._known(message, (topic, partition, offset))
        if known is None:
            return None
        part, number = known
        if attempt > self._attempts:
            self.verdict.object("I8", f"{message.place} is of attempt {attempt}")
        if checksum(message.value, message.key) != part.checks[offset]:
            self.verdict.object("I9", f"{message.place} has another key or value than its input")
        return part, number, (partition, offset, attempt, replay)

    def _see_retry(self, message: Message) -> None:
        self.verdict.retries += 1
        unit = self._unit(message)
        if unit is None:
            return
        part, _, (partition, offset, attempt, replay) = unit
        if attempt == 1 and replay == 0:
            part.retried[offset] = min(part.retried[offset], message.timestamp)
        before = partition, offset, attempt - 1, replay
        self._again[before] = min(self._again.get(before, NEVER), message.timestamp)
        due = int(_header(message, _OURS + "not-before") or b"0")
        self._due[unit[2]] = min(self._due.get(unit[2], NEVER), due)
        self._waiting[message.topic, message.partition][message.offset] = unit[2]

    def _see_dead(self, message: Message) -> None:
        self.verdict.dead += 1
        found = self._unit(message)
        if found is None:
            return
        part, number, unit = found
        _, offset, attempt, replay = unit
        reason = (_header(message, _OURS + "reason") or b"").decode()
        self.verdict.reasons[reason] += 1
        wanted = self._expected.reason(number, replay)
        if wanted is not None and reason != wanted:
            self.verdict.object("I1", f"{message.place} is dead of {reason}, not of {wanted}")
        if attempt == 0 and replay == 0:
            part.died[offset] = min(part.died[offset], message.timestamp)
        self._died[unit] = min(self._died.get(unit, NEVER), message.timestamp)
        self._appears(message, BIT[DEAD], unit)

    # -- judging ---------------------------------------------------------------------------------------

    def _judge_places(self) -> None:
        for partition, part in self._parts.items():
            for offset, number in enumerate(part.numbers):
                if number < 0:
                    continue
                self._judge_set((partition, offset, 0), number, int(part.mask[offset]), part.seen[offset])
                for replay in range(1, self._expected.replays(number) + 1):
                    wanted = self._expected.mask(number, replay)
                    self._judge_set(
                        (partition, offset, replay),
                        number,
                        wanted,
                        self._replayed.pop((partition, offset, replay), 0),
                    )
        for place, seen in self._replayed.items():
            self.verdict.object("I1", f"{place} was replayed into {_named(seen)}, of which nothing is known")

    def _judge_set(self, place: tuple[int, int, int], number: int, wanted: int, seen: int) -> None:
        if seen & BIT[DEAD] and seen & ENRICHED:
            self.verdict.object("I2", f"{place} (number {number}) is dead and enriched")
        if wanted == seen:
            return
        missing = (wanted & ~seen).bit_count()
        self.verdict.lost += missing
        message = f"{place} (number {number}) is in {_named(seen)}, and should be in {_named(wanted)}"
        self.verdict.object("I1", message, max(1, missing))

    def _judge_commits(self) -> None:
        history: defaultdict[tuple[str, int], list[Commit]] = defaultdict(list)
        for commit in self._topics.commits(self._names.group):
            self.verdict.commits += 1
            one = history[commit.topic, commit.partition]
            if commit.offset is None:
                one.clear()  # the topic was deleted, and made anew or not
            else:
                one.append(commit)
        self.verdict.history = dict(history)
        for place, commits in history.items():
            if place[0] == self._names.input:
                part = self._parts.get(place[1])
                times = np.zeros(0, np.int64) if part is None else part.handed_over()
            else:
                times = self._retries_handed_over(place)
            self._judge_history(place, commits, times)

    def _retries_handed_over(self, place: tuple[str, int]) -> npt.NDArray[np.int64]:
        waiting = self._waiting.get(place, {})
        times = np.zeros(max(waiting, default=-1) + 1, np.int64)
        for at, unit in waiting.items():
            times[at] = self._unit_handed_over(unit)
            # A second copy of a try is as good as done when the first is.
            if times[at] < self._due[unit]:
                self.verdict.early += 1
                early = self._due[unit] - times[at]
                self.verdict.object("I4", f"{place}/{at} was handed over {early} ms before it was due")
        return times

    def _unit_handed_over(self, unit: Unit) -> int:
        partition, offset, _, replay = unit
        number = self._parts[partition].numbers[offset]
        wanted = self._expected.mask(number, replay) & ENRICHED
        stored = self._stored.get(unit, {})
        enriched = NEVER
        if wanted and all(stored.get(bit) for bit in BIT.values() if bit & wanted):
            enriched = max(stored[bit] for bit in BIT.values() if bit & wanted)
        return min(enriched, self._again.get(unit, NEVER), self._died.get(unit, NEVER))

    def _judge_history(
        self, place: tuple[str, int], commits: list[Commit], times: npt.NDArray[np.int64]
    ) -> None:
        latest = np.maximum.accumulate(times) if len(times) else times
        for before, commit in itertools.pairwise(commits):
            if (commit.offset or 0) < (before.offset or 0):
                self.verdict.object("I4", f"{place}: a commit of {commit.offset} after {before.offset}")
        for commit in commits:
            offset = commit.offset or 0
            if offset > len(times):
                self.verdict.object("I4", f"{place}: a commit of {offset}, past the end {len(times)}")
            elif offset and latest[offset - 1] > commit.timestamp:
                at = int(np.argmax(times[:offset] > commit.timestamp))
                self.verdict.object("I4", f"{place}: a commit of {offset} when {at} was not handed over")


def _header(message: Message, name: str) -> bytes | None:
    for each, value in message.headers:
        if each == name:
            return value
    return None


def _named(mask: int) -> str:
    return "{" + ", ".join(name for name, bit in BIT.items() if mask & bit) + "}"
