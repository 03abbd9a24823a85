"""A real HTTP side, while somebody holds its connections, sends it nonsense or asks under a foreign name."""

import asyncio
import json
import signal
import socket
from contextlib import ExitStack
from functools import partial
from typing import Any, cast

import pytest
import uvicorn

from mcp_bulkhead.testing.web import BOTH
from mcp_bulkhead.testing.wire import ERAS, LEGACY, MODERN, envelope
from mcp_bulkhead.transport.http import BACKLOG, OWING, Connection, Gate, QuietServer, Seldom, plain

from .conftest import Open

ASKED = {"Content-Type": "application/json", "Accept": BOTH}
LISTING: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
MODERN_LISTING = {**LISTING, "params": {"_meta": envelope()}}
MODERN_HEADERS = {**ASKED, "MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/list"}


def half_open(
    stack: ExitStack, address: tuple[str, int], sent: bytes = b"POST /mcp HTTP/1.1\r\nHost: x"
) -> socket.socket:
    connection = stack.enter_context(socket.create_connection(address, 10))
    connection.sendall(sent)
    return connection


def gone(connection: socket.socket, within: float = 5.0) -> bool:
    connection.settimeout(within)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


# -- connections that never bring a request ---------------------------------------------------------------------------


@pytest.mark.parametrize("era", ERAS)
def test_hundreds_of_half_open_connections_neither_stop_the_server_nor_fill_its_log(open_fixture: Open, era: str):
    house = open_fixture("http")
    with ExitStack() as stack:
        held = [half_open(stack, house.server.address) for _ in range(OWING + 100)]
        assert house.connect(era).call("fx_add", {"first": 2})["structuredContent"]["total"] == 2
        assert gone(held[0]), "the oldest make room"
        assert len(house.server.process.stderr()) < 20_000
    house.server.process.signal(signal.SIGTERM)


async def served(gate: Gate, app: Any, work: Any) -> None:
    """`work(address)` in a thread, against uvicorn with our connections."""
    protocol = cast("type[asyncio.Protocol]", partial(Connection, gate))
    server = QuietServer(
        uvicorn.Config(app, port=0, http=protocol, ws="none", lifespan="off", log_config=None, backlog=BACKLOG)
    )
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    try:
        await asyncio.to_thread(work, server.servers[0].sockets[0].getsockname()[:2])
        assert gate.owing == {}
    finally:
        server.should_exit = True
        await asyncio.wait_for(serving, 10)


async def greeting(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        continue
    await asyncio.sleep(float(scope["query_string"] or b"0"))
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"hi"})


