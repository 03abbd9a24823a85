"""A configuration that `--print-config` shows is started as it stands, by a client of the kind that will read it."""

import json
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from mcp_bulkhead import ServerSpec, World, installed_specs
from mcp_bulkhead.publish.clients import CLIENTS
from mcp_bulkhead.publish.installed import PLACE

from .parts import DRIVERS, NODE_HOME, node, npm_package, run

Entry = Mapping[str, Any]


def yaml(text: str) -> Any:
    npm_package("yaml", "package.json")
    return run([node(), DRIVERS / "yaml.cjs"], given=text, env=NODE_HOME).json()


PARSED: Final[Mapping[str, Callable[[str], Any]]] = {"codex": tomllib.loads, "goose": yaml}
SERVERS: Final[Mapping[str, str]] = {
    "vscode": "servers",
    "zed": "context_servers",
    "codex": "mcp_servers",
    "goose": "extensions",
}
"""Where a client looks for its servers; all others call it `mcpServers`."""


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("spec", [pytest.param(spec, id=spec.name) for spec in installed_specs()])
def test_a_printed_configuration_starts_as_it_stands(spec: ServerSpec, client: str, tmp_path: Path):
    printed = run([sys.executable, "-m", spec.module, "--print-config", client])
    assert printed.code == 0, printed.err
    with spec.world(tmp_path / "world") as world:
        config = PARSED.get(client, json.loads)(filled(printed.out, world))
        (entry,) = config[SERVERS.get(client, "mcpServers")].values()
        seen = started(entry, world, tmp_path / "home")
    assert {tool["name"] for tool in seen["listed"]["tools"]} >= {
        example.name for example in spec.examples() if example.kind == "tool"
    }


def filled(text: str, world: World) -> str:
    """What a person replaces: the folder that stands for their own."""
    assert PLACE in text
    return text.replace(PLACE, world.arguments[0])


def started(entry: Entry, world: World, home: Path) -> Any:
    """What the client of most desktop programs sees. Like them it passes on little of its own environment."""
    npm_package("@modelcontextprotocol/sdk", "package.json")
    home.mkdir()
    server = {
        "command": entry.get("command", entry.get("cmd")),
        "args": entry["args"],
        "env": {**entry.get("env", entry.get("envs", {})), **world.environment},
    }
    command = [node(), DRIVERS / "typescript1.cjs"]
    return run(command, given={"server": server, "calls": []}, env={**NODE_HOME, "HOME": str(home)}).json()
