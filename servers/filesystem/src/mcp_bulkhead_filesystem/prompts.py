"""One prompt: how to get to know a folder without reading all of it."""

from mcp_bulkhead import prompt

from .backend import Files
from .models import Backend


async def folders(files: Files, typed: str) -> list[str]:
    return [found for found in await files.complete_path(typed) if found.endswith("/")]


@prompt(
    title="Orient in a folder",
    scope="fs.read",
    untrusted=True,
    complete={"path": folders},
    path="The folder; empty for all roots.",
)
async def orient_in_folder(files: Backend, path: str = "") -> str:
    """Get to know a folder: what it is, how it is laid out, where to start."""
    listing = await files.list(path or None, depth=2, ignored=False, limit=200, after=None, budget=8_000)
    return (
        "Here is a folder I want to understand. Say in a few sentences what it is, how it is laid out and where to "
        "start reading. Read its README first if it has one, then only the files that settle an open question.\n\n"
        f"{listing.text}"
    )
