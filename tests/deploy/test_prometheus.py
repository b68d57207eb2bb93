"""Alarms and dashboard: every alarm rings when it should, every query finds what a real worker tells."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.support.clients import documents
from tests.support.flows import Flow
from tests.support.kafka import free_ports
from tests.support.processes import Process, until
from tests.support.tally import tally_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fewnerd_stream.kafka.embedded import EmbeddedBroker

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/rules.yml"
TESTS = Path(__file__).with_name("rules.test.yml")
DASHBOARD = ROOT / "deploy/grafana/fewnerd-stream.json"
ALARMS = [rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def promtool(program: Callable[[str], str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run promtool."""
    path = program("promtool")

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run([path, *map(str, arguments)], capture_output=True, text=True, check=False)

    return run


def test_the_alarms_ring_when_they_should(promtool: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    """Each on its own series, and none on those of a group that is well."""
    checked = promtool("check", "rules", RULES)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = promtool("test", "rules", TESTS)
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize("alarm", ALARMS)
def test_the_test_would_notice(
    promtool: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, alarm: str
) -> None:
    """An alarm that never rings does not pass, nor does one that always does."""
    for never_or_always in ("vector(0) > 1", "vector(1)"):
        rules = yaml.safe_load(RULES.read_text())
        for group in rules["groups"]:
            for rule in group["rules"]:
                if rule["alert"] == alarm:
                    rule["expr"] = never_or_always
        (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))
        tests = yaml.safe_load(TESTS.read_text())
        tests["rule_files"] = ["rules.yml"]
        (tmp_path / "test.yml").write_text(yaml.safe_dump(tests))
        assert promtool("test", "rules", tmp_path / "test.yml").returncode != 0


@pytest.mark.parametrize("alarm", ALARMS)
def test_each_alarm_has_a_line_that_says_what_to_do(alarm: str) -> None:
    """In the runbook of docs/operations.md."""
    assert re.search(rf"^\| `{alarm}` \|.+\|.+\|$", (ROOT / "docs/operations.md").read_text(), re.MULTILINE)


def _queries() -> list[str]:
    """Give every query of the dashboard, its variables filled in."""
    board = json.loads(DASHBOARD.read_text())
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert all(panel["targets"] for panel in panels)
    found = [target["expr"] for panel in panels for target in panel["targets"]]
    return [expr.replace("$job", ".*").replace("$__rate_interval", "20s") for expr in found]


class Server:
    """A Prometheus that scrapes a worker every second."""

    def __init__(self, port: int) -> None:
        """Know where it answers."""
        self._url = f"http://127.0.0.1:{port}"

    def ask(self, path: str, **arguments: str) -> Any:
        """Ask its API; return the data."""
        query = urllib.parse.urlencode(arguments)
        with urllib.request.urlopen(f"{self._url}/api/v1/{path}?{query}", timeout=30) as answer:
            said = json.load(answer)
        assert said["status"] == "success", said
        return said["data"]

    def up(self) -> bool:
        """Say whether the worker was scraped."""
        try:
            return bool(self.ask("query", query="up == 1")["result"])
        except OSError:
            return False


@pytest.fixture
def scraped(
    broker: EmbeddedBroker,
    unique: str,
    tmp_path: Path,
    pytestconfig: pytest.Config,
    program: Callable[[str], str],
) -> Iterator[tuple[Flow, Server]]:
    """Run a worker with the bundled model, and a Prometheus with our rules that scrapes it."""
    prometheus = program("prometheus")
    mine, its = free_ports(2)
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [
            {"job_name": "fewnerd-stream", "static_configs": [{"targets": [f"127.0.0.1:{its}"]}]}
        ],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    flow = Flow(broker.bootstrap, unique, tmp_path, tally_of(pytestconfig), idempotence="false")
    arguments = [
        prometheus,
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/tsdb",
        f"--web.listen-address=127.0.0.1:{mine}",
    ]
    with flow, Process(arguments, tmp_path / "prometheus.log"):
        flow.worker(tagger=None, http=f"127.0.0.1:{its}", threads=1)
        server = Server(mine)
        until("the worker is scraped", server.up, 60)
        yield flow, server


def test_every_query_finds_something(scraped: tuple[Flow, Server]) -> None:
    """All that the dashboard asks for is there on a worker that works; and no alarm rings."""
    flow, server = scraped
    left = _queries()
    deadline = time.monotonic() + 120
    sent = 0
    while left and time.monotonic() < deadline:
        flow.send(documents(20, start=sent))
        sent += 20
        time.sleep(1)
        answers = {query: server.ask("query", query=query)["result"] for query in left}
        # 0 divided by 0 is no figure.
        left = [
            query
            for query, found in answers.items()
            if not any(sample["value"][1] != "NaN" for sample in found)
        ]
    assert not left
    rules = [rule for group in server.ask("rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == set(ALARMS)
    assert {rule["health"] for rule in rules} == {"ok"}
    assert not [alarm for alarm in server.ask("alerts")["alerts"] if alarm["state"] == "firing"]


def test_the_dashboard_knows_all_metrics(scraped: tuple[Flow, Server]) -> None:
    """No metric of ours is left out of dashboard and alarms but for those that only describe a build."""
    _, server = scraped
    names = {
        re.sub(r"_(bucket|sum|count|total)$", "", name)
        for name in server.ask("label/__name__/values")
        if name.startswith("fewnerd_")
    }
    used = DASHBOARD.read_text() + RULES.read_text()
    assert not [name for name in names if name not in used]
