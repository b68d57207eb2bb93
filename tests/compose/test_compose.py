"""docker-compose.yml and the Dockerfile, held against the Compose specification and against the code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from fewnerd_stream.contract import topology
from fewnerd_stream.settings import Settings, load_settings
from tests.support.commands import parse
from tests.support.kafka import version

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PROGRAM = next(iter(PROJECT["scripts"]))


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    """Read the file's services, anchors merged."""
    loaded = yaml.safe_load(COMPOSE.read_text())
    services: dict[str, dict[str, Any]] = loaded["services"]
    return services


@pytest.fixture(scope="module")
def dockerfile() -> list[tuple[str, str]]:
    """Read the Dockerfile's instructions, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines) if word]


def _go_or_skip() -> str:
    go = shutil.which("go")
    if go is None and os.environ.get("CI_REQUIRE_GO"):
        pytest.fail("no Go on the PATH")
    if go is None:
        pytest.skip("no Go on the PATH: the Compose specification's own library cannot be asked")
    return go


def _check(path: Path) -> subprocess.CompletedProcess[str]:
    go = _go_or_skip()
    folder = Path(__file__).with_name("check")
    return subprocess.run(
        [go, "run", ".", str(path)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
        env=os.environ | {"GOFLAGS": "-mod=readonly"},
    )


def test_the_specification_takes_it() -> None:
    """The Compose specification's reference library loads the file, and finds the services in it."""
    done = _check(COMPOSE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["kafka", "topics", "worker"]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("restart: unless-stopped", "restart_always: yes"),
        ("      kafka:\n        condition", "      kfka:\n        condition"),
    ],
)
def test_the_specification_would_refuse_a_mistake(tmp_path: Path, wrong: str, right: str) -> None:
    """The check above is one: an unknown key or a service that does not exist does not pass it."""
    text = COMPOSE.read_text()
    assert wrong in text
    (tmp_path / "docker-compose.yml").write_text(text.replace(wrong, right))
    assert _check(tmp_path / "docker-compose.yml").returncode != 0


def test_workers_can_be_many(services: dict[str, dict[str, Any]]) -> None:
    """Nothing of a worker is there only once, no name and no port; and there are partitions for three."""
    worker = services["worker"]
    assert not {"container_name", "hostname", "ports", "expose"} & set(worker)
    assert int(worker["environment"]["FEWNERD_PARTITIONS"]) >= 3
    assert "FEWNERD_INSTANCE_ID" not in worker["environment"]


def test_its_order_of_start(services: dict[str, dict[str, Any]]) -> None:
    """Topics are created on a healthy broker, once; workers start after that."""
    assert services["topics"]["depends_on"] == {"kafka": {"condition": "service_healthy"}}
    assert services["topics"]["healthcheck"] == {"disable": True}
    assert services["worker"]["depends_on"]["topics"] == {"condition": "service_completed_successfully"}
    assert services["kafka"]["healthcheck"]["test"][0] == "CMD"


def test_its_commands_exist(services: dict[str, dict[str, Any]]) -> None:
    """Every command is one that the command line takes, arguments too."""
    ours = {name: service for name, service in services.items() if service["image"] == PROGRAM}
    assert set(ours) == {"topics", "worker", "console", "feed"}
    assert parse(ours["console"]["command"]) == "console"
    assert "exec fewnerd-stream feed rss $$FEEDS" in ours["feed"]["entrypoint"]
    assert parse(ours["topics"]["command"]) == "topics create"
    assert parse(ours["worker"]["command"]) == "worker"
    kind, program, *arguments = ours["worker"]["healthcheck"]["test"]
    assert (kind, program) == ("CMD", PROGRAM)
    assert parse(arguments) == "health"


def test_the_page_is_seen_on_this_machine_alone(services: dict[str, dict[str, Any]]) -> None:
    """It needs no more than the topics, comes when it is asked for, and answers to no other name."""
    console = services["console"]
    assert console["ports"] == ["127.0.0.1:8000:8000"]
    assert console["command"][-2:] == ["--allow-host", "localhost"]
    assert "live" in console["profiles"]
    assert services["feed"]["profiles"] == ["live"]


def test_the_commands_in_its_comment_exist() -> None:
    """What the comment at its top tells one to type is taken, too."""
    comment = "\n".join(re.findall(r"^#\s*(.*)$", COMPOSE.read_text(), re.MULTILINE))
    typed = re.findall(r"docker compose run --rm(?: -T)? worker (.+)", comment)
    assert [parse(line.split()) for line in typed] == ["send", "tail"]


