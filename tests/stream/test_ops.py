"""The operator's commands on real brokers: dead letters, replays, status, and sending and watching."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Consumer

from fewnerd_stream.cli import cli
from fewnerd_stream.contract.envelope import dead_record
from fewnerd_stream.contract.records import Record, Source
from fewnerd_stream.errors import Reason
from fewnerd_stream.exits import Exit
from fewnerd_stream.settings import Settings, load_settings
from tests.support import clients
from tests.support.clients import New, first_place
from tests.support.processes import Process, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fewnerd_stream.contract.topology import InputTopics
    from fewnerd_stream.kafka.embedded import EmbeddedBroker
    from tests.support.flows import Flow
    from tests.support.kafka import KafkaCluster

COMMAND = (sys.executable, "-m", "fewnerd_stream")
BATCH = 100


@dataclass(frozen=True)
class Desk:
    """An operator's desk: the command line with the settings of one broker and one input topic."""

    bootstrap: str
    name: str
    idempotence: str = "true"
    group: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """The settings, as variables."""
        return {
            "FEWNERD_BOOTSTRAP_SERVERS": self.bootstrap,
            "FEWNERD_INPUT_TOPICS": self.name,
            "FEWNERD_OUTPUT_PREFIX": f"{self.name}-out",
            "FEWNERD_GROUP": self.group or f"{self.name}-group",
            "FEWNERD_PARTITIONS": "3",
            "FEWNERD_IDEMPOTENCE": self.idempotence,
        }

    @property
    def settings(self) -> Settings:
        """The settings, read."""
        return load_settings(
            **{name.removeprefix("FEWNERD_").lower(): value for name, value in self.environment.items()}
        )

    @property
    def topics(self) -> InputTopics:
        """The input and what belongs to it."""
        return self.settings.topology.input(self.name)

    def run(self, *arguments: str, stdin: bytes | None = None, code: int = 0) -> Result:
        """Run a command in this process, and see that it ends with a code."""
        result = CliRunner().invoke(cli, arguments, input=stdin, env=self.environment)
        assert result.exit_code == code, f"{arguments}: {result.exit_code}\n{result.output}"
        return result

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Run a command in this process, and read what it prints."""
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def start(self, *arguments: str, log: Path) -> Process:
        """Start a command in a process of its own."""
        return Process([*COMMAND, *arguments], log, os.environ | self.environment)

    def bury(self, count: int, *, start: int = 0, replay: int = 0, **options: Any) -> None:
        """Put documents among the dead letters; every seventh has neither key nor value."""
        settings = self.settings
        records = []
        for number in range(start, start + count):
            empty = number % 7 == 6
            record = Record(
                self.name,
                0,
                number,
                5,
                None if empty else b"k%d" % number,
                None if empty else b"v%d" % number,
            )
            source = Source(self.name, 0, number, 5, attempt=3, replay=replay)
            reason = (Reason.CRASH, Reason.NAN)[number % 2]
            out = dead_record(record, source, reason, "model", None, None, settings)
            records.append(New(out.value, out.key, out.headers, partition=number % 3))
        clients.produce(self.bootstrap, self.topics.dead, records, **options)

    def replayed(self) -> Counter[int]:
        """Count how often each document, by its number, lies on the first retry topic."""
        found = clients.Observer(self.bootstrap).read([self.topics.retries[0]])
        return Counter(first_place(message)[2] for message in found)


@pytest.fixture
def embedded(broker: EmbeddedBroker) -> Desk:
    """Sit at the embedded broker."""
    desk = Desk(broker.bootstrap, "ops", idempotence="false")
    desk.run("topics", "create")
    return desk


@pytest.fixture
def apache(kafka: KafkaCluster, unique: str) -> Desk:
    """Sit at Apache Kafka."""
    desk = Desk(kafka.bootstrap, unique)
    desk.run("topics", "create")
    return desk


def _letters_are_listed_and_replayed_once(desk: Desk) -> None:
    desk.bury(50)
    listed = [json.loads(line) for line in desk.run("dead", "list", "--json").stdout.splitlines()]
    assert Counter(one["reason"] for one in listed) == {"crash": 25, "nan": 25}
    crashed = desk.run("dead", "list", "--reason", "crash", "--offsets", "0:", "--json").stdout
    assert {json.loads(line)["partition"] for line in crashed.splitlines()} == {0}
    shown = desk.json("dead", "show", "2:2")
    assert (shown["origin"], shown["key"], shown["value"]) == (f"{desk.name}/0/8", "k8", "v8")
    preview = desk.json("dead", "replay", "--reason", "nan", "--dry-run")["replays"][0]
    assert (preview["replayed"], preview["dry_run"]) == (25, True)
    assert desk.replayed() == Counter()

    assert desk.json("dead", "replay", "--reason", "nan")["replays"][0]["replayed"] == 25
    assert desk.json("dead", "replay", "--reason", "nan")["replays"][0]["replayed"] == 0
    assert desk.json("dead", "replay", "--limit", "5")["replays"][0]["replayed"] == 5
    desk.bury(10, start=50)
    again = desk.json("dead", "replay")["replays"][0]
    assert (again["replayed"], again["replayed_before"], again["finished"]) == (30, 30, True)
    assert desk.replayed() == Counter(range(60))
    listed = [json.loads(line) for line in desk.run("dead", "list", "--json").stdout.splitlines()]
    assert {one["replayed"] for one in listed} == {True}
    status = desk.json("status")
    assert status["dead"][0] | {"by_reason": None} == {
        "topic": desk.topics.dead,
        "total": 60,
        "replayed": 60,
        "looked_at": 60,
        "by_reason": None,
    }
    assert status["retries"]["waiting"] == 60


def test_letters_are_listed_and_replayed_once(embedded: Desk) -> None:
    """On the embedded broker: filters, a preview, a limit, later letters, and nothing twice."""
    _letters_are_listed_and_replayed_once(embedded)


def test_letters_are_listed_and_replayed_once_on_apache_kafka(apache: Desk) -> None:
    """On Apache Kafka: filters, a preview, a limit, later letters, and nothing twice."""
    _letters_are_listed_and_replayed_once(apache)


def _at_least(desk: Desk, count: int) -> bool:
    return len(desk.replayed()) >= count


def _a_killed_replay_is_taken_up(desk: Desk, log: Path) -> None:
    desk.bury(900)
    kills = 0
    for seen in (100, 300, 600):
        with desk.start("dead", "replay", "--rate", "600", log=log) as process:
            until(f"{seen} letters are out", functools.partial(_at_least, desk, seen), 60)
            kills += process.status is None
            process.kill()
    assert kills
    desk.run("dead", "replay")
    found = desk.replayed()
    assert set(found) == set(range(900))
    assert sum(found.values()) - 900 <= kills * BATCH
    assert desk.json("dead", "replay")["replays"][0]["replayed"] == 0


def test_a_killed_replay_is_taken_up(embedded: Desk, tmp_path: Path) -> None:
    """Killed in its work, on the embedded broker: none lost, at most a batch a kill sent twice."""
    _a_killed_replay_is_taken_up(embedded, tmp_path / "log")


def test_a_killed_replay_is_taken_up_on_apache_kafka(apache: Desk, tmp_path: Path) -> None:
    """Killed in its work, on Apache Kafka: none lost, at most a batch a kill sent twice."""
    _a_killed_replay_is_taken_up(apache, tmp_path / "log")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_replay_that_is_told_to_stop_repeats_nothing(embedded: Desk, tmp_path: Path, number: int) -> None:
    """It finishes its batch, says how far it came, and the next one goes on there."""
    embedded.bury(300)
    with embedded.start("dead", "replay", "--rate", "100", log=tmp_path / "log") as process:
        until("some letters are out", lambda: len(embedded.replayed()) >= 100, 60)
        process.signal(number)
        assert process.wait(20) == Exit.FAILURE
    assert "letters were replayed; the next replay goes on there" in (tmp_path / "log").read_text()
    embedded.run("dead", "replay")
    assert embedded.replayed() == Counter(range(300))


def test_only_what_is_committed_is_replayed(apache: Desk) -> None:
    """Aborted letters are not there, and the holes that transactions leave hold nothing up."""
    apache.bury(20, transactional=f"{apache.name}-1")
    apache.bury(20, start=20, transactional=f"{apache.name}-1", abort=True)
    apache.bury(20, start=40, transactional=f"{apache.name}-1")
    assert apache.json("dead", "replay")["replays"][0]["replayed"] == 40
    again = apache.json("dead", "replay")["replays"][0]
    assert (again["replayed"], again["scanned"]) == (0, 0)
    assert apache.replayed() == Counter([*range(20), *range(40, 60)])


def test_an_open_transaction_is_the_end(apache: Desk) -> None:
    """What stands behind a transaction that is not finished is for the next replay; nobody waits for it."""
    from confluent_kafka import Producer

    apache.bury(10)
    producer = Producer({"bootstrap.servers": apache.bootstrap, "transactional.id": f"{apache.name}-open"})
    producer.init_transactions(20)
    producer.begin_transaction()
    for partition in range(3):
        producer.produce(apache.topics.dead, b"open", partition=partition)
    producer.flush(20)
    apache.bury(10, start=10)
    assert apache.json("dead", "replay")["replays"][0]["replayed"] == 10
    assert apache.json("status")["dead"][0]["total"] == 10
    listed = apache.run("dead", "list", "--isolation", "read_uncommitted", "--json").stdout
    assert len(listed.splitlines()) == 23
    producer.abort_transaction(20)
    assert apache.json("dead", "replay")["replays"][0]["replayed"] == 10
    assert apache.replayed() == Counter(range(20))


def test_letters_are_filtered_by_time_on_apache_kafka(apache: Desk) -> None:
    """To the millisecond; and what is too old is not even looked at."""
    apache.bury(6)
    listed = [json.loads(line) for line in apache.run("dead", "list", "--json").stdout.splitlines()]
    middle = sorted(one["time"] for one in listed)[3]
    younger = apache.run("dead", "list", "--since", middle, "--json").stdout.splitlines()
    older = apache.run("dead", "list", "--until", middle, "--json").stdout.splitlines()
    assert len(younger) + len(older) == 6
    assert {json.loads(line)["time"] >= middle for line in younger} == {True}
    assert apache.json("dead", "replay", "--since", "0s")["replays"][0]["scanned"] == 0


def test_a_topic_made_anew_is_replayed_from_its_beginning(apache: Desk) -> None:
    """ReplayedOffsets of the deleted topic are not taken for its successor's, though that has grown longer."""
    from confluent_kafka.admin import AdminClient

    apache.bury(12)
    apache.run("dead", "replay")
    client = AdminClient({"bootstrap.servers": apache.bootstrap})
    client.delete_topics([apache.topics.dead])[apache.topics.dead].result(20)
    until(
        "the topic is gone",
        lambda: not clients.Observer(apache.bootstrap).partitions([apache.topics.dead]),
    )
    apache.run("topics", "create")
    apache.bury(30, start=100)
    result = apache.json("dead", "replay")["replays"][0]
    assert (result["replayed"], sorted(result["made_anew"])) == (30, [0, 1, 2])
    assert apache.json("dead", "replay")["replays"][0]["made_anew"] == []


