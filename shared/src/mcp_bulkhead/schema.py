"""Schemas every client accepts: a plain root object, one plain type per property, nothing a model API rejects.

Gemini answers one bad keyword with an error for the whole request, Cursor refuses null unions, Codex drops bounds: so the
keywords go, and what they said is repeated in the description.
"""

from collections.abc import Mapping
from typing import Any, Final, cast

DROPPED: Final = frozenset({"title", "format", "const", "pattern", "examples", "deprecated", "discriminator", "$defs"})
LIMITS: Final = (("minimum", "maximum", ""), ("minLength", "maxLength", " characters"), ("minItems", "maxItems", " items"))


def portable(schema: Mapping[str, Any]) -> dict[str, Any]:
    """An input schema in the subset all clients take, with limits and defaults told in words."""
    shaped = output(schema)
    properties = cast("dict[str, dict[str, Any]]", shaped.setdefault("properties", {}))
    required = set(cast("list[str]", shaped.get("required", [])))
    for name, each in properties.items():
        described(each, optional=name not in required)
    shaped["type"] = "object"
    shaped["additionalProperties"] = False
    return {key: shaped[key] for key in ("type", "properties", "required", "additionalProperties") if key in shaped}


def output(schema: Mapping[str, Any]) -> dict[str, Any]:
    """An output schema with references inlined and noise gone."""
    return cast("dict[str, Any]", inlined(schema, cast("Mapping[str, Any]", schema.get("$defs", {})), ()))


def inlined(node: Any, definitions: Mapping[str, Any], inside: tuple[str, ...]) -> Any:
    if isinstance(node, list):
        return [inlined(item, definitions, inside) for item in cast("list[Any]", node)]
    if not isinstance(node, Mapping):
        return node
    node = cast("Mapping[str, Any]", node)
    if "$ref" in node:
        name = str(node["$ref"]).rpartition("/")[2]
        if name in inside:
            return {"type": "object"}
        siblings = {key: value for key, value in node.items() if key != "$ref"}
        return inlined({**definitions[name], **siblings}, definitions, (*inside, name))
    kept = {key: value for key, value in node.items() if key not in DROPPED or (key == "title" and not isinstance(value, str))}
    arms = cast("list[Mapping[str, Any]]", kept.pop("anyOf", []))
    if arms:
        kept |= one_arm(arms, definitions, inside)
    if "properties" in kept:
        properties = cast("Mapping[str, Any]", kept.pop("properties"))
        kept["properties"] = {key: inlined(value, definitions, inside) for key, value in properties.items()}
    return {
        key: value if key == "properties" else inlined(value, definitions, inside)
        for key, value in kept.items()
        if not (key == "default" and value is None)
    }


def one_arm(arms: list[Mapping[str, Any]], definitions: Mapping[str, Any], inside: tuple[str, ...]) -> dict[str, Any]:
    """`X | None` is `X`; any wider union has no portable form and says nothing about its type."""
    real = [arm for arm in arms if arm.get("type") != "null"]
    return cast("dict[str, Any]", inlined(real[0], definitions, inside)) if len(real) == 1 else {}


def described(field: dict[str, Any], *, optional: bool) -> None:
    """Bounds and defaults in words: several clients never show the keywords, one drops them before validating."""
    said: list[str] = []
    for low, high, unit in LIMITS:
        if low in field or high in field:
            said.append(bounds(field.get(low), field.get(high), unit))
    if optional and "default" in field and field["default"] not in ("", []):
        said.append(f"default {str(field['default']).lower() if isinstance(field['default'], bool) else field['default']}")
    if said:
        field["description"] = f"{field.get('description', '').rstrip('.')} ({', '.join(said)})."


def bounds(low: Any, high: Any, unit: str) -> str:
    if low is None:
        return f"at most {high}{unit}"
    if high is None:
        return f"at least {low}{unit}"
    return f"{low}-{high}{unit}"
