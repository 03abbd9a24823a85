"""The configuration of each client: for `--print-config`, the demo and the documentation.

Claude Desktop, Cursor, Windsurf and Claude Code read `mcpServers`; VS Code reads `servers` and asks for secrets itself;
Zed has `context_servers`, Codex a TOML table, Goose a YAML map. Where each file is, `CLIENTS` says.
"""

import base64
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from ..errors import Invalid
from ..settings import describe
from ..spec import ServerSpec
from .installed import absolute_arguments, completed, runnable, without_credentials
from .plain import json_text, toml_string, yaml_text

MAX_KEY: Final = 16
GOOSE_TIMEOUT_S: Final = 300


class Client(NamedTuple):
    """A client: its name for people, and where its configuration is."""

    title: str
    file: str


CLIENTS: Final[Mapping[str, Client]] = {
    "claude-desktop": Client(
        "Claude Desktop",
        "~/Library/Application Support/Claude/claude_desktop_config.json (macOS), "
        "%APPDATA%\\Claude\\claude_desktop_config.json (Windows)",
    ),
    "claude-code": Client("Claude Code", ".mcp.json in the project folder"),
    "cursor": Client("Cursor", "~/.cursor/mcp.json, or .cursor/mcp.json in the project folder"),
    "vscode": Client("VS Code", ".vscode/mcp.json in the project folder"),
    "zed": Client("Zed", "~/.config/zed/settings.json"),
    "windsurf": Client("Windsurf", "~/.codeium/windsurf/mcp_config.json"),
    "codex": Client("Codex", "~/.codex/config.toml"),
    "goose": Client("Goose", "~/.config/goose/config.yaml"),
}


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How a client starts a server. `secrets` names the variables that a client should ask its person for."""

    key: str
    title: str
    command: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    secrets: frozenset[str] = frozenset()

    def entry(self) -> dict[str, Any]:
        entry: dict[str, Any] = {"command": self.command, "args": list(self.args)}
        return entry | {"env": dict(self.env)} if self.env else entry

    def typed(self) -> dict[str, Any]:
        return {"type": "stdio", **self.entry()}


def client_config(
    spec: ServerSpec, client: str, *, command: str, args: Sequence[str] = (), env: Mapping[str, str] | None = None
) -> tuple[str, str]:
    """Where this client's configuration belongs, and its text."""
    where = file_of(client)
    known = describe(spec.settings(), spec.name)
    secrets = frozenset(name for info in known if info.secret for name in info.env_names)
    launch = Launch(
        key=config_key(spec.name), title=spec.title, command=command, args=tuple(args), env=env or {}, secrets=secrets
    )
    return where, config_text(client, launch)


def file_of(client: str) -> str:
    if client not in CLIENTS:
        raise Invalid(f"There is no configuration for {client!r}.", hint=f"Choose from: {', '.join(CLIENTS)}.")
    return CLIENTS[client].file


def config_text(client: str, launch: Launch) -> str:
    """The client's file, as if this were its only server."""
    match client:
        case "vscode":
            return json_text(vscode(launch))
        case "zed":
            return json_text({"context_servers": {launch.key: launch.entry()}})
        case "claude-code":
            return json_text({"mcpServers": {launch.key: launch.typed()}})
        case "codex":
            return codex(launch)
        case "goose":
            return yaml_text({"extensions": {launch.key: goose(launch)}})
        case _:
            return json_text({"mcpServers": {launch.key: launch.entry()}})


def config_key(name: str) -> str:
    """Client and tool name share 60 to 64 characters in several clients: a server's own part stays short."""
    return name[:MAX_KEY].strip("-")


def vscode(launch: Launch) -> dict[str, Any]:
    """VS Code keeps secrets out of the file: it asks for each once and stores it encrypted."""
    entry = launch.typed()
    asked = [name for name in launch.env if name in launch.secrets]
    for name in asked:
        entry["env"][name] = f"${{input:{input_id(name)}}}"
    inputs = [{"type": "promptString", "id": input_id(name), "description": name, "password": True} for name in asked]
    return {"servers": {launch.key: entry}} | ({"inputs": inputs} if inputs else {})


def input_id(variable: str) -> str:
    return variable.lower().replace("_", "-")


def goose(launch: Launch) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": launch.title,
        "type": "stdio",
        "enabled": True,
        "cmd": launch.command,
        "args": list(launch.args),
        "timeout": GOOSE_TIMEOUT_S,
    }
    return entry | {"envs": dict(launch.env)} if launch.env else entry


def codex(launch: Launch) -> str:
    """Codex clears the environment: what the server needs stands in `env`."""
    lines = [f"[mcp_servers.{launch.key}]", f"command = {toml_string(launch.command)}"]
    lines.append(f"args = [{', '.join(map(toml_string, launch.args))}]")
    if launch.env:
        lines += ["", f"[mcp_servers.{launch.key}.env]"]
        lines += [f"{name} = {toml_string(value)}" for name, value in launch.env.items()]
    return "\n".join(lines) + "\n"


# -- one line instead of a file ---------------------------------------------------------------------------------------


def cursor_link(launch: Launch) -> str:
    """Opens Cursor and asks whether to add the server."""
    config = base64.b64encode(json.dumps(launch.entry(), separators=(",", ":")).encode()).decode()
    return f"cursor://anysphere.cursor-deeplink/mcp/install?name={quote(launch.key)}&config={quote(config, safe='')}"


def vscode_link(launch: Launch) -> str:
    """Opens VS Code and asks whether to add the server."""
    return f"vscode:mcp/install?{quote(named(launch), safe='')}"


def vscode_command(launch: Launch) -> str:
    return f"code --add-mcp {shlex.quote(named(launch))}"


def claude_command(launch: Launch) -> str:
    env = [word for name, value in launch.env.items() for word in ("--env", f"{name}={value}")]
    return shlex.join(["claude", "mcp", "add", launch.key, *env, "--", launch.command, *launch.args])


def named(launch: Launch) -> str:
    config = vscode(launch)
    entry = {"name": launch.key, **config["servers"][launch.key]}
    return json.dumps(entry | ({"inputs": config["inputs"]} if "inputs" in config else {}), separators=(",", ":"))


# -- a configuration that runs on this machine ------------------------------------------------------------------------


def print_config(spec: ServerSpec, client: str, arguments: Sequence[str]) -> int:
    """`--print-config`: the text on stdout, ready for the file; where it belongs, and what is left to do, on stderr."""
    file_of(client)  # an unknown client is refused before anything is written
    infos = describe(spec.settings(), spec.name)
    command, before = runnable(spec)
    given = absolute_arguments(arguments, infos, Path.cwd())
    args, env = completed(without_credentials(given), infos)
    where, text = client_config(spec, client, command=command, args=[*before, *args], env=env)
    sys.stdout.write(text)
    sys.stderr.write(f"{CLIENTS[client].title}: {where}\n")
    if args != given or env:
        sys.stderr.write("Replace what stands for your own values before you use it.\n")
    return 0
