"""What is written down about a call, and what must not be."""

import json
from collections.abc import Iterator
from typing import Any

from mcp_bulkhead.testing.fuzz import sample
from mcp_bulkhead.testing.requirements import requirement
from mcp_bulkhead.testing.wire import Refusal

from .conftest import EVERYTHING, Fresh, Visit

MARK = "CANARY-5d1e8b"
LONG_ENOUGH = 24
"""A line of an answer this long is nobody's chance."""


def calls_of(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for record in records if record.get("phase") in ("call", "outcome")]


def ask_anything(visit: Visit, method: str, params: dict[str, Any]) -> dict[str, Any]:
    try:
        return visit.peer.request(method, params)
    except Refusal as refused:
        return {"refused": refused.message, "data": refused.data}


@requirement("AUDIT-1")
def test_every_call_is_in_the_audit_once_with_how_it_ended(fresh: Fresh) -> None:
    visit = fresh("memory", *EVERYTHING)
    examples = [example for example in visit.spec.examples() if example.kind == "tool" and not example.flags]
    before = len(calls_of(visit.house.server.records()))
    for example in examples:
        visit.call(example.name, example.given(visit.world))
    ask_anything(visit, "tools/call", {"name": "no_such_tool"})
    ask_anything(visit, "resources/read", {"uri": "nowhere://at/all"})
    records = calls_of(visit.house.server.records())[before:]
    assert [record["name"] for record in records] == [
        *(each.name for each in examples),
        "no_such_tool",
        "nowhere://at/all",
    ]
    assert [record["code"] for record in records[: len(examples)]] == [example.code for example in examples]
    assert all((record["decision"] == "refuse") == (record["rule"] is not None) for record in records)
    assert all(record["decision"] == "allow" for record in records if record["code"] is None)
    assert records[-2]["decision"] == "refuse"


@requirement("AUDIT-2", "AUDIT-3")
def test_no_marked_argument_and_no_answer_reaches_a_log_a_metric_or_an_error(fresh: Fresh) -> None:
    visit = fresh("http", *EVERYTHING, "--log-level", "debug", "--metrics")
    process = visit.house.server.process
    answers = [visit.call(name, arguments) for name, arguments in visit.good_calls()]
    errors = list(marked_errors(visit))
    assert errors
    assert not [error for error in errors if MARK in error]
    metrics = visit.house.server.ask("GET", "/metrics").body().decode()
    process.signal(15)
    log = process.stderr()
    assert '"level"' in log
    assert MARK not in log
    assert MARK not in metrics
    assert [line for line in telling_lines(answers) if line in log or line in metrics] == []
    records = process.records()
    assert len(records) > len(visit.tools)
    assert MARK not in json.dumps([untargeted(record) for record in records])


def marked_errors(visit: Visit) -> Iterator[str]:
    """What is answered to calls whose every text is marked, when the answer is an error."""
    for name, tool in visit.tools.items():
        marked = sample(tool["inputSchema"], MARK)
        for arguments in (marked, {**marked, "surplus": MARK}, {"surplus": {"deep": [MARK]}}):
            answer = visit.call(name, arguments)
            if answer.get("isError"):
                yield json.dumps(answer)
    for method, params in (
        ("tools/call", {"name": "no_such_tool", "arguments": {"x": MARK}}),
        ("prompts/get", {"name": "no_such_prompt", "arguments": {"x": MARK}}),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "x"}, "argument": {"name": "x", "value": MARK}}),
    ):
        yield json.dumps(ask_anything(visit, method, params))


def telling_lines(answers: list[dict[str, Any]]) -> Iterator[str]:
    """Lines of answers that could only be in a log because somebody put them there."""
    for answer in answers:
        for block in answer["content"]:
            yield from (line for line in block.get("text", "").splitlines() if len(line) >= LONG_ENOUGH)


def untargeted(record: dict[str, Any]) -> dict[str, Any]:
    """A record without what it is about: a path or a table is what an auditor asks for."""
    return {key: value for key, value in record.items() if key != "targets"}
