"""A real server on the SDK: what its calls leave in the log and on the metrics page."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Self

import anyio
import pytest
from mcp import Client, MCPError
from pydantic import Field

from mcp_bulkhead.errors import Busy, Invalid, Missing, NotAllowed
from mcp_bulkhead.pipeline.adapter import BulkheadServer
from mcp_bulkhead.pipeline.call import Call, Caller
from mcp_bulkhead.pipeline.limits import Limits, Seats
from mcp_bulkhead.pipeline.runtime import Runtime, bounds_of
from mcp_bulkhead.pipeline.switch import KillSwitch
from mcp_bulkhead.resources import prompt, resource
from mcp_bulkhead.results import Text
from mcp_bulkhead.server import Server
from mcp_bulkhead.settings import ServerSettings
from mcp_bulkhead.state.cursors import Cursors
from mcp_bulkhead.telemetry.calls import call_log, call_metrics, facts_of, record_of, scheme_of
from mcp_bulkhead.telemetry.logs import configure
from mcp_bulkhead.telemetry.metrics import Telemetry
from mcp_bulkhead.tools import tool

MARK = "c4n4ry-7f3a"
Word = Annotated[str, Field(description="A word.")]


@tool(effect="read", scope="probe.read", targets="{word}")
async def probe_say(word: Word) -> Text:
    """Use this to hear a word again."""
    if word.startswith("missing"):
        raise Missing("There is no such word.", hint="Try another.")
    if word.startswith("crash"):
        raise RuntimeError(word)
    return Text(word)


@resource("probe://{word}", scope="probe.read", title="A word")
async def page(word: str) -> Any:
    """A word."""
    raise RuntimeError(word)


@prompt(title="Ask", scope="ask", word="A word.")
async def ask(word: str) -> str:
    """Ask for a word."""
    return word


class Nothing:
    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def check(self) -> dict[str, Any]:
        return {}


class Settings(ServerSettings):
    """Of the probe."""


def module(**names: Any) -> ModuleType:
    made = ModuleType("probe")
    vars(made).update(names)
    return made


def started(settings: ServerSettings) -> tuple[BulkheadServer, Telemetry | None]:
    described = Server(
        settings,
        backend=Nothing(),
        tools=[module(probe_say=probe_say)],
        resources=module(page=page),
        prompts=module(ask=ask),
    )
    bounds = bounds_of(settings)
    runtime = Runtime(
        server="probe",
        version="1.0",
        settings=settings,
        cursors=Cursors(b"k" * 32),
        limits=Limits(bounds),
        seats=Seats(bounds.at_once, bounds.at_once_per_caller),
        switch=KillSwitch(settings.kill_file),
        transport="pipe",
    )
    server = BulkheadServer(described, runtime, title="Probe", instructions="")
    runtime.log = call_log(runtime)
    runtime.observe, telemetry = call_metrics(server, settings)
    return server, telemetry


@pytest.fixture
def told(tmp_path: Path) -> tuple[list[dict[str, Any]], str]:
    """Every kind of call, good and bad and marked, at debug level: the log lines and the metrics page."""
    stream = io.StringIO()
    logs = configure("debug", "probe", stream=stream)
    try:
        server, telemetry = started(Settings(state_dir=tmp_path, http="127.0.0.1:0", metrics=True))
        anyio.run(drive, server)
        assert telemetry is not None
        rendered = telemetry.render()
    finally:
        logs.close()
    assert rendered is not None
    return [json.loads(line) for line in stream.getvalue().splitlines()], rendered.decode()


async def drive(server: BulkheadServer) -> None:
    async with Client(server) as client:
        for arguments in (
            {"word": MARK},
            {"word": f"missing {MARK}"},
            {"word": f"crash {MARK}"},
            {"word": [MARK]},
            {"word": "x", MARK: MARK},
        ):
            await client.call_tool("probe_say", arguments)
        await client.get_prompt("ask", {"word": MARK})
        for bad in (client.read_resource(f"probe://{MARK}"), client.read_resource(f"{MARK}://x")):
            with pytest.raises(MCPError):
                await bad


def calls(lines: list[dict[str, Any]], **wanted: Any) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == "call" and wanted.items() <= line.items()]


def test_every_call_leaves_one_line_and_one_count(told: tuple[list[dict[str, Any]], str]):
    lines, rendered = told
    tools = calls(lines, tool="probe_say")
    assert [line["status"] for line in tools] == ["ok", "client_error", "server_error", "client_error", "client_error"]
    assert {line["tenant_id"] for line in tools} == {"local"}
    assert tools[0]["output_bytes"] == len(MARK)
    assert len({line["request_id"] for line in tools}) == 5
    assert calls(lines, method="prompts/get")[0]["status"] == "ok"
    assert [line["status"] for line in calls(lines, method="resources/read")] == ["server_error", "client_error"]
    assert counted(rendered, "mcp_bulkhead_calls_total", gen_ai_tool_name="probe_say") == 5
    assert counted(rendered, "mcp_bulkhead_errors_total", mcp_bulkhead_error_code="not_found") >= 1
    assert counted(rendered, "mcp_bulkhead_arguments_total", mcp_bulkhead_arguments_valid="false") == 2
    assert counted(rendered, "mcp_bulkhead_resource_reads_total", mcp_bulkhead_resource_scheme="probe") == 1
    assert counted(rendered, "mcp_bulkhead_calls_in_flight") == 0
    assert counted(rendered, "mcp_bulkhead_queue_depth") == 0


def test_no_argument_shows_on_the_metrics_page_or_in_a_call_line(told: tuple[list[dict[str, Any]], str]):
    lines, rendered = told
    assert MARK not in rendered
    assert MARK not in json.dumps(calls(lines))
    assert MARK not in json.dumps([line for line in lines if line["logger"].startswith("mcp.")])


def counted(rendered: str, name: str, **labels: str) -> float:
    from prometheus_client.parser import text_string_to_metric_families

    return sum(
        sample.value
        for family in text_string_to_metric_families(rendered)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def test_nothing_is_observed_unless_somebody_wants_to_see_it(tmp_path: Path):
    server, telemetry = started(Settings(state_dir=tmp_path, metrics=True))  # /metrics has no place on stdio
    assert server.runtime.observe is None
    assert telemetry is None


def call(method: str = "tools/call", **more: Any) -> Call:
    usual: dict[str, Any] = {"name": "probe_say", "arguments": {}, "protocol": "2026-07-28", "transport": "tcp"}
    return Call(method=method, caller=Caller(id="local", tenant="t"), **(usual | more))


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Missing("gone"), ("tool_error", "not_found", None)),
        (Busy("full"), ("tool_error", "busy", None)),
        (Invalid("bad", code="jsonrpc-32602"), ("-32602", "-32602", "-32602")),
    ],
)
def test_errors_carry_the_protocols_name_and_ours(failure: Any, expected: tuple[str, ...]):
    failed = call()
    failed.fail(failure)
    facts = facts_of(failed)
    assert (facts.error_type, facts.error_code, facts.rpc_status_code) == expected


def test_a_missing_scope_is_a_scope_failure_and_costs_nothing():
    refused = call(tool=probe_say)
    assert facts_of(refused).cost_units == 1
    refused.fail(NotAllowed("no", code="missing_scope", rule="scope"))
    assert facts_of(refused).scope_failure
    assert facts_of(refused).cost_units is None


def test_a_cancelled_call_was_given_up_by_its_client():
    gone = call(status="cancelled")
    assert record_of(gone, None).status == "client_error"
    assert facts_of(gone).error_code == "cancelled"


def test_a_name_that_is_no_name_is_cut():
    assert record_of(call(name="x" * 5_000), None).tool == "x" * 64


@pytest.mark.parametrize(
    ("uri", "scheme"),
    [("file:///a", "file"), ("git+ssh://h", "git+ssh"), ("no scheme", None), (None, None), ("", None)],
)
def test_of_a_uri_only_the_scheme_is_kept(uri: str | None, scheme: str | None):
    assert scheme_of(uri) == scheme


def test_a_log_that_fails_breaks_no_call():
    class Digesting:
        def digest(self, value: Mapping[str, Any]) -> str:
            raise RuntimeError

    class Shared:
        audit = Digesting()

    call_log(Shared())(call())  # type: ignore[arg-type]
