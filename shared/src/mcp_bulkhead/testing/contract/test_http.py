"""The door to the network: who is let in, and what anybody may ask."""

import json
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from mcp_bulkhead import ServerSpec
from mcp_bulkhead.testing.doors import opened
from mcp_bulkhead.testing.processes import environment
from mcp_bulkhead.testing.requirements import requirement
from mcp_bulkhead.testing.wire import ERAS, LEGACY, MODERN, envelope

from .conftest import EVERYTHING, Fresh, Visits

USAGE = 2
KEY = "a-key-only-for-this-test"
LISTING: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": envelope()}}
HELLO: dict[str, Any] = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "x", "version": "1"}},
}
MODERN_HEADERS = {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/list"}


def knock(server: Any, era: str, headers: dict[str, str]) -> int:
    """The status of one first request in this era."""
    message, more = (LISTING, MODERN_HEADERS) if era == MODERN else (HELLO, {})
    response = server.post(message, {**more, **headers})
    response.body()
    return response.status


@requirement("HTTP-1")
@pytest.mark.parametrize("era", ERAS)
def test_a_wrong_host_or_origin_is_turned_away(spec: ServerSpec, visits: Visits, era: str) -> None:
    server = visits.to(spec, "http", MODERN).house.server
    assert knock(server, era, {}) == HTTPStatus.OK
    assert knock(server, era, {"Origin": f"http://127.0.0.1:{server.address[1]}"}) == HTTPStatus.OK
    assert knock(server, era, {"Host": "evil.example"}) == HTTPStatus.MISDIRECTED_REQUEST
    assert knock(server, era, {"Host": "127.0.0.1.evil.example:80"}) == HTTPStatus.MISDIRECTED_REQUEST
    assert knock(server, era, {"Origin": "http://evil.example"}) == HTTPStatus.FORBIDDEN
    assert knock(server, era, {"Origin": "null"}) == HTTPStatus.FORBIDDEN


@requirement("HTTP-2")
def test_a_body_over_the_cap_is_too_large(fresh: Fresh) -> None:
    server = fresh("http", *EVERYTHING, "--max-request-bytes", "5000").house.server
    long = {**LISTING, "x": "y" * 6_000}
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (6_000, b" " * 6_000)
    declared = server.post(long, MODERN_HEADERS)
    streamed = server.ask(
        "POST",
        "/mcp",
        {"Content-Type": "application/json", "Transfer-Encoding": "chunked", "Accept": "*/*", **MODERN_HEADERS},
        chunk,
    )
    assert (declared.status, streamed.status) == (HTTPStatus.REQUEST_ENTITY_TOO_LARGE,) * 2
    declared.close()
    streamed.close()
    assert knock(server, MODERN, {}) == HTTPStatus.OK


@requirement("HTTP-3")
def test_without_the_right_key_a_request_is_401_and_audited(spec: ServerSpec, tmp_path: Path) -> None:
    key_file = tmp_path / "key"
    key_file.write_text(KEY)
    with opened(spec, "http", tmp_path / "house", [*EVERYTHING, "--http-token-file", str(key_file)]) as house:
        server = house.server
        for era in ERAS:
            assert knock(server, era, {}) == HTTPStatus.UNAUTHORIZED
            assert knock(server, era, {"Authorization": f"Bearer {KEY}x"}) == HTTPStatus.UNAUTHORIZED
            assert knock(server, era, {"Authorization": f"Basic {KEY}"}) == HTTPStatus.UNAUTHORIZED
            assert knock(server, era, {"Authorization": f"Bearer {KEY}"}) == HTTPStatus.OK
        refused = server.post(LISTING, MODERN_HEADERS)
        assert refused.headers["www-authenticate"].startswith("Bearer")
        assert KEY not in refused.body().decode()
        server.headers["Authorization"] = f"Bearer {KEY}"
        assert house.connect(MODERN).request("tools/list")["tools"]
        server.process.signal(15)
        records = server.records()
    refusals = [record for record in records if record.get("rule") == "authentication"]
    assert [record["decision"] for record in refusals] == ["refuse"] * 7
    assert KEY not in json.dumps(records)


@requirement("HTTP-4")
def test_binding_beyond_this_machine_is_refused_with_the_fix(spec: ServerSpec, tmp_path: Path) -> None:
    with spec.world(tmp_path / "world") as world:
        ended = subprocess.run(  # noqa: S603 - the server under test
            [
                sys.executable,
                "-m",
                spec.module,
                "--state-dir",
                str(tmp_path / "state"),
                "--http",
                "0.0.0.0:0",
                *world.arguments,
            ],
            env=environment(world.environment),
            capture_output=True,
            timeout=20,
            check=False,
        )
    said = ended.stderr.decode()
    assert ended.returncode == USAGE
    assert "--allowed-hosts" in said
    assert "HTTP_TOKEN" in said
    assert "Traceback" not in said


@requirement("HTTP-5")
def test_anybody_may_ask_how_the_server_is_and_learns_no_more(spec: ServerSpec, visits: Visits) -> None:
    visit = visits.to(spec, "http", MODERN)
    for path, answer in (("/healthz", {"status": "ok"}), ("/readyz", {"status": "ready"})):
        response = visit.house.server.ask("GET", path)
        assert response.status == HTTPStatus.OK
        assert json.loads(response.body()) == answer
