"""Traces of a real worker: a document's trace goes through retry, dead letter and replay to what is published."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from click.testing import CliRunner

from fewnerd_stream.cli import cli
from tests.support.clients import New
from tests.support.tracing import TRACED, spans

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.flows import Flow


def test_a_document_is_traced_through_retry_dead_letter_and_replay(flow: Callable[..., Flow]) -> None:
    """What is published names its `create` span, a child of what sent the document; all else keeps its header."""
    stream = flow(partitions=1, retry_delays="0.5", window_size=1)
    # Alone in its window, a document is tried twice in each attempt.
    texts = {"at-once": "Paris", "retried": "Siemens !fail=2", "replayed": "Hamlet !fail=4"}
    given = {key: b"00-%032x-%016x-01" % (n, n) for n, key in enumerate(texts, 1)}
    stream.send(
        New(json.dumps({"id": key, "text": text}).encode(), key.encode(), (("traceparent", given[key]),))
        for key, text in texts.items()
    )
    worker = stream.worker(tagger=TRACED)
    stream.wait_done()
    [letter] = stream.dead()
    assert letter.header("traceparent") == given["replayed"]
    environment = {f"FEWNERD_{name.upper()}": value for name, value in worker.settings.items()}
    environment["FEWNERD_BOOTSTRAP_SERVERS"] = stream.bootstrap
    done = CliRunner().invoke(cli, ["dead", "replay"], env=environment)
    assert done.exit_code == 0, done.output
    stream.wait_count(1, f"{stream.settings.output_prefix}.art")
    stream.stop(worker)
    created = {
        f"00-{span['context']['trace_id'][2:]}-{span['context']['span_id'][2:]}": span
        for span in spans(stream.folder, "create")
    }
    assert len(created) == 3
    for number, (key, category) in enumerate(
        {"at-once": "location", "retried": "organization", "replayed": "art"}.items(), 1
    ):
        [message] = stream.category(category)
        assert message.key == key.encode()
        parent = message.header("traceparent")
        assert parent is not None
        span = created[parent.decode()[:-3]]
        assert int(span["context"]["trace_id"], 16) == int(span["parent_id"], 16) == number
    linked = [
        int(link["context"]["span_id"], 16)
        for span in spans(stream.folder, "process")
        for link in span["links"]
    ]
    assert sorted(linked) == [1, 2, 2, 3, 3, 3]
