"""Which JSON Schemas every client and every model API takes, judged on the published text."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, cast

MAX_BYTES: Final = 8 * 1024
TYPES: Final = frozenset({"string", "integer", "number", "boolean", "array", "object"})
LIMITS: Final = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")
INPUT_KEYS: Final = frozenset(
    {
        "type",
        "description",
        "enum",
        "default",
        "items",
        "properties",
        "required",
        "additionalProperties",
        "uniqueItems",
        *LIMITS,
    }
)
OUTPUT_KEYS: Final = INPUT_KEYS | {"title"}
PARAMETER: Final = re.compile(r"[a-zA-Z0-9_.-]{1,64}")
GENERATED: Final = re.compile(r"\s*\([^()]*\)\.?$")

Schema = Mapping[str, Any]


class Problem(NamedTuple):
    rule: str
    place: str
    message: str


def input_problems(schema: Schema) -> Iterator[Problem]:
    yield from root_problems(schema)
    yield from node_problems(schema, "", INPUT_KEYS, typed=True)
    yield from required_problems(schema)


def output_problems(schema: Schema) -> Iterator[Problem]:
    """Clients validate answers, models rarely see this: a cell of a table may be of any type."""
    yield from root_problems(schema)
    yield from node_problems(schema, "", OUTPUT_KEYS, typed=False)


def root_problems(schema: Schema) -> Iterator[Problem]:
    if schema.get("type") != "object" or not isinstance(schema.get("properties"), Mapping):
        yield Problem("schema-portable", "", "the root is not a plain object with properties")
    size = len(json.dumps(schema, separators=(",", ":"), ensure_ascii=False).encode())
    if size > MAX_BYTES:
        yield Problem("schema-size", "", f"{size} bytes; at most {MAX_BYTES}")
    for draft, error in invalid_in(schema):
        yield Problem("schema-valid", "", f"not valid in {draft}: {error}")


def invalid_in(schema: Schema) -> Iterator[tuple[str, str]]:
    from jsonschema import Draft7Validator, Draft202012Validator, SchemaError

    for draft, validator in (("2020-12", Draft202012Validator), ("draft-07", Draft7Validator)):
        try:
            validator.check_schema(schema)
        except SchemaError as error:
            yield draft, error.message[:120]


def required_problems(schema: Schema) -> Iterator[Problem]:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    for name in required:
        if name not in properties:
            yield Problem("schema-portable", f".{name}", "required, but not a property")
        elif "default" in properties[name]:
            yield Problem("schema-portable", f".{name}", "required, and yet it has a default")
    for name in properties:
        if not PARAMETER.fullmatch(name):
            yield Problem("schema-portable", f".{name}", "a model API refuses this property name")
    if schema.get("additionalProperties") is not False:
        yield Problem("schema-portable", "", "unknown arguments are not refused")


def node_problems(node: Any, place: str, allowed: frozenset[str], *, typed: bool) -> Iterator[Problem]:
    if not isinstance(node, Mapping):
        yield Problem("schema-portable", place, "a schema that is not an object")
        return
    node = cast("Schema", node)
    strange = sorted(set(node) - allowed)
    if strange:
        yield Problem("schema-portable", place, f"not understood everywhere: {', '.join(strange)}")
    yield from type_problems(node, place, typed=typed)
    properties = node.get("properties", {})
    for name, each in cast("Schema", properties).items() if isinstance(properties, Mapping) else ():
        yield from node_problems(each, f"{place}.{name}", allowed, typed=typed)
    if "items" in node:
        yield from node_problems(node["items"], f"{place}[]", allowed, typed=typed)
    further = node.get("additionalProperties")
    if isinstance(further, Mapping):
        yield from node_problems(further, f"{place}.*", allowed, typed=typed)


def type_problems(node: Schema, place: str, *, typed: bool) -> Iterator[Problem]:
    kind = node.get("type")
    if (typed or "type" in node) and not (isinstance(kind, str) and kind in TYPES):
        yield Problem("schema-portable", place, "not exactly one plain type")
    if kind == "array" and typed and "items" not in node:
        yield Problem("schema-portable", place, "an array whose items have no type")
    if "enum" in node and not all(isinstance(each, str) for each in node["enum"]):
        yield Problem("schema-portable", place, "an enum of something else than strings")
    if "default" in node and node["default"] is None:
        yield Problem("schema-portable", place, "a default of null")


def own_words(schema: Schema) -> str:
    """The description without the bounds and defaults that are put behind it."""
    return GENERATED.sub("", str(schema.get("description", "")))
