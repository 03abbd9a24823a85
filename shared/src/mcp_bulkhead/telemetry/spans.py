"""What of a span may leave the process."""

from collections.abc import Callable, Mapping, Sequence

from ..errors import Unsupported
from .contained import contained
from .facts import METHODS, UNKNOWN, VERSIONS, Vocabulary, known
from .otel import EXPORT_TIMEOUT_S, resource_of, signal_url

try:
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import Event, ReadableSpan, Span, SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.trace import Link, SpanContext, Status
    from opentelemetry.util.types import AttributeValue
except ImportError as error:
    raise Unsupported(
        "Tracing needs packages that are not installed.", hint='pip install "mcp-bulkhead[otel]"'
    ) from error

# Attributes of the SDK, of ours, and of the usual client instrumentations, as far as no user chooses their value.
PASSES = frozenset(
    {
        "db.operation.name",
        "db.system.name",
        "error.type",
        "gen_ai.operation.name",
        "gen_ai.prompt.name",
        "gen_ai.tool.name",
        "http.request.method",
        "http.response.status_code",
        "jsonrpc.request.id",
        "mcp.method.name",
        "mcp.protocol.version",
        "mcp.resource.uri",
        "network.transport",
        "rpc.response.status_code",
        "server.address",
        "server.port",
    }
)


class Tracing:
    """`close` waits for the last export as long as that takes: `Telemetry.close` bounds it."""

    def __init__(
        self,
        endpoint: str,
        service: str,
        vocabulary: Vocabulary,
        *,
        complete: Callable[[Span], None] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        exporter = OTLPSpanExporter(
            endpoint=signal_url(endpoint, "traces"),
            headers=dict(headers) if headers else None,
            timeout=EXPORT_TIMEOUT_S,
        )
        self.provider = TracerProvider(resource=resource_of(service), shutdown_on_exit=False)
        if complete is not None:
            self.provider.add_span_processor(Completing(complete))
        self.provider.add_span_processor(BatchSpanProcessor(Discreet(exporter, vocabulary)))

    def close(self) -> None:
        self.provider.shutdown()


class Completing(SpanProcessor):
    """Adds what the SDK leaves out to the spans it opens for requests, as they start."""

    def __init__(self, complete: Callable[[Span], None]) -> None:
        self._complete = complete

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 - the SDK's
        if "mcp.method.name" in (span.attributes or {}):
            contained(lambda: self._complete(span), None)


class Discreet(SpanExporter):
    """Exports a copy of each span without user data. Works on the export thread, not on the call's way."""

    def __init__(self, exporter: SpanExporter, vocabulary: Vocabulary) -> None:
        self._exporter = exporter
        self._vocabulary = vocabulary

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([self.discreet(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)

    def discreet(self, span: ReadableSpan) -> ReadableSpan:
        attributes = self.passing(span.attributes or {})
        return ReadableSpan(
            name=self.name_of(span, attributes),
            context=without_state(span.context),
            parent=without_state(span.parent),
            resource=span.resource,
            attributes=attributes,
            events=[without_text(event) for event in span.events],
            links=[Link(context) for link in span.links if (context := without_state(link.context))],
            kind=span.kind,
            status=Status(span.status.status_code),
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )

    def passing(self, attributes: Mapping[str, AttributeValue]) -> dict[str, AttributeValue]:
        words = {
            "gen_ai.tool.name": self._vocabulary.tools,
            "gen_ai.prompt.name": self._vocabulary.prompts,
            "mcp.method.name": METHODS,
            "mcp.protocol.version": VERSIONS,
        }
        kept = {key: value for key, value in attributes.items() if key in PASSES}
        kept |= {key: known(str(kept[key]), allowed) for key, allowed in words.items() if key in kept}
        if "mcp.resource.uri" in kept:
            scheme = str(kept["mcp.resource.uri"]).partition(":")[0]
            kept["mcp.resource.uri"] = f"{known(scheme, self._vocabulary.schemes)}:"
        if not str(kept.get("jsonrpc.request.id", "")).isdecimal():  # a client may put words there
            kept.pop("jsonrpc.request.id", None)
        return kept

    def name_of(self, span: ReadableSpan, attributes: Mapping[str, AttributeValue]) -> str:
        method = attributes.get("mcp.method.name")
        if method is None:  # another instrumentation's: an operation name, by convention of low cardinality
            return span.name
        target = attributes.get("gen_ai.tool.name") or attributes.get("gen_ai.prompt.name")
        if target is None:
            return str(method)
        return f"{method} {target}"


def without_state(context: SpanContext | None) -> SpanContext | None:
    """The client may write what it likes into its trace state."""
    return context and SpanContext(context.trace_id, context.span_id, context.is_remote, context.trace_flags)


def without_text(event: Event) -> Event:
    kind = (event.attributes or {}).get("exception.type", UNKNOWN)
    if event.name == "exception":
        return Event("exception", {"exception.type": kind}, event.timestamp)
    return Event(event.name, {}, event.timestamp)
