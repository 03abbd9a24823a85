"""One JSON line per event, on stderr, with nothing in it that does not belong there."""

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
import threading
import timeit
import warnings
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_bulkhead.errors import Missing
from mcp_bulkhead.guards.secrets import PLACEHOLDER, Redactor
from mcp_bulkhead.telemetry.lines import MAX_VALUE_CHARS, rendered
from mcp_bulkhead.telemetry.logs import CallRecord, Logs, bound, bridge_structlog, call_record, configure, get_logger
from mcp_bulkhead.telemetry.writer import BACKLOG_BYTES, LineWriter

MARK = "c4n4ry-7f3a"
FIELDS = {
    "ts", "service", "tenant_id", "session_id", "tool", "status", "duration_ms", "input_hash", "output_bytes",
    "request_id", "trace_id",
}  # fmt: skip

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def logged() -> Iterator[Callable[..., Lines]]:
    """Configure logging to a buffer; returns a function that reads the lines so far."""
    opened: list[Logs] = []

    def start(level: str = "debug", **more: Any) -> Lines:
        stream = io.StringIO()
        opened.append(configure(level, "filesystem", stream=stream, **more))
        return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]

    yield start
    for logs in reversed(opened):
        logs.close()


def record(**more: Any) -> CallRecord:
    usual: dict[str, Any] = {"method": "tools/call", "tool": "fs_read", "status": "ok", "duration_ms": 1.25}
    return CallRecord(**(usual | more))


def test_a_call_is_one_line_with_every_promised_field(logged: Callable[..., Lines]):
    lines = logged("info")
    call_record(record(tenant_id="local", input_hash="ab12", output_bytes=17, request_id=3, trace_id="f" * 32))
    (line,) = lines()
    assert line.keys() >= FIELDS
    assert line["session_id"] is None
    assert (line["service"], line["event"], line["output_bytes"], line["level"]) == ("filesystem", "call", 17, "info")
    assert line["ts"].endswith("Z")


def test_a_call_record_has_no_place_for_arguments_or_results():
    assert set(CallRecord.__slots__) == (FIELDS - {"ts", "service"}) | {"method"}


@pytest.mark.parametrize(
    ("status", "level"),
    [("ok", "info"), ("client_error", "info"), ("timeout", "warning"), ("server_error", "error")],
)
def test_only_our_own_failures_are_errors(logged: Callable[..., Lines], status: Any, level: str):
    lines = logged()
    call_record(record(status=status))
    assert lines()[0]["level"] == level


def test_a_quiet_level_silences_calls_that_went_well(logged: Callable[..., Lines]):
    lines = logged("warning")
    call_record(record())
    call_record(record(status="timeout"))
    assert [line["status"] for line in lines()] == ["timeout"]


def test_a_known_secret_and_the_shape_of_one_are_taken_out(logged: Callable[..., Lines]):
    lines = logged(redactor=Redactor(["s3cret-value"]))
    log = logging.getLogger("mcp_bulkhead.test")
    log.info(
        "connecting with s3cret-value to postgres://me:hunter2@host/db",
        extra={"bulkhead_fields": {"k": ["s3cret-value"]}},
    )
    (line,) = lines()
    assert line["event"] == f"connecting with {PLACEHOLDER} to postgres://me:{PLACEHOLDER}@host/db"
    assert line["k"] == [PLACEHOLDER]


def test_a_secret_does_not_survive_the_cut_of_a_long_value(logged: Callable[..., Lines]):
    lines = logged(redactor=Redactor(["s3cret-value"]))
    logging.getLogger("mcp_bulkhead.test").info("%ss3cret-value%s", "x" * (MAX_VALUE_CHARS - 6), "y" * 10_000)
    (line,) = lines()
    assert "s3cret" not in line["event"]
    assert len(line["event"]) < MAX_VALUE_CHARS + 100


def test_hostile_text_stays_on_its_line_and_is_shown(logged: Callable[..., Lines]):
    lines = logged()
    logging.getLogger("mcp_bulkhead.test").warning('a\nb\r\x1b[2J\u2028\u202e\ud800" {"level":"info"}\x7f')
    (line,) = lines()
    assert line["event"] == 'a\nb\\u{d}\\u{1b}[2J\\u{2028}\\u{202e}\\u{d800}" {"level":"info"}\\u{7f}'


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner) | st.sets(st.integers()),
    max_leaves=10,
)


@given(ANYTHING)
def test_any_value_makes_one_line_of_strict_json(value: object):
    line = rendered({"value": value}, Redactor())
    assert line.isascii()
    assert line.count(b"\n") == 1
    text = json.loads(line, parse_constant=pytest.fail)
    assert json.dumps(text, ensure_ascii=False).encode("utf-8")


