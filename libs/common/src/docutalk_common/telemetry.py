"""Logs, traces and metrics: JSON lines that carry trace and correlation ids, W3C trace context on every message."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import structlog
from opentelemetry import propagate, trace
from opentelemetry.context import attach, detach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind
from prometheus_client import Counter, Gauge, Histogram

TRACER = trace.get_tracer("docutalk")

_IDS = RandomIdGenerator()
_exporting = False
_ABOUT: ContextVar[tuple[object, object] | None] = ContextVar("docutalk_about", default=None)

_SECONDS = (0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 300)

HANDLED = Counter("docutalk_messages_handled_total", "Messages by outcome", ["consumer", "outcome"])
HANDLER_SECONDS = Histogram("docutalk_handler_seconds", "Time in a handler", ["consumer"], buckets=_SECONDS)
RETRIES = Counter("docutalk_message_retries_total", "Deliveries sent back to come again later", ["consumer"])
DEAD_LETTERS = Counter("docutalk_dead_letters_total", "Messages given up on", ["consumer", "code"])
PAUSED = Gauge("docutalk_consumer_paused", "Handlers waiting for a dependency", ["consumer", "dependency"])
QUEUE_PENDING = Gauge("docutalk_queue_pending", "Messages not delivered yet", ["consumer"])
QUEUE_IN_FLIGHT = Gauge("docutalk_queue_in_flight", "Messages delivered and not acknowledged", ["consumer"])
OUTBOX_PENDING = Gauge("docutalk_outbox_pending", "Rows waiting in the outbox", ["service"])
PUBLISHED = Counter("docutalk_outbox_published_total", "Messages published from the outbox", ["service"])
REQUEST_SECONDS = Histogram("docutalk_request_seconds", "Time to answer a request", ["subject", "outcome"], buckets=_SECONDS)


def _add_trace(_logger: Any, _method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        entry["trace_id"] = f"{context.trace_id:032x}"
        entry["span_id"] = f"{context.span_id:016x}"
    if (ids := _ABOUT.get()) is not None:
        entry.setdefault("correlation_id", str(ids[0]))
        entry.setdefault("message_id", str(ids[1]))
    return entry


def configure_logging(service: str, *, log_format: str, level: str) -> None:
    """One line of JSON (or of text) to standard error for every record, also of libraries that use `logging`."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_trace,
        structlog.processors.format_exc_info,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer() if log_format == "json" else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for noisy in ("httpx", "httpx2", "urllib3", "alembic.runtime.migration"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)


def configure_tracing(service: str) -> None:
    """Spans go to an OTLP collector when the usual `OTEL_EXPORTER_OTLP_ENDPOINT` names one; sampling by `OTEL_TRACES_SAMPLER`.

    Without a collector spans are only ids, for the logs: recording what nobody reads took half of the consumer's time.
    """
    global _exporting  # noqa: PLW0603 - as process-wide as the tracer provider
    if os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or os.environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        provider = TracerProvider(resource=Resource.create({"service.name": f"docutalk-{service}"}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
        _exporting = True


def shutdown_tracing() -> None:
    """Sends what is left."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.shutdown()


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger that takes keyword arguments as fields."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def current_traceparent() -> str | None:
    """The W3C `traceparent` of the span at hand, or None outside of any."""
    at_hand = trace.get_current_span().get_span_context()
    if not at_hand.is_valid:
        return None
    return f"00-{at_hand.trace_id:032x}-{at_hand.span_id:016x}-{at_hand.trace_flags:02x}"


def _unrecorded(headers: Mapping[str, str] | None) -> Span:
    """A span of ids only. The library's own way to the same costs three times as much, for each message."""
    parent = trace.get_current_span(propagate.extract(headers) if headers and "traceparent" in headers else None)
    above = parent.get_span_context()
    trace_id = above.trace_id if above.is_valid else _IDS.generate_trace_id()
    return NonRecordingSpan(SpanContext(trace_id, _IDS.generate_span_id(), is_remote=False, trace_flags=above.trace_flags))


@contextmanager
def span(name: str, *, kind: SpanKind = SpanKind.INTERNAL, headers: Mapping[str, str] | None = None) -> Iterator[Span]:
    """A span; with `headers`, a child of the span that wrote them."""
    if not _exporting:
        current = _unrecorded(headers)
        token = attach(trace.set_span_in_context(current))
        try:
            yield current
        finally:
            detach(token)
        return
    context = propagate.extract(headers) if headers else None
    with TRACER.start_as_current_span(name, context=context, kind=kind) as current:
        yield current


@contextmanager
def about(correlation_id: object, message_id: object) -> Iterator[None]:
    """Every record inside carries these ids. Cheaper than structlog's own way, which walks through the whole context."""
    token = _ABOUT.set((correlation_id, message_id))
    try:
        yield
    finally:
        _ABOUT.reset(token)
