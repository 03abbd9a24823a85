"""One prompt, with one word to fill in."""

from mcp_bulkhead import prompt


@prompt(title="Look around", scope="fx.read", place="Where to begin.")
async def look_around(place: str = "tides") -> str:
    """Where to begin among the notes."""
    return f"Read the notes about {place} and say in one sentence what they hold."
