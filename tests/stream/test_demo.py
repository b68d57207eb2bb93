"""The demonstration as a whole, with words in place of the model."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from fewnerd_stream.cli._group import quiet_libraries
from fewnerd_stream.demo.play import DemoError, play

if TYPE_CHECKING:
    from fewnerd_stream.kafka.embedded import EmbeddedBroker
    from tests.support.kafka import KafkaCluster

WORDS = (sys.executable, "-m", "tests.support.demo_worker")


def _played(bootstrap: str | None = None) -> tuple[int, str]:
    quiet_libraries()
    output = io.StringIO()
    return play(Console(file=output, width=200), bootstrap, pace=0, program=WORDS), output.getvalue()


def test_every_input_is_accounted_for(broker: EmbeddedBroker) -> None:
    """It ends with 0: nothing lost, what is malformed dead for its reason, the failing document retried."""
    assert broker.bootstrap  # asked for its skip: the demonstration starts its own
    code, output = _played()
    assert code == 0, output
    total = "78 inputs: 6 with entities, 61 without, 11 dead letters, 0 lost, 0 duplicates; 78 committed"
    assert total in output
    assert "(at attempt 3)" in output


def test_it_runs_on_a_cluster_and_leaves_nothing_behind(kafka: KafkaCluster) -> None:
    """On Apache Kafka it comes to the same, on topics of its own, which are gone afterwards."""
    from tests.support.clients import Observer

    code, output = _played(kafka.bootstrap)
    assert code == 0, output
    assert "0 lost" in output
    assert not [name for name in Observer(kafka.bootstrap).topics() if name.startswith("fewnerd-demo")]


def test_a_worker_that_ends_is_told_with_its_words(broker: EmbeddedBroker) -> None:
    """The last words of a worker that does not start are in the error."""
    assert broker.bootstrap
    program = (sys.executable, "-c", "import sys; sys.exit('no model today')")
    with pytest.raises(DemoError, match=r"exit code 1:(.|\n)*no model today"):
        play(Console(file=io.StringIO()), None, pace=0, program=program)