def test_the_fourth_death_of_a_document_is_the_last(flow: Callable[..., Flow]) -> None:
    """Through a real worker: a document that dies again each time is replayed thrice, then refused."""
    stream = flow()
    desk = Desk(stream.bootstrap, stream.input, idempotence="false", group=stream.group)
    stream.send([New(b"not json", b"k")])
    stream.worker()
    for deaths in (1, 2, 3, 4):
        died = functools.partial(lambda deaths: len(stream.dead()) == deaths, deaths)
        until(f"it is dead for the {deaths}th time", died, 60)
        refused = deaths == 4
        (summary,) = desk.json("dead", "replay", code=int(refused))["replays"]
        assert (summary["replayed"], summary["refused"]) == (int(not refused), int(refused))
    letters = stream.dead()
    assert sorted(int(letter.header("__fewnerd.replay") or b"") for letter in letters) == [0, 1, 2, 3]
    assert {first_place(letter) for letter in letters} == {(stream.input, *first_place(letters[0])[1:])}
    assert {letter.value for letter in letters} == {b"not json"}


def test_status_names_the_owners_on_apache_kafka(apache: Desk) -> None:
    """Each partition's lag and the member that has it; a group that nobody was in is said to be that."""
    assert apache.json("status")["state"] == "none"
    clients.produce(apache.bootstrap, apache.name, [New(b"x", partition=number % 3) for number in range(9)])
    consumer = Consumer(
        {
            "bootstrap.servers": apache.bootstrap,
            "group.id": f"{apache.name}-group",
            "client.id": "somebody",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([apache.name])
    try:
        until("it has partitions", lambda: consumer.poll(0.5) is not None, 30)
        status = apache.json("status")
        assert status["state"] == "stable"
        assert [member["client"] for member in status["members"]] == ["somebody"]
        owned = [one for one in status["partitions"] if one["role"] == "input"]
        assert {one["owner"]["client"] for one in owned} == {"somebody"}
        assert {one["owner"]["host"] for one in owned} == {"127.0.0.1"}
        assert status["lag"] == 9
        shown = apache.run("status").stdout
        assert "somebody-" in shown
        assert "lag 9, 0 waiting" in shown
    finally:
        consumer.close()


def test_status_tells_what_the_embedded_broker_does_not_know(flow: Callable[..., Flow]) -> None:
    """Lag and members are told; that the owners are not known is a note, and no failure."""
    stream = flow()
    desk = Desk(stream.bootstrap, stream.input, idempotence="false")
    desk_group = {"FEWNERD_GROUP": stream.group, "FEWNERD_OUTPUT_PREFIX": stream.settings.output_prefix}
    stream.send([New(b'{"id": "a", "text": "Paris"}', b"k")])
    stream.worker()
    stream.wait_done()
    result = CliRunner().invoke(cli, ["status", "--json"], env=desk.environment | desk_group)
    assert result.exit_code == 0, result.output
    status = json.loads(result.stdout)
    assert (status["state"], len(status["members"]), status["lag"]) == ("stable", 1, 0)
    assert any("which member has which partitions" in note for note in status["notes"])


def _lines_are_sent_as_they_are(desk: Desk) -> None:
    lines = [b'{"id": "a", "n": 1.10}', b"", b"not json", b'{"id": 7}', '{"id": "é"}'.encode(), b"\xff"]
    result = desk.run("send", "-", "--key-field", "id", "--json", stdin=b"\r\n".join(lines))
    summary = json.loads(result.stdout)
    assert (summary["sent"], summary["skipped"], summary["without_key"], summary["failed"]) == (5, 1, 2, 0)
    found = clients.Observer(desk.bootstrap).read([desk.name])
    assert sorted((message.key or b"", message.value) for message in found) == sorted(
        [(b"a", lines[0]), (b"", lines[2]), (b"7", lines[3]), ("é".encode(), lines[4]), (b"", lines[5])]
    )


def test_lines_are_sent_as_they_are(embedded: Desk) -> None:
    """Each line's bytes are a value, with a key where there is one, on the embedded broker."""
    _lines_are_sent_as_they_are(embedded)


def test_lines_are_sent_as_they_are_on_apache_kafka(apache: Desk) -> None:
    """Each line's bytes are a value, with a key if there is one."""
    _lines_are_sent_as_they_are(apache)


def test_a_line_too_large_for_the_broker_is_refused_alone(apache: Desk) -> None:
    """What is behind it in its partition is sent all the same, once, and in its order."""
    large = b'{"id": "a", "text": "%s"}' % os.urandom(3 << 20).hex().encode()
    lines = [large if number % 40 == 20 else b'{"id": "a", "n": %d}' % number for number in range(200)]
    arguments = ("send", "-", "--key-field", "id", "--compression", "none")
    result = apache.run(*arguments, stdin=b"\n".join(lines), code=Exit.FAILURE)
    assert "195 sent" in result.stdout
    for line in (21, 61, 101, 141, 181):
        assert f"line {line} was refused" in result.stderr
    found = clients.Observer(apache.bootstrap).read([apache.name])
    assert [message.value for message in found] == [line for line in lines if line != large]


def test_sending_ends_when_told_to_though_nothing_comes(embedded: Desk, tmp_path: Path) -> None:
    """A silent pipe does not hold it up, and what came before is sent."""
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*COMMAND, "send", "-"],
            stdin=subprocess.PIPE,
            stderr=log,
            stdout=log,
            env=os.environ | embedded.environment,
        )
        assert process.stdin is not None
        try:
            process.stdin.write(b"one\ntwo\n")
            process.stdin.flush()
            observer = clients.Observer(embedded.bootstrap)
            until("both lines are there", lambda: len(observer.read([embedded.name])) == 2, 30)
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == Exit.FAILURE
        finally:
            process.kill()
            process.stdin.close()
            process.wait()
    assert "2 lines were sent, then:" in (tmp_path / "log").read_text()


