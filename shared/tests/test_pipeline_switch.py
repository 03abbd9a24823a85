"""The operator's kill switch, while calls are running."""

from pathlib import Path

import pytest

from mcp_bulkhead.pipeline.switch import KillSwitch
from mcp_bulkhead.testing.answers import refusal_problems
from mcp_bulkhead.testing.doors import DOORS, House
from mcp_bulkhead.testing.requirements import requirement
from mcp_bulkhead.testing.wire import ERAS, MODERN, Refusal

from .conftest import Journals, Open

EFFECTIVE_S = 1.0


def switch_off(house: House, what: str):
    path = house.state / "fixture" / "kill"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(what)


@requirement("GATE-2")
@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("door", DOORS)
def test_calls_in_flight_are_stopped_and_clients_told_that_the_list_changed(
    open_fixture: Open, journal: Journals, door: str, era: str
):
    house = open_fixture(door)
    peer = house.connect(era)
    peer.listen()
    pending = peer.begin_call("fx_slow", {"seconds": 30, "name": "doomed"})
    journal(house).shows("started doomed")
    switch_off(house, "# for today\nfx_slow\n")
    assert journal(house).shows("stopped doomed") <= EFFECTIVE_S
    assert list(refusal_problems(pending.result(), "switched_off")) == []
    peer.hears("notifications/tools/list_changed", timeout=EFFECTIVE_S)
    assert "fx_slow" not in [tool["name"] for tool in peer.request("tools/list")["tools"]]


@requirement("GATE-2")
def test_a_call_of_another_tool_goes_on(open_fixture: Open, journal: Journals):
    house = open_fixture()
    peer = house.connect(MODERN)
    pending = peer.begin_call("fx_slow", {"seconds": 1.2, "name": "spared"})
    journal(house).shows("started spared")
    switch_off(house, "fx_add")
    assert not pending.result().get("isError")
    assert list(refusal_problems(peer.call("fx_add", {"first": 1}), "switched_off")) == []


@requirement("GATE-5")
def test_with_everything_switched_off_nothing_reaches_the_backend(open_fixture: Open, journal: Journals):
    house = open_fixture()
    switch_off(house, "all")
    peer = house.connect(MODERN)
    assert list(refusal_problems(peer.call("fx_read", {"path": "odd.txt"}), "switched_off")) == []
    for method, params in (
        ("resources/read", {"uri": "note:///odd.txt"}),
        ("resources/list", {}),
        ("prompts/get", {"name": "look_around"}),
        ("completion/complete", {"ref": {"type": "ref/resource", "uri": "note:///{+path}"}, "argument": PATH}),
        ("subscriptions/listen", {"notifications": {"toolsListChanged": True}}),
    ):
        with pytest.raises(Refusal) as refused:
            peer.request(method, params)
        assert refused.value.data["error"]["code"] == "switched_off", method
    assert peer.request("tools/list")["tools"] == []
    assert journal(house).lines() == ["opened"]


PATH = {"name": "path", "value": "o"}


@requirement("GATE-2")
def test_everything_in_flight_stops_when_everything_is_switched_off(open_fixture: Open, journal: Journals):
    house = open_fixture()
    peer = house.connect(MODERN)
    pending = peer.begin_call("fx_slow", {"seconds": 30, "name": "doomed"})
    journal(house).shows("started doomed")
    switch_off(house, "all")
    assert list(refusal_problems(pending.result(), "switched_off")) == []


@requirement("GATE-2")
def test_the_switch_is_in_the_audit_and_comes_back_on(open_fixture: Open):
    house = open_fixture()
    peer = house.connect(MODERN)
    peer.listen()
    switch_off(house, "fx_add\n")
    peer.hears("notifications/tools/list_changed")
    (house.state / "fixture" / "kill").unlink()
    peer.hears("notifications/tools/list_changed")
    assert not peer.call("fx_add", {"first": 1}).get("isError")
    assert [record["off"] for record in house.server.records() if record.get("phase") == "switch"] == [["fx_add"], []]


def test_a_switch_nobody_can_read_or_that_names_nothing_switches_everything_off(tmp_path: Path):
    switch = KillSwitch(tmp_path / "kill")
    assert not switch.look()
    (tmp_path / "kill").mkdir()
    assert switch.look()
    assert switch.is_off("anything")
    (tmp_path / "kill").rmdir()
    (tmp_path / "kill").write_text("  # only a comment\n")
    switch.look()
    assert switch.is_off("anything")


def test_a_switch_names_tools_one_a_line(tmp_path: Path):
    (tmp_path / "kill").write_text("fx_a\n\n  fx_b  # why\n#fx_c\n")
    switch = KillSwitch(tmp_path / "kill")
    assert switch.look()
    assert not switch.look()
    assert [name for name in ("fx_a", "fx_b", "fx_c", None) if switch.is_off(name)] == ["fx_a", "fx_b"]