async def refusing(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def short(refused: list[str] | None = None) -> Gate:
    told: list[str] = [] if refused is None else refused
    return Gate(Seldom(), lambda _, rule: told.append(rule), most=8, head_s=0.4, body_s=0.4)


@pytest.mark.parametrize(
    ("app", "sent"),
    [
        (greeting, b""),
        (greeting, b"GET / HTTP/1.1\r\nHost: x"),
        (greeting, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf"),
    ],
)
def test_a_connection_that_brings_no_whole_request_in_time_is_closed(app: Any, sent: bytes):
    def work(address: tuple[str, int]) -> None:
        with ExitStack() as stack:
            assert gone(half_open(stack, address, sent))

    asyncio.run(served(short(), app, work))


@pytest.mark.parametrize(
    ("app", "sent"),
    [
        (greeting, b"GET / HTTP/1.1\r\nHost: x\r\nX: "),
        (greeting, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n"),
        (refusing, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n"),
    ],
)
def test_single_bytes_buy_no_time(app: Any, sent: bytes):
    def work(address: tuple[str, int]) -> None:
        with ExitStack() as stack:
            connection = half_open(stack, address, sent)
            connection.settimeout(0.05)
            for _ in range(200):
                try:
                    connection.sendall(b"x")
                    if connection.recv(1_000) == b"":
                        return
                except TimeoutError:
                    continue
                except ConnectionError:
                    return
            raise AssertionError("it was never closed")

    asyncio.run(served(short(), app, work))


def test_a_call_that_takes_longer_than_the_deadlines_is_answered():
    def work(address: tuple[str, int]) -> None:
        with ExitStack() as stack:
            connection = half_open(stack, address, b"GET /?1.2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            connection.settimeout(5)
            answer = b""
            while piece := connection.recv(1_000):
                answer += piece
            assert answer.endswith(b"hi")

    asyncio.run(served(short(), greeting, work))


def test_what_is_no_http_is_told_to_the_gate():
    refused: list[str] = []

    def work(address: tuple[str, int]) -> None:
        with ExitStack() as stack:
            connection = half_open(stack, address, b"\x16\x03\x01 not http\r\n\r\n")
            said = b""
            connection.settimeout(5)
            while chunk := connection.recv(1_000):  # until the server hangs up
                said += chunk
            assert said.startswith(b"HTTP/1.1 400")

    asyncio.run(served(short(refused), greeting, work))
    assert refused == ["http_400"]


def test_the_same_warning_is_let_through_once_and_counted():
    seldom = Seldom()
    assert [seldom.due("full") for _ in range(4)] == [0, None, None, None]
    assert seldom.due("other") == 0
    seldom.last["full"] -= 11
    assert seldom.due("full") == 3


# -- what the SDK turns away ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("POST", "/mcp", ASKED, b"{", 400),
        ("POST", "/mcp", ASKED, b'[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]', 400),
        ("POST", "/mcp", ASKED, json.dumps(LISTING).encode(), 400),
        ("POST", "/mcp", {**ASKED, "Mcp-Session-Id": "of-somebody-else"}, json.dumps(LISTING).encode(), 404),
        ("POST", "/mcp", {**ASKED, "Accept": "text/html"}, json.dumps(LISTING).encode(), 406),
        ("PUT", "/mcp", ASKED, b"{}", 405),
        ("POST", "/mcp", MODERN_HEADERS, b"{", 400),
        ("POST", "/mcp", MODERN_HEADERS, json.dumps({**MODERN_LISTING, "id": None}).encode(), 400),
        ("POST", "/mcp", {**MODERN_HEADERS, "Mcp-Method": "ping"}, json.dumps(MODERN_LISTING).encode(), 400),
        ("GET", "/mcp", MODERN_HEADERS, None, 405),
        ("GET", "/elsewhere", {}, None, 404),
    ],
)
def test_what_is_answered_before_the_pipeline_is_recorded_once(
    open_fixture: Open, method: str, path: str, headers: dict[str, str], body: bytes | None, status: int
):
    house = open_fixture("http")
    answer = house.server.ask(method, path, headers, body)
    assert (answer.status, answer.close()) == (status, None)
    house.server.process.signal(signal.SIGTERM)
    refused = [record for record in house.server.records() if record.get("decision") == "refuse"]
    assert [(record["rule"], record["targets"]) for record in refused] == [(f"http_{status}", ["client:127.0.0.1"])]


def test_what_the_pipeline_refuses_with_a_bad_status_is_recorded_once(open_fixture: Open):
    house = open_fixture("http")
    unknown = {**MODERN_LISTING, "method": "tools/none"}
    answer = house.server.post(unknown, {**MODERN_HEADERS, "Mcp-Method": "tools/none"})
    assert (answer.status, answer.close()) == (404, None)
    house.server.process.signal(signal.SIGTERM)
    calls = [record for record in house.server.records() if record.get("phase") == "call"]
    assert [record["method"] for record in calls] == ["tools/none"]


def test_a_call_with_a_broken_id_that_only_looks_like_a_notification_is_recorded(open_fixture: Open):
    house = open_fixture("http")
    peer = house.connect(LEGACY)
    call = {"jsonrpc": "2.0", "id": None, "method": "tools/call", "params": {"name": "fx_add"}}
    house.server.post(call, peer.carrier.headers_of(call)).close()
    peer.request("ping")
    house.server.process.signal(signal.SIGTERM)
    rules = [record.get("rule") for record in house.server.records() if record.get("decision") == "refuse"]
    assert rules == ["request_without_id"]


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b'{"secret-input": ', -32700, "Parse error"),
        (b'{"jsonrpc":"2.0","secret-input":1}', -32602, "Validation error: the body is not a JSON-RPC message"),
    ],
)
def test_a_refused_body_is_not_quoted(open_fixture: Open, body: bytes, code: int, message: str):
    answer = open_fixture("http").server.ask("POST", "/mcp", ASKED, body)
    told = json.loads(answer.body())
    assert answer.status == 400
    assert told == {"jsonrpc": "2.0", "id": None, "error": {"code": code, "message": message}}


def test_other_refusals_keep_their_words():
    for body in (b"", b"no json", b"[]", b'{"error":"x"}', b'{"id":1,"error":{"code":-32600,"message":"Missing"}}'):
        assert plain(body) == body


def test_health_is_told_only_to_those_who_name_this_server(open_fixture: Open):
    house = open_fixture("http")
    for path in ("/healthz", "/readyz"):
        assert b"status" in house.server.ask("GET", path).body()
        foreign = house.server.ask("GET", path, {"Host": "evil.example"})
        assert (foreign.status, b"status" in foreign.body()) == (421, False)
        page = house.server.ask("GET", path, {"Origin": "http://evil.example"})
        assert (page.status, b"status" in page.body()) == (403, False)


def test_an_upload_that_is_broken_off_leaves_no_stack_in_the_log(open_fixture: Open):
    house = open_fixture("http")
    with ExitStack() as stack:
        head = "".join(f"{name}: {value}\r\n" for name, value in {**MODERN_HEADERS, "Content-Length": "99"}.items())
        address = f"127.0.0.1:{house.server.address[1]}"
        half_open(stack, house.server.address, f"POST /mcp HTTP/1.1\r\nHost: {address}\r\n{head}\r\n{{".encode())
    house.connect(MODERN).request("tools/list")
    house.server.process.signal(signal.SIGTERM)
    assert "exception" not in house.server.process.stderr().lower()
