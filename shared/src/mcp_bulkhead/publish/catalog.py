"""catalog.json: every server in one file, for programs that choose, install or watch them.

The models are the format: its JSON Schema is published from them, and the catalog is written through them.
"""

import hashlib
import json
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from ..settings import SettingInfo
from .bundles import LICENSE, PYTHON
from .facts import Facts, ToolFacts
from .registry import registry_name

FORMAT: Final = 1
PROTOCOLS: Final = ("2026-07-28", "2025-11-25")


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Install(Part):
    """How the server gets onto a machine and is started."""

    distribution: Annotated[str, Field(description="The Python distribution, for pip and uv.")]
    python: Annotated[str, Field(description="The Python versions it runs on.")]
    command: Annotated[str, Field(description="The console script that starts it on stdio.")]
    arguments: Annotated[list[str], Field(description="What stands behind the command, as usage shows it.")]


class Tool(Part):
    """One tool, and what may come of calling it."""

    name: str
    title: str
    toolset: Annotated[str, Field(description="The group it is offered with.")]
    default: Annotated[bool, Field(description="Whether it is offered unless the operator chooses toolsets.")]
    effect: Annotated[
        Literal["read", "write", "destroy", "send"], Field(description="The most that a call can do to the world.")
    ]
    scope: Annotated[str, Field(description="What a caller must be allowed.")]
    cost: Annotated[Literal["cheap", "moderate", "heavy"], Field(description="What a call counts against budgets.")]
    deadline_s: Annotated[float | None, Field(description="Its own limit of time; null: the server's setting.")]
    untrusted: Annotated[bool, Field(description="Whether its answers carry text that others wrote.")]
    labels: list[str]


class Permissions(Part):
    """What the server may touch, taken together."""

    scopes: Annotated[dict[str, list[str]], Field(description="Each scope and the tools that need it.")]
    effects: Annotated[list[str], Field(description="Every effect that some tool has.")]
    touches: Annotated[list[str], Field(description="The parts of the machine or of other systems that it uses.")]


class Setting(Part):
    """One setting, and the three ways to give it."""

    name: str
    flag: str
    env: Annotated[list[str], Field(description="Its environment variables, the first before the others.")]
    key: Annotated[str, Field(description="Its key in the TOML file.")]
    type: Annotated[str, Field(description="What it takes, in words.")]
    default: Annotated[str | None, Field(description="The default as people read it; null: it must be given.")]
    required: bool
    secret: Annotated[bool, Field(description="Whether it must be kept from logs, lists and command lines.")]
    common: Annotated[bool, Field(description="Whether every server has it.")]


class Server(Part):
    """One server."""

    name: str
    title: str
    summary: str
    version: str
    registry_name: str
    license: str
    protocols: Annotated[list[str], Field(description="The protocol versions it is tested with.")]
    transports: list[Literal["stdio", "streamable-http"]]
    network: Annotated[str, Field(description="What it must reach over the network; `none` when nothing.")]
    install: Install
    permissions: Permissions
    tools: list[Tool]
    resources: Annotated[list[str], Field(description="URI templates of what can be read as a resource.")]
    prompts: list[str]
    settings: list[Setting]
    digest: Annotated[
        str,
        Field(pattern="^sha256:[0-9a-f]{64}$", description="Of all that a model is told: it changes when a tool does."),
    ]


class Catalog(Part):
    """Every server of this repository."""

    format: Literal[1]
    servers: list[Server]


def catalog(all_facts: list[Facts]) -> dict[str, Any]:
    servers = [server(facts) for facts in sorted(all_facts, key=lambda facts: facts.spec.name)]
    return {"$schema": "docs/catalog.schema.json"} | Catalog(format=FORMAT, servers=servers).model_dump(mode="json")


def schema() -> dict[str, Any]:
    """The published JSON Schema of catalog.json."""
    made = Catalog.model_json_schema()
    made["properties"] = {"$schema": {"type": "string"}, **made["properties"]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | made


def server(facts: Facts) -> Server:
    spec = facts.spec
    return Server(
        name=spec.name,
        title=spec.title,
        summary=spec.summary,
        version=facts.version,
        registry_name=registry_name(spec.name),
        license=LICENSE,
        protocols=list(PROTOCOLS),
        transports=["stdio", "streamable-http"],
        network=spec.network,
        install=Install(
            distribution=spec.distribution,
            python=PYTHON,
            command=spec.command,
            arguments=[info.positional for info in facts.own_settings if info.positional],
        ),
        permissions=permissions(facts),
        tools=[tool(each) for each in facts.tools],
        resources=[each["uriTemplate"] for each in facts.templates],
        prompts=[each["name"] for each in facts.prompts],
        settings=[setting(info) for info in facts.settings],
        digest=digest(facts),
    )


def permissions(facts: Facts) -> Permissions:
    scopes: dict[str, list[str]] = {}
    for each in facts.tools:
        scopes.setdefault(each.scope, []).append(each.name)
    effects = [
        effect for effect in ("read", "write", "destroy", "send") if any(each.effect == effect for each in facts.tools)
    ]
    return Permissions(scopes=dict(sorted(scopes.items())), effects=effects, touches=list(facts.spec.touches))


def tool(each: ToolFacts) -> Tool:
    return Tool.model_validate(
        {
            "name": each.name,
            "title": each.seen.get("title", each.name),
            "toolset": each.toolset,
            "default": each.default,
            "effect": each.effect,
            "scope": each.scope,
            "cost": each.cost,
            "deadline_s": each.deadline_s,
            "untrusted": each.untrusted,
            "labels": list(each.labels),
        }
    )


def setting(info: SettingInfo) -> Setting:
    return Setting(
        name=info.name,
        flag=info.flag,
        env=list(info.env_names),
        key=info.key,
        type=info.type,
        default=info.default,
        required=info.required,
        secret=info.secret,
        common=info.common,
    )


def tools_json(facts: Facts) -> dict[str, Any]:
    """tools.json: what a client is told, word by word, and which toolset each tool comes with."""
    return {
        "server": facts.spec.name,
        "version": facts.version,
        "default_toolsets": facts.default_toolsets,
        "toolsets": facts.toolsets,
        "instructions": facts.instructions,
        "tools": [each.seen for each in facts.tools],
        "resource_templates": list(facts.templates),
        "prompts": list(facts.prompts),
    }


def digest(facts: Facts) -> str:
    """Of tools.json without its version: two releases that tell a model the same have the same digest."""
    told = {key: value for key, value in tools_json(facts).items() if key != "version"}
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
