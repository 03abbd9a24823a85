"""What a model might send: values that fit a published schema, values that do not, and texts that are meant to hurt."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

NASTY: Final = (
    "",
    " ",
    "\x00",
    "null",
    "../../../../etc/passwd",
    "/etc/passwd",
    "..\\..\\windows\\win.ini",
    "%2e%2e%2f",
    "~/.ssh/id_rsa",
    "file:///etc/passwd",
    "--help",
    "-rf",
    "$(id)",
    "`id`",
    "'; DROP TABLE users; --",
    "${user_config.root}",
    "{}",
    "[]",
    '{"a":1}',
    "(((((((((((a*)*)*)*)*)*",
    "*" * 300,
    "a/" * 400,
    "\u202egnp.exe",
    "e\u0301\u200b\ufeff",
    "\ud7ff\ue000\U0010ffff",
    "\U0001d54f" * 50,
    "line\nbreak\r\n\ttab",
    "x" * 5_000,
    "NaN",
    "-1",
    "1e400",
    "9" * 400,
)

Schema = Mapping[str, Any]
Strategy = "SearchStrategy[Any]"


def arguments(schema: Schema) -> "SearchStrategy[dict[str, Any]]":
    """Arguments that fit `schema`: all that is required, any of what is not."""
    from hypothesis import strategies as st

    properties = cast("Mapping[str, Schema]", schema.get("properties", {}))
    required = set(cast("list[str]", schema.get("required", [])))
    return st.fixed_dictionaries(
        {name: value(each) for name, each in properties.items() if name in required},
        optional={name: value(each) for name, each in properties.items() if name not in required},
    )


def value(schema: Schema) -> "SearchStrategy[Any]":
    from hypothesis import strategies as st

    kind = schema.get("type")
    if "enum" in schema:
        return st.sampled_from(cast("list[Any]", schema["enum"]))
    if kind == "string":
        return text(schema)
    if kind == "integer":
        return st.integers(schema.get("minimum", -(2**63)), schema.get("maximum", 2**63))
    if kind == "number":
        return st.floats(schema.get("minimum"), schema.get("maximum"), allow_nan=False, allow_infinity=False)
    if kind == "boolean":
        return st.booleans()
    if kind == "array":
        most = min(cast("int", schema.get("maxItems", 5)), 5)
        return st.lists(value(schema.get("items", {})), min_size=schema.get("minItems", 0), max_size=most)
    if kind == "object":
        return arguments(schema) if "properties" in schema else st.dictionaries(words(), anything(), max_size=3)
    return anything()


def words() -> "SearchStrategy[str]":
    """Any text that JSON can carry: surrogates alone cannot travel, everything else can."""
    from hypothesis import strategies as st

    return st.one_of(st.sampled_from(NASTY), st.text(st.characters(exclude_categories=["Cs"]), max_size=60))


def text(schema: Schema) -> "SearchStrategy[str]":
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength", 10_000)
    return words().map(lambda word: word[:longest].ljust(shortest, "x"))


def anything() -> "SearchStrategy[Any]":
    from hypothesis import strategies as st

    plain = st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), words()
    )
    return st.recursive(
        plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words(), inner, max_size=3), max_leaves=6
    )


def wrong_arguments(schema: Schema) -> "SearchStrategy[dict[str, Any]]":
    """Arguments of any kind under the right names, and some under names nobody declared."""
    from hypothesis import strategies as st

    names = list(cast("Mapping[str, Schema]", schema.get("properties", {})))
    known = st.fixed_dictionaries({}, optional={name: anything() for name in names})
    strange = st.dictionaries(words(), anything(), max_size=2)
    return st.tuples(known, strange).map(lambda both: {**both[1], **both[0]})


def sample(schema: Schema, mark: str) -> dict[str, Any]:
    """One plain set of arguments that fits `schema`, every text of it carrying `mark`."""
    properties = cast("Mapping[str, Schema]", schema.get("properties", {}))
    return {name: marked(each, mark) for name, each in properties.items()}


def marked(schema: Schema, mark: str) -> Any:
    kind = schema.get("type")
    if "enum" in schema:
        return schema["enum"][0]
    if kind == "string":
        return mark[: schema.get("maxLength", len(mark))].ljust(schema.get("minLength", 0), "x")
    if kind in ("integer", "number"):
        return schema.get("minimum", min(1, schema.get("maximum", 1)))
    if kind == "array":
        return [marked(schema.get("items", {}), mark) for _ in range(max(1, schema.get("minItems", 1)))]
    if kind == "object":
        return sample(schema, mark)
    return False
