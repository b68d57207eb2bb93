"""Status: the figures, and what is asked of the broker for them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError
from aiokafka.structs import OffsetAndMetadata
from hypothesis import given
from hypothesis import strategies as st

from fewnerd_stream.contract.envelope import dead_record, retry_record
from fewnerd_stream.contract.records import Record, Source
from fewnerd_stream.errors import Reason
from fewnerd_stream.kafka.groups import assigned
from fewnerd_stream.operations.status import gather as gathering
from fewnerd_stream.operations.status.gather import gather
from fewnerd_stream.operations.status.report import Member, PartitionStatus, Report, Waiting, newest
from fewnerd_stream.settings import load_settings
from tests.support.lists import ListKafka, instead_of_clients

SETTINGS = load_settings(retry_delays="5,60")
UUID = "1b2c3d4e-0000-4000-8000-123456789abc"


def _partition(**fields: Any) -> PartitionStatus:
    given_fields: dict[str, Any] = {
        "topic": "raw-documents",
        "partition": 0,
        "role": "input",
        "first": 10,
        "end": 50,
        "committed": None,
    }
    return PartitionStatus(**given_fields | fields)


@pytest.mark.parametrize(
    ("fields", "lag", "lost", "next_"),
    [
        ({"committed": 30}, 20, 0, 30),
        ({"committed": 50}, 0, 0, 50),
        ({"committed": 4}, 40, 6, 10),
        ({"committed": None}, 40, 0, 10),
        ({"committed": None, "from_start": False}, 0, 0, 10),
        ({"committed": 60}, 0, 0, 60),
    ],
)
def test_lag_and_loss_follow_from_the_offsets(
    fields: dict[str, Any], lag: int, lost: int, next_: int
) -> None:
    """What was deleted before it was read is lost, and does not count as lag."""
    one = _partition(**fields)
    assert (one.lag, one.lost, one.next) == (lag, lost, next_)


def test_a_report_adds_up() -> None:
    """Input lag is work to do, retry lag is waiting, and the oldest head is the one that waits longest."""
    report = Report("g")
    report.partitions = [
        _partition(committed=30),
        _partition(partition=1, committed=49),
        _partition(topic="fewnerd-stream.raw-documents.retry.1", role="retry", committed=45),
    ]
    report.heads = [
        Waiting("fewnerd-stream.raw-documents.retry.1", 0, 45, 2000, 0, "a/0/1"),
        Waiting("fewnerd-stream.raw-documents.retry.2", 0, 3, 1000, 0, "a/0/2"),
        Waiting("fewnerd-stream.raw-documents.retry.2", 1, 3, None, 0, "a/0/3"),
    ]
    assert (report.lag, report.waiting) == (21, 5)
    assert report.oldest is report.heads[1]
    assert Report("g").oldest is None


@pytest.mark.parametrize(
    ("member", "name"),
    [
        (Member(f"aiokafka-0.14.0-{UUID}", "aiokafka-0.14.0", "10.0.0.1"), "1b2c3d4e@10.0.0.1"),
        (Member(f"news-{UUID}", "news", "10.0.0.1"), "news-1b2c3d4e@10.0.0.1"),
        (Member(f"worker-1-{UUID}", "aiokafka-0.14.0", "10.0.0.1"), "worker-1@10.0.0.1"),
        (Member("m", "", ""), "m"),
    ],
)
def test_a_member_is_called_by_what_tells_it_from_others(member: Member, name: str) -> None:
    """Its instance id, or its client's, or a piece of what Kafka made up; and where it is."""
    assert member.name == name


@given(
    st.dictionaries(
        st.integers(0, 8),
        st.tuples(st.integers(0, 20), st.integers(0, 30)).map(lambda p: (p[0], p[0] + p[1])),
    ),
    st.none() | st.integers(0, 120),
)
def test_the_newest_letters_are_shared_out(bounds: dict[int, tuple[int, int]], count: int | None) -> None:
    """As many as asked for, if there are, each partition's last, and none left out while others have more."""
    chosen = newest(bounds, count)
    sizes = {partition: end - start for partition, (start, end) in chosen.items()}
    total = sum(end - first for first, end in bounds.values())
    assert sum(sizes.values()) == (total if count is None else min(count, total))
    for partition, (start, end) in chosen.items():
        first, last = bounds[partition]
        assert first <= start <= end == last
        if start > first:
            assert all(size <= sizes[partition] + 1 for size in sizes.values())


def test_an_assignment_is_read_or_counts_as_none() -> None:
    """Kafka's bytes give the partitions; the embedded broker gives no bytes; others may give anything."""
    encoded = ConsumerProtocolMemberAssignment(0, [("b", [1, 0]), ("a", [2])], b"").encode()
    assert assigned(encoded) == [("a", 2), ("b", 0), ("b", 1)]
    assert assigned(b"") == []
    assert assigned(b"\x00\x01nonsense") == []


