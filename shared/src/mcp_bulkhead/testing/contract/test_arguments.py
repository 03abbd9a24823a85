"""Arguments as they really arrive."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mcp_bulkhead.testing.answers import refusal_problems
from mcp_bulkhead.testing.requirements import requirement

from .conftest import Visit

MARK = "MARKED-7f3a91c2"
WRONG: Mapping[str, Any] = {
    "string": {"deep": MARK},
    "integer": MARK,
    "number": MARK,
    "boolean": MARK,
    "array": {"deep": MARK},
    "object": MARK,
}
"""For each plain type a value that cannot be meant."""


def same(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Two answers say the same; what a cursor looks like may differ."""
    return not first.get("isError") and text_of(first) == text_of(second)


def text_of(answer: Mapping[str, Any]) -> Any:
    structured = answer.get("structuredContent")
    if structured is not None:
        return {key: value for key, value in structured.items() if key != "next"}
    return answer["content"][0]["text"].partition("\n-- more:")[0]


def left_out(visit: Visit) -> Iterator[tuple[str, dict[str, Any], str, Mapping[str, Any]]]:
    """Good calls of reading tools, each with one optional argument it does not send."""
    for name, arguments in visit.good_calls(reading=True):
        schema = visit.tools[name]["inputSchema"]
        for field, declared in schema["properties"].items():
            if field not in arguments and field not in schema.get("required", []):
                yield name, arguments, field, declared


@requirement("ARG-1")
def test_an_argument_nobody_declared_is_refused(inside: Visit) -> None:
    for name, arguments in inside.good_calls():
        sent = {**arguments, "surplus_argument": MARK}
        answer = inside.call(name, sent)
        assert list(refusal_problems(answer, "invalid_arguments")) == [], name
        assert "surplus_argument" in answer["content"][0]["text"]
        assert MARK not in json.dumps(answer)


@requirement("ARG-2")
def test_a_bad_argument_is_answered_with_field_and_problem_never_the_value(inside: Visit) -> None:
    tried = 0
    for name, arguments in inside.good_calls():
        for field, declared in inside.tools[name]["inputSchema"]["properties"].items():
            wrong = MARK if "enum" in declared else WRONG[declared["type"]]
            answer = inside.call(name, {**arguments, field: wrong})
            assert list(refusal_problems(answer, "invalid_arguments")) == [], (name, field)
            problems = json.loads(answer["content"][0]["text"])["error"]["details"]["problems"]
            assert [field] == [each["field"].partition(".")[0] for each in problems], (name, problems)
            assert MARK not in json.dumps(answer)
            tried += 1
    assert tried or not any(tool["inputSchema"]["properties"] for tool in inside.tools.values())


@requirement("ARG-3")
def test_null_means_left_out(inside: Visit) -> None:
    for name, arguments, field, _ in left_out(inside):
        plain = inside.call(name, arguments)
        for filler in (None, "null"):
            assert same(plain, inside.call(name, {**arguments, field: filler})), (name, field, filler)


@requirement("ARG-4")
def test_an_empty_text_means_left_out_where_no_plain_text_is_asked_for(inside: Visit) -> None:
    for name, arguments, field, declared in left_out(inside):
        if declared["type"] != "string" or "enum" in declared:
            plain = inside.call(name, arguments)
            assert same(plain, inside.call(name, {**arguments, field: ""})), (name, field)


@requirement("ARG-5")
def test_json_inside_a_string_is_understood(inside: Visit) -> None:
    for name, arguments in inside.good_calls(reading=True):
        packed = {key: value if isinstance(value, str) else json.dumps(value) for key, value in arguments.items()}
        assert same(inside.call(name, arguments), inside.call(name, packed)), name


@requirement("ARG-6")
def test_a_call_without_arguments_is_a_call_without_arguments(visit: Visit) -> None:
    for name, tool in visit.tools.items():
        answer = visit.peer.request("tools/call", {"name": name})
        if tool["inputSchema"].get("required"):
            assert list(refusal_problems(answer, "invalid_arguments")) == [], name
        else:
            assert answer.get("isError", False) == visit.call(name, {}).get("isError", False), name
