"""server.json: how the public MCP registry knows a server, by its schema of 2025-12-11."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from ..settings import SettingInfo
from .facts import Facts, plain_default

SCHEMA: Final = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json"
NAMESPACE: Final = "io.github.mcp-bulkhead"
NAME: Final = re.compile(r"[a-zA-Z0-9.-]+/[a-zA-Z0-9._-]+")
MAX_TEXT: Final = 100
NAME_CHARS: Final = range(3, 201)
FORMATS: Final[Mapping[str, str]] = {
    "directory": "filepath",
    "file": "filepath",
    "number": "number",
    "boolean": "boolean",
}


def registry_name(name: str) -> str:
    return f"{NAMESPACE}/{name}"


def ownership_mark(name: str) -> str:
    """The registry looks for this line in the package's README: proof that both have one publisher."""
    return f"<!-- mcp-name: {registry_name(name)} -->"


def server_json(facts: Facts) -> dict[str, Any]:
    spec = facts.spec
    package: dict[str, Any] = {
        "registryType": "pypi",
        "identifier": spec.distribution,
        "version": facts.version,
        "runtimeHint": "uvx",
        "transport": {"type": "stdio"},
    }
    arguments = [argument(info) for info in facts.own_settings if info.positional]
    variables = [variable(info) for info in facts.own_settings if not info.positional]
    return {
        "$schema": SCHEMA,
        "name": registry_name(spec.name),
        "title": spec.title,
        "description": spec.summary,
        "version": facts.version,
        "packages": [
            package
            | ({"packageArguments": arguments} if arguments else {})
            | ({"environmentVariables": variables} if variables else {})
        ],
    }


def argument(info: SettingInfo) -> dict[str, Any]:
    return {"type": "positional", "valueHint": info.name, "isRepeated": info.multiple, **asked(info)}


def variable(info: SettingInfo) -> dict[str, Any]:
    return {"name": info.env, **asked(info), "isSecret": info.secret}


def asked(info: SettingInfo) -> dict[str, Any]:
    default = plain_default(info)
    return {
        "description": info.description,
        "isRequired": info.required,
        "format": FORMATS.get(info.form, "string"),
        **({} if default is None else {"default": str(default).lower()}),
    }


def problems(document: Mapping[str, Any]) -> Iterator[str]:
    """What the registry would refuse. The documented requirements in our own words; its own schema is the last word."""
    for key in ("$schema", "description", "version", "packages"):
        if not document.get(key):
            yield f"{key} is missing"
    name = str(document.get("name", ""))
    if not (len(name) in NAME_CHARS and NAME.fullmatch(name)):
        yield f"name {name!r} is missing or not of the form namespace/name"
    for key in ("title", "description"):
        if len(str(document.get(key, "x"))) > MAX_TEXT:
            yield f"{key} has more than {MAX_TEXT} characters"
    for package in cast("list[Mapping[str, Any]]", document.get("packages", [])):
        yield from package_problems(package)


def package_problems(package: Mapping[str, Any]) -> Iterator[str]:
    for key in ("registryType", "identifier", "version", "transport"):
        if not package.get(key):
            yield f"packages: {key} is missing"
    version = str(package.get("version", ""))
    if not re.fullmatch(r"\d+\.\d+\.\d+([.+-]?[0-9A-Za-z.+-]+)?", version):
        yield f"packages: version {version!r} is not one exact version"
    if "registryBaseUrl" in package:
        yield "packages: registryBaseUrl names a host; the default is meant"
    for each in cast("list[Mapping[str, Any]]", package.get("packageArguments", [])):
        if each.get("type") not in ("positional", "named"):
            yield "packages: an argument is neither positional nor named"
        elif each["type"] == "positional" and not (each.get("valueHint") or each.get("value")):
            yield "packages: a positional argument has neither valueHint nor value"
    for each in cast("list[Mapping[str, Any]]", package.get("environmentVariables", [])):
        if not each.get("name"):
            yield "packages: an environment variable has no name"
