"""The same server seen by the SDK's own client: what our wire client would let pass, it may not."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from mcp_bulkhead import Example, ServerSpec
from mcp_bulkhead.app import assemble
from mcp_bulkhead.testing.answers import compact
from mcp_bulkhead.testing.requirements import requirement

from .conftest import EVERYTHING, Fresh


@requirement("EX-5")
@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_sdk_client_sees_every_answer_and_every_refusal(spec: ServerSpec, fresh: Fresh, mode: str) -> None:
    import anyio

    house = fresh("memory", *EVERYTHING).house
    examples = [example for example in spec.examples() if example.kind == "tool" and not example.flags]

    async def visit() -> list[str]:
        from mcp.client import Client

        server = assemble(spec, house.server.settings)
        async with Client(server, mode=mode, cache=None) as client:
            await client.list_tools()
            return [told async for told in problems(client.call_tool, examples, house.world)]

    assert anyio.run(visit) == []


async def problems(call: Callable[..., Any], examples: list[Example], world: Any) -> AsyncIterator[str]:
    for example in examples:
        result = await call(example.name, example.given(world))
        if result.is_error != example.hostile:
            yield f"{example.name}: is_error is {result.is_error}"
        elif example.hostile and f'"code":{compact(example.code)}' not in result.content[0].text:
            yield f"{example.name}: {result.content[0].text}"
