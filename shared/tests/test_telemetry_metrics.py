"""What is counted of a call, and what never becomes a label."""

import json
import os
import subprocess
import sys
import threading
import time
import timeit
from collections.abc import Mapping
from typing import Any

import mcp_types.methods
import mcp_types.version
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from mcp_bulkhead.telemetry.facts import METHODS, UNKNOWN, VERSIONS, CallFacts, Vocabulary
from mcp_bulkhead.telemetry.metrics import (
    Gauge,
    Telemetry,
    children,
    open_fds,
    open_telemetry,
    resident_bytes,
)

Sample = tuple[str, Mapping[str, str], float]


def facts(**more: Any) -> CallFacts:
    usual: dict[str, Any] = {
        "method": "tools/call",
        "tool": "fs_read",
        "status": "ok",
        "duration_s": 0.004,
        "protocol_version": "2026-07-28",
        "transport": "pipe",
    }
    return CallFacts(**(usual | more))


def page() -> Telemetry:
    telemetry = open_telemetry("filesystem", prometheus=True)
    telemetry.vocabulary.know(tools=["fs_read", "fs_list"], prompts=["orient"], schemes=["file"])
    return telemetry


def samples(telemetry: Telemetry) -> list[Sample]:
    rendered = telemetry.render()
    assert rendered is not None
    return [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(rendered.decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    ]


def value(telemetry: Telemetry, name: str, **labels: str) -> float:
    found = [
        sample[2] for sample in samples(telemetry) if sample[0] == name and labels.items() <= dict(sample[1]).items()
    ]
    assert len(found) == 1, (name, labels, found)
    return found[0]


def test_a_call_lands_in_the_histogram_that_dashboards_know():
    telemetry = page()
    telemetry.observe_call(facts(duration_s=0.03))
    name = "mcp_server_operation_duration_seconds"
    labels = {
        "mcp_method_name": "tools/call",
        "gen_ai_tool_name": "fs_read",
        "error_type": "",
        "network_transport": "pipe",
        "mcp_protocol_version": "2026-07-28",
    }
    (counted,) = [sample for sample in samples(telemetry) if sample[0] == f"{name}_count"]
    assert counted == (f"{name}_count", labels, 1.0)
    assert value(telemetry, f"{name}_bucket", le="0.02") == 0
    assert value(telemetry, f"{name}_bucket", le="0.05") == 1
    buckets = [float(sample[1]["le"]) for sample in samples(telemetry) if sample[0] == f"{name}_bucket"]
    assert buckets == [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, float("inf")]


def test_each_promised_number_is_there():
    telemetry = page()
    telemetry.observe_call(facts(arguments_valid_first_try=True, backend_s=0.001, cost_units=2.5))
    telemetry.observe_call(
        facts(status="client_error", error_code="invalid_arguments", arguments_valid_first_try=False)
    )
    telemetry.observe_call(facts(status="client_error", error_code="missing_scope", scope_failure=True))
    telemetry.observe_call(facts(method="resources/read", tool=None, resource_scheme="file"))
    telemetry.observe_session(12.0, protocol_version="2025-11-25", transport="tcp")
    assert value(telemetry, "mcp_bulkhead_calls_total", mcp_bulkhead_status="client_error") == 2
    assert value(telemetry, "mcp_bulkhead_errors_total", mcp_bulkhead_error_code="missing_scope") == 1
    assert value(telemetry, "mcp_bulkhead_arguments_total", mcp_bulkhead_arguments_valid="true") == 1
    assert value(telemetry, "mcp_bulkhead_arguments_total", mcp_bulkhead_arguments_valid="false") == 1
    assert value(telemetry, "mcp_bulkhead_scope_failures_total", gen_ai_tool_name="fs_read") == 1
    assert value(telemetry, "mcp_bulkhead_resource_reads_total", mcp_bulkhead_resource_scheme="file") == 1
    assert value(telemetry, "mcp_bulkhead_backend_duration_seconds_count", gen_ai_tool_name="fs_read") == 1
    assert value(telemetry, "mcp_bulkhead_budget_spent_total", gen_ai_tool_name="fs_read") == 2.5
    assert value(telemetry, "mcp_server_session_duration_seconds_sum", network_transport="tcp") == 12


def test_a_failed_tool_is_a_tool_error_and_a_protocol_error_its_code():
    telemetry = page()
    telemetry.observe_call(facts(status="client_error", error_code="outside_root"))
    telemetry.observe_call(facts(status="client_error", error_code="-32602", error_type="-32602"))
    counts = {sample[1]["error_type"] for sample in samples(telemetry) if sample[0].startswith("mcp_server_operation")}
    assert counts == {"tool_error", "-32602"}


WORDS = st.text(max_size=200) | st.from_regex(r"[a-z_]{1,20}", fullmatch=True)


@given(st.lists(st.tuples(*[WORDS] * 8), min_size=5, max_size=30))
def test_nothing_a_client_says_becomes_a_label(said: list[tuple[str, ...]]):
    vocabulary = Vocabulary()
    vocabulary.know(tools=["fs_read"], prompts=["orient"], schemes=["file"])
    for method, tool, prompt, scheme, version, *_ in said:
        labels = vocabulary.labels_of(
            facts(method=method, tool=tool, prompt=prompt, resource_scheme=scheme, protocol_version=version)
        )
        assert labels["mcp.method.name"] in METHODS | {UNKNOWN}
        assert labels["gen_ai.tool.name"] in {"fs_read", UNKNOWN}
        assert labels["gen_ai.prompt.name"] in {"orient", UNKNOWN}
        assert labels["mcp_bulkhead.resource.scheme"] in {"file", UNKNOWN}
        assert labels["mcp.protocol.version"] in VERSIONS | {UNKNOWN}


def test_codes_are_bounded_in_number_and_form():
    vocabulary = Vocabulary()
    seen = {vocabulary.code(f"code_{number}") for number in range(10_000)}
    assert len(seen) == 101
    assert Vocabulary().code("SELECT * FROM users") == UNKNOWN
    assert Vocabulary().code("x" * 65) == UNKNOWN


def test_the_words_of_the_protocol_are_all_known():
    spoken = mcp_types.methods.SPEC_CLIENT_METHODS | mcp_types.methods.SPEC_CLIENT_NOTIFICATION_METHODS
    assert spoken <= METHODS
    assert set(mcp_types.version.KNOWN_PROTOCOL_VERSIONS) == VERSIONS


def test_marked_input_leaves_no_mark_on_the_page():
    telemetry = page()
    mark = "c4n4ry"
    telemetry.observe_call(
        facts(
            method=mark,
            tool=mark,
            prompt=mark,
            resource_scheme=mark,
            protocol_version=mark,
            error_type=f"{mark} {mark}",
            error_code=f"/{mark}",
            rpc_status_code=f"{mark}!",
            request_id=mark,
        )
    )
    rendered = telemetry.render()
    assert rendered is not None
    assert mark.encode() not in rendered


def test_gauges_are_read_when_somebody_looks():
    telemetry = page()
    depth = [3.0]
    telemetry.register_gauge("queue.depth", lambda: depth[0], help="Calls waiting for a seat.")
    assert value(telemetry, "mcp_bulkhead_queue_depth") == 3
    depth[0] = 0.0
    assert value(telemetry, "mcp_bulkhead_queue_depth") == 0


def test_a_gauge_that_fails_is_left_out_and_hides_no_other():
    telemetry = page()
    telemetry.register_gauge("bad", lambda: 1 / 0, help="Fails.")
    telemetry.register_gauge("unknown", lambda: None, help="Cannot be told.")
    telemetry.register_gauge("nan", lambda: float("nan"), help="Not a number.")
    telemetry.register_gauge("good", lambda: 1.0, help="Works.")
    names = {sample[0] for sample in samples(telemetry)}
    assert "mcp_bulkhead_good" in names
    assert names.isdisjoint({"mcp_bulkhead_bad", "mcp_bulkhead_unknown", "mcp_bulkhead_nan"})


def test_open_files_are_counted():
    before = open_fds()
    if before is None:  # no folder of descriptors on this system
        assert sys.platform == "win32"
        return
    spare = [os.open(os.devnull, os.O_RDONLY) for _ in range(5)]
    assert open_fds() == before + 5
    for fd in spare:
        os.close(fd)


def test_memory_and_children_are_told_where_the_system_tells_them():
    memory, count = resident_bytes(), children()
    if not sys.platform.startswith("linux"):
        assert (memory, count) == (None, None)
        return
    assert memory is not None
    assert count is not None
    assert 5_000_000 < memory < 4_000_000_000
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert children() == count + 1
    child.communicate(b"\n", timeout=30)
    assert children() == count


def test_two_registries_do_not_meet():
    first, second = page(), page()
    first.observe_call(facts())
    assert value(first, "mcp_bulkhead_calls_total") == 1
    assert not [sample for sample in samples(second) if sample[0] == "mcp_bulkhead_calls_total"]


class Breaks:
    """A sink whose every part fails."""

    def record(self, instrument: object, value: float, labels: object) -> None:
        raise RuntimeError

    def add_gauge(self, gauge: Gauge) -> None:
        pass

    def close(self) -> None:
        raise RuntimeError


def test_a_sink_that_fails_breaks_no_call():
    telemetry = Telemetry((Breaks(),))
    telemetry.observe_call(facts())
    telemetry.observe_session(1.0, protocol_version=None, transport="pipe")
    telemetry.close()


class Hangs(Breaks):
    def __init__(self) -> None:
        self.let_go = threading.Event()

    def close(self) -> None:
        self.let_go.wait(30)


def test_sinks_that_do_not_end_hold_up_the_exit_for_a_fifth_of_a_second_together():
    hanging = (Hangs(), Hangs(), Hangs())
    started = time.monotonic()
    Telemetry(hanging).close()
    assert 0.15 < time.monotonic() - started < 0.5
    for sink in hanging:
        sink.let_go.set()


def test_with_nothing_enabled_a_call_costs_under_ten_microseconds():
    telemetry = open_telemetry("filesystem")
    assert telemetry.sinks == ()
    assert telemetry.render() is None
    once_us = min(timeit.repeat(lambda: telemetry.observe_call(facts()), number=1_000, repeat=9)) / 1_000 * 1e6
    assert once_us < 10  # 1.2 measured, making the facts included


@pytest.mark.parametrize(
    ("package", "options", "extra"),
    [
        ("prometheus_client", "prometheus=True", "prometheus"),
        ("opentelemetry.exporter", "otlp_endpoint='http://127.0.0.1:9'", "otel"),
    ],
)
def test_a_missing_extra_is_named_with_its_fix(package: str, options: str, extra: str):
    probe = (
        f"import sys, json; sys.modules[{package!r}] = None\n"
        "from mcp_bulkhead.errors import Unsupported\n"
        "from mcp_bulkhead.telemetry.metrics import open_telemetry\n"
        f"try: open_telemetry('x', {options})\n"
        "except Unsupported as failure: print(json.dumps(failure.as_dict()))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout)["hint"] == f'pip install "mcp-bulkhead[{extra}]"'