def test_a_value_that_contains_itself_still_makes_a_line():
    value: list[Any] = []
    value.append(value)
    assert json.loads(rendered({"value": value}, Redactor()))


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


def test_a_record_that_cannot_be_printed_breaks_nothing_and_is_noted(
    logged: Callable[..., Lines], capsys: pytest.CaptureFixture[str]
):
    lines = logged()
    log = logging.getLogger("mcp_bulkhead.test")
    log.info("%d items", "three")
    log.info("%s", Unspeakable())
    log.info("fields", extra={"bulkhead_fields": {"odd": Unspeakable()}})
    assert [line["event"] for line in lines()] == ["unprintable log record"] * 3
    assert capsys.readouterr() == ("", "")


def test_a_broken_stream_breaks_no_call(capsys: pytest.CaptureFixture[str]):
    class Broken(io.StringIO):
        def write(self, _: str) -> int:
            raise ValueError("closed")

    logs = configure("info", stream=Broken())
    try:
        call_record(record())
    finally:
        logs.close()
    assert capsys.readouterr() == ("", "")


# -- what others log ---------------------------------------------------------------------------------------------------


def test_the_sdk_never_gets_below_info_and_its_arguments_are_withheld(logged: Callable[..., Lines]):
    lines = logged("debug")
    sdk = logging.getLogger("mcp.server.mcpserver.server")
    sdk.debug("whole message %s", MARK)
    sdk.setLevel(logging.DEBUG)
    sdk.debug("whole message %s", MARK)
    sdk.setLevel(logging.NOTSET)
    sdk.info("Tool %r rejected %d arguments: %r", MARK, 2, [MARK])
    sdk.info("Tool %(name)s", {"name": MARK})
    sdk.info("%d of %s", MARK, MARK)
    assert [line["event"] for line in lines()] == [
        "Tool [withheld] rejected 2 arguments: [withheld]",
        "Tool [withheld]",
        "%d of %s",
    ]


def test_nobody_but_us_speaks_below_info(logged: Callable[..., Lines]):
    lines = logged("debug")
    for name in ("httpcore2.http11", "sse_starlette.sse", "asyncio", "mcp_bulkhead.x", "mcp_bulkhead_git.backend"):
        logging.getLogger(name).debug("hello")
    assert [line["logger"] for line in lines()] == ["mcp_bulkhead.x", "mcp_bulkhead_git.backend"]


def test_a_fork_names_its_own_package(logged: Callable[..., Lines]):
    lines = logged("debug", ours=("mcp_bulkhead", "acme"))
    logging.getLogger("acme.tools").debug("hello")
    logging.getLogger("acmeist").debug("hello")
    assert [line["logger"] for line in lines()] == ["acme.tools"]


def test_foreign_exceptions_show_type_and_place_but_not_what_they_quote(logged: Callable[..., Lines]):
    lines = logged()
    try:
        try:
            int(MARK)
        except ValueError as error:
            raise Missing("There is no such page.") from error
    except Missing:
        logging.getLogger("mcp_bulkhead.test").exception("failed")
    outer, inner = lines()[0]["exception"]
    assert outer["message"] == "not_found: There is no such page."
    assert inner["type"] == "ValueError"
    assert "message" not in inner
    assert inner["at"][-1].endswith("test_foreign_exceptions_show_type_and_place_but_not_what_they_quote")
    assert MARK not in json.dumps(lines())


def test_only_the_type_of_a_message_that_is_no_text_is_shown(logged: Callable[..., Lines]):
    lines = logged()
    logging.getLogger("mcp.server").error(ValueError(MARK))
    assert lines()[0]["event"] == "<ValueError>"


def test_a_long_chain_of_causes_is_cut(logged: Callable[..., Lines]):
    lines = logged()
    chain = [ValueError() for _ in range(50)]
    for outer, inner in pairwise(chain):
        outer.__cause__ = inner
    logging.getLogger("mcp_bulkhead.test").error("failed", exc_info=chain[0])
    assert len(lines()[0]["exception"]) == 8


def test_a_system_error_shows_its_text_but_not_the_path(logged: Callable[..., Lines]):
    lines = logged()
    try:
        Path(f"/{MARK}").read_text()
    except OSError:
        logging.getLogger("mcp_bulkhead.test").exception("failed")
    (told,) = lines()[0]["exception"]
    assert told["message"] == "No such file or directory"
    assert MARK not in json.dumps(lines())


