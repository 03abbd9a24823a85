"""What this server is made of."""

from mcp_bulkhead import Server

from . import prompts, resources
from .backend import Stage
from .settings import Settings
from .tools import content


def build(settings: Settings) -> Server:
    return Server(
        settings,
        backend=Stage(settings.kill_file),
        tools=[content],
        resources=resources,
        prompts=prompts,
        instructions="Offers what the conformance suite asks for.",
    )
