"""The library under narrow, production-grade MCP servers: the public names, sorted; each loads when it is used."""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import run as run
    from .pipeline.call import Call as Call
    from .pipeline.call import current_call as current_call
    from .resources import Contents as Contents
    from .resources import Listed as Listed
    from .resources import prompt as prompt
    from .resources import resource as resource
    from .results import Embedded as Embedded
    from .results import Link as Link
    from .results import Media as Media
    from .results import Page as Page
    from .results import Text as Text
    from .server import Server as Server
    from .settings import ServerSettings as ServerSettings
    from .spec import Example as Example
    from .spec import ServerSpec as ServerSpec
    from .spec import World as World
    from .spec import good as good
    from .spec import good_prompt as good_prompt
    from .spec import good_resource as good_resource
    from .spec import hostile as hostile
    from .spec import installed_specs as installed_specs
    from .tools import Cursor as Cursor
    from .tools import Given as Given
    from .tools import tool as tool

HOMES: Mapping[str, str] = {
    "Call": "pipeline.call",
    "Contents": "resources",
    "Cursor": "tools",
    "Embedded": "results",
    "Example": "spec",
    "Given": "tools",
    "Link": "results",
    "Listed": "resources",
    "Media": "results",
    "Page": "results",
    "Server": "server",
    "ServerSettings": "settings",
    "ServerSpec": "spec",
    "Text": "results",
    "World": "spec",
    "current_call": "pipeline.call",
    "good": "spec",
    "good_prompt": "spec",
    "good_resource": "spec",
    "hostile": "spec",
    "installed_specs": "spec",
    "prompt": "resources",
    "resource": "resources",
    "run": "app",
    "tool": "tools",
}

__all__ = [*HOMES]  # noqa: PLE0604 - its keys are strings  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    home = HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