def test_a_broker_that_goes_away_is_told(broker: EmbeddedBroker, embedded: Desk, tmp_path: Path) -> None:
    """In the middle of sending: exit code 3, and how many lines were stored."""
    (tmp_path / "lines").write_bytes(b"{}\n" * 2000)
    log = tmp_path / "log"
    environment = {
        "FEWNERD_HEARTBEAT_INTERVAL": "0.5",
        "FEWNERD_SESSION_TIMEOUT": "2",
        "FEWNERD_REQUEST_TIMEOUT": "3",
    }
    arguments = [*COMMAND, "send", str(tmp_path / "lines"), "--rate", "200"]
    with Process(arguments, log, os.environ | embedded.environment | environment) as process:
        observer = clients.Observer(embedded.bootstrap)
        until("some lines are there", lambda: len(observer.read([embedded.name])) >= 100, 30)
        broker.stop()
        assert process.wait(60) == Exit.BROKER
    assert "lines were sent, then:" in log.read_text()
    assert "Traceback" not in log.read_text()


def test_watching_sees_what_comes_and_moves_nothing(embedded: Desk, tmp_path: Path) -> None:
    """From now on only what is new; from the beginning all of it, each a compact line."""
    topic = f"{embedded.name}-out.person"
    clients.produce(embedded.bootstrap, topic, [b'{"id": "old"}'])
    log = tmp_path / "log"
    with embedded.start("tail", "person", log=log) as process:
        deadline = time.monotonic() + 30
        while "new" not in log.read_text() and time.monotonic() < deadline:
            clients.produce(embedded.bootstrap, topic, [b'{"id": "new"}'])
            time.sleep(0.5)
        process.signal(signal.SIGINT)
        assert process.wait(20) == Exit.OK
    assert "old" not in log.read_text()
    result = embedded.run("tail", "all", "--from", "beginning", "--idle", "1", "--json")
    assert set(result.stdout.splitlines()) == {'{"id":"old"}', '{"id":"new"}'}
    assert len(embedded.run("tail", "person", "--from", "beginning", "--limit", "1").stdout.splitlines()) == 2
