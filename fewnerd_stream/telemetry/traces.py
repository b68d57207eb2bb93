"""Traces for OpenTelemetry, by its API alone: no-op unless it is installed, and an SDK is configured by the user.

Semantic conventions for messaging 1.44.0: https://opentelemetry.io/docs/specs/semconv/messaging/

A window has a ``process`` span, a root with a link to each document's own trace. An enriched document has a
``create`` span in the document's trace (in the window's, where the document has none) with a link to the window's,
and its context goes into the ``traceparent`` of what is published. Everything else, retries and dead letters among
it, keeps the ``traceparent`` that the input has, and so stays in the document's trace.

A window is processed in a thread of its own, so no context is ever taken from the surroundings. No span holds a
document's text, key or id, nor an error's message, which may quote one.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

try:
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:  # the extra `traces` is not installed
    _INSTALLED = False
else:
    _INSTALLED = True

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fewnerd_stream.contract.records import Headers, Outgoing, Record

TRACEPARENT: Final = "traceparent"
SCHEMA: Final = "https://opentelemetry.io/schemas/1.44.0"

# A version that is not made yet may write more than today's 55; the propagator would log each that is longer.
_LONGEST: Final = 512


class Untraced:
    """Stands for a window's trace where nobody takes one."""

    def created(self, record: Record, outgoing: tuple[Outgoing, ...], began: int) -> tuple[Outgoing, ...]:  # noqa: ARG002 - as its like
        """Return the records as they are."""
        return outgoing


class Traced(Untraced):
    """A window's trace: makes the ``create`` spans of its documents."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        """Keep the window's span, and what makes others."""
        self._tracer, self._span = tracer, span

    def created(self, record: Record, outgoing: tuple[Outgoing, ...], began: int) -> tuple[Outgoing, ...]:
        """Make a document's span, and return its records with the span's ``traceparent`` in place of the input's.

        They are returned as they are when the span is not recorded: then nobody would find it.

        Args:
            record: as read.
            outgoing: the enriched documents made of it.
            began: when that began, in nanoseconds since the epoch.
        """
        window = self._span.get_span_context()
        context = _context_of(record.headers)
        attributes = _attributes("create", [one.topic for one in outgoing])
        attributes["messaging.batch.message_count"] = len(outgoing)
        span = self._tracer.start_span(
            _name("create", attributes),
            trace.set_span_in_context(self._span, Context()) if context is None else context,
            trace.SpanKind.PRODUCER,
            attributes,
            [trace.Link(window)] if window.is_valid else [],
            start_time=began,
        )
        recorded = span.is_recording()
        span.end()
        if not recorded:
            return outgoing
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier, trace.set_span_in_context(span, Context()))
        given = carrier[TRACEPARENT].encode()
        return tuple(replace(one, headers=_with_traceparent(one.headers, given)) for one in outgoing)


@contextlib.contextmanager
def window(records: Sequence[Record], group: str) -> Iterator[Untraced]:
    """Trace the processing of a window within a ``with`` block; an exception marks the span, and goes on.

    Args:
        records: the window's.
        group: the consumer group.
    """
    tracer = _tracer()
    if tracer is None:
        yield Untraced()
        return
    attributes = _attributes("process", [record.topic for record in records])
    attributes["messaging.consumer.group.name"] = group
    attributes["messaging.batch.message_count"] = len(records)
    span = tracer.start_span(
        _name("process", attributes),
        Context(),
        trace.SpanKind.CONSUMER,
        attributes,
        [link for record in records if (link := _link_to(record)) is not None],
    )
    try:
        yield Traced(tracer, span)
    except BaseException as error:
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(trace.StatusCode.ERROR)
        raise
    finally:
        span.end()


def _tracer() -> trace.Tracer | None:
    """Give what makes spans; None when nobody would see them."""
    if not _INSTALLED:
        return None
    provider = trace.get_tracer_provider()
    if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider):
        return None
    return provider.get_tracer("fewnerd_stream", schema_url=SCHEMA)


def _attributes(operation: str, topics: Sequence[str]) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
    }
    # The conventions have no place for several.
    if len(set(topics)) == 1:
        attributes["messaging.destination.name"] = topics[0]
    return attributes


def _name(operation: str, attributes: dict[str, str | int]) -> str:
    return f"{operation} {attributes.get('messaging.destination.name', '')}".rstrip()


def _link_to(record: Record) -> trace.Link | None:
    context = _context_of(record.headers)
    if context is None:
        return None
    place: dict[str, str | int] = {
        "messaging.destination.name": record.topic,
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
    }
    return trace.Link(trace.get_current_span(context).get_span_context(), place)


def _context_of(headers: Headers) -> Context | None:
    """Read a document's ``traceparent``; None when there is none, more than one, or one that is malformed."""
    found = [value or b"" for name, value in headers if name == TRACEPARENT]
    if len(found) != 1 or len(found[0]) > _LONGEST or not found[0].isascii():
        return None
    context = TraceContextTextMapPropagator().extract({TRACEPARENT: found[0].decode()}, Context())
    return context if trace.get_current_span(context).get_span_context().is_valid else None


def _with_traceparent(headers: Headers, given: bytes) -> Headers:
    """Put a ``traceparent`` where the first one stood, in place of all, or last."""
    names = [name for name, _ in headers]
    place = names.index(TRACEPARENT) if TRACEPARENT in names else len(names)
    rest = [header for header in headers[place:] if header[0] != TRACEPARENT]
    return (*headers[:place], (TRACEPARENT, given), *rest)
