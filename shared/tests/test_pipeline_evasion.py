"""What a client might claim about itself to get round a limit."""

from typing import Any

import pytest

from mcp_bulkhead.errors import TooLarge
from mcp_bulkhead.testing.answers import refusal_problems
from mcp_bulkhead.testing.requirements import requirement
from mcp_bulkhead.testing.wire import ERAS, LEGACY, MODERN, Refusal

from .conftest import Open

LIMITED = ("--rate-limit-per-minute", "2")


@requirement("LIMIT-1")
def test_a_session_id_of_its_own_making_gives_no_second_window(open_fixture: Open):
    house = open_fixture("http", *LIMITED)
    answers: list[dict[str, Any]] = []
    for number in range(3):
        house.server.headers["Mcp-Session-Id"] = f"invented-{number}"
        answers.append(house.server.connect(MODERN).call("fx_add", {"first": 1}))
    assert [bool(answer.get("isError")) for answer in answers] == [False, False, True]
    assert list(refusal_problems(answers[2], "rate_limited")) == []


@requirement("LIMIT-1")
def test_a_new_session_gives_no_second_window(open_fixture: Open):
    house = open_fixture("http", *LIMITED)
    answers = [house.connect(LEGACY).call("fx_add", {"first": 1}) for _ in range(3)]
    assert [answer.get("isError", False) for answer in answers] == [False, False, True]


@requirement("LIMIT-1")
def test_claiming_to_answer_a_question_gives_no_free_call(open_fixture: Open):
    peer = open_fixture("memory", *LIMITED).connect(MODERN)
    claim = {"name": "fx_add", "arguments": {"first": 1}, "inputResponses": {"ok": {"action": "accept"}}}
    outcomes: list[bool] = []
    for _ in range(3):
        try:
            outcomes.append(bool(peer.request("tools/call", claim).get("isError")))
        except Refusal:
            outcomes.append(True)
    assert outcomes[-1] is True
    assert list(refusal_problems(peer.call("fx_add", {"first": 1}), "rate_limited")) == []


@requirement("GATE-2")
def test_sessions_that_have_ended_do_not_hold_up_the_news(open_fixture: Open):
    house = open_fixture("http")
    for _ in range(5):
        gone = house.connect(LEGACY)
        house.server.ask("DELETE", "/mcp", gone.carrier.headers_of({"method": ""})).close()
        deaf = house.connect(LEGACY)
        deaf.listen()
        deaf.close()
    peer = house.connect(LEGACY)
    peer.listen()
    for step, names in enumerate(("fx_add", "fx_echo")):
        kill = house.state / "fixture" / "kill"
        kill.parent.mkdir(parents=True, exist_ok=True)
        kill.write_text(names)
        peer.hears("notifications/tools/list_changed", timeout=2)
        assert list(refusal_problems(peer.call(names, {}), "switched_off")) == [], step
    assert peer.request("tools/list")["tools"]


@requirement("RES-4")
@pytest.mark.parametrize("era", ERAS)
def test_a_resource_too_large_for_any_client_is_refused(open_fixture: Open, era: str):
    from pathlib import Path

    house = open_fixture("memory")
    (Path(house.world.facts["folder"]) / "notes" / "huge.txt").write_text("x" * 6_000_000)
    peer = house.connect(era)
    with pytest.raises(Refusal) as refused:
        peer.request("resources/read", {"uri": "note:///huge.txt"})
    assert refused.value.data["error"]["code"] == TooLarge.code
