"""Manifests of two more ways to install: an MCPB bundle for desktop clients, and an entry of Docker's MCP catalog.

Neither belongs into a server's folder, which has the same names everywhere: they are written to docs/bundles/<server>/.
"""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ..settings import SettingInfo
from .facts import Facts, plain_default

AUTHOR: Final = "The Bulkhead contributors"
LICENSE: Final = "Apache-2.0"
PYTHON: Final = ">=3.11"
DOCKER_TYPES: Final[Mapping[str, str]] = {"number": "number", "boolean": "boolean"}


def mcpb_manifest(facts: Facts) -> dict[str, Any]:
    """manifest.json of a bundle that holds the server's folder and lets the host's uv install what it needs."""
    spec = facts.spec
    flags = {info.name: f"${{user_config.{info.name}}}" for info in facts.own_settings}
    positional = [flags[info.name] for info in facts.own_settings if info.positional]
    env = {info.env: flags[info.name] for info in facts.own_settings if not info.positional}
    start = {"command": "uv", "args": ["run", "--directory", "${__dirname}", spec.command, *positional]}
    manifest: dict[str, Any] = {
        "manifest_version": "0.4",
        "name": spec.distribution,
        "display_name": spec.title,
        "version": facts.version,
        "description": spec.summary,
        "author": {"name": AUTHOR},
        "license": LICENSE,
        "server": {
            "type": "uv",
            "entry_point": f"src/{spec.module}/__main__.py",
            "mcp_config": start | ({"env": env} if env else {}),
        },
        "tools": [{"name": tool.name, "description": tool.description} for tool in facts.tools if tool.default],
    }
    if facts.prompts:
        manifest["prompts_generated"] = True
    if facts.own_settings:
        manifest["user_config"] = {info.name: user_config(info) for info in facts.own_settings}
    return manifest | {"compatibility": {"platforms": ["darwin", "linux", "win32"], "runtimes": {"python": PYTHON}}}


def mcpb_complaint(manifest: Path, *, node: Path, cli: Path) -> str | None:
    """What the format's own validator has against a manifest, or None. `cli`: dist/cli/cli.js of @anthropic-ai/mcpb."""
    command = [str(node), str(cli), "validate", str(manifest)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - our own words
    return None if done.returncode == 0 else (done.stdout + done.stderr).strip()


def user_config(info: SettingInfo) -> dict[str, Any]:
    """A field of the host's form. A list in a variable is one text with commas; only arguments can be repeated."""
    repeated = info.multiple and bool(info.positional)
    field: dict[str, Any] = {
        "type": "string" if info.multiple and not repeated else info.form,
        "title": info.name.replace("_", " ").capitalize(),
        "description": info.description,
        "required": info.required,
    }
    default = plain_default(info)
    field |= {} if default is None else {"default": default}
    return field | ({"multiple": True} if repeated else {}) | ({"sensitive": True} if info.secret else {})


def docker_entry(facts: Facts) -> dict[str, Any]:
    """server.yaml of Docker's catalog, but for `source`: project and commit are known when a release is submitted."""
    spec, own = facts.spec, facts.own_settings
    name = f"bulkhead-{spec.name}"
    run = docker_run(name, own)
    if spec.network == "none":
        run["disableNetwork"] = True
    entry: dict[str, Any] = {
        "name": name,
        "image": f"mcp/{name}",
        "type": "server",
        "meta": {"category": "devops", "tags": ["bulkhead", spec.name]},
        "about": {"title": spec.title, "description": spec.summary},
    }
    return entry | ({"run": run} if run else {}) | ({"config": docker_config(name, own, spec.title)} if own else {})


def docker_run(name: str, own: Sequence[SettingInfo]) -> dict[str, Any]:
    """What a person names on the command line; folders are mounted where the server will look for them."""
    commands, volumes = list[str](), list[str]()
    for info in own:
        if info.positional and info.form == "directory":
            commands.append(f"{{{{{name}.{info.name}|volume-target|into}}}}")
            volumes.append(f"{{{{{name}.{info.name}|volume|into}}}}")
        elif info.positional:
            commands.append(f"{{{{{name}.{info.name}}}}}")
    return ({"command": commands} if commands else {}) | ({"volumes": volumes} if volumes else {})


def docker_config(name: str, own: Sequence[SettingInfo], title: str) -> dict[str, Any]:
    secrets = [
        {"name": f"{name}.{info.name}", "env": info.env, "example": f"YOUR_{info.name.upper()}"}
        for info in own
        if info.secret
    ]
    shown = [info for info in own if not info.secret]
    env = [
        {"name": info.env, "example": "", "value": f"{{{{{name}.{info.name}}}}}"}
        for info in shown
        if not info.positional
    ]
    required = [info.name for info in shown if info.required]
    parameters: dict[str, Any] = {"type": "object", "properties": {info.name: docker_type(info) for info in shown}}
    config: dict[str, Any] = {"description": f"What {title} may use"}
    if secrets:
        config["secrets"] = secrets
    if env:
        config["env"] = env
    if shown:
        config["parameters"] = parameters | ({"required": required} if required else {})
    return config


def docker_type(info: SettingInfo) -> dict[str, Any]:
    one: dict[str, Any] = {"type": DOCKER_TYPES.get(info.form, "string")}
    if info.multiple and info.positional:
        return {"type": "array", "items": one}
    default = plain_default(info)
    return one if default is None else one | {"default": default}
