"""What the operator's switch and the caller's scopes keep shut."""

import time
from pathlib import Path

import pytest

from mcp_bulkhead.testing.answers import refusal_problems
from mcp_bulkhead.testing.doors import UNHURRIED
from mcp_bulkhead.testing.requirements import requirement
from mcp_bulkhead.testing.wire import ERAS, Refusal

from .conftest import EVERYTHING, Fresh, Visit

EFFECTIVE_S = 1.0
NOTHING = ("--scopes", "nothing.at_all")


def kill_file(visit: Visit) -> Path:
    return visit.house.state / visit.spec.name / "kill"


def refused_within(visit: Visit, name: str, arguments: dict[str, object], seconds: float) -> dict[str, object]:
    """The first refusal of a call that is made again and again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = visit.call(name, arguments)
        if answer.get("isError"):
            return answer
    raise AssertionError(f"{name} was still answered after {seconds} s")


@requirement("GATE-1")
@pytest.mark.parametrize("era", ERAS)
def test_a_tool_that_was_switched_off_is_refused_within_a_second_and_gone_from_the_list(fresh: Fresh, era: str) -> None:
    visit = fresh("memory", *EVERYTHING, era=era)
    name, arguments = visit.good_calls(reading=True)[0]
    kill_file(visit).parent.mkdir(parents=True, exist_ok=True)
    kill_file(visit).write_text(f"{name}  # for a while\n")
    answer = refused_within(visit, name, arguments, EFFECTIVE_S)
    assert list(refusal_problems(answer, "switched_off")) == []
    assert [tool["name"] for tool in visit.peer.request("tools/list")["tools"]] == [n for n in visit.tools if n != name]


@requirement("GATE-3")
def test_without_its_scope_a_tool_is_neither_listed_nor_callable(inside: Visit, fresh: Fresh) -> None:
    visit = fresh("memory", *EVERYTHING, *NOTHING)
    assert visit.tools == {}
    for name in inside.tools:
        assert list(refusal_problems(visit.call(name, {}), "missing_scope")) == [], name


@requirement("GATE-6")
def test_without_its_scope_a_prompt_is_neither_listed_nor_given_nor_completed(inside: Visit, fresh: Fresh) -> None:
    prompts = inside.peer.request("prompts/list")["prompts"]
    visit = fresh("memory", *UNHURRIED, *NOTHING)
    assert visit.peer.request("prompts/list")["prompts"] == []
    for prompt in prompts:
        asked = {each["name"]: "x" for each in prompt.get("arguments", [])}
        with pytest.raises(Refusal) as refused:
            visit.peer.request("prompts/get", {"name": prompt["name"], "arguments": asked})
        assert refused.value.data["error"]["code"] == "missing_scope"
        if "completions" in inside.peer.welcome["capabilities"]:
            ref = {"type": "ref/prompt", "name": prompt["name"]}
            with pytest.raises(Refusal) as refused:
                visit.peer.request("completion/complete", {"ref": ref, "argument": {"name": "any", "value": ""}})
            assert refused.value.data["error"]["code"] == "missing_scope"


@requirement("GATE-4")
def test_without_a_scope_its_resources_can_be_neither_listed_nor_read_nor_guessed(inside: Visit, fresh: Fresh) -> None:
    visit = fresh("memory", *UNHURRIED, *NOTHING)
    for template in inside.peer.request("resources/templates/list")["resourceTemplates"]:
        ref = {"type": "ref/resource", "uri": template["uriTemplate"]}
        if "completions" in inside.peer.welcome["capabilities"]:
            with pytest.raises(Refusal) as refused:
                visit.peer.request("completion/complete", {"ref": ref, "argument": {"name": "path", "value": ""}})
            assert refused.value.data["error"]["code"] == "missing_scope"
    assert visit.peer.request("resources/list")["resources"] == []
    assert visit.peer.request("resources/templates/list")["resourceTemplates"] == []
    for example in visit.spec.examples():
        uri = example.address(visit.world)
        if uri is None:
            continue
        with pytest.raises(Refusal) as refused:
            visit.peer.request("resources/read", {"uri": uri})
        assert refused.value.data["error"]["code"] == "missing_scope"
