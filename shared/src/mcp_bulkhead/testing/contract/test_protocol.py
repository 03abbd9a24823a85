"""What any client may rely on, whatever version it speaks."""

from typing import Any

import pytest

from mcp_bulkhead import ServerSpec
from mcp_bulkhead.testing.requirements import requirement
from mcp_bulkhead.testing.wire import ERAS, LEGACY, MODERN, Refusal

from .conftest import Visit, Visits

INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
INSTRUCTIONS_READ = 2_000
OLD_VERSIONS = ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25")
STRANGE_META: dict[str, Any] = {
    "vscode.conversationId": "c-1",
    "claudecode/toolUseId": "toolu_1",
    "traceparent": "not a traceparent",
    "progressToken": "p-1",
    "unknown": {"deep": [1, None]},
}
STRANGE_INITIALIZE: dict[str, Any] = {
    "capabilities": {"roots": {"listChanged": True}, "elicitation": {"form": {}, "url": {}}, "unheardOf": {"x": 1}},
    "unknownField": {"x": [1]},
    "_meta": {"unknown": 1},
}


@requirement("PROTO-1")
def test_an_unknown_tool_is_a_protocol_error(visit: Visit) -> None:
    with pytest.raises(Refusal) as refused:
        visit.call("no_such_tool_here", {"x": 1})
    assert refused.value.code == INVALID_PARAMS
    assert "no_such_tool_here" not in refused.value.message


@requirement("PROTO-2")
@pytest.mark.parametrize("request_id", ["server-discover-probe-1", "7", "ü-\u2028", 2**40])
def test_request_ids_come_back_as_they_were(visit: Visit, request_id: str | int) -> None:
    frame = visit.peer.begin("tools/list", id=request_id).frame()
    assert frame["id"] == request_id
    assert type(frame["id"]) is type(request_id)


@requirement("PROTO-3")
def test_unknown_fields_in_meta_are_tolerated(visit: Visit) -> None:
    name, arguments = visit.good_calls()[0]
    answer = visit.peer.begin_call(name, arguments, **STRANGE_META).result()
    assert not answer.get("isError")


@requirement("PROTO-3")
@pytest.mark.parametrize("door", ["memory", "http"])
def test_unknown_fields_in_initialize_are_tolerated(spec: ServerSpec, visits: Visits, door: str) -> None:
    peer = visits.to(spec, door, LEGACY).house.server.connect(LEGACY)
    assert peer.greet(**STRANGE_INITIALIZE)["protocolVersion"] == LEGACY
    assert peer.request("tools/list")["tools"]


@requirement("PROTO-4")
@pytest.mark.parametrize("door", ["memory", "http"])
@pytest.mark.parametrize("version", OLD_VERSIONS)
def test_old_protocol_versions_are_served(spec: ServerSpec, visits: Visits, door: str, version: str) -> None:
    visit = visits.to(spec, door, LEGACY)
    peer = visit.house.server.connect(version)
    assert peer.greet()["protocolVersion"] == version
    assert [tool["name"] for tool in peer.request("tools/list")["tools"]] == list(visit.tools)
    name, arguments = visit.good_calls(reading=True)[0]
    answer = peer.call(name, arguments)
    assert not answer.get("isError")
    assert answer["content"][0]["type"] == "text"


@requirement("PROTO-5", "PROTO-6")
@pytest.mark.parametrize("door", ["memory", "stdio", "http"])
def test_both_eras_hear_the_same_about_the_server(spec: ServerSpec, visits: Visits, door: str) -> None:
    welcomes = [visits.to(spec, door, era).peer.welcome for era in ERAS]
    instructions = {
        told["instructions"].replace(str(where), "")
        for told, where in zip(welcomes, worlds(spec, visits, door), strict=True)
    }
    assert len(instructions) == 1
    assert 0 < len(instructions.pop()) <= INSTRUCTIONS_READ
    named = [told.get("serverInfo") or told["_meta"]["io.modelcontextprotocol/serverInfo"] for told in welcomes]
    assert named[0] == named[1]
    assert named[0]["version"] == spec.version


def worlds(spec: ServerSpec, visits: Visits, door: str) -> list[str]:
    """Where each era's world lies: the one thing about which the two may tell different stories."""
    return [str(visits.to(spec, door, era).house.state.parent) for era in ERAS]


@requirement("PROTO-7")
@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("resources/read", {"uri": "nowhere://at/all"}),
        ("resources/read", {"uri": "no uri"}),
        ("prompts/get", {"name": "no_such_prompt"}),
    ],
)
def test_what_does_not_exist_is_refused_in_a_sentence(visit: Visit, method: str, params: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as refused:
        visit.peer.request(method, params)
    assert refused.value.code != INTERNAL_ERROR
    assert refused.value.message.endswith(".")


@requirement("PROTO-8")
def test_parallel_calls_answer_as_sequential_ones(visit: Visit) -> None:
    calls = visit.good_calls(reading=True) * 3
    alone = [said(visit.call(name, arguments)) for name, arguments in calls]
    together: list[Any] = []
    for batch in (calls[start : start + 4] for start in range(0, len(calls), 4)):
        pending = [visit.peer.begin_call(name, arguments) for name, arguments in reversed(batch)]
        together += [said(each.result()) for each in reversed(pending)]
    assert together == alone


def said(answer: dict[str, Any]) -> Any:
    """An answer without its cursor, which is sealed anew each time."""
    structured = answer.get("structuredContent")
    if structured is not None:
        return {key: value for key, value in structured.items() if key != "next"}
    return [block.get("text", "").partition("\n-- more:")[0] for block in answer["content"]]


@requirement("HTTP-6")
def test_one_endpoint_serves_both_eras_at_once(spec: ServerSpec, visits: Visits) -> None:
    visit = visits.to(spec, "http", MODERN)
    legacy = visit.house.connect(LEGACY)
    name, arguments = visit.good_calls(reading=True)[0]
    assert said(legacy.call(name, arguments)) == said(visit.call(name, arguments))
