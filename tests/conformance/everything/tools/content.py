"""Every kind of content that an answer can hold, a failure, and progress."""

import logging
from typing import Final

import anyio

from mcp_bulkhead import Embedded, Media, Text, current_call, tool
from mcp_bulkhead.errors import Failure

from ..backend import PICTURE, SILENCE
from ..models import Address, Backend, Home, Name, Region, Registered

log = logging.getLogger(__name__)
STEP_S: Final = 0.11
"""A little more than the library lets pass between two reports of progress."""


@tool(effect="read", scope="test")
async def test_simple_text() -> Text:
    """Use this to get a plain text."""
    return Text("This is a simple text response for testing.")


@tool(effect="read", scope="test")
async def test_image_content() -> Text:
    """Use this to get a picture beside a text."""
    return Text("One red pixel.", media=[Media(PICTURE, "image/png")])


@tool(effect="read", scope="test")
async def test_audio_content() -> Text:
    """Use this to get a sound beside a text."""
    return Text("A moment of silence.", media=[Media(SILENCE, "audio/wav")])


@tool(effect="read", scope="test")
async def test_embedded_resource() -> Text:
    """Use this to get a resource inside the answer."""
    body = "This is an embedded resource content."
    return Text("A resource is embedded.", embedded=[Embedded("test://embedded-resource", body, "text/plain")])


@tool(effect="read", scope="test")
async def test_multiple_content_types() -> Text:
    """Use this to get a text, a picture and a resource in one answer."""
    data = Embedded("test://mixed-content-resource", '{"test":"data","value":123}', "application/json")
    return Text("Multiple content types test:", media=[Media(PICTURE, "image/png")], embedded=[data])


@tool(effect="read", scope="test")
async def test_error_handling() -> Text:
    """Use this to see a failure."""
    raise Failure("This tool intentionally returns an error for testing.", hint="Call another tool.")


@tool(effect="read", scope="test")
async def test_tool_with_progress() -> Text:
    """Use this to see progress in three steps."""
    call = current_call()
    for done in (0, 50, 100):
        await call.progress(done, 100)
        await anyio.sleep(STEP_S)
    return Text("Done in three steps.")


@tool(effect="read", scope="test")
async def test_logging_tool() -> Text:
    """Use this to make the server write a log line, which no client ever sees."""
    log.warning("a line for the operator")
    return Text("A line was logged.")


@tool(effect="read", scope="test")
async def test_header_routing(region: Region) -> Text:
    """Use this to send an argument that is mirrored in an HTTP header."""
    return Text(f"Routed to {region}.")


@tool(effect="read", scope="test")
async def json_schema_2020_12_tool(name: Name, address: Home | None = None) -> Registered:
    """Use this to send an object inside an object."""
    home = address or Address()
    return Registered(name=name, city=home.city)


@tool(effect="write", scope="test", toolset="read")
async def test_trigger_tool_change(stage: Backend) -> Text:
    """Use this to change the list of tools by the operator's switch."""
    stage.turn_switch()
    return Text("The switch was turned.")


@tool(effect="read", scope="test")
async def test_never_called() -> Text:
    """Use this to be switched off and on again.

    Gives nothing worth having.
    """
    return Text("nothing")
