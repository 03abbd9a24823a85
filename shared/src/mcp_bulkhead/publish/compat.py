"""What changed between two tools.json.

A breaking change is one after which a call that worked, an answer that was read, or an approval that was given may no
longer hold.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, cast

Kind = Literal["additive", "breaking", "text"]
Json = Mapping[str, Any]

UPPER: Final = ("maximum", "maxLength", "maxItems", "exclusiveMaximum")
LOWER: Final = ("minimum", "minLength", "minItems", "exclusiveMinimum")
LIMITS: Final = (*((name, 1) for name in UPPER), *((name, -1) for name in LOWER))
"""With the direction in which each widens."""

HINT_DEFAULTS: Final[Mapping[str, bool]] = {
    "readOnlyHint": False,
    "destructiveHint": True,
    "idempotentHint": False,
    "openWorldHint": True,
}
SAFE_WHEN: Final[Mapping[str, bool]] = {
    "readOnlyHint": True,
    "destructiveHint": False,
    "idempotentHint": True,
    "openWorldHint": False,
}
ANYTHING: Final[Mapping[str, Any]] = {}


class Change(NamedTuple):
    kind: Kind
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message} ({self.kind})"


def compare(old: Json, new: Json) -> list[Change]:
    """Every change from one tools.json to another."""
    return [
        *text_change("instructions", "the instructions", old.get("instructions"), new.get("instructions")),
        *listed(old, new, "tools", "name", "tool", tool_changes),
        *default_changes(old, new),
        *listed(old, new, "resource_templates", "uriTemplate", "resource", nothing),
        *listed(old, new, "prompts", "name", "prompt", prompt_changes),
    ]


def listed(
    old: Json, new: Json, key: str, by: str, what: str, inside: Callable[[str, Json, Json], Iterator[Change]]
) -> Iterator[Change]:
    before = {str(each[by]): each for each in old.get(key, [])}
    after = {str(each[by]): each for each in new.get(key, [])}
    for name, each in before.items():
        if name not in after:
            yield Change("breaking", name, f"the {what} is gone")
        else:
            yield from inside(name, each, after[name])
    for name in after:
        if name not in before:
            yield Change("additive", name, f"a new {what}")


def nothing(_: str, __: Json, ___: Json) -> Iterator[Change]:
    yield from ()


def tool_changes(name: str, old: Json, new: Json) -> Iterator[Change]:
    yield from text_change(name, "the title", old.get("title"), new.get("title"))
    yield from text_change(name, "the description", old.get("description"), new.get("description"))
    yield from argument_changes(name, old.get("inputSchema", ANYTHING), new.get("inputSchema", ANYTHING))
    yield from output_changes(f"{name} output", old.get("outputSchema"), new.get("outputSchema"))
    yield from hint_changes(name, old.get("annotations") or {}, new.get("annotations") or {})


def default_changes(old: Json, new: Json) -> Iterator[Change]:
    """A tool that moves to a toolset which is not offered by default is gone for everybody who set nothing."""
    before, after = offered(old), offered(new)
    still = {str(tool["name"]) for tool in new.get("tools", [])}
    for name in before:
        if name in still and name not in after:
            yield Change("breaking", name, "no longer offered by default")


def offered(document: Json) -> list[str]:
    sets: Mapping[str, list[str]] = document.get("toolsets", {})
    return [name for toolset in document.get("default_toolsets", []) for name in sets.get(toolset, [])]


def hint_changes(where: str, old: Json, new: Json) -> Iterator[Change]:
    for hint, default in HINT_DEFAULTS.items():
        before, after = old.get(hint, default), new.get(hint, default)
        if before != after:
            kind: Kind = "additive" if after is SAFE_WHEN[hint] else "breaking"
            yield Change(kind, where, f"{hint} was {str(before).lower()} and is {str(after).lower()}")


def prompt_changes(where: str, old: Json, new: Json) -> Iterator[Change]:
    yield from text_change(where, "the description", old.get("description"), new.get("description"))
    before = {str(each["name"]): each for each in old.get("arguments", [])}
    after = {str(each["name"]): each for each in new.get("arguments", [])}
    yield from presence(where, before, after, needed_of(before), needed_of(after))


def needed_of(arguments: Mapping[str, Json]) -> set[str]:
    return {name for name, each in arguments.items() if each.get("required")}


def text_change(where: str, what: str, old: Any, new: Any) -> Iterator[Change]:
    if old != new:
        yield Change("text", where, f"{what} reads differently")


# -- what a call may say ----------------------------------------------------------------------------------------------


def argument_changes(where: str, old: Json, new: Json) -> Iterator[Change]:
    """Of an object of arguments, or of any value inside: it is breaking when something that was taken no longer is."""
    yield from taken_types(where, old.get("type"), new.get("type"))
    yield from choices(where, old.get("enum"), new.get("enum"))
    yield from bounds(where, old, new)
    yield from text_change(where, "the default", old.get("default"), new.get("default"))
    yield from text_change(where, "the description", old.get("description"), new.get("description"))
    before, after = properties_of(old), properties_of(new)
    yield from presence(where, before, after, set(old.get("required", [])), set(new.get("required", [])))
    for name in before:
        if name in after:
            yield from argument_changes(f"{where}.{name}", before[name], after[name])
    if old.get("additionalProperties", True) is not False and new.get("additionalProperties", True) is False:
        yield Change("breaking", where, "unknown names are no longer taken")
    if "items" in old or "items" in new:
        yield from argument_changes(f"{where}[]", old.get("items", ANYTHING), new.get("items", ANYTHING))


def presence(where: str, before: Json, after: Json, needed: set[str], needs: set[str]) -> Iterator[Change]:
    for name in before:
        if name not in after:
            yield Change("breaking", f"{where}.{name}", "the argument is gone")
        elif name in needs and name not in needed:
            yield Change("breaking", f"{where}.{name}", "is now required")
        elif name in needed and name not in needs:
            yield Change("additive", f"{where}.{name}", "is no longer required")
    for name in after:
        if name not in before:
            required = name in needs
            yield Change(
                "breaking" if required else "additive",
                f"{where}.{name}",
                f"a new {'required ' if required else ''}argument",
            )


def taken_types(where: str, old: Any, new: Any) -> Iterator[Change]:
    if old == new:
        return
    wider = new is None or (old, new) == ("integer", "number")
    yield Change("additive" if wider else "breaking", where, f"the type was {old or 'any'} and is {new or 'any'}")


def choices(where: str, old: list[Any] | None, new: list[Any] | None) -> Iterator[Change]:
    if old == new:
        return
    lost = new is not None and (old is None or any(each not in new for each in old))
    gained = old is not None and (new is None or any(each not in old for each in new))
    if lost:
        yield Change("breaking", where, "some values are no longer taken")
    elif gained:
        yield Change("additive", where, "more values are taken")


def bounds(where: str, old: Json, new: Json) -> Iterator[Change]:
    for name, sign in LIMITS:
        before, after = old.get(name), new.get(name)
        if before == after:
            continue
        narrowed = after is not None and (before is None or sign * (after - before) < 0)
        yield Change("breaking" if narrowed else "additive", where, f"{name} was {before} and is {after}")


def properties_of(schema: Json) -> Mapping[str, Json]:
    return cast("Mapping[str, Json]", schema.get("properties", {}))


# -- what an answer says ----------------------------------------------------------------------------------------------


def output_changes(where: str, old: Json | None, new: Json | None) -> Iterator[Change]:
    """It is breaking when something that was always there may be missing, or is of another type."""
    if old is None or new is None:
        if old is not new:
            yield Change(
                "additive" if old is None else "breaking",
                where,
                "is described" if old is None else "is no longer described",
            )
        return
    yield from given_types(where, old.get("type"), new.get("type"))
    before, after = properties_of(old), properties_of(new)
    always, still = set(old.get("required", [])), set(new.get("required", []))
    for name in before:
        if name not in after:
            yield Change("breaking", f"{where}.{name}", "the field is gone")
            continue
        if name in always and name not in still:
            yield Change("breaking", f"{where}.{name}", "the field may be missing")
        yield from output_changes(f"{where}.{name}", before[name], after[name])
    for name in after:
        if name not in before:
            yield Change("additive", f"{where}.{name}", "a new field")
    if "items" in old:
        yield from output_changes(f"{where}[]", old["items"], new.get("items", ANYTHING))


def given_types(where: str, old: Any, new: Any) -> Iterator[Change]:
    if old == new:
        return
    narrower = old is None or (old, new) == ("number", "integer")
    yield Change("additive" if narrower else "breaking", where, f"the type was {old or 'any'} and is {new or 'any'}")
