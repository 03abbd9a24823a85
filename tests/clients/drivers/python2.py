"""The Python client of today, as our own servers are meant to be seen."""

import asyncio
import json
import sys
from typing import Any

from mcp import Client, MCPError, StdioServerParameters
from pydantic import BaseModel


async def visit(task: dict[str, Any]) -> dict[str, Any]:
    async with Client(StdioServerParameters(**task["server"]), mode=task["mode"], cache=None) as client:
        listed = {
            "tools": plain(await client.list_tools())["tools"],
            "resources": plain(await client.list_resources())["resources"],
            "templates": plain(await client.list_resource_templates())["resourceTemplates"],
            "prompts": plain(await client.list_prompts())["prompts"],
        }
        answers = [await answer(client, **call) for call in task["calls"]]
        return {"era": client.protocol_version, "listed": listed, "answers": answers}


async def answer(client: Client, kind: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        if kind == "tool":
            return {"result": plain(await client.call_tool(name, arguments))}
        if kind == "prompt":
            return {"result": plain(await client.get_prompt(name, arguments))}
        return {"result": plain(await client.read_resource(name))}
    except MCPError as error:
        return {"error": plain(error.error)}


def plain(value: BaseModel) -> Any:
    return value.model_dump(mode="json", by_alias=True)


json.dump(asyncio.run(visit(json.load(sys.stdin))), sys.stdout)
