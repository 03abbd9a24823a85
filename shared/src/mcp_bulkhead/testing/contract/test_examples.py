"""Every example of every server, through every door, in both eras."""

from typing import Any

import pytest

from mcp_bulkhead import Example, ServerSpec
from mcp_bulkhead.testing.answers import error_problems, hygiene_problems, refusal_problems, shown, success_problems
from mcp_bulkhead.testing.requirements import requirement
from mcp_bulkhead.testing.wire import Refusal

from .conftest import Visit

USUAL_TOKENS = 5_000
CHARS_PER_TOKEN = 4
INTERNAL_ERROR = -32603


@requirement("EX-1", "RES-1", "RES-2", "RES-3", "RES-4", "RES-5", "RES-6")
def test_a_good_call_answers_and_shows_what_it_promises(visit: Visit, good_call: Example) -> None:
    arguments = good_call.given(visit.world)
    answer = visit.call(good_call.name, arguments)
    budget = int(arguments.get("max_tokens") or USUAL_TOKENS) * CHARS_PER_TOKEN
    assert list(success_problems(answer, visit.tools[good_call.name], budget_chars=budget)) == []
    assert good_call.shows is None or good_call.shows(shown(answer)), shown(answer)


@requirement("EX-2", "ERR-1", "ERR-2", "ERR-3", "ERR-4")
def test_a_hostile_call_is_refused_with_its_code(visit: Visit, hostile_call: Example) -> None:
    arguments = hostile_call.given(visit.world)
    answer = visit.call(hostile_call.name, arguments)
    assert list(refusal_problems(answer, hostile_call.code, arguments)) == []


@requirement("ERR-5")
def test_the_same_attack_through_a_resource_is_a_protocol_error(visit: Visit, hostile_uri: Example) -> None:
    uri = hostile_uri.address(visit.world)
    with pytest.raises(Refusal) as refused:
        visit.peer.request("resources/read", {"uri": uri})
    assert refused.value.code != INTERNAL_ERROR
    assert list(error_problems(refused.value.data["error"], hostile_uri.code)) == []


@requirement("EX-3", "RES-5")
def test_a_good_resource_is_read(visit: Visit, good_reading: Example) -> None:
    uri = good_reading.address(visit.world)
    contents: list[dict[str, Any]] = visit.peer.request("resources/read", {"uri": uri})["contents"]
    assert contents
    assert all(each["uri"] == uri and each.get("mimeType") and ("text" in each or "blob" in each) for each in contents)
    assert list(hygiene_problems({"contents": contents})) == []
    assert good_reading.shows is None or good_reading.shows(contents[0].get("text"))


@requirement("EX-3", "RES-5")
def test_a_good_prompt_is_filled_in(visit: Visit, good_prompt_call: Example) -> None:
    arguments = good_prompt_call.given(visit.world)
    filled = visit.peer.request("prompts/get", {"name": good_prompt_call.name, "arguments": arguments})
    assert all(message["content"]["text"].strip() for message in filled["messages"])
    assert filled["messages"]
    assert list(hygiene_problems(filled)) == []


@requirement("EX-4")
def test_every_tool_has_a_good_and_a_hostile_example(spec: ServerSpec, inside: Visit) -> None:
    examples = [example for example in spec.examples() if example.kind == "tool"]
    named = {example.name for example in examples}
    good, hostile = ({e.name for e in examples if e.hostile is wanted} for wanted in (False, True))
    assert named <= set(inside.tools) or any(example.flags for example in examples)
    assert set(inside.tools) - good == set()
    assert set(inside.tools) - hostile == set()
    assert all(example.code for example in examples if example.hostile)
