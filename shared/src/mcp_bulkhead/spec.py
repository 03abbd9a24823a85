"""What a server is, as data: its identity, where its parts live, and what its tools do in a throw-away world.

Every server package has the same module names, so a spec needs to say only what differs. Nothing of the server is
imported until it is asked for: a spec is cheap to list.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    from .server import Server
    from .settings import ServerSettings

ENTRY_POINTS = "mcp_bulkhead.servers"


@dataclass(frozen=True, kw_only=True)
class World:
    """A throw-away world for one server: what to start it with, and what it may be told about the world."""

    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    facts: Mapping[str, str] = field(default_factory=dict[str, str])


Arguments = Mapping[str, Any] | Callable[[World], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Example:
    """One call and what must come of it. Documentation, demo and contract suite all run the same examples."""

    kind: Literal["tool", "resource", "prompt"]
    name: str
    arguments: Arguments = field(default_factory=dict[str, Any])
    code: str | None = None
    shows: Callable[[Any], bool] | None = None
    resource: str | None = None
    why: str = ""
    flags: tuple[str, ...] = ()

    @property
    def hostile(self) -> bool:
        return self.code is not None

    def given(self, world: World) -> dict[str, Any]:
        chosen = self.arguments(world) if callable(self.arguments) else self.arguments
        return dict(chosen)

    def address(self, world: World) -> str | None:
        """The URI of a resource example, or the one by which a hostile call would be tried as a resource."""
        uri = self.name if self.kind == "resource" else self.resource
        return None if uri is None else uri.format_map(world.facts)


def good(
    tool: str, arguments: Arguments | None = None, *, shows: Callable[[Any], bool] | None = None, why: str = ""
) -> Example:
    """A call that must succeed. `shows` sees the text of a payload tool, or the structured result of any other."""
    return Example(kind="tool", name=tool, arguments=arguments or {}, shows=shows, why=why)


def hostile(
    tool: str, arguments: Arguments | None = None, *, code: str, resource: str | None = None, why: str = ""
) -> Example:
    """A call that must be refused with `code`; `resource` is the URI by which the same attack would be tried.

    A URI may hold `{name}` of the world's facts.
    """
    return Example(kind="tool", name=tool, arguments=arguments or {}, code=code, resource=resource, why=why)


def good_resource(uri: str, *, shows: Callable[[Any], bool] | None = None, why: str = "") -> Example:
    return Example(kind="resource", name=uri, shows=shows, why=why)


def good_prompt(prompt: str, arguments: Arguments | None = None, *, why: str = "") -> Example:
    return Example(kind="prompt", name=prompt, arguments=arguments or {}, why=why)


@dataclass(frozen=True, kw_only=True)
class ServerSpec:
    """One server. `module` is the package whose settings, server and examples modules hold the rest."""

    name: str
    module: str
    title: str
    summary: str
    tool_prefix: str
    network: str = "none"
    touches: tuple[str, ...] = ()
    demo: tuple[str, ...] = ()

    @property
    def distribution(self) -> str:
        return f"mcp-bulkhead-{self.name}"

    @property
    def command(self) -> str:
        return self.distribution

    @property
    def version(self) -> str:
        return version(self.distribution)

    def settings(self) -> "type[ServerSettings]":
        return cast("type[ServerSettings]", import_module(f"{self.module}.settings").Settings)

    def build(self, settings: "ServerSettings") -> "Server":
        return cast("Server", import_module(f"{self.module}.server").build(settings))

    def examples(self) -> tuple[Example, ...]:
        return tuple(import_module(f"{self.module}.examples").EXAMPLES)

    def world(self, directory: Path) -> AbstractContextManager[World]:
        return cast("AbstractContextManager[World]", import_module(f"{self.module}.examples").world(directory))


def installed_specs(names: Iterable[str] | None = None) -> tuple[ServerSpec, ...]:
    """Every server installed beside this library, by name."""
    wanted = None if names is None else set(names)
    found = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    return tuple(cast("ServerSpec", found[name].load()) for name in sorted(found) if wanted is None or name in wanted)
