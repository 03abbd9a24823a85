"""How a call ends before its handler is done."""

import json
import time

import pytest

from mcp_bulkhead.testing.answers import refusal_problems
from mcp_bulkhead.testing.doors import DOORS
from mcp_bulkhead.testing.requirements import requirement
from mcp_bulkhead.testing.wire import ERAS, MODERN, Peer

from .conftest import Journals, Open

CANCEL_WITHIN_S = 0.5


def in_use(peer: Peer) -> tuple[int, dict[str, int], int]:
    runtime = peer.carrier.server.runtime
    return runtime.seats.taken, dict(runtime.seats.by_caller), len(runtime.in_flight)


@requirement("STOP-1")
@pytest.mark.parametrize("era", ERAS)
def test_a_call_past_its_deadline_is_a_timeout_and_frees_what_it_held(open_fixture: Open, journal: Journals, era: str):
    house = open_fixture()
    peer = house.connect(era)
    begun = time.monotonic()
    answer = peer.call("fx_late", {"name": "too-late"})
    assert list(refusal_problems(answer, "timeout")) == []
    assert time.monotonic() - begun < 2
    assert json.loads(answer["content"][0]["text"])["error"]["retryable"] is True
    assert journal(house).lines()[-2:] == ["started too-late", "stopped too-late"]
    assert in_use(peer) == (0, {}, 0)


@requirement("STOP-1")
def test_the_servers_own_deadline_holds_for_tools_without_one(open_fixture: Open):
    peer = open_fixture("memory", "--deadline-s", "0.1").connect(MODERN)
    assert list(refusal_problems(peer.call("fx_stuck", {"seconds": 0.4}), "timeout")) == []
    assert not peer.call("fx_slow", {"seconds": 0.2}).get("isError")


@requirement("STOP-2")
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("door", DOORS)
def test_cancelling_a_call_stops_the_backend(open_fixture: Open, journal: Journals, door: str, era: str):
    house = open_fixture(door)
    peer = house.connect(era)
    pending = peer.begin_call("fx_slow", {"seconds": 30, "name": "unwanted"})
    journal(house).shows("started unwanted")
    peer.abandon(pending)
    assert journal(house).shows("stopped unwanted") < CANCEL_WITHIN_S
    assert not peer.call("fx_add", {"first": 1}).get("isError")


@requirement("STOP-2")
def test_hanging_up_in_the_legacy_era_leaves_the_call_to_its_session(open_fixture: Open, journal: Journals):
    """There a dropped stream may be resumed: only `notifications/cancelled` is a cancel."""
    house = open_fixture("http")
    peer = house.connect("2025-11-25")
    pending = peer.begin_call("fx_slow", {"seconds": 0.5, "name": "kept"})
    journal(house).shows("started kept")
    peer.carrier.open[pending.id].shutdown(2)
    journal(house).shows("finished kept")


@requirement("AUDIT-7")
def test_cancelled_and_crashed_calls_are_recorded_as_such(open_fixture: Open, journal: Journals):
    house = open_fixture()
    peer = house.connect(MODERN)
    pending = peer.begin_call("fx_slow", {"seconds": 30, "name": "unwanted"})
    journal(house).shows("started unwanted")
    peer.abandon(pending)
    journal(house).shows("stopped unwanted")
    peer.call("fx_crash", {})
    peer.call("fx_quit", {})
    peer.call("fx_late", {})
    records = {record["name"]: record for record in house.server.records() if record["method"] == "tools/call"}
    assert records["fx_slow"]["status"] == "cancelled"
    assert (records["fx_crash"]["status"], records["fx_crash"]["code"]) == ("server_error", "internal_error")
    assert (records["fx_quit"]["status"], records["fx_quit"]["code"]) == ("server_error", "internal_error")
    assert (records["fx_late"]["status"], records["fx_late"]["code"]) == ("timeout", "timeout")


@requirement("RES-10")
@pytest.mark.parametrize("era", ERAS)
def test_a_crash_is_an_internal_error_with_a_reference_and_nothing_of_its_text(open_fixture: Open, era: str):
    peer = open_fixture().connect(era)
    answer = peer.call("fx_crash", {"text": "the text of the accident"})
    assert list(refusal_problems(answer, "internal_error", ["the text of the accident", "Accident", "Traceback"])) == []
    assert "reference" in answer["content"][0]["text"]


@requirement("RES-10")
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("door", DOORS)
def test_a_library_that_was_cancelled_from_inside_does_not_end_the_connection(open_fixture: Open, door: str, era: str):
    peer = open_fixture(door).connect(era)
    assert list(refusal_problems(peer.call("fx_quit", {}), "internal_error")) == []
    assert not peer.call("fx_add", {"first": 1}).get("isError")