def test_the_parts_of_a_group_are_told(logged: Callable[..., Lines]):
    lines = logged()
    error = ExceptionGroup(MARK, [KeyError(MARK), TimeoutError()])
    logging.getLogger("mcp_bulkhead.test").error("failed", exc_info=error)
    (told,) = lines()[0]["exception"]
    assert [part["type"] for part in told["parts"]] == ["KeyError", "TimeoutError"]
    assert MARK not in json.dumps(lines())


def test_a_developer_can_ask_for_the_messages(logged: Callable[..., Lines]):
    lines = logged(exception_text=True)
    logging.getLogger("mcp_bulkhead.test").error("failed", exc_info=ValueError("the whole story"))
    assert lines()[0]["exception"][0]["message"] == "the whole story"


def test_warnings_and_uncaught_exceptions_are_lines(logged: Callable[..., Lines]):
    lines = logged()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old ways", UserWarning, stacklevel=1)
    sys.excepthook(ValueError, ValueError(MARK), None)
    thread = threading.Thread(target=lambda: int(MARK))
    thread.start()
    thread.join(5)
    first, *others = [line["event"] for line in lines()]
    assert "old ways" in first
    assert others == ["uncaught exception", "uncaught exception in a thread"]
    assert MARK not in json.dumps(lines())


def test_a_task_nobody_waited_for_does_not_print_its_exception(logged: Callable[..., Lines]):
    lines = logged()

    async def main() -> None:
        async def fails() -> None:
            raise ValueError(MARK)

        task = asyncio.create_task(fails())
        await asyncio.wait([task])
        del task

    asyncio.run(main())
    assert lines()[0]["event"] == "Task exception was never retrieved"
    assert MARK not in json.dumps(lines())


def test_closing_puts_back_what_was_there():
    before = (logging.getLogger().handlers[:], logging.getLogger().level, sys.excepthook, threading.excepthook)
    configure("debug", stream=io.StringIO()).close()
    assert (logging.getLogger().handlers[:], logging.getLogger().level, sys.excepthook, threading.excepthook) == before


def test_an_unknown_level_is_refused():
    with pytest.raises(KeyError):
        configure("loud")


# -- structlog ---------------------------------------------------------------------------------------------------------


def test_structlog_ends_in_the_same_lines(logged: Callable[..., Lines]):
    lines = logged(redactor=Redactor(["s3cret-value"]))
    log = get_logger("mcp_bulkhead_git.backend").bind(repo="r1")
    log.info("opened 100% of it", name="a name", token="s3cret-value")
    try:
        int(MARK)
    except ValueError:
        log.exception("failed")
    opened, failed = lines()
    assert opened["event"] == "opened 100% of it"
    assert (opened["repo"], opened["name"], opened["token"]) == ("r1", "a name", PLACEHOLDER)
    assert opened["logger"] == "mcp_bulkhead_git.backend"
    assert failed["exception"][0]["type"] == "ValueError"
    assert MARK not in json.dumps(lines())


def test_bound_fields_are_on_every_line_inside(logged: Callable[..., Lines]):
    lines = logged()
    bridge_structlog()
    with bound(request_id=7), bound(tenant_id="t"):
        logging.getLogger("mcp_bulkhead.x").info("inside")
        get_logger("mcp_bulkhead.y").info("inside")
    logging.getLogger("mcp_bulkhead.x").info("outside")
    assert [(line.get("request_id"), line.get("tenant_id")) for line in lines()] == [(7, "t"), (7, "t"), (None, None)]


# -- the pipe ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def pipe() -> Iterator[tuple[int, LineWriter]]:
    reading, writing = os.pipe()
    stream = os.fdopen(writing, "w")
    yield reading, LineWriter(stream)
    stream.close()
    os.close(reading)


def read_available(fd: int) -> bytes:
    os.set_blocking(fd, False)
    parts: list[bytes] = []
    try:
        while part := os.read(fd, 65_536):
            parts.append(part)
    except BlockingIOError:
        pass
    return b"".join(parts)


def test_a_client_that_never_reads_stops_nothing_and_loses_only_whole_lines(pipe: tuple[int, LineWriter]):
    reading, writer = pipe
    sent = [json.dumps({"n": number, "pad": "x" * 5_000}).encode() + b"\n" for number in range(200)]
    for line in sent:
        writer.write(line)  # a blocking write would never come back from here
    assert writer.lost > 0
    received = b""
    while part := read_available(reading):
        received += part
        writer.flush(0)
    numbers = [json.loads(line)["n"] for line in received.splitlines()]
    assert numbers == list(range(200 - writer.lost))
    assert len(received) <= BACKLOG_BYTES + 70_000
    writer.write(b'{"n":"again"}\n')
    assert read_available(reading) == b'{"n":"again"}\n'


