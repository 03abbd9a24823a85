"""What the pipeline writes down, on disk."""

from pathlib import Path
from typing import Any

import pytest

from mcp_bulkhead.audit import verify
from mcp_bulkhead.testing.answers import refusal_problems
from mcp_bulkhead.testing.doors import House
from mcp_bulkhead.testing.requirements import requirement
from mcp_bulkhead.testing.wire import ERAS, MODERN

from .conftest import Journals, Open

SECRET = "hunter2-hunter2-hunter2"


@requirement("AUDIT-4")
@pytest.mark.parametrize("era", ERAS)
def test_a_thousand_refused_calls_are_a_thousand_records_in_a_whole_chain(open_fixture: Open, era: str):
    house = open_fixture("stdio")
    peer = house.connect(era)
    for _ in range(20):
        batch = [peer.begin_call("fx_read", {"path": "../outside.txt"}) for _ in range(50)]
        assert all(pending.result()["isError"] for pending in batch)
    process = house.server.processes[0]
    process.end_input()
    refused = [record for record in process.records() if record.get("name") == "fx_read"]
    assert len(refused) == 1_000
    assert {(record["decision"], record["rule"]) for record in refused} == {("refuse", "outside_root")}
    assert verify(house.state / "fixture" / "audit").ok


@requirement("AUDIT-5")
@pytest.mark.parametrize("era", ERAS)
def test_an_effect_is_an_intent_before_and_an_outcome_after(open_fixture: Open, era: str):
    house = open_fixture()
    peer = house.connect(era)
    peer.call("fx_keep", {"path": "kept.txt", "text": "words"})
    peer.call("fx_keep", {"path": "../outside.txt", "text": "words"})
    records = [record for record in house.server.records() if record["name"] == "fx_keep"]
    assert [record["phase"] for record in records] == ["intent", "outcome", "intent", "outcome"]
    assert records[0]["intent"] == records[1]["intent"] != records[2]["intent"]
    assert [record.get("status") for record in records] == [None, "ok", None, "client_error"]
    assert "kept.txt" not in str(records), "its targets are personal"


@requirement("AUDIT-5")
def test_what_cannot_be_written_down_is_not_done(open_fixture: Open, journal: Journals):
    house = open_fixture()
    peer = house.connect(MODERN)

    async def full(record: Any):
        from mcp_bulkhead.errors import Unavailable

        raise Unavailable("The audit cannot be written.", hint="Tell the operator.")

    house.server.audit.append_durable = full
    answer = peer.call("fx_keep", {"path": "kept.txt", "text": "words"})
    assert list(refusal_problems(answer, "unavailable")) == []
    assert not (house.world.facts and _note(house, "kept.txt").exists())


def _note(house: House, name: str):
    from pathlib import Path

    return Path(house.world.facts["folder"]) / "notes" / name


@requirement("AUDIT-6")
@pytest.mark.parametrize("era", ERAS)
def test_a_secret_of_the_operator_never_leaves(open_fixture: Open, tmp_path: Path, era: str):
    secret = tmp_path / "password"
    secret.write_text(SECRET)
    house = open_fixture("memory", "--password-file", str(secret))
    _note(house, "leak.txt").write_text(f"the password is {SECRET}, they say\n")
    peer = house.connect(era)
    echoed = peer.call("fx_echo", {"text": f"[{SECRET}]"})
    read = peer.call("fx_read", {"path": "leak.txt"})
    typed = peer.call("fx_add", {"first": 1, "tags": [SECRET]})
    resource = peer.request("resources/read", {"uri": "note:///leak.txt"})
    prompt = peer.request("prompts/get", {"name": "look_around", "arguments": {"place": SECRET}})
    for answer in (echoed, read, typed, resource, prompt):
        assert SECRET not in str(answer)
    assert "they say" in str(read)
    assert not typed.get("isError")


def test_every_record_says_who_what_and_how_it_ended(open_fixture: Open):
    house = open_fixture()
    peer = house.connect(MODERN)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    peer.begin_call("fx_read", {"path": "odd.txt"}, traceparent=trace).result()
    record = house.server.records()[-1]
    assert record["method"] == "tools/call"
    assert record["name"] == "fx_read"
    assert record["targets"] == ["odd.txt"]
    assert (record["caller"], record["tenant"], record["agent"]["name"]) == ("local", "local", "bulkhead-contract")
    assert record["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert record["args_digest"].startswith("test:")
    assert (record["decision"], record["rule"], record["status"], record["code"]) == ("allow", None, "ok", None)
    assert record["bytes_out"] > 0
    assert record["duration_ms"] > 0


@requirement("AUDIT-1")
@pytest.mark.parametrize("era", ERAS)
def test_requests_of_every_kind_are_recorded_once(open_fixture: Open, era: str):
    house = open_fixture()
    peer = house.connect(era)
    completing = {"ref": {"type": "ref/resource", "uri": "note:///{+path}"}, "argument": {"name": "path", "value": "o"}}
    asked: list[tuple[str, dict[str, Any]]] = [
        ("tools/list", {}),
        ("tools/call", {"name": "fx_add", "arguments": {"first": 1}}),
        ("resources/list", {}),
        ("resources/templates/list", {}),
        ("resources/read", {"uri": "note:///odd.txt"}),
        ("prompts/list", {}),
        ("prompts/get", {"name": "look_around"}),
        ("completion/complete", completing),
    ]
    for method, params in asked:
        peer.request(method, params)
    hello = "server/discover" if era == MODERN else "initialize"
    assert [record["method"] for record in house.server.records()] == [hello, *(method for method, _ in asked)]
    assert {record["status"] for record in house.server.records()} == {"ok"}


@requirement("AUDIT-1")
def test_a_subscription_is_recorded_when_it_ends(open_fixture: Open):
    house = open_fixture()
    peer = house.connect(MODERN)
    peer.listen()
    house.server.close()
    assert [record["method"] for record in house.server.records()] == ["server/discover", "subscriptions/listen"]
