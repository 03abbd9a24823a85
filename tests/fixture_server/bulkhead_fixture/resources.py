"""Notes as resources: every one of them fx_read can read too."""

from collections.abc import Sequence

from mcp_bulkhead import Contents, Listed, resource

from .backend import Playground
from .models import Backend


async def listing(playground: Playground) -> Sequence[Listed]:
    return [Listed(uri=f"note:///{name}", name=name, mime="text/plain") for name in playground.names()]


async def beginning_with(playground: Playground, typed: str) -> Sequence[str]:
    return [name for name in playground.names() if name.startswith(typed)]


@resource(
    "note:///{+path}",
    title="A note",
    scope="fx.notes",
    mime="text/plain",
    listing=listing,
    complete={"path": beginning_with},
    untrusted=True,
)
async def note(playground: Backend, path: str) -> Contents:
    """One note by its path."""
    return Contents(playground.note(path), "text/plain")
