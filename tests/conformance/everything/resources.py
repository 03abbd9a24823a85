"""A text, some bytes, and a template."""

import json

from mcp_bulkhead import Contents, resource

from .backend import PICTURE


@resource("test://static-text", title="A text", scope="test", mime="text/plain")
async def static_text() -> Contents:
    """A text that never changes."""
    return Contents("This is the content of the static text resource.", "text/plain")


@resource("test://static-binary", title="A picture", scope="test", mime="image/png")
async def static_binary() -> Contents:
    """A picture that never changes."""
    return Contents(PICTURE, "image/png")


@resource("test://template/{id}/data", title="Data by id", scope="test", mime="application/json")
async def template_data(id: str) -> Contents:  # noqa: A002 - the suite names the variable
    """What is known about one id."""
    return Contents(json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"}), "application/json")
