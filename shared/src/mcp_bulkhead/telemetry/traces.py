"""Spans. The SDK opens one per request; we add what it leaves out, and see to it that no user data leaves with it.

The SDK's spans carry the tool name as the client sent it, and on a crash the exception's message and stack. So the
exporter lets through only attributes on its list, collapses names we do not serve, and empties error texts and the
client's trace state.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from opentelemetry import trace
from opentelemetry.propagate import extract

from ..errors import Unsupported
from .facts import Vocabulary

if TYPE_CHECKING:
    from .spans import Tracing


def annotate_span(
    *, transport: Literal["pipe", "tcp"] | None, resource_scheme: str | None = None, span: trace.Span | None = None
) -> None:
    """Complete a span, the current one unless given, if somebody records it.

    Of a resource only the scheme: its URI is the user's data.
    """
    span = span or trace.get_current_span()
    if span.is_recording():
        if transport is not None:
            span.set_attribute("network.transport", transport)
        if resource_scheme is not None:
            span.set_attribute("mcp.resource.uri", f"{resource_scheme}:")


def trace_id_of(meta: Mapping[str, Any] | None = None) -> str | None:
    """The trace this call belongs to: the span we are in, else the client's `traceparent`."""
    context = trace.get_current_span().get_span_context()
    parent = meta.get("traceparent") if meta else None
    if not context.is_valid and isinstance(parent, str):
        context = trace.get_current_span(extract({"traceparent": parent})).get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None


def start_tracing(
    endpoint: str,
    service: str,
    *,
    vocabulary: Vocabulary | None = None,
    complete: Callable[[trace.Span], None] | None = None,
    headers: Mapping[str, str] | None = None,
) -> "Tracing":
    """Export spans over OTLP/HTTP. The provider is process-wide, because the SDK asks for that one.

    `complete` is called with every request's span as it starts: the place for `annotate_span`.
    """
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        raise Unsupported(
            "Tracing was already started in this process.", hint="Configure either our exporter or your own, not both."
        )
    from .spans import Tracing

    tracing = Tracing(endpoint, service, vocabulary or Vocabulary(), complete=complete, headers=headers)
    trace.set_tracer_provider(tracing.provider)
    return tracing
