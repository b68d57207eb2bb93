"""Spans of what a processor does: each document's trace goes through it, whatever becomes of the document."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider, sampling
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from fewnerd_stream.contract.envelope import replay_record
from fewnerd_stream.contract.records import Record
from fewnerd_stream.delivery.process import Processor
from fewnerd_stream.errors import Stop
from fewnerd_stream.settings import load_settings
from tests.support.taggers import STATE, BrokenTagger, WordTagger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

    from fewnerd_stream.contract.records import Headers, Outgoing

GIVEN = b"00-%032x-%016x-01" % (0xABC, 0xDEF)
"""A document's own ``traceparent``."""


class Spans:
    """What an SDK in memory has been told."""

    def __init__(self, sampler: sampling.Sampler = sampling.DEFAULT_ON) -> None:
        """Make a provider."""
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def take(self, operation: str) -> list[ReadableSpan]:
        """Give the spans of an operation, in the order of their ends."""
        return [
            span
            for span in self._exporter.get_finished_spans()
            if (span.attributes or {})["messaging.operation.name"] == operation
        ]

    def clear(self) -> None:
        """Forget all."""
        self._exporter.clear()


@pytest.fixture
def patch() -> Iterator[pytest.MonkeyPatch]:
    """Undo patches at the end of the test."""
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def configure(patch: pytest.MonkeyPatch, spans: Spans) -> None:
    """Make these the process's spans, for the length of a test: the API lets that be done once only."""
    patch.setattr(trace, "get_tracer_provider", lambda: spans.provider)


@pytest.fixture
def spans(patch: pytest.MonkeyPatch) -> Spans:
    """Give an SDK that records all."""
    made = Spans()
    configure(patch, made)
    return made


def record(text: str, *headers: tuple[str, bytes | None], offset: int = 7) -> Record:
    """Make a raw document's record."""
    return Record(
        "raw-documents", 0, offset, 1_000, b"k", b'{"id": "x", "text": "%s"}' % text.encode(), headers
    )


def parents(made: Outgoing) -> list[bytes | None]:
    """Give a record's ``traceparent`` headers."""
    return [value for name, value in made.headers if name == "traceparent"]


def traceparent(span: ReadableSpan) -> bytes:
    """Write the header that names a span."""
    context = span.get_span_context()
    assert context is not None
    return b"00-%032x-%016x-%02x" % (context.trace_id, context.span_id, context.trace_flags)


def read(made: Outgoing, offset: int = 9) -> Record:
    """Read what was published from its own topic."""
    return Record(made.topic, 0, offset, 2_000, made.key, made.value, made.headers)


def test_an_enriched_document_goes_on_in_its_own_trace(spans: Spans) -> None:
    """Its records name its `create` span, a child of what sent the document, linked with the window's span."""
    other = b"00-%032x-%016x-01" % (1, 2)
    records = [
        record("Angela Merkel in Paris", ("a", b"1"), ("traceparent", GIVEN), ("b", None)),
        record("Paris", ("traceparent", other), offset=8),
        record("Hamlet", offset=9),
    ]
    first, second, third = Processor(load_settings(), WordTagger()).process(records)
    [window] = spans.take("process")
    assert window.name == "process raw-documents"
    assert (window.kind, window.parent) == (SpanKind.CONSUMER, None)
    assert dict(window.attributes or {}) == {
        "messaging.system": "kafka",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "raw-documents",
        "messaging.consumer.group.name": load_settings().group,
        "messaging.batch.message_count": 3,
    }
    assert [link.context.span_id for link in window.links] == [0xDEF, 2]
    creates = spans.take("create")
    assert [span.kind for span in creates] == [SpanKind.PRODUCER] * 3
    assert [span.name for span in creates] == ["create", "create entities.location", "create entities.art"]
    assert [span.parent.span_id for span in creates if span.parent] == [0xDEF, 2, window.context.span_id]
    assert [link.context.span_id for span in creates for link in span.links] == [window.context.span_id] * 3
    for outcome, span in zip((first, second, third), creates, strict=True):
        assert outcome.kind == "enriched"
        assert [parents(made) for made in outcome.outgoing] == [[traceparent(span)]] * len(outcome.outgoing)
    for made in first.outgoing:
        names = [name for name, _ in made.headers]
        assert names[names.index("a") :][:3] == ["a", "traceparent", "b"]


