"""Arguments as they really arrive: null for "left out", JSON inside a string, "" from a form that fills every field.

What can only have one meaning is understood; what could have two is refused with the field and the problem, never the
value. No filler ever gets a dangerous meaning: it means "left out", and the default is the safe choice.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, cast

from pydantic import ValidationError

from .errors import Invalid

FILLERS: Final = (None, "null", "None", "undefined")
MAX_PROBLEMS: Final = 5
MAX_NAME: Final = 64
PLAIN_WORDS: Final[Mapping[str, str]] = {
    "missing": "is required",
    "extra_forbidden": "is not an argument of this tool",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be an object",
}


def understood(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """`arguments` with fillers left out and JSON-in-a-string unpacked, judged by the published schema."""
    properties = cast("Mapping[str, Mapping[str, Any]]", schema.get("properties", {}))
    required = frozenset(cast("list[str]", schema.get("required", [])))
    kept: dict[str, Any] = {}
    for name, value in arguments.items():
        declared = properties.get(name)
        if declared is None:
            kept[name] = value
            continue
        if name not in required and is_filler(value, declared):
            continue
        kept[name] = unpacked(value, declared)
    return kept


def is_filler(value: Any, declared: Mapping[str, Any]) -> bool:
    if value is None or (isinstance(value, str) and value in FILLERS):
        return True
    if value == "":
        return declared.get("type") != "string" or "enum" in declared or "default" not in declared
    return (
        isinstance(value, list)
        and declared.get("type") != "array"
        and cast("list[Any]", value) in ([], [None], ["null"])
    )


def unpacked(value: Any, declared: Mapping[str, Any]) -> Any:
    """A string where a list, object, number or boolean is declared is parsed once, if it parses to that."""
    kind = declared.get("type")
    if not isinstance(value, str) or kind in ("string", None):
        return value
    try:
        parsed: Any = json.loads(value)
    except (ValueError, RecursionError):
        parsed = value
    if kind == "array":
        return cast("list[Any]", parsed) if isinstance(parsed, list) else [value]
    if kind == "object":
        return cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else value
    return parsed if isinstance(parsed, bool | int | float) else value


def explained(error: ValidationError) -> Invalid:
    """Pydantic's findings as field and problem; what was sent is the caller's and stays out."""
    problems = [
        {"field": location(each["loc"], known=each["type"] != "extra_forbidden"), "problem": problem(each)}
        for each in error.errors(include_url=False, include_context=True, include_input=False)[:MAX_PROBLEMS]
    ]
    first = problems[0]
    more = f" ({error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return Invalid(
        f"{first['field']}: {first['problem']}{more}.",
        details={"problems": problems},
        hint="Correct the named arguments and call again; the tool's schema lists what it takes.",
    )


def location(path: tuple[int | str, ...], *, known: bool) -> str:
    """Where the problem is. An unknown argument's name is the caller's text: cut, and only plain characters kept."""
    shown = ".".join(str(part) for part in path if not str(part).startswith("function-"))[:MAX_NAME]
    if known:
        return shown
    return shown if shown.isidentifier() else "an argument with an unusual name"


def problem(each: Mapping[str, Any]) -> str:
    kind, context = str(each["type"]), cast("Mapping[str, Any]", each.get("ctx", {}))
    if kind in PLAIN_WORDS:
        return PLAIN_WORDS[kind]
    if kind == "value_error" and isinstance(context.get("error"), ValueError):
        return str(context["error"])
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = context.get("ge", context.get("le"))
        return f"must be at {'least' if 'ge' in context else 'most'} {bound}"
    if kind == "literal_error":
        return f"must be one of {context.get('expected')}"
    if kind in ("too_long", "string_too_long"):
        return f"may have at most {context.get('max_length')} {'items' if kind == 'too_long' else 'characters'}"
    if kind in ("too_short", "string_too_short"):
        return f"must have at least {context.get('min_length')} {'items' if kind == 'too_short' else 'characters'}"
    return kind.replace("_", " ")
