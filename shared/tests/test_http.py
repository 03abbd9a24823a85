"""The HTTP side, where only a server with its own tricks can show it."""

import json
import signal
from pathlib import Path

import pytest

from mcp_bulkhead.errors import Invalid
from mcp_bulkhead.settings import ServerSettings, load
from mcp_bulkhead.testing.requirements import requirement
from mcp_bulkhead.testing.wire import ERAS, LEGACY, MODERN
from mcp_bulkhead.transport.http import presents, safe_to_bind, security_of

from .conftest import Journals, Open

SOON_S = 2.0
KEY = "sixteen-characters-or-more"


def settings(**given: object) -> ServerSettings:
    return load(ServerSettings, server="fixture", **given)


@requirement("HTTP-7")
def test_healthz_asks_the_backend_and_says_nothing_of_what_it_hears(open_fixture: Open):
    from pathlib import Path

    house = open_fixture("http")
    folder = Path(house.world.facts["folder"])
    (folder / "down").touch()
    down = house.server.ask("GET", "/healthz")
    assert down.status == 503
    assert json.loads(down.body()) == {"status": "down", "code": "unavailable"}
    (folder / "down").unlink()
    up = house.server.ask("GET", "/healthz")
    assert (up.status, json.loads(up.body())) == (200, {"status": "ok"})


@requirement("HTTP-8")
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_call_in_flight_holds_up_no_end(open_fixture: Open, journal: Journals, era: str, number: int):
    house = open_fixture("http")
    peer = house.connect(era)
    peer.listen()
    peer.begin_call("fx_slow", {"seconds": 60, "name": "busy"})
    journal(house).shows("started busy")
    process = house.server.process
    assert process.signal(number) <= SOON_S
    assert process.popen.returncode == 0
    assert "Traceback" not in process.stderr()
    assert "stopped busy" in journal(house).lines()


@requirement("HTTP-6")
def test_a_legacy_session_ends_when_its_client_says_so(open_fixture: Open):
    house = open_fixture("http")
    peer = house.connect(LEGACY)
    headers = peer.carrier.headers_of({"method": ""})
    assert peer.carrier.session
    ended = house.server.ask("DELETE", "/mcp", headers)
    assert ended.status in (200, 204)
    ended.close()
    again = house.server.post({"jsonrpc": "2.0", "id": 5, "method": "tools/list"}, headers)
    assert again.status == 404
    again.close()


def test_callers_with_the_key_are_recorded_as_such(open_fixture: Open, tmp_path: Path):
    key = tmp_path / "key"
    key.write_text(KEY)
    house = open_fixture("http", "--http-token-file", str(key))
    house.server.headers["Authorization"] = f"Bearer {KEY}"
    for era in ERAS:
        assert not house.connect(era).call("fx_add", {"first": 1}).get("isError")
    house.server.process.signal(signal.SIGTERM)
    callers = [record["caller"] for record in house.server.records() if record.get("name") == "fx_add"]
    assert callers == ["bearer", "bearer"]


@requirement("AUDIT-1")
def test_what_is_turned_away_at_the_door_is_in_the_audit(open_fixture: Open):
    house = open_fixture("http", "--max-request-bytes", "2000")
    listing = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    for message, headers in (
        (listing, {"Host": "evil.example"}),
        (listing, {"Origin": "http://evil.example"}),
        ({**listing, "x": "y" * 3_000}, {}),
    ):
        house.server.post(message, headers).close()
    house.server.process.signal(signal.SIGTERM)
    refused = [record for record in house.server.records() if record.get("decision") == "refuse"]
    assert [record["rule"] for record in refused] == ["host", "origin", "request_too_large"]
    assert {tuple(record["targets"]) for record in refused} == {("client:127.0.0.1",)}


def test_a_rotated_key_is_in_force_without_a_restart(open_fixture: Open, tmp_path: Path):
    import time

    key = tmp_path / "key"
    key.write_text(KEY)
    house = open_fixture("http", "--http-token-file", str(key))
    key.write_text("another-key-of-enough-length")
    house.server.headers["Authorization"] = "Bearer another-key-of-enough-length"
    end = time.monotonic() + 5
    while True:
        knock = house.server.ask("POST", "/mcp", house.server.headers, b"")
        knock.close()
        if knock.status != 401:
            break
        assert time.monotonic() < end
        time.sleep(0.05)
    peer = house.connect(MODERN)
    assert peer.request("tools/list")["tools"]


@requirement("HTTP-4")
@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({}, ["--allowed-hosts", "HTTP_TOKEN"]),
        ({"allowed_hosts": ("mcp.example:8000",)}, ["HTTP_TOKEN"]),
        ({"http_token": KEY}, ["--allowed-hosts"]),
    ],
)
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "mcp.example"])
def test_a_bind_that_others_reach_names_what_it_lacks(host: str, given: dict[str, object], missing: list[str]):
    with pytest.raises(Invalid) as refused:
        safe_to_bind(settings(**given), host)
    assert [word for word in ("--allowed-hosts", "HTTP_TOKEN") if word in refused.value.hint] == missing


def test_a_bind_that_is_safe_is_let_through():
    for host in ("127.0.0.1", "localhost", "::1"):
        safe_to_bind(settings(), host)
    safe_to_bind(settings(allowed_hosts=("mcp.example:8000",), http_token=KEY), "0.0.0.0")


def test_beyond_loopback_only_the_named_hosts_and_origins_are_answered():
    outside = security_of(
        settings(allowed_hosts=("mcp.example:8000",), allowed_origins=("https://a.example",)), "0.0.0.0"
    )
    assert outside.enable_dns_rebinding_protection
    assert (outside.allowed_hosts, outside.allowed_origins) == (["mcp.example:8000"], ["https://a.example"])
    assert "127.0.0.1:*" in security_of(settings(), "127.0.0.1").allowed_hosts


@pytest.mark.parametrize(
    ("header", "let_in"),
    [
        (f"Bearer {KEY}", True),
        (f"bearer  {KEY} ", True),
        (f"Bearer {KEY}x", False),
        (f"Bearer {KEY[:-1]}", False),
        ("Bearer ", False),
        (KEY, False),
        ("Bearer \u00fc", False),
    ],
)
def test_only_the_whole_key_opens_the_door(header: str, let_in: bool):
    assert presents({"headers": [(b"host", b"x"), (b"authorization", header.encode())]}, KEY) is let_in


def test_no_header_opens_no_door():
    assert not presents({"headers": []}, KEY)
