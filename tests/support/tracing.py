"""A worker with an OpenTelemetry SDK, as a user would configure one: its spans are lines in a file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.support.taggers import STATE, WordTagger

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

TRACED: Final = "tests.support.tracing:traced_tagger"
"""The tagger of a worker that is traced."""

_FILE: Final = "spans.jsonl"


def traced_tagger() -> WordTagger:
    """Configure the SDK of this process, and give a tagger."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

    def line(span: ReadableSpan) -> str:
        return json.dumps(json.loads(span.to_json())) + "\n"

    out = Path(os.environ[STATE], _FILE).open("a", encoding="utf-8")  # noqa: SIM115 - for as long as it runs
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=out, formatter=line)))
    trace.set_tracer_provider(provider)
    return WordTagger()


def spans(folder: Path, operation: str) -> list[dict[str, Any]]:
    """Read the spans of an operation that a worker in this folder has written."""
    lines = (folder / _FILE).read_text(encoding="utf-8").splitlines()
    read: list[dict[str, Any]] = [json.loads(line) for line in lines]
    return [span for span in read if span["attributes"]["messaging.operation.name"] == operation]
