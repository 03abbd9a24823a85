"""The yardstick: the SDK's own server with the handlers a careless author would write."""

import sys
from pathlib import Path

from mcp.server.mcpserver import MCPServer

server = MCPServer("bare")
root = Path(sys.argv[1])


@server.tool(structured_output=False)
async def nothing(path: str) -> str:
    return path


@server.tool(structured_output=False)
async def read(path: str) -> str:
    return (root / path).read_text()


server.run()
