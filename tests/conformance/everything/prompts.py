"""Prompts of one text, of several messages, with pictures and embedded resources."""

from collections.abc import Sequence

from mcp_bulkhead import Embedded, Media, prompt

from .backend import PICTURE, Stage

Parts = Sequence[str | Media | Embedded]


async def towns(_: Stage, typed: str) -> list[str]:
    return [town for town in ("paris", "park", "party") if town.startswith(typed)]


@prompt(title="A simple prompt", scope="test")
async def test_simple_prompt() -> str:
    """One text."""
    return "This is a simple prompt for testing."


@prompt(
    title="A prompt with arguments",
    scope="test",
    complete={"arg1": towns},
    arg1="The first word.",
    arg2="The second word.",
)
async def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    """One text made of two words."""
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


@prompt(title="A prompt with a resource", scope="test", resourceUri="The resource to embed.")
async def test_prompt_with_embedded_resource(resourceUri: str) -> Parts:  # noqa: N803 - the suite names it
    """A resource and what to do with it."""
    embedded = Embedded(resourceUri, "Embedded resource content for testing.", "text/plain")
    return [embedded, "Please process the embedded resource above."]


@prompt(title="A prompt with a picture", scope="test")
async def test_prompt_with_image() -> Parts:
    """A picture and what to do with it."""
    return [Media(PICTURE, "image/png"), "Please analyze the image above."]
