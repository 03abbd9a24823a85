"""From the pipeline's call to a log line, a measurement and a span: the only file here that knows the pipeline."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from ..pipeline.call import Call, current_call_or_none
from ..tools import COST_UNITS
from .contained import contained
from .facts import CallFacts
from .logs import CallRecord, Status, call_record
from .metrics import Telemetry, open_telemetry
from .traces import annotate_span, start_tracing, trace_id_of

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from ..pipeline.adapter import BulkheadServer
    from ..pipeline.runtime import Runtime
    from ..settings import ServerSettings

MAX_NAME = 64
JSONRPC = re.compile(r"jsonrpc(-?\d+)")
SCHEME = re.compile(r"([a-z][a-z0-9+.-]{0,31}):")

Observe = Callable[[Call], None]


def call_log(runtime: "Runtime") -> Observe:
    """One line per call. The digest is the audit's, so that a line and its record find each other."""

    def log(call: Call) -> None:
        digest = call.args_digest
        if digest is None and runtime.audit is not None:
            digest = call.args_digest = runtime.audit.digest(call.arguments)
        call_record(record_of(call, digest))

    return lambda call: contained(lambda: log(call), None)


def record_of(call: Call, digest: str | None) -> CallRecord:
    return CallRecord(
        method=call.method[:MAX_NAME],
        tool=call.name[:MAX_NAME] if call.method == "tools/call" and call.name else None,
        status=status_of(call),
        duration_ms=round(call.elapsed * 1_000, 3),
        tenant_id=call.caller.tenant,
        session_id=call.caller.session,
        input_hash=digest,
        output_bytes=call.bytes_out,
        request_id=call.request_id,
        trace_id=call.trace_id,
    )


def status_of(call: Call) -> Status:
    """Who gave up a call is its client: `cancelled` is the audit's word, not one of the log's four."""
    return "client_error" if call.status == "cancelled" else call.status


def call_metrics(server: "BulkheadServer", settings: "ServerSettings") -> tuple[Observe | None, Telemetry | None]:
    """What the operator wants measured: nothing, /metrics, OTLP or both. Close it before the process ends."""
    wants_page = settings.metrics and settings.http is not None
    if not wants_page and not settings.otlp_endpoint:
        return None, None
    runtime = server.runtime
    telemetry = open_telemetry(runtime.server, otlp_endpoint=settings.otlp_endpoint, prometheus=wants_page)
    telemetry.vocabulary.know(
        tools=server.declared, prompts=[prompt.name for prompt in server.described.prompts], schemes=schemes_of(server)
    )
    if settings.otlp_endpoint:
        telemetry.tracing = start_tracing(
            settings.otlp_endpoint, runtime.server, vocabulary=telemetry.vocabulary, complete=complete
        )
        runtime.trace_of = trace_id_of
    register_gauges(telemetry, server)
    return lambda call: telemetry.observe_call(facts_of(call)), telemetry


def schemes_of(server: "BulkheadServer") -> list[str]:
    return [scheme for each in server.described.resources if (scheme := scheme_of(each.template)) is not None]


def register_gauges(telemetry: Telemetry, server: "BulkheadServer") -> None:
    runtime = server.runtime
    gauge = telemetry.register_gauge
    gauge("calls.in_flight", lambda: len(runtime.in_flight), help="Calls at work.")
    gauge("queue.depth", lambda: runtime.seats.waiting, help="Calls waiting for a seat.")
    gauge("streams", lambda: runtime.streams, help="Subscriptions that are open.")
    gauge("sessions.legacy", lambda: len(server.legacy_sessions), help="Sessions of clients before 2026-07-28.")


def facts_of(call: Call) -> CallFacts:
    code = call.failure.reason if call.failure else ("cancelled" if call.status == "cancelled" else None)
    rpc = JSONRPC.fullmatch(code or "")
    wire = rpc.group(1) if rpc else None
    return CallFacts(
        method=call.method,
        status=status_of(call),
        duration_s=call.elapsed,
        tool=call.name if call.method == "tools/call" else None,
        prompt=call.name if call.method == "prompts/get" else None,
        resource_scheme=scheme_of(call.name) if call.method == "resources/read" else None,
        error_type=wire or ("tool_error" if code and call.method == "tools/call" else code),
        error_code=wire or code,
        rpc_status_code=wire,
        protocol_version=call.protocol,
        transport=transport_of(call),
        arguments_valid_first_try=call.valid_arguments,
        scope_failure=call.rule == "scope",
        backend_s=call.handler_s,
        cost_units=COST_UNITS[call.tool.cost] if call.tool and call.leg == 1 and not call.rule else None,
        request_id=call.request_id,
    )


def transport_of(call: Call) -> Literal["pipe", "tcp"] | None:
    return None if call.transport == "memory" else call.transport


def scheme_of(uri: str | None) -> str | None:
    found = SCHEME.match(uri or "")
    return found.group(1) if found else None


def complete(span: "Span | Any") -> None:
    """The request's span starts inside the pipeline's outermost layer, where the call is known."""
    call = current_call_or_none()
    if call is not None:
        scheme = scheme_of(call.name) if call.method == "resources/read" else None
        annotate_span(transport=transport_of(call), resource_scheme=scheme, span=span)
