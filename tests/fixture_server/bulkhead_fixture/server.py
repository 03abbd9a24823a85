"""What the fixture is made of."""

from mcp_bulkhead import Server

from . import prompts, resources
from .backend import Playground
from .settings import Settings
from .tools import changing, odd, plain


def build(settings: Settings) -> Server:
    return Server(
        settings,
        backend=Playground(settings),
        tools=[plain, odd, changing],
        resources=resources,
        prompts=prompts,
        instructions="Adds numbers, reads notes, and misbehaves when asked to.",
    )
