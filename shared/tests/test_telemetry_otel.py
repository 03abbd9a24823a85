"""Metrics and spans as a collector receives them: a real OTLP/HTTP exchange on the loopback interface."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan, use_span

from mcp_bulkhead.telemetry.facts import CallFacts
from mcp_bulkhead.telemetry.metrics import Telemetry, open_telemetry
from mcp_bulkhead.telemetry.otel import signal_url
from mcp_bulkhead.telemetry.traces import annotate_span, trace_id_of

MARK = "c4n4ry-7f3a"


class Collector:
    """Keeps every request body that is posted to it, by path."""

    def __init__(self) -> None:
        bodies: dict[str, list[bytes]] = {}

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                bodies.setdefault(self.path, []).append(body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self.bodies = bodies
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def metrics(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for body in self.bodies.get("/v1/metrics", []):
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in resource.scope_metrics:
                    found |= {metric.name: metric for metric in scope.metrics}
        return found

    def spans(self) -> list[Any]:
        return [
            span
            for body in self.bodies.get("/v1/traces", [])
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def attributes(item: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in item.attributes}


def facts(**more: Any) -> CallFacts:
    usual: dict[str, Any] = {
        "method": "tools/call",
        "tool": "fs_read",
        "status": "ok",
        "duration_s": 0.03,
        "protocol_version": "2026-07-28",
        "transport": "pipe",
    }
    return CallFacts(**(usual | more))


def opened(collector: Collector) -> Telemetry:
    telemetry = open_telemetry("filesystem", otlp_endpoint=collector.endpoint)
    telemetry.vocabulary.know(tools=["fs_read"], prompts=["orient"], schemes=["file"])
    return telemetry


def test_the_collector_receives_the_conventions_histogram(collector: Collector):
    telemetry = opened(collector)
    telemetry.observe_call(facts())
    telemetry.observe_call(facts(status="client_error", error_type="-32602", rpc_status_code="-32602", tool=MARK))
    telemetry.observe_session(4.0, protocol_version="2025-11-25", transport="tcp")
    telemetry.close(5)
    metrics = collector.metrics()
    duration = metrics["mcp.server.operation.duration"]
    assert duration.unit == "s"
    good, bad = sorted(duration.histogram.data_points, key=lambda point: len(point.attributes))
    assert attributes(good) == {
        "mcp.method.name": "tools/call",
        "gen_ai.tool.name": "fs_read",
        "gen_ai.operation.name": "execute_tool",
        "mcp.protocol.version": "2026-07-28",
        "network.transport": "pipe",
    }
    assert attributes(bad)["gen_ai.tool.name"] == "_unknown"
    assert attributes(bad)["error.type"] == attributes(bad)["rpc.response.status_code"] == "-32602"
    assert list(good.explicit_bounds) == [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300]
    assert (good.count, good.sum) == (1, 0.03)
    assert metrics["mcp.server.session.duration"].histogram.data_points[0].sum == 4
    assert metrics["mcp_bulkhead.process.resident_memory"].unit == "By"
    assert MARK.encode() not in b"".join(collector.bodies["/v1/metrics"])


def test_the_collector_learns_which_server_it_is(collector: Collector):
    telemetry = opened(collector)
    telemetry.observe_call(facts())
    telemetry.close(5)
    (resource,) = ExportMetricsServiceRequest.FromString(collector.bodies["/v1/metrics"][0]).resource_metrics
    assert attributes(resource.resource)["service.name"] == "filesystem"


def test_a_gauge_reaches_the_collector_and_a_failing_one_is_left_out(collector: Collector):
    telemetry = opened(collector)
    telemetry.register_gauge("queue.depth", lambda: 7, help="Calls waiting.")
    telemetry.register_gauge("bad", lambda: 1 / 0, help="Fails.")
    telemetry.close(5)
    metrics = collector.metrics()
    assert metrics["mcp_bulkhead.queue.depth"].gauge.data_points[0].as_double == 7 or (
        metrics["mcp_bulkhead.queue.depth"].gauge.data_points[0].as_int == 7
    )
    assert not (metrics["mcp_bulkhead.bad"].gauge.data_points if "mcp_bulkhead.bad" in metrics else [])


def test_a_collector_that_is_down_holds_up_the_exit_for_a_fifth_of_a_second():
    probe = (
        "import logging, os, time\n"
        "from mcp_bulkhead.telemetry.facts import CallFacts\n"
        "from mcp_bulkhead.telemetry.metrics import open_telemetry\n"
        "from mcp_bulkhead.telemetry.traces import start_tracing\n"
        "logging.disable()\n"
        "telemetry = open_telemetry('x', otlp_endpoint='http://127.0.0.1:9')\n"
        "telemetry.tracing = start_tracing('http://127.0.0.1:9', 'x')\n"
        "telemetry.observe_call(CallFacts(method='ping', status='ok', duration_s=0.1))\n"
        "started = time.monotonic(); telemetry.close(); print(time.monotonic() - started, flush=True); os._exit(0)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert float(done.stdout) < 0.5


@pytest.mark.parametrize("endpoint", ["http://h:4318", "http://h:4318/", "http://h:4318/v1/traces"])
def test_an_endpoint_is_a_base_or_the_whole_address(endpoint: str):
    assert signal_url(endpoint, "traces") == "http://h:4318/v1/traces"


# The SDK asks for the process-wide tracer once, so a traced server needs a process of its own.
TRACED = """
import asyncio, json, sys
from mcp_bulkhead.telemetry import logs
logs.configure("debug", "probe")
from mcp_bulkhead.telemetry.facts import Vocabulary
from mcp_bulkhead.telemetry.traces import annotate_span, start_tracing, trace_id_of
from mcp_bulkhead.telemetry.metrics import Telemetry
from mcp.server.mcpserver import MCPServer
from mcp import Client
vocabulary = Vocabulary()
vocabulary.know(tools=["echo", "crash"], schemes=["file"])
tracing = start_tracing(sys.argv[1], "probe", vocabulary=vocabulary,
    complete=lambda span: annotate_span(transport="pipe", span=span))
