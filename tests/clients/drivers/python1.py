"""The Python SDK of the older protocol. Runs in an environment of its own, where `mcp` is 1.x."""

import asyncio
import importlib
import json
import sys
from typing import Any

mcp: Any = importlib.import_module("mcp")
stdio: Any = importlib.import_module("mcp.client.stdio")


async def visit(task: dict[str, Any]) -> dict[str, Any]:
    started = mcp.StdioServerParameters(**task["server"])
    async with stdio.stdio_client(started) as streams, mcp.ClientSession(*streams) as session:
        welcome = await session.initialize()
        listed = {
            "tools": plain(await session.list_tools())["tools"],
            "resources": plain(await session.list_resources())["resources"],
            "templates": plain(await session.list_resource_templates())["resourceTemplates"],
            "prompts": plain(await session.list_prompts())["prompts"],
        }
        answers = [await answer(session, **call) for call in task["calls"]]
        return {"era": welcome.protocolVersion, "listed": listed, "answers": answers}


async def answer(session: Any, kind: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        if kind == "tool":
            return {"result": plain(await session.call_tool(name, arguments))}
        if kind == "prompt":
            return {"result": plain(await session.get_prompt(name, arguments))}
        return {"result": plain(await session.read_resource(name))}
    except mcp.McpError as error:
        return {"error": plain(error.error)}


def plain(value: Any) -> Any:
    return value.model_dump(mode="json", by_alias=True)


json.dump(asyncio.run(visit(json.load(sys.stdin))), sys.stdout)