class Admin(ListKafka):
    """What an admin client tells of a group."""

    members: list[tuple[Any, ...]]
    committed: dict[Any, int]
    trouble: int = 0

    async def describe_consumer_groups(self, groups: list[str]) -> list[Any]:
        """Tell who is in a group, after as much trouble as is set."""
        if self.trouble:
            self.trouble -= 1
            raise GroupCoordinatorNotAvailableError
        group = (0, groups[0], "Stable", "consumer", "faust", self.members)
        return [SimpleNamespace(groups=[group])]

    async def list_consumer_group_offsets(self, _group: str, *, partitions: list[Any]) -> dict[Any, Any]:
        """Tell what was committed, -1 where nothing was."""
        return {
            one: OffsetAndMetadata(self.committed.get((one.topic, one.partition), -1), "")
            for one in partitions
        }


@pytest.fixture
def admin() -> Admin:
    """Have an input of two partitions, one waiting retry, two dead letters and one member."""
    kafka = Admin(
        {
            "raw-documents": 2,
            "fewnerd-stream.raw-documents.retry.1": 1,
            "fewnerd-stream.raw-documents.retry.2": 1,
            "fewnerd-stream.raw-documents.dead": 1,
            "fewnerd-stream.raw-documents.dead.replayed": 1,
        }
    )
    assignment = ConsumerProtocolMemberAssignment(0, [("raw-documents", [0])], b"").encode()
    kafka.members = [(f"worker-1-{UUID}", "aiokafka-0.14.0", "/10.0.0.1", b"", assignment)]
    kafka.committed = {("raw-documents", 0): 2, ("fewnerd-stream.raw-documents.retry.1", 0): 0}
    for _ in range(5):
        kafka.append("raw-documents", 0, value=b"x")
    record = Record("raw-documents", 0, 1, 5, b"k", b"v")
    source = Source("raw-documents", 0, 1, 5)
    out = retry_record(record, source, SETTINGS, 1000)
    assert out is not None
    kafka.append(out.topic, 0, Record(out.topic, 0, 0, None, out.key, out.value, out.headers))
    for reason in (Reason.CRASH, Reason.NAN):
        out = dead_record(record, source, reason, "model", None, None, SETTINGS)
        kafka.append(out.topic, 0, Record(out.topic, 0, 0, None, out.key, out.value, out.headers))
    return kafka


async def test_everything_is_gathered(admin: Admin) -> None:
    """Lag, owner, the oldest retry with when it is due, and the dead by reason."""
    with instead_of_clients(admin):
        found = (await gather(SETTINGS)).as_json()
    assert (found["state"], found["lag"], found["missing_topics"], found["notes"]) == ("stable", 3, [], [])
    assert [(one["topic"], one["partition"], one["lag"]) for one in found["partitions"]] == [
        ("raw-documents", 0, 3),
        ("raw-documents", 1, 0),
        ("fewnerd-stream.raw-documents.retry.1", 0, 1),
        ("fewnerd-stream.raw-documents.retry.2", 0, 0),
    ]
    assert found["partitions"][0]["owner"] == {
        "member": f"worker-1-{UUID}",
        "client": "aiokafka-0.14.0",
        "host": "10.0.0.1",
    }
    assert found["partitions"][1]["owner"] is None
    assert found["retries"]["waiting"] == 1
    assert found["retries"]["oldest"]["origin"] == "raw-documents/0/1"
    assert found["retries"]["oldest"]["due"] == "1970-01-01T00:00:06.000Z"
    assert found["dead"] == [
        {
            "topic": "fewnerd-stream.raw-documents.dead",
            "total": 2,
            "replayed": 0,
            "looked_at": 2,
            "by_reason": {"crash": 1, "nan": 1},
        }
    ]


async def test_only_so_many_letters_are_looked_at(admin: Admin) -> None:
    """The newest are counted by reason, and how many that were is told."""
    with instead_of_clients(admin):
        (dead,) = (await gather(SETTINGS, letters=1)).dead
    assert (dead.total, dead.looked_at, dict(dead.reasons)) == (2, 1, {"nan": 1})


async def test_a_coordinator_that_is_not_there_yet_is_waited_for(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster that was just made has none for a moment; one that never comes is a note."""
    monkeypatch.setattr(gathering, "_PAUSE", 0)
    admin.trouble = 3
    with instead_of_clients(admin):
        assert (await gather(SETTINGS)).notes == []
        admin.trouble = 1000
        report = await gather(SETTINGS)
    assert len(report.notes) == 1
    assert report.lag == 3


async def test_what_the_broker_does_not_tell_is_a_note(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker may know members but not what they have, or keep the commits to itself: the rest is told."""
    admin.members = [("m", "", "", b"", b"")]

    async def refuse(*_: object, **__: object) -> None:
        raise KafkaError("not here")

    monkeypatch.setattr(admin, "list_consumer_group_offsets", refuse)
    with instead_of_clients(admin):
        report = await gather(SETTINGS)
    assert "which member has which partitions" in report.notes[0]
    assert "not here" in report.notes[1]
    assert report.lag == 5


async def test_missing_topics_are_named(admin: Admin) -> None:
    """What is there is told all the same."""
    del admin.topics["fewnerd-stream.raw-documents.retry.2"]
    del admin.topics["fewnerd-stream.raw-documents.dead"]
    with instead_of_clients(admin):
        report = await gather(SETTINGS)
    assert report.missing == ["fewnerd-stream.raw-documents.dead", "fewnerd-stream.raw-documents.retry.2"]
    assert report.lag == 3