server = MCPServer("probe")
ids = []
@server.tool()
async def echo(text: str) -> str:
    ids.append(trace_id_of())
    return text
@server.tool()
async def crash(text: str) -> str:
    raise RuntimeError(text)
@server.resource("file:///{name}")
async def page(name: str) -> str:
    annotate_span(transport="pipe", resource_scheme="file")
    return name
async def main():
    async with Client(server) as client:
        await client.call_tool("echo", {"text": "MARK"})
        await client.call_tool("crash", {"text": "MARK"})
        await client.read_resource("file:///MARK")
        for bad in (client.call_tool("MARK", {}), client.read_resource("MARK:///x")):
            try:
                await bad
            except Exception:
                pass
asyncio.run(main())
try:
    start_tracing(sys.argv[1], "probe")
except Exception as error:
    print(json.dumps([type(error).__name__, ids]))
Telemetry(tracing=tracing).close(5)
"""


def test_the_collector_receives_complete_spans_without_a_word_of_the_users(collector: Collector):
    done = subprocess.run(
        [sys.executable, "-c", TRACED.replace("MARK", MARK), collector.endpoint],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    refused, ids = json.loads(done.stdout)
    spans = collector.spans()
    served = [span for span in spans if attributes(span).get("network.transport") == "pipe"]
    by_name = {span.name: span for span in served}
    assert {"tools/call echo", "tools/call crash", "tools/call _unknown", "resources/read"} <= by_name.keys()
    echo = attributes(by_name["tools/call echo"])
    assert echo["gen_ai.operation.name"] == "execute_tool"
    assert echo["mcp.protocol.version"] == "2026-07-28"
    assert by_name["tools/call echo"].trace_id.hex() == ids[0]
    assert attributes(by_name["tools/call crash"])["error.type"] == "tool_error"
    assert "file:" in {attributes(span).get("mcp.resource.uri") for span in served}
    assert MARK.encode() not in b"".join(collector.bodies["/v1/traces"])
    assert MARK not in done.stderr
    assert refused == "Unsupported"


# The server of the neighbouring test file, exporting to us.
SERVED = """
import importlib.util, pathlib, sys, anyio
spec = importlib.util.spec_from_file_location("probe", sys.argv[1])
probe = importlib.util.module_from_spec(spec)
spec.loader.exec_module(probe)
probe.configure("debug", "probe")
settings = probe.Settings(state_dir=pathlib.Path(sys.argv[2]), otlp_endpoint=sys.argv[3])
server, telemetry = probe.started(settings)
anyio.run(probe.drive, server)
telemetry.close(5)
"""


def test_a_server_of_ours_sends_metrics_and_spans_without_a_word_of_the_users(collector: Collector, tmp_path: Path):
    neighbour = Path(__file__).with_name("test_telemetry_calls.py")
    arguments = [sys.executable, "-c", SERVED, str(neighbour), str(tmp_path), collector.endpoint]
    subprocess.run(arguments, capture_output=True, timeout=60, check=True)
    spans = {span.name: attributes(span) for span in collector.spans()}
    assert spans["tools/call probe_say"]["network.transport"] == "pipe"
    assert {"probe:", "_unknown:"} & {str(span.get("mcp.resource.uri")) for span in spans.values()}
    points = collector.metrics()["mcp.server.operation.duration"].histogram.data_points
    assert "probe_say" in {attributes(point).get("gen_ai.tool.name") for point in points}
    assert MARK.encode() not in b"".join(body for bodies in collector.bodies.values() for body in bodies)


def test_a_span_nobody_records_is_left_alone():
    class Unrecorded(NonRecordingSpan):
        def set_attribute(self, key: str, value: Any) -> None:
            pytest.fail(f"{key} was worked out for nobody")

    with use_span(Unrecorded(INVALID_SPAN_CONTEXT)):
        annotate_span(transport="pipe", resource_scheme="file")


def test_the_current_span_is_completed_with_the_scheme_only():
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with tracer.start_as_current_span("resources/read") as span:
        annotate_span(transport="tcp", resource_scheme="file")
    assert isinstance(span, ReadableSpan)
    assert dict(span.attributes or {}) == {"network.transport": "tcp", "mcp.resource.uri": "file:"}


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        (
            {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
            "0af7651916cd43dd8448eb211c80319c",
        ),
        ({"traceparent": "00-zz-b7ad6b7169203331-01"}, None),
        ({"traceparent": 7}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_trace_of_a_call_is_the_clients_when_we_have_none(meta: dict[str, Any] | None, expected: str | None):
    assert trace_id_of(meta) == expected


def test_our_own_span_wins_over_the_clients_words():
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with tracer.start_as_current_span("x") as span:
        assert trace_id_of({"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01"}) == format(
            span.get_span_context().trace_id, "032x"
        )


def test_exporting_does_not_slow_a_call_beyond_reason(collector: Collector):
    telemetry = opened(collector)
    started = time.perf_counter()
    for _ in range(1_000):
        telemetry.observe_call(facts())
    each_us = (time.perf_counter() - started) * 1_000
    telemetry.close(5)
    assert each_us < 500  # 40 measured