def test_its_variables_are_settings(
    services: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every variable of ours is a setting's, and together they are taken; both services have the same."""
    names = {f"FEWNERD_{name.upper()}" for name in Settings.model_fields}
    environment = services["worker"]["environment"]
    assert set(environment) <= names
    assert services["topics"]["environment"] == environment
    for name, value in environment.items():
        assert isinstance(value, str), f"{name} must be quoted: Compose would guess its type"
        monkeypatch.setenv(name, value)
    load_settings()


def test_its_topics_are_those_of_the_readme(
    services: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compose user has the topics that everybody has by default."""
    by_default = {spec.name for spec in topology.all_topics(load_settings())}
    for name, value in services["worker"]["environment"].items():
        monkeypatch.setenv(name, value)
    assert {spec.name for spec in topology.all_topics(load_settings())} == by_default


def test_the_worker_has_time_to_drain(services: dict[str, dict[str, Any]]) -> None:
    """A worker is not killed while it drains: it has the drain and 5 s."""
    grace = re.fullmatch(r"(\d+)s", services["worker"]["stop_grace_period"])
    assert grace is not None
    assert int(grace[1]) >= load_settings().drain + 5


def test_its_broker_is_the_one_of_the_tests(services: dict[str, dict[str, Any]]) -> None:
    """The image's version is the one that the tests run on; no topic makes itself; workers find it."""
    kafka = services["kafka"]
    assert kafka["image"] == f"apache/kafka:{version()}"
    environment = kafka["environment"]
    assert environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert environment["KAFKA_PROCESS_ROLES"] == "broker,controller"
    bootstrap = services["worker"]["environment"]["FEWNERD_BOOTSTRAP_SERVERS"]
    assert f"INSIDE://{bootstrap}" in environment["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert f"INSIDE://:{bootstrap.split(':')[1]}" in environment["KAFKA_LISTENERS"].split(",")


def test_the_image_runs_the_program_as_nobody(dockerfile: list[tuple[str, str]]) -> None:
    """The image runs the command line under an init, not as root, on a Python that is supported."""
    last = dict(dockerfile)
    assert last["ENTRYPOINT"] == f'["tini", "--", "{PROGRAM}"]'
    assert last["CMD"] == '["worker"]'
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", last["USER"])
    assert f'CMD ["{PROGRAM}", "health"]' in last["HEALTHCHECK"]
    bases = [rest for word, rest in dockerfile if word == "FROM"]
    minors = {re.sub(r"^python:3\.(\d+)-slim( AS build)?$", r"\1", base) for base in bases}
    assert minors <= {"11", "12", "13"}


def test_the_image_is_made_of_files_that_are_sent(dockerfile: list[tuple[str, str]]) -> None:
    """Everything that the Dockerfile copies exists, is in the build's context, and is all that is in it."""
    copied = {
        name
        for word, rest in dockerfile
        if word == "COPY" and not rest.startswith("--from")
        for name in rest.split()[:-1]
    }
    assert all((ROOT / name).exists() for name in copied)
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == allowed
    assert "demo" not in PROJECT["dependencies"]


def test_what_observes_is_asked_for(services: dict[str, dict[str, Any]]) -> None:
    """Prometheus and Grafana come with their profile only, mount files that exist, and are open to this host alone."""
    observing = {name: one for name, one in services.items() if "observe" in one.get("profiles", ())}
    assert set(observing) == {"prometheus", "grafana"}
    for service in observing.values():
        assert service["profiles"] == ["observe"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        mounted = [volume.split(":")[0] for volume in service["volumes"] if volume.startswith(".")]
        assert mounted
        assert all((ROOT / path).exists() for path in mounted)


def test_prometheus_finds_the_workers(
    services: dict[str, dict[str, Any]], dockerfile: list[tuple[str, str]]
) -> None:
    """It asks every replica on the port that the worker answers on, which is the image's."""
    port = int(services["worker"]["environment"]["FEWNERD_HTTP"].rpartition(":")[2])
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    [job] = config["scrape_configs"]
    [found] = job["dns_sd_configs"]
    assert (found["names"], found["port"]) == (["worker"], port)
    assert ("EXPOSE", str(port)) in dockerfile
    assert f"FEWNERD_HTTP=0.0.0.0:{port}" in " ".join(rest for word, rest in dockerfile if word == "ENV")