def test_retried_dead_and_replayed_documents_stay_in_their_trace(
    spans: Spans, patch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They keep the header that they came with, have no `create` span, and go on under it once they are enriched."""
    patch.setenv(STATE, str(tmp_path))
    settings = load_settings(retry_delays="1")
    processor = Processor(settings, WordTagger())
    given = ("traceparent", GIVEN)
    # Alone in its window, a document is tried twice in each attempt.
    [retried] = processor.process([record("Siemens !fail=4", given)])
    assert (retried.kind, parents(retried.outgoing[0])) == ("retried", [GIVEN])
    [dead] = processor.process([read(retried.outgoing[0])])
    assert (dead.kind, parents(dead.outgoing[0])) == ("dead", [GIVEN])
    replayed = replay_record(read(dead.outgoing[0]), settings)
    assert parents(replayed) == [GIVEN]
    assert spans.take("create") == []
    [enriched] = processor.process([read(replayed)])
    assert enriched.kind == "enriched"
    [created] = spans.take("create")
    assert created.parent is not None
    assert (created.context.trace_id, created.parent.span_id) == (0xABC, 0xDEF)
    assert [parents(made) for made in enriched.outgoing] == [[traceparent(created)]]
    windows = spans.take("process")
    assert [[link.context.span_id for link in span.links] for span in windows] == [[0xDEF]] * 3
    [buried] = processor.crashed([record("Paris", given)])
    assert parents(buried.outgoing[0]) == [GIVEN]
    assert [link.context.span_id for link in spans.take("process")[3].links] == [0xDEF]


def test_spans_hold_nothing_of_a_document(spans: Spans, patch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither text nor key nor id, nor an error's message, stands in a span; a broken model marks the window's."""
    patch.setenv(STATE, str(tmp_path))
    secret = dataclasses.replace(
        record("Paris secret !fail"), key=b"secret", value=b'{"id": "secret", "text": "Paris secret !fail"}'
    )
    processor = Processor(load_settings(), WordTagger())
    processor.process(
        [secret, dataclasses.replace(secret, value=b'{"id": "secret", "text": "secret Paris"}')]
    )
    (tmp_path / "broken").touch()
    with pytest.raises(Stop):
        Processor(load_settings(), BrokenTagger()).process([secret])
    told = [*spans.take("process"), *spans.take("create")]
    assert len(told) == 3
    assert not any("secret" in span.to_json() for span in told)
    assert [span.status.status_code for span in told] == [
        StatusCode.UNSET,
        StatusCode.ERROR,
        StatusCode.UNSET,
    ]
    assert (told[1].attributes or {})["error.type"] == "Stop"


@given(
    st.one_of(
        st.binary(max_size=70), st.from_regex(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.*")
    ).map(lambda value: (("traceparent", value),))
)
@example((("traceparent", GIVEN), ("traceparent", GIVEN)))
@example((("traceparent", None),))
@example((("traceparent", GIVEN + b"-" + b"x" * 1_000_000),))
@example((("traceparent", b"ff" + GIVEN[2:]),))
@example((("traceparent", b"00-" + b"0" * 32 + GIVEN[35:]),))
@example((("traceparent", "00-٠".encode()),))
def test_a_hostile_traceparent_is_ignored(headers: Headers) -> None:
    """Malformed, huge, or repeated, it is no error; the document goes on under one that is well-formed."""
    spans = Spans(sampling.ALWAYS_ON)
    with pytest.MonkeyPatch.context() as patch:
        configure(patch, spans)
        [outcome] = Processor(load_settings(), WordTagger()).process([record("Paris", *headers)])
    assert outcome.kind == "enriched"
    [window], [created] = spans.take("process"), spans.take("create")
    assert created.parent is not None
    assert window.links or created.parent.span_id == window.context.span_id
    assert [parents(made) for made in outcome.outgoing] == [[traceparent(created)]]


@pytest.mark.parametrize("sampler", [None, sampling.ALWAYS_OFF])
@pytest.mark.parametrize(
    "headers", [(), (("traceparent", GIVEN),), (("traceparent", b"a"), ("traceparent", b"b"))]
)
def test_what_is_not_recorded_is_not_named(
    patch: pytest.MonkeyPatch, sampler: sampling.Sampler | None, headers: Headers
) -> None:
    """Without an SDK, or where it records nothing, the input's headers come along as they are."""
    if sampler is not None:
        configure(patch, Spans(sampler))
    [outcome] = Processor(load_settings(), WordTagger()).process([record("Paris", *headers)])
    assert [parents(made) for made in outcome.outgoing] == [[value for _, value in headers]]


def test_it_works_without_opentelemetry() -> None:
    """Where the API is not installed a processor does its work, and nothing of it is imported."""
    code = """
import sys
sys.modules["opentelemetry"] = None
from fewnerd_stream.contract.records import Record
from fewnerd_stream.delivery.process import Processor
from fewnerd_stream.settings import load_settings
from tests.support.taggers import WordTagger
given = (("traceparent", b"as it came"),)
[outcome] = Processor(load_settings(), WordTagger()).process(
    [Record("raw-documents", 0, 7, 0, None, b'{"id": "x", "text": "Paris"}', given)]
)
print(outcome.kind, given[0] in outcome.outgoing[0].headers, [n for n in sys.modules if n.startswith("opentelemetry.")])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "enriched True []"
