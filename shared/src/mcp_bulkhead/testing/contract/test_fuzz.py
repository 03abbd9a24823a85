"""What a model may send: what fits the schema, what does not, and texts that are meant to hurt."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mcp_bulkhead import ServerSpec
from mcp_bulkhead.testing import fuzz
from mcp_bulkhead.testing.answers import refusal_problems, success_problems
from mcp_bulkhead.testing.client_facts import invalid
from mcp_bulkhead.testing.requirements import requirement
from mcp_bulkhead.testing.wire import MODERN

from .conftest import Visit, Visits

HARD_CHARS = 100_000
INTERNAL_ERROR = -32603
SECONDS_PER_CALL = 0.1
"""A tool gets this much time for each of its calls, all together: a slow one is tried less often."""

PATIENCE_PER_CALL_S = 0.5
"""A call that takes longer is cancelled, as an impatient client would."""


@pytest.fixture
def victim(spec: ServerSpec, visits: Visits) -> Visit:
    """A server in a world of its own: fuzzed writes change nothing that others look at."""
    return visits.to(spec, "memory", MODERN, ("--deadline-s", "5"))


def fuzzed(calls: int, strategy: st.SearchStrategy[Any], attempt: Callable[[Any], None]) -> None:
    """Try `attempt` on what `strategy` gives, until enough was tried or the time is up."""
    end = time.monotonic() + calls * SECONDS_PER_CALL

    @settings(
        max_examples=calls,
        deadline=None,
        database=None,
        derandomize=calls < 1_000,  # noqa: PLR2004 - the short form is the same every time
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )
    @given(strategy)
    def run(case: Any) -> None:
        if time.monotonic() < end:
            attempt(case)

    run()


def answer_or_cancel(visit: Visit, name: str, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    pending = visit.peer.begin_call(name, arguments)
    try:
        return pending.result(PATIENCE_PER_CALL_S)
    except TimeoutError:
        visit.peer.abandon(pending)
        return None


def problems(tool: Mapping[str, Any], answer: dict[str, Any]) -> list[str]:
    if not answer.get("isError"):
        return list(success_problems(answer, tool, budget_chars=HARD_CHARS))
    found = list(refusal_problems(answer, None))
    if answer["_meta"]["io.github.mcp-bulkhead/error"]["code"] == "internal_error":
        found.append(f"is an internal error: {answer['content'][0]['text']}")
    return found


def tools_to_fuzz(visit: Visit) -> list[tuple[str, Mapping[str, Any]]]:
    """Tools whose own examples promise an internal error are left out: there it is no surprise."""
    broken = {example.name for example in visit.spec.examples() if example.code == "internal_error"}
    return [(name, tool) for name, tool in visit.tools.items() if name not in broken]


@requirement("FUZZ-1")
def test_what_fits_the_schema_brings_no_internal_error_and_no_malformed_answer(
    victim: Visit, calls_per_tool: int
) -> None:
    for name, tool in tools_to_fuzz(victim):

        def attempt(arguments: dict[str, Any], name: str = name, tool: Mapping[str, Any] = tool) -> None:
            assert invalid(arguments, tool["inputSchema"]) == []
            answer = answer_or_cancel(victim, name, arguments)
            assert answer is None or problems(tool, answer) == [], (name, arguments)

        fuzzed(calls_per_tool, fuzz.arguments(tool["inputSchema"]), attempt)


@requirement("FUZZ-2")
def test_what_breaks_the_schema_brings_no_internal_error(victim: Visit, calls_per_tool: int) -> None:
    for name, tool in tools_to_fuzz(victim):

        def attempt(arguments: dict[str, Any], name: str = name, tool: Mapping[str, Any] = tool) -> None:
            answer = answer_or_cancel(victim, name, arguments)
            assert answer is None or problems(tool, answer) == [], (name, arguments)

        fuzzed(calls_per_tool, fuzz.wrong_arguments(tool["inputSchema"]), attempt)


@requirement("FUZZ-3")
def test_no_address_and_no_prompt_argument_brings_an_internal_error(victim: Visit, calls_per_tool: int) -> None:
    known = [uri for example in victim.spec.examples() if (uri := example.address(victim.world)) is not None]
    beginnings = st.sampled_from([*known, *(uri.rpartition("/")[0] + "/" for uri in known), "", "file:///"])
    addresses = st.tuples(beginnings, fuzz.words()).map("".join)
    prompts = victim.peer.request("prompts/list")["prompts"]

    def attempt(address: str) -> None:
        no_internal_error(victim, "resources/read", {"uri": address})
        for prompt in prompts:
            filled = {argument["name"]: address for argument in prompt.get("arguments", [])}
            no_internal_error(victim, "prompts/get", {"name": prompt["name"], "arguments": filled})

    fuzzed(calls_per_tool, addresses, attempt)


def no_internal_error(visit: Visit, method: str, params: dict[str, Any]) -> None:
    frame = visit.peer.begin(method, params).frame()
    refused: dict[str, Any] = frame.get("error", {})
    data: dict[str, Any] = refused.get("data") or {}
    assert refused.get("code") != INTERNAL_ERROR, params
    assert data.get("error", {}).get("code") != "internal_error", params
