"""What an operator is told when a broker does not let us in, is down, frozen, or lets us see only a part."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from fewnerd_stream.cli import cli
from fewnerd_stream.contract.envelope import dead_record
from fewnerd_stream.contract.records import Record, Source
from fewnerd_stream.errors import Reason
from fewnerd_stream.exits import Exit
from fewnerd_stream.settings import load_settings
from tests.support import clients
from tests.support.clients import New
from tests.support.kafka import HOST, KafkaCluster, free_ports

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD = "hunter2-secret"
LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"


def _run(environment: dict[str, str], *arguments: str, code: int = 0, stdin: bytes | None = None) -> Result:
    result = CliRunner().invoke(cli, arguments, input=stdin, env=environment, prog_name="fewnerd-stream")
    assert result.exit_code == code, f"{arguments}: {result.exit_code}\n{result.output}"
    assert PASSWORD not in result.output
    return result


@pytest.fixture(scope="module")
def guarded(kafka_ready: None) -> Iterator[tuple[str, str]]:  # noqa: ARG001 - asked for its skip
    """Run a broker with a port for logins, where a user may do what it was given the right to, and no more."""
    port = free_ports(1)[0]
    cluster = KafkaCluster(1)
    ports = cluster.ports[0]
    names = f"CLIENT://{HOST}:{ports.client},DIRECT://{HOST}:{ports.direct},SASL://{HOST}:{port}"
    cluster.properties |= {
        "listeners": f"{names},CONTROLLER://{HOST}:{ports.controller}",
        "advertised.listeners": names,
        "listener.security.protocol.map": (
            "CLIENT:PLAINTEXT,DIRECT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT"
        ),
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl.plain.sasl.jaas.config": (
            f'{LOGIN} username="admin" password="x" user_worker="{PASSWORD}";'
        ),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
    with cluster:
        yield cluster.bootstrap, f"{HOST}:{port}"


def _as_worker(server: str, name: str, **more: str) -> dict[str, str]:
    return {
        "FEWNERD_BOOTSTRAP_SERVERS": server,
        "FEWNERD_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "FEWNERD_SASL_MECHANISM": "PLAIN",
        "FEWNERD_SASL_USERNAME": "worker",
        "FEWNERD_SASL_PASSWORD": PASSWORD,
        "FEWNERD_INPUT_TOPICS": name,
        "FEWNERD_OUTPUT_PREFIX": f"{name}-out",
        "FEWNERD_GROUP": f"{name}-group",
        **more,
    }


@pytest.mark.parametrize("command", [("topics", "check"), ("status",), ("send", "-")], ids=" ".join)
def test_a_refused_login_is_called_that(
    command: tuple[str, ...], guarded: tuple[str, str], unique: str
) -> None:
    """Password, user, mechanism and protocol: each names the settings that it is about."""
    plain, secure = guarded
    for change, words in (
        ({"FEWNERD_SASL_PASSWORD": "wrong-password"}, "refused the login of worker"),
        ({"FEWNERD_SASL_USERNAME": "nobody"}, "refused the login of nobody"),
        ({"FEWNERD_SASL_MECHANISM": "SCRAM-SHA-512"}, "does not take logins by SCRAM-SHA-512"),
        ({"FEWNERD_BOOTSTRAP_SERVERS": plain}, "FEWNERD_SECURITY_PROTOCOL (SASL_PLAINTEXT)"),
        ({"FEWNERD_SECURITY_PROTOCOL": "SASL_SSL"}, "FEWNERD_SECURITY_PROTOCOL (SASL_SSL)"),
    ):
        result = _run(_as_worker(secure, unique) | change, *command, code=Exit.BROKER, stdin=b"{}\n")
        assert words in result.stderr, result.stderr
        assert "no broker answers" not in result.stderr
    plainly = {"FEWNERD_BOOTSTRAP_SERVERS": secure, "FEWNERD_INPUT_TOPICS": unique}
    assert "it may expect TLS, a login" in _run(plainly, *command, code=Exit.BROKER, stdin=b"{}\n").stderr


def _allow(server: str, operation: AclOperation, kind: ResourceType, name: str) -> None:
    binding = AclBinding(
        kind, name, ResourcePatternType.LITERAL, "User:worker", "*", operation, AclPermissionType.ALLOW
    )
    for future in AdminClient({"bootstrap.servers": server}).create_acls([binding]).values():
        future.result(20)


def test_what_is_forbidden_is_not_missing_and_what_can_be_spared_is(
    guarded: tuple[str, str], unique: str
) -> None:
    """Each command goes on with the rights that it has, and says what it could not see."""
    plain, secure = guarded
    environment = _as_worker(secure, unique)
    open_ = {
        name: value
        for name, value in environment.items()
        if "SASL" not in name and name != "FEWNERD_SECURITY_PROTOCOL"
    } | {"FEWNERD_BOOTSTRAP_SERVERS": plain}
    _run(open_, "topics", "create", "--partitions", "1")
    settings = load_settings(
        bootstrap_servers=plain, input_topics=unique, output_prefix=f"{unique}-out", group=f"{unique}-group"
    )
    topics = settings.topology.inputs[0]
    out = dead_record(
        Record(unique, 0, 0, 5, b"k", b"v"),
        Source(unique, 0, 0, 5),
        Reason.NAN,
        "decode",
        None,
        None,
        settings,
    )
    clients.produce(plain, topics.dead, [New(out.value, out.key, out.headers)])

    check = _run(environment, "topics", "check", code=Exit.TOPICS)
    assert "no such topic" not in check.output
    assert check.stdout.count("no right to see") == 1
    for command in (("tail", "person"), ("dead", "list"), ("send", "-")):
        said = _run(environment, *command, code=Exit.TOPICS, stdin=b"{}\n").stderr
        assert "no right to see" in said, said
    seen = json.loads(_run(environment, "status", "--json").stdout)
    assert seen["missing_topics"] == []
    assert "no right to see" in " ".join(seen["notes"])

    for name in (unique, *topics.retries, topics.dead, topics.marks):
        _allow(plain, AclOperation.DESCRIBE, ResourceType.TOPIC, name)
    seen = json.loads(_run(environment, "status", "--json").stdout)
    assert {one["topic"] for one in seen["partitions"]} == {unique, *topics.retries}
    assert [(one["total"], one["by_reason"]) for one in seen["dead"]] == [(1, {})]
    assert f"no right to read {topics.dead}: why its letters are dead is not known" in seen["notes"]

    _allow(plain, AclOperation.READ, ResourceType.TOPIC, topics.dead)
    listed = _run(environment, "dead", "list", "--json")
    assert json.loads(listed.stdout)["reason"] == "nan"
    assert f"no right to read {topics.marks}" in listed.stderr
    _allow(plain, AclOperation.WRITE, ResourceType.TOPIC, unique)
    assert json.loads(_run(environment, "send", "-", "--json", stdin=b"{}\n").stdout)["sent"] == 1
    _allow(plain, AclOperation.READ, ResourceType.TOPIC, f"{unique}-out.person")
    clients.produce(plain, f"{unique}-out.person", [New(b'{"id": "seen"}')])
    tailed = _run(environment, "tail", "all", "--from", "beginning", "--limit", "1", "--json")
    assert json.loads(tailed.stdout) == {"id": "seen"}
    assert "no right to see" in tailed.stderr


def test_one_broker_of_three_is_not_needed(kafka3: KafkaCluster, unique: str) -> None:
    """Down or frozen, and named first: commands ask the others, and tell everything."""
    environment = {
        "FEWNERD_BOOTSTRAP_SERVERS": kafka3.bootstrap,
        "FEWNERD_INPUT_TOPICS": unique,
        "FEWNERD_OUTPUT_PREFIX": f"{unique}-out",
        "FEWNERD_REPLICATION": "3",
        "FEWNERD_PARTITIONS": "3",
    }
    _run(environment, "topics", "create")

    def all_is_told() -> None:
        assert _run(environment, "topics", "check", "--json").exit_code == 0
        seen: dict[str, Any] = json.loads(_run(environment, "status", "--json").stdout)
        assert len(seen["partitions"]) == 12
        assert seen["missing_topics"] == []
        assert json.loads(_run(environment, "send", "-", "--json", stdin=b"{}\n" * 9).stdout)["sent"] == 9

    kafka3.pause(0)
    all_is_told()
    kafka3.resume(0)
    kafka3.kill(1)
    all_is_told()
