"""Schemas every client accepts: a plain root object, one plain type per property, nothing a model API rejects.

Gemini answers one bad keyword with an error for the whole request, Cursor refuses null unions, Codex drops bounds: so
the keywords go, and what they said is repeated in the description.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, cast

DROPPED: Final = frozenset({"title", "format", "const", "pattern", "examples", "deprecated", "discriminator", "$defs"})
DATA: Final = frozenset({"default", "enum"})
"""Keywords whose value is data: what looks like a schema inside is none."""

PORTABLE: Final = (
    "type",
    "description",
    "enum",
    "properties",
    "required",
    "items",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "default",
    "additionalProperties",
)
"""All that an input schema may say, in the order it is said."""

TYPES: Final = ("string", "integer", "number", "boolean", "array", "object")
LIMITS: Final = (
    ("minimum", "maximum", ""),
    ("minLength", "maxLength", " characters"),
    ("minItems", "maxItems", " items"),
)
Node = Mapping[str, Any]


def portable(schema: Node) -> dict[str, Any]:
    """An input schema in the subset all clients take, with limits and defaults told in words.

    Raises TypeError for a parameter that has no single plain type: clients would guess one, each its own.
    """
    plain = Plain(schema.get("$defs", {}), inner_nulls=False).node(schema)
    root = narrowed(cast("dict[str, Any]", plain), "the arguments")
    return {
        "type": "object",
        "properties": root.get("properties", {}),
        **({"required": root["required"]} if root.get("required") else {}),
        "additionalProperties": False,
    }


def output(schema: Node) -> dict[str, Any]:
    """An output schema with references inlined and noise gone. A field that may be null is left out when it is."""
    return cast("dict[str, Any]", Plain(schema.get("$defs", {}), inner_nulls=True).node(schema))


@dataclass(frozen=True, slots=True)
class Plain:
    """Writes a schema without references, titles and null branches.

    A property that is null is left out; the items of a list and the values of a mapping cannot be, so that there, in
    what we send (`inner_nulls`), a null stays allowed.
    """

    definitions: Node
    inner_nulls: bool
    inside: tuple[str, ...] = ()

    def node(self, node: Any, *, a_property: bool = False) -> Any:
        if isinstance(node, list):
            return [self.node(item) for item in cast("list[Any]", node)]
        if not isinstance(node, Mapping):
            return node
        node = cast("Node", node)
        if "$ref" in node:
            return self.referred(node, a_property=a_property)
        kept = {key: value for key, value in node.items() if key not in DROPPED}
        arms = cast("list[Node]", kept.pop("anyOf", []))
        if arms:
            kept = self.one_arm(arms, a_property=a_property) | kept
        properties = cast("Node", kept.get("properties", {}))
        required = [name for name in cast("list[str]", kept.pop("required", [])) if not nullable(properties.get(name))]
        if required:
            kept["required"] = required
        return {key: self.value(key, value) for key, value in kept.items() if not (key == "default" and value is None)}

    def value(self, key: str, value: Any) -> Any:
        if key == "properties":
            return {name: self.node(each, a_property=True) for name, each in cast("Node", value).items()}
        return value if key in DATA else self.node(value)

    def referred(self, node: Node, *, a_property: bool) -> Any:
        name = str(node["$ref"]).rpartition("/")[2]
        if name in self.inside:
            return {"type": "object"}
        siblings = {key: value for key, value in node.items() if key != "$ref"}
        deeper = replace(self, inside=(*self.inside, name))
        return deeper.node({**self.definitions[name], **siblings}, a_property=a_property)

    def one_arm(self, arms: list[Node], *, a_property: bool) -> dict[str, Any]:
        """`X | None` is `X` where a null may go; any wider union says nothing of its type."""
        real = [arm for arm in arms if arm.get("type") != "null"]
        if len(real) != 1 or (self.inner_nulls and not a_property and len(arms) != len(real)):
            return {}
        return cast("dict[str, Any]", self.node(real[0], a_property=a_property))


def nullable(node: Any) -> bool:
    arms = cast("Sequence[Node]", cast("Node", node).get("anyOf", ())) if isinstance(node, Mapping) else ()
    return any(arm.get("type") == "null" for arm in arms)


def narrowed(node: dict[str, Any], name: str, *, optional: bool = False) -> dict[str, Any]:
    """`node` in the keywords all clients know; what they cannot say goes into the description."""
    kind = node.get("type")
    if kind not in TYPES:
        raise TypeError(f"{name}: a parameter has one plain type, or clients send what they guess")
    said = inclusive(node, whole=kind == "integer")
    if "enum" in node and not all(isinstance(value, str) for value in node["enum"]):
        said.append(f"one of {', '.join(map(str, node.pop('enum')))}")
    if not isinstance(node.get("additionalProperties"), bool):
        node.pop("additionalProperties", None)
    if isinstance(node.get("items"), dict):
        node["items"] = narrowed(node["items"], f"{name}[]")
    required = set(cast("list[str]", node.get("required", [])))
    properties = cast("dict[str, dict[str, Any]]", node.get("properties", {}))
    if properties:
        node["properties"] = {
            key: narrowed(each, key, optional=key not in required) for key, each in properties.items()
        }
    described(node, said, optional=optional)
    return {key: node[key] for key in PORTABLE if key in node}


def inclusive(node: dict[str, Any], *, whole: bool) -> list[str]:
    """Bounds that exclude their end as bounds that include it; what only words can say is returned."""
    said: list[str] = []
    for exclusive, inclusive_, step, word in (
        ("exclusiveMinimum", "minimum", 1, "more than"),
        ("exclusiveMaximum", "maximum", -1, "less than"),
    ):
        if exclusive not in node:
            continue
        bound = node.pop(exclusive)
        if whole and isinstance(bound, int):
            node[inclusive_] = bound + step
        else:
            said.append(f"{word} {bound}")
    return said


def described(field: dict[str, Any], said: list[str], *, optional: bool) -> None:
    """Bounds and defaults in words: several clients never show the keywords, one drops them before validating."""
    for low, high, unit in LIMITS:
        if low in field or high in field:
            said.append(bounds(field.get(low), field.get(high), unit))
    if optional and "default" in field and field["default"] not in ("", []):
        value = field["default"]
        said.append(f"default {str(value).lower() if isinstance(value, bool) else value}")
    if said:
        field["description"] = f"{str(field.get('description', '')).rstrip('.')} ({', '.join(said)}).".strip()


def bounds(low: Any, high: Any, unit: str) -> str:
    if low is None:
        return f"at most {high}{unit}"
    if high is None:
        return f"at least {low}{unit}"
    return f"{low} to {high}{unit}" if low < 0 else f"{low}-{high}{unit}"
