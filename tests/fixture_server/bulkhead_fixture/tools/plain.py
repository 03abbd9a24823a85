"""What any server does: text, a record, rows, a place that may be read."""

from mcp_bulkhead import Cursor, Page, Text, tool

from ..models import Backend, Count, Item, Limit, MaxTokens, NotePath, Sum, Tags, Unit, Whole, Words


@tool(title="Say it back", effect="read", scope="fx.read", untrusted=True)
async def fx_echo(text: Words = "nothing") -> Text:
    """Use this to hear a text again.

    At most 2000 characters. To read a note use fx_read.
    """
    return Text(text)


@tool(title="Add", effect="read", scope="fx.read")
async def fx_add(first: Whole, second: Whole = 0, unit: Unit | None = None, tags: Tags | None = None) -> Sum:
    """Use this to add two whole numbers.

    Each between minus and plus one million; gives `total`, and the unit when one was sent.
    """
    return Sum(total=first + second, unit=unit, tags=tags or [])


@tool(title="Count rows", effect="read", scope="fx.read")
async def fx_rows(
    count: Count = 10, limit: Limit = 50, max_tokens: MaxTokens | None = None, cursor: Cursor | None = None
) -> Page[Item]:
    """Use this to page through numbered rows.

    Gives up to `limit` of `count` rows, and `next` when there are more.
    """
    start = cursor.position if cursor else 0
    rows = [
        Item(number=n, label=f"row {n}", odd=True if n % 2 else None) for n in range(start, min(start + limit, count))
    ]
    return Page[Item].of(rows, after=lambda row: row.number + 1, more=start + limit < count)


@tool(title="Read a note", effect="read", scope="fx.notes", targets="{path}", untrusted=True)
async def fx_read(playground: Backend, path: NotePath) -> Text:
    """Use this to read one note whose path you know.

    Gives its text; notes are short.
    """
    return Text(playground.note(path))
