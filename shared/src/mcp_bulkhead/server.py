"""`Server`: what one server is made of, as its `server.py` says it. The pipeline does the rest."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from types import ModuleType
from typing import Any, Protocol

from .errors import Invalid
from .resources import Prompt, Resource, prompts_in, resources_in
from .settings import ServerSettings
from .tools import Tool, tools_in


class Backend(Protocol):
    """All talk to the outside, behind one class. Entered when the first client connects, left at the end."""

    async def __aenter__(self) -> Any: ...
    async def __aexit__(self, *exc: object) -> None: ...
    async def check(self) -> dict[str, Any]:
        """Ask the system behind whether it answers; facts for `--check` and `/healthz`, or a `Failure`."""
        ...


class Server:
    """One server: its settings, its backend, and what it offers."""

    def __init__(
        self,
        settings: ServerSettings,
        *,
        backend: AbstractAsyncContextManager[Any],
        tools: Sequence[ModuleType],
        resources: ModuleType | None = None,
        prompts: ModuleType | None = None,
        instructions: str = "",
        default_toolsets: Sequence[str] = ("read",),
    ) -> None:
        self.settings = settings
        self.backend = backend
        self.instructions = " ".join(instructions.split())
        declared = tools_in(tools)
        self.toolsets = tuple(dict.fromkeys(tool.toolset for tool in declared))
        self.tools: tuple[Tool, ...] = chosen(declared, settings, self.toolsets, default_toolsets)
        self.resources: tuple[Resource, ...] = resources_in(resources)
        self.prompts: tuple[Prompt, ...] = prompts_in(prompts)
        named = (*declared, *self.resources, *self.prompts)
        self.names = frozenset(each.name for each in named)
        """All that an operator may switch off by name, offered now or not."""


def chosen(
    declared: Sequence[Tool], settings: ServerSettings, known: Sequence[str], default: Sequence[str]
) -> tuple[Tool, ...]:
    """The tools this operator wants: the chosen toolsets, and with `--read-only` no tool that changes anything."""
    wanted = settings.toolsets or tuple(default)
    unknown = [name for name in wanted if name not in known and name != "all"]
    if unknown:
        raise Invalid(
            f"There is no toolset {unknown[0]!r}.", field="toolsets", hint=f"Choose from: {', '.join(known)}, or all."
        )
    return tuple(
        tool
        for tool in declared
        if ("all" in wanted or tool.toolset in wanted) and (tool.reads or not settings.read_only)
    )
