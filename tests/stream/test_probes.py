"""A real worker's metrics and probes: what it counts, and what it says while partitions come and go."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from tests.support.clients import documents
from tests.support.kafka import free_ports
from tests.support.processes import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.flows import Flow


def get(port: int, path: str) -> tuple[int, str]:
    """Ask a worker; return status and body."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def metric(port: int, name: str) -> dict[frozenset[tuple[str, str]], float]:
    """Give all samples of a name."""
    _, text = get(port, "/metrics")
    return {
        frozenset(sample.labels.items()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def test_a_worker_counts_what_it_does(flow: Callable[..., Flow]) -> None:
    """Documents, records, stages and ages are there when all is committed; no text or id is."""
    stream = flow()
    [port] = free_ports(1)
    stream.worker(http=f"127.0.0.1:{port}")
    stream.send(documents(20, "Angela Merkel flew to Paris. My secret."))
    stream.send([b"no JSON"])
    stream.wait_done()
    assert get(port, "/live")[0] == 200
    until("it is ready", lambda: get(port, "/ready")[0] == 200, 30)
    outcomes = metric(port, "fewnerd_documents_total")
    assert outcomes[frozenset({("outcome", "enriched")})] == 20
    assert outcomes[frozenset({("outcome", "dead")})] == 1
    records = metric(port, "fewnerd_records_published_total")
    assert (
        records[frozenset({("category", "person")})] == records[frozenset({("category", "location")})] == 20
    )
    assert metric(port, "fewnerd_end_to_end_seconds_count")[frozenset()] == 20
    stages = metric(port, "fewnerd_stage_seconds_count")
    assert len(stages) == 6
    assert all(count > 0 for count in stages.values())
    until("no lag", lambda: set(metric(port, "fewnerd_lag_records").values()) == {0.0}, 30)
    text = get(port, "/metrics")[1]
    assert "secret" not in text
    assert "Merkel" not in text


def test_a_revoked_partition_leaves_no_series(flow: Callable[..., Flow]) -> None:
    """When a second worker takes partitions over, each tells of its own and of no other's."""
    stream = flow(partitions=4)
    first, second = free_ports(2)
    stream.worker(http=f"127.0.0.1:{first}")
    stream.send(documents(40))
    stream.wait_done()
    until("all are told of", lambda: len(metric(first, "fewnerd_lag_records")) == 16, 60)
    stream.worker(http=f"127.0.0.1:{second}")

    def apart() -> bool:
        one, two = (set(metric(port, "fewnerd_lag_records")) for port in (first, second))
        owned = sum(metric(port, "fewnerd_partitions_owned")[frozenset()] for port in (first, second))
        return owned == 16 and len(one) <= 8 and len(two) <= 8 and not one & two

    until("each has its own", apart, 90)
