"""Looking at what one knows by name: read a file, list a folder."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from mcp_bulkhead import Cursor, Link, Media, Text, current_call, tool

from ..backend import BinaryPiece, FailedPiece, MediaPiece, Piece, Want
from ..models import Backend, Depth, Ignored, Limit, Lines, MaxTokens, Numbers, Path, Paths, Start


def files_of(arguments: Mapping[str, Any]) -> list[str]:
    """The files a call is about, without the ranges asked for."""
    paths = arguments.get("paths")
    return [Want.parse(str(path)).path for path in cast("list[Any]", paths)] if isinstance(paths, list) else []


def folder_of(arguments: Mapping[str, Any]) -> list[str]:
    """The folder a call is about; without one, the roots."""
    return [str(arguments.get("path") or ".")]


@tool(title="Read files", effect="read", scope="fs.read", targets=files_of, untrusted=True)
async def fs_read(
    files: Backend,
    paths: Paths,
    start: Start | None = None,
    lines: Lines | None = None,
    numbers: Numbers = False,
    max_tokens: MaxTokens | None = None,
) -> Text:
    """Use this to read files whose paths you know: text in any encoding, images, or what a binary is.

    Gives at most 1000 lines and 5000 tokens over all paths; each file's header says size, encoding and etag, and a
    `-- more:` line names the path to send for the rest. To look for text in many files use fs_grep.
    """
    budget = current_call().budget(max_tokens)
    wants = [Want.parse(path) for path in paths]
    pieces = await files.read(wants, start=start, lines=lines, numbers=numbers, budget=budget)
    current_call().touched(*(piece.real for piece in pieces if piece.real))
    return shown(pieces, files.mark("".join(piece.text for piece in pieces)))


def shown(pieces: Sequence[Piece], mark: str) -> Text:
    """The pieces one below the other; a call of which nothing succeeded is a failure.

    Between several files stands a mark that no file can know, so that none can pretend to end and another to begin.
    """
    failed = [piece.failure for piece in pieces if isinstance(piece, FailedPiece)]
    if len(failed) == len(pieces):
        raise failed[0]
    texts = [piece.text for piece in pieces]
    if len(texts) > 1:
        texts = [f"=={mark}{text}" for text in texts]
    return Text(
        "".join(texts),
        media=[Media(piece.data, piece.mime) for piece in pieces if isinstance(piece, MediaPiece)],
        links=[
            Link(piece.uri, piece.path, piece.mime, piece.size) for piece in pieces if isinstance(piece, BinaryPiece)
        ],
    )


@tool(title="List a folder", effect="read", scope="fs.read", targets=folder_of, untrusted=True)
async def fs_list(
    files: Backend,
    path: Path | None = None,
    depth: Depth = 1,
    ignored: Ignored = False,
    limit: Limit = 200,
    cursor: Cursor | None = None,
) -> Text:
    """Use this to see what a folder holds, or one file's size and date; without a path, the roots you may use.

    Leaves out what .gitignore leaves out and says how much. To find files by name use fs_find.
    """
    found = await files.list(
        path,
        depth=depth,
        ignored=ignored,
        limit=limit,
        after=cursor and cursor.position,
        budget=current_call().budget(None),
    )
    return Text(found.text, next=found.next)
