"""The one tool that changes something."""

from mcp_bulkhead import tool

from ..models import Backend, Done, NotePath, Words


@tool(toolset="write", title="Keep a note", effect="write", scope="fx.write", targets="{path}", personal=True)
async def fx_keep(playground: Backend, path: NotePath, text: Words) -> Done:
    """Use this to keep a text as a note, in place of what was there.

    Gives the path and the size in bytes.
    """
    return Done(path=path, bytes=playground.keep(path, text))
