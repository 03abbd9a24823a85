"""Files as resources: everything fs_read can read, by URI, behind the same guard."""

from collections.abc import Sequence
from typing import Any

from mcp_bulkhead import Contents, Listed, resource
from mcp_bulkhead.errors import Failure

from .backend import Files
from .backend.listing import time_of
from .models import Backend

FOLDER = "inode/directory"


async def roots(files: Files) -> Sequence[Listed]:
    """The folders opened by the operator: where every address starts."""
    return [
        Listed(uri=files.uri_of(root), name=root.name, mime=FOLDER, description="A folder you may read.")
        for root in files.roots
    ]


async def paths_like(files: Files, typed: str) -> Sequence[str]:
    return [found.removeprefix("/") for found in await files.complete_path("/" + typed)]


@resource(
    "file:///{+path}",
    title="A file or folder",
    scope="fs.read",
    listing=roots,
    complete={"path": paths_like},
    untrusted=True,
)
async def file(files: Backend, path: str) -> Contents:
    """A file's text or bytes, or a folder's listing, by absolute path."""
    try:
        opened = await files.open_resource("/" + path)
    except Failure as failure:
        if failure.reason != "is_dir":
            raise
        listing = await files.list("/" + path, depth=1, ignored=False, limit=1000, after=None, budget=100_000)
        return Contents(listing.text, "text/plain")
    meta: dict[str, Any] = {"size": opened.size, "etag": opened.etag}
    if (modified := time_of(opened.mtime_ns)) is not None:
        meta["lastModified"] = modified
    return Contents(opened.body, opened.mime, meta)