def test_lost_lines_are_reported_when_the_reader_comes_back():
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        logs = configure("info", stream=stream)
        try:
            for _ in range(3_000):
                call_record(record(tenant_id="t" * 60))
            lost = logs.handler.writer.lost
            assert lost > 0
            while read_available(reading):
                logs.flush(0)
            call_record(record())
            assert json.loads(read_available(reading))["lines_lost"] == lost
        finally:
            logs.close()
    os.close(reading)


def test_a_stderr_that_somebody_made_non_blocking_breaks_nothing(
    pipe: tuple[int, LineWriter], monkeypatch: pytest.MonkeyPatch
):
    reading, writer = pipe
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)  # a race with another writer, which no test can win reliably
        writer.write(b"{}\n")
    assert writer.lost == 0
    assert writer.flush(1)
    assert read_available(reading) == b"{}\n"


def full(fd: int, data: bytes) -> int:
    raise BlockingIOError


def test_a_line_logged_by_a_signal_handler_in_the_middle_of_another_waits_its_turn(
    pipe: tuple[int, LineWriter], monkeypatch: pytest.MonkeyPatch
):
    reading, writer = pipe
    real, interrupted = os.write, list[bool]()

    def write(fd: int, data: bytes) -> int:
        if not interrupted:
            interrupted.append(True)
            writer.write(b"inner\n")
        return real(fd, data)

    monkeypatch.setattr(os, "write", write)
    writer.write(b"outer\n")
    assert read_available(reading) == b"outer\ninner\n"


def test_without_a_stderr_lines_go_nowhere():
    writer = LineWriter(None)
    writer.write(b"{}\n")
    assert writer.flush(0)


def test_a_reader_that_went_away_breaks_nothing(pipe: tuple[int, LineWriter]):
    reading, writer = pipe
    spare = os.dup(reading)
    os.close(reading)
    os.close(spare)
    writer.write(b"{}\n")
    assert writer.lost == 1
    assert writer.flush(0)
    os.open(os.devnull, os.O_RDONLY)  # takes the number back, for the fixture to close


# -- a whole process ---------------------------------------------------------------------------------------------------

SERVER = """
import asyncio, logging, sys, threading, warnings
from mcp_bulkhead.telemetry import logs
logs.configure("debug", "filesystem")
assert "structlog" not in sys.modules and "rich" not in sys.modules
from mcp.server.mcpserver import MCPServer
from mcp import Client
server = MCPServer("probe")
@server.tool()
async def echo(text: str, count: int = 1) -> str:
    if text == "crash":
        raise RuntimeError("MARK")
    return text
async def main():
    async with Client(server) as client:
        for arguments in ({"text": "MARK"}, {"text": "MARK", "count": "MARK"}, {"text": "crash"}):
            await client.call_tool("echo", arguments)
        try:
            await client.read_resource("file:///MARK")
        except Exception:
            pass
asyncio.run(main(), debug=True)
import structlog
logs.bridge_structlog()
structlog.get_logger().info("from structlog", secret="ok")
warnings.warn("warned", stacklevel=1)
logging.getLogger("uvicorn.error").info("up")
threading.Thread(target=lambda: 1 / 0).start()
logs.call_record(logs.CallRecord(method="tools/call", tool="echo", status="ok", duration_ms=1.0))
raise RuntimeError("MARK")
"""


def test_a_process_at_debug_level_writes_json_lines_to_stderr_and_nothing_to_stdout(tmp_path: Path):
    script = tmp_path / "server.py"
    script.write_text(SERVER.replace("MARK", MARK))
    done = subprocess.run([sys.executable, "-W", "always", str(script)], capture_output=True, timeout=60, check=False)
    assert done.stdout == b""
    assert done.returncode == 1
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    events = [line["event"] for line in lines]
    assert MARK.encode() not in done.stderr
    assert events[-1] == "uncaught exception"
    assert {"call", "from structlog", "up", "uncaught exception in a thread"} <= set(events)
    assert any("warned" in event for event in events)
    assert any(line["logger"].startswith("mcp.") for line in lines)


def test_configuring_loads_neither_structlog_nor_rich_nor_an_exporter():
    probe = (
        "import sys; from mcp_bulkhead.telemetry import logs, metrics; logs.configure('info', 's');"
        "metrics.open_telemetry('s');"
        "print(sorted({'structlog', 'rich', 'opentelemetry', 'prometheus_client', 'mcp'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_a_call_line_costs_little(tmp_path: Path):
    with (tmp_path / "log").open("w") as stream:
        logs = configure("info", "filesystem", stream=stream, redactor=Redactor(["s3cret-value"]))
        try:
            once_us = min(timeit.repeat(lambda: call_record(record()), number=200, repeat=7)) / 200 * 1e6
        finally:
            logs.close()
    assert once_us < 400  # 30 measured
