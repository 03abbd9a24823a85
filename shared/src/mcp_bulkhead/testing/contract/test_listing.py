"""What a client sees before the first call."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest

from mcp_bulkhead import ServerSpec
from mcp_bulkhead.testing import client_facts
from mcp_bulkhead.testing.requirements import requirement
from mcp_bulkhead.testing.wire import ERAS

from .conftest import Fresh, Visit, Visits


def problems_of(visit: Visit, find: Callable[[Mapping[str, Any]], Iterable[str]]) -> list[str]:
    return [f"{name}: {told}" for name, tool in visit.tools.items() for told in find(tool)]


@requirement("LIST-1")
def test_names_fit_every_client(spec: ServerSpec, inside: Visit) -> None:
    assert problems_of(inside, lambda tool: client_facts.name_problems(tool, spec.tool_prefix)) == []
    assert len(spec.name) <= client_facts.MAX_SERVER_KEY


@requirement("LIST-2", "LIST-11")
def test_every_tool_presents_itself_with_title_description_and_hints(inside: Visit) -> None:
    assert problems_of(inside, client_facts.presentation_problems) == []


@requirement("LIST-3")
def test_input_schemas_are_valid_in_both_dialects(inside: Visit) -> None:
    assert problems_of(inside, lambda tool: client_facts.dialect_problems(tool["inputSchema"])) == []


@requirement("LIST-4", "LIST-6")
def test_input_schemas_use_only_what_every_client_takes(visit: Visit) -> None:
    assert problems_of(visit, lambda tool: client_facts.schema_problems(tool["inputSchema"])) == []


@requirement("LIST-5")
def test_every_parameter_is_described_with_its_limits(inside: Visit) -> None:
    assert problems_of(inside, lambda tool: client_facts.description_problems(tool["inputSchema"])) == []


@requirement("LIST-7")
def test_output_schemas_are_objects_without_references(inside: Visit) -> None:
    typed = [tool["outputSchema"] for tool in inside.tools.values() if "outputSchema" in tool]
    assert [told for schema in typed for told in client_facts.output_problems(schema)] == []
    assert [told for schema in typed for told in client_facts.dialect_problems(schema)] == []


@requirement("LIST-8")
def test_two_processes_list_the_same_bytes(visit: Visit, visits: Visits) -> None:
    again = visits.to(visit.spec, "http" if visit.door == "stdio" else "stdio", visit.era)
    assert client_facts.listing_bytes(list(visit.tools.values())) == client_facts.listing_bytes(
        list(again.tools.values())
    )


@requirement("LIST-8")
def test_both_eras_list_the_same_tools(spec: ServerSpec, visits: Visits) -> None:
    modern, legacy = (list(visits.to(spec, "stdio", era).tools.values()) for era in ERAS)
    assert modern == legacy


@requirement("LIST-9")
@pytest.mark.parametrize(
    ("method", "lasting"),
    [("tools/list", True), ("prompts/list", True), ("resources/templates/list", True), ("resources/list", False)],
)
def test_listings_say_how_long_they_hold(inside: Visit, method: str, lasting: bool) -> None:
    listed = inside.peer.request(method)
    assert (listed["ttlMs"] > 0) is lasting
    assert listed["cacheScope"] == "private"


@requirement("LIST-10")
def test_few_tools_are_offered_by_default(fresh: Fresh) -> None:
    assert 0 < len(fresh().tools) <= client_facts.MAX_TOOLS
