"""Looking for what one does not know by name: find files, search inside them."""

from typing import Final

from mcp_bulkhead import Cursor, Text, current_call, tool

from ..models import (
    Backend,
    Context,
    Glob,
    IgnoreCase,
    Ignored,
    Kind,
    Limit,
    Literal_,
    MaxTokens,
    Mode,
    OnlyGlob,
    Path,
    Pattern,
)
from .reading import folder_of

MOST_NAMED: Final = 50
"""Files whose lines a search showed, as the record names them."""


@tool(title="Find files", effect="read", scope="fs.read", targets=folder_of, untrusted=True, cost="moderate")
async def fs_find(
    files: Backend,
    glob: Glob,
    path: Path | None = None,
    type: Kind | None = None,  # noqa: A002 - the name a model expects
    ignored: Ignored = False,
    limit: Limit = 200,
    cursor: Cursor | None = None,
) -> Text:
    """Use this to find files or folders by name or path pattern, below one folder or all roots.

    Answers with sorted paths and counts what was skipped. To search inside files use fs_grep.
    """
    found = await files.find(
        glob,
        path=path,
        kind=type,
        ignored=ignored,
        limit=limit,
        after=cursor and cursor.position,
        budget=current_call().budget(None),
    )
    return Text(found.text, next=found.next)


@tool(title="Search in files", effect="read", scope="fs.read", targets=folder_of, untrusted=True, cost="moderate")
async def fs_grep(
    files: Backend,
    pattern: Pattern,
    path: Path | None = None,
    glob: OnlyGlob | None = None,
    literal: Literal_ = False,
    ignore_case: IgnoreCase = False,
    context: Context = 0,
    mode: Mode = "lines",
    ignored: Ignored = False,
    limit: Limit = 100,
    max_tokens: MaxTokens | None = None,
    cursor: Cursor | None = None,
) -> Text:
    """Use this to search text inside files: matching lines as `path:line: text`, or only files, or counts.

    Stops after 4 seconds or 5000 tokens with a cursor to go on; binary files are skipped and counted. When you know the
    file, fs_read is enough.
    """
    call = current_call()
    found = await files.grep(
        pattern,
        path=path,
        glob=glob,
        literal=literal,
        ignore_case=ignore_case,
        context=context,
        mode=mode,
        ignored=ignored,
        limit=limit,
        after=cursor and cursor.position,
        budget=call.budget(max_tokens),
        progress=call.progress,
    )
    call.touched(*dict.fromkeys(hit.path for hit in found.hits[:MOST_NAMED]))
    return Text(found.text, next=found.next)
