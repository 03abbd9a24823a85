"""What clients and model APIs do to tool lists, as rules: each function says in sentences what breaks them."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

MAX_TOOL_NAME: Final = 32
MAX_SERVER_KEY: Final = 16
MAX_DESCRIPTION: Final = 1_000
MAX_SCHEMA_BYTES: Final = 8 * 1024
MAX_TOOLS: Final = 15
TYPES: Final = frozenset({"string", "integer", "number", "boolean", "array", "object"})
KNOWN: Final = frozenset(
    {"type", "description", "enum", "items", "properties", "required", "additionalProperties", "default"}
    | {"minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"}
)
"""The keywords that no client and no model API refuses."""

HINTS: Final = ("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint")
PROPERTY: Final = re.compile(r"^[a-zA-Z0-9_.-]{1,64}$")
Tool = Mapping[str, Any]
Schema = Mapping[str, Any]


def name_problems(tool: Tool, prefix: str) -> Iterator[str]:
    name = str(tool["name"])
    if not re.fullmatch(r"[a-z0-9_]+", name) or len(name) > MAX_TOOL_NAME:
        yield f"{name}: a name is at most {MAX_TOOL_NAME} of [a-z0-9_]"
    if not name.startswith(prefix):
        yield f"{name}: does not begin with {prefix!r}"


def presentation_problems(tool: Tool) -> Iterator[str]:
    name, description = tool["name"], str(tool.get("description", ""))
    if not tool.get("title"):
        yield f"{name}: has no title"
    if not description.strip():
        yield f"{name}: has no description"
    if len(description) > MAX_DESCRIPTION:
        yield f"{name}: its description has {len(description)} characters, more than {MAX_DESCRIPTION}"
    hints = cast("Mapping[str, Any]", tool.get("annotations") or {})
    yield from (f"{name}: {hint} is not said" for hint in HINTS if not isinstance(hints.get(hint), bool))
    if hints.get("readOnlyHint") and hints.get("destructiveHint"):
        yield f"{name}: says that it only reads, and that it destroys"


def schema_problems(schema: Schema) -> Iterator[str]:
    """What keeps an input schema from being taken by every client."""
    if schema.get("type") != "object" or not isinstance(schema.get("properties"), Mapping):
        yield "the root is no plain object with properties"
    if schema.get("additionalProperties") is not False:
        yield "the root is open"
    size = len(json.dumps(schema).encode())
    if size > MAX_SCHEMA_BYTES:
        yield f"has {size} bytes, more than {MAX_SCHEMA_BYTES}"
    yield from node_problems(schema, "arguments")


def node_problems(node: Schema, path: str) -> Iterator[str]:
    kind = node.get("type")
    if not isinstance(kind, str) or kind not in TYPES:
        yield f"{path}: has no single plain type"
    yield from (f"{path}: uses {key}" for key in node if key not in KNOWN)
    if "enum" in node and not all(isinstance(value, str) for value in node["enum"]):
        yield f"{path}: an enum of something else than text"
    if "default" in node and node["default"] is None:
        yield f"{path}: a default of null"
    if kind == "array":
        if isinstance(node.get("items"), Mapping):
            yield from node_problems(node["items"], f"{path}[]")
        else:
            yield f"{path}: a list of what?"
    for name, each in cast("Mapping[str, Schema]", node.get("properties", {})).items():
        if not PROPERTY.match(name):
            yield f"{path}.{name}: a name some model APIs refuse"
        yield from node_problems(each, f"{path}.{name}")


def description_problems(schema: Schema, path: str = "arguments") -> Iterator[str]:
    """Parameters without a word, and limits that are said in keywords only."""
    for name, each in cast("Mapping[str, Schema]", schema.get("properties", {})).items():
        said = str(each.get("description", ""))
        if not said.strip():
            yield f"{path}.{name}: is not described"
        yield from (
            f"{path}.{name}: {limit} {each[limit]} is not said in words"
            for limit in ("minimum", "maximum", "maxLength", "maxItems")
            if limit in each and plain_number(each[limit]) not in said
        )
        yield from description_problems(each, f"{path}.{name}")


def plain_number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else str(value)


def dialect_problems(schema: Schema) -> Iterator[str]:
    """Whether a schema is one, in both dialects clients check against."""
    from jsonschema import Draft7Validator, Draft202012Validator

    for name, checker in (("2020-12", Draft202012Validator), ("draft-07", Draft7Validator)):
        for where in breaches(checker(dict(checker.META_SCHEMA)), schema):
            yield f"is no {name} schema at {where}"


def output_problems(schema: Schema) -> Iterator[str]:
    if schema.get("type") != "object":
        yield "the root of an output schema is an object"
    if "$ref" in json.dumps(schema):
        yield "has a reference"


def invalid(value: Any, schema: Schema) -> list[str]:
    """Where `value` breaks `schema`, without the value."""
    from jsonschema import Draft202012Validator

    return breaches(Draft202012Validator(dict(schema)), value)


def breaches(checker: Any, value: Any) -> list[str]:
    return [f"{error.json_path}: {error.validator}" for error in checker.iter_errors(value)]


def listing_bytes(tools: Sequence[Tool]) -> bytes:
    return json.dumps(list(tools), separators=(",", ":"), ensure_ascii=False).encode()
