"""Limits as they bind a running server."""

from typing import Any

import pytest

from mcp_bulkhead.testing.answers import refusal_problems
from mcp_bulkhead.testing.requirements import requirement
from mcp_bulkhead.testing.wire import ERAS, LEGACY, MODERN, Refusal

from .conftest import Journals, Open

NOTE = {"uri": "note:///odd.txt"}
COMPLETING = {"ref": {"type": "ref/resource", "uri": "note:///{+path}"}, "argument": {"name": "path", "value": "o"}}


@requirement("LIMIT-4")
@pytest.mark.parametrize("flags", [("--max-concurrency", "2"), ("--max-concurrency-per-caller", "2")])
def test_beyond_the_seats_a_call_is_busy_and_a_free_seat_is_taken_again(
    open_fixture: Open, journal: Journals, flags: tuple[str, ...]
):
    house = open_fixture("memory", *flags)
    peer = house.connect(MODERN)
    seated = [peer.begin_call("fx_slow", {"seconds": 30, "name": name}) for name in ("one", "two")]
    journal(house).shows("started two")
    assert list(refusal_problems(peer.call("fx_echo", {}), "busy")) == []
    waiting = peer.begin_call("fx_echo", {"text": "patience"})
    peer.abandon(seated[0])
    assert waiting.result()["content"][0]["text"] == "patience"


@requirement("LIMIT-4")
def test_waiting_for_a_seat_can_be_cancelled(open_fixture: Open, journal: Journals):
    house = open_fixture("memory", "--max-concurrency", "1")
    peer = house.connect(MODERN)
    first = peer.begin_call("fx_slow", {"seconds": 30, "name": "first"})
    journal(house).shows("started first")
    peer.abandon(peer.begin_call("fx_slow", {"seconds": 30, "name": "second"}))
    peer.abandon(first)
    journal(house).shows("stopped first")
    assert not peer.call("fx_add", {"first": 1}).get("isError")
    assert "started second" not in journal(house).lines()
    seats = peer.carrier.server.runtime.seats
    assert (seats.taken, seats.waiting) == (0, 0)


@requirement("LIMIT-5")
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("tools/list", {}),
        ("resources/list", {}),
        ("resources/templates/list", {}),
        ("resources/read", NOTE),
        ("prompts/list", {}),
        ("prompts/get", {"name": "look_around"}),
        ("completion/complete", COMPLETING),
    ],
)
def test_every_kind_of_request_counts(open_fixture: Open, method: str, params: dict[str, Any], era: str):
    peer = open_fixture("memory", "--rate-limit-per-minute", "2").connect(era)
    peer.request(method, params)
    peer.request(method, params)
    with pytest.raises(Refusal) as refused:
        peer.request(method, params)
    assert refused.value.data["error"]["code"] == "rate_limited"
    assert refused.value.data["error"]["retry_after_s"] > 0


@requirement("LIMIT-5")
def test_subscribing_counts(open_fixture: Open):
    peer = open_fixture("memory", "--rate-limit-per-minute", "1").connect(MODERN)
    peer.listen()
    with pytest.raises(Refusal) as refused:
        peer.request("subscriptions/listen", {"notifications": {"toolsListChanged": True}})
    assert refused.value.data["error"]["code"] == "rate_limited"


@requirement("LIMIT-5")
def test_steps_of_all_kinds_add_up(open_fixture: Open):
    peer = open_fixture("memory", "--budget-steps-per-session", "3").connect(LEGACY)
    peer.request("tools/list")
    peer.request("resources/read", NOTE)
    peer.request("prompts/get", {"name": "look_around"})
    assert list(refusal_problems(peer.call("fx_echo", {}), "budget_spent")) == []


@requirement("LIMIT-6")
def test_bytes_that_were_sent_are_booked(open_fixture: Open):
    peer = open_fixture("memory", "--budget-bytes-per-hour", "3000").connect(MODERN)
    assert not peer.call("fx_flood", {"lines": 500}).get("isError")
    assert list(refusal_problems(peer.call("fx_flood", {"lines": 500}), "budget_spent")) == []


@requirement("LIMIT-6")
def test_bytes_of_a_resource_are_booked_too(open_fixture: Open):
    peer = open_fixture("memory", "--budget-bytes-per-hour", "10").connect(MODERN)
    peer.request("resources/read", {"uri": "note:///tides/spring.txt"})
    with pytest.raises(Refusal) as refused:
        peer.request("resources/read", {"uri": "note:///tides/spring.txt"})
    assert refused.value.data["error"]["code"] == "budget_spent"
