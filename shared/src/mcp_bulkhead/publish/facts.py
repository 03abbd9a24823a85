"""What a server is, asked over MCP like a client asks, and joined with what its declarations add."""

import json
import os
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from ..settings import ServerSettings, SettingInfo, describe, parse
from ..spec import ServerSpec, World
from .codes import FailureCode, codes_in

if TYPE_CHECKING:
    from ..tools import Tool

LIBRARY: Final = "mcp_bulkhead"
EXAMPLE_PLACE: Final = "/example"
"""Stands in generated text where the throw-away world's folder was: no machine's path is published."""

NUMBER: Final = re.compile(r"-?\d+(\.\d+)?")

Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ToolFacts:
    """One tool: `seen` is the entry a client gets from tools/list; the rest only its declaration knows."""

    seen: Json
    toolset: str
    default: bool
    effect: str
    scope: str
    cost: str
    deadline_s: float | None
    idempotent: bool
    open_world: bool
    untrusted: bool
    personal: bool
    labels: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return str(self.seen["name"])

    @property
    def description(self) -> str:
        return str(self.seen.get("description", ""))

    @property
    def parameters(self) -> Mapping[str, Json]:
        return cast("Mapping[str, Json]", self.seen["inputSchema"].get("properties", {}))

    @property
    def required(self) -> frozenset[str]:
        return frozenset(cast("list[str]", self.seen["inputSchema"].get("required", [])))


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything that is published about one server."""

    spec: ServerSpec
    version: str
    instructions: str
    tools: tuple[ToolFacts, ...]
    templates: tuple[Json, ...]
    prompts: tuple[Json, ...]
    settings: tuple[SettingInfo, ...]
    codes: Mapping[str, FailureCode]
    refused: tuple[tuple[str, str], ...]
    """Tool and code of every hostile example."""

    @property
    def own_settings(self) -> tuple[SettingInfo, ...]:
        return tuple(info for info in self.settings if not info.common)

    @property
    def toolsets(self) -> dict[str, list[str]]:
        """Every toolset and its tools, in the order in which they are declared."""
        sets: dict[str, list[str]] = {}
        for tool in self.tools:
            sets.setdefault(tool.toolset, []).append(tool.name)
        return sets

    @property
    def default_toolsets(self) -> list[str]:
        return list(dict.fromkeys(tool.toolset for tool in self.tools if tool.default))


def gather_all(specs: Sequence[ServerSpec]) -> list[Facts]:
    """The facts of every server, in the order of their names. Not for use inside a running event loop."""
    import anyio

    async def each() -> list[Facts]:
        return [await gather(spec) for spec in sorted(specs, key=lambda spec: spec.name)]

    return anyio.run(each)


async def gather(spec: ServerSpec) -> Facts:
    """Build the server in its example world and ask it what it offers: with every toolset, and with the usual ones."""
    with TemporaryDirectory(prefix="bulkhead-docs-") as folder:
        place, state = room_in(Path(folder))
        with spec.world(place) as world:
            every = await asked(spec, world, state, "--toolsets", "all")
            usual = await asked(spec, world, state)
    return Facts(
        spec=spec,
        version=spec.version,
        instructions=without_place(usual.instructions, str(place)),
        tools=tuple(
            tool_facts(seen, every.declared[seen["name"]], default=seen["name"] in usual.declared)
            for seen in without_place(every.tools, str(place))
        ),
        templates=tuple(without_place(every.templates, str(place))),
        prompts=tuple(without_place(every.prompts, str(place))),
        settings=tuple(describe(spec.settings(), spec.name)),
        codes=codes_in(LIBRARY, spec.module),
        refused=tuple(dict.fromkeys((each.name, each.code) for each in spec.examples() if each.code is not None)),
    )


def room_in(folder: Path) -> tuple[Path, Path]:
    """Where the example world is made, and beside it the server's state."""
    world = folder / "world"
    world.mkdir()
    return world, folder / "state"


class Answers(NamedTuple):
    """What one client was told, and the declarations that the server holds."""

    instructions: str
    tools: list[Json]
    templates: list[Json]
    prompts: list[Json]
    declared: Mapping[str, "Tool"]


async def asked(spec: ServerSpec, world: World, state: Path, *flags: str) -> Answers:
    """One client's view of the server, and the declarations behind its tools."""
    from mcp.client import Client

    from ..app import assemble

    server = assemble(spec, settings_of(spec, world, state, flags))
    async with Client(server) as client:
        return Answers(
            instructions=client.instructions or "",
            tools=await pages(client.list_tools, "tools"),
            templates=await pages(client.list_resource_templates, "resource_templates"),
            prompts=await pages(client.list_prompts, "prompts"),
            declared=dict(server.declared),
        )


def settings_of(spec: ServerSpec, world: World, state: Path, flags: Sequence[str]) -> ServerSettings:
    """The settings of the example world and nothing of this machine: no variable, no state folder, no audit."""
    parsed = parse(
        spec.settings(),
        server=spec.name,
        version=spec.version,
        description=spec.summary,
        argv=[*world.arguments, "--state-dir", str(state), "--no-audit", *flags],
        environ=dict(world.environment),
    )
    assert parsed.settings is not None
    return parsed.settings


async def pages(ask: Callable[..., Awaitable[Any]], what: str) -> list[Json]:
    """Every page of a listing, each entry as it goes over the wire."""
    cursor, entries = None, list[Json]()
    while True:
        page = await ask(cursor=cursor)
        entries += [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in getattr(page, what)]
        cursor = page.next_cursor
        if not cursor:
            return entries


def tool_facts(seen: Json, declared: "Tool", *, default: bool) -> ToolFacts:
    return ToolFacts(
        seen=seen,
        toolset=declared.toolset,
        default=default,
        effect=declared.effect,
        scope=declared.scope,
        cost=declared.cost,
        deadline_s=declared.deadline_s,
        idempotent=declared.idempotent,
        open_world=declared.open_world,
        untrusted=declared.untrusted,
        personal=declared.personal,
        labels=declared.labels,
    )


def plain_default(info: SettingInfo) -> bool | float | None:
    """The default of a switch or a number as a value, for forms that would otherwise show "off" or nothing."""
    if info.form == "boolean" and info.default in ("true", "false"):
        return info.default == "true"
    if info.form == "number" and info.default is not None and NUMBER.fullmatch(info.default):
        return json.loads(info.default)
    return None


def without_place(value: Any, folder: str) -> Any:
    """`value` with the throw-away world's folder called the same on every machine."""
    if isinstance(value, str):
        for place in (os.path.realpath(folder), folder):
            value = value.replace(place, EXAMPLE_PLACE)
        return value
    if isinstance(value, list):
        return [without_place(item, folder) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: without_place(item, folder) for key, item in cast("dict[str, Any]", value).items()}
    return value
