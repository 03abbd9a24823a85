"""What counts as breaking between two releases, and what the version must then be."""

import copy
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_bulkhead.publish.compat import Change, compare
from mcp_bulkhead.publish.releases import gate, last_release

Json = dict[str, Any]


def tool(**changes: Any) -> Json:
    return {
        "name": "fs_find",
        "title": "Find",
        "description": "Use this to find.",
        "inputSchema": {
            "type": "object",
            "properties": {
                "glob": {"type": "string", "description": "What to find."},
                "kind": {"type": "string", "enum": ["file", "folder"]},
                "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 50},
                "paths": {"type": "array", "items": {"type": "string", "maxLength": 50}, "maxItems": 20},
            },
            "required": ["glob"],
            "additionalProperties": False,
        },
        "outputSchema": {
            "type": "object",
            "properties": {
                "rows": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"path": {"type": "string"}, "size": {"type": "integer"}},
                        "required": ["path"],
                    },
                },
            },
            "required": ["rows"],
        },
        "annotations": {
            "readOnlyHint": True,
            "destructiveHint": False,
            "idempotentHint": True,
            "openWorldHint": False,
        },
    } | changes


def document() -> Json:
    return {
        "version": "1.2.3",
        "default_toolsets": ["read"],
        "toolsets": {"read": ["fs_find"]},
        "instructions": "Files.",
        "tools": [tool()],
        "resource_templates": [{"uriTemplate": "file:///{+path}", "name": "file"}],
        "prompts": [{"name": "orient", "arguments": [{"name": "path", "required": False}]}],
    }


def changed(change: Callable[[Json, Json], object]) -> list[Change]:
    """What `compare` says after `change`, which is given the whole document and its one tool."""
    new = copy.deepcopy(document())
    change(new, new["tools"][0])
    return compare(document(), new)


def arguments(tool: Json) -> Json:
    return tool["inputSchema"]["properties"]


def row(tool: Json) -> Json:
    return tool["outputSchema"]["properties"]["rows"]["items"]


BREAKING: dict[str, Callable[[Json, Json], object]] = {
    "a removed tool": lambda new, _: new["tools"].clear(),
    "a renamed tool": lambda _, it: it.update(name="fs_search"),
    "a tool that leaves the default": lambda new, _: new.update(toolsets={"more": ["fs_find"]}),
    "a removed argument": lambda _, it: arguments(it).pop("limit"),
    "a new required argument": lambda _, it: (
        arguments(it).update(root={"type": "string"}),
        it["inputSchema"]["required"].append("root"),
    ),
    "an argument that becomes required": lambda _, it: it["inputSchema"]["required"].append("kind"),
    "a changed type": lambda _, it: arguments(it)["limit"].update(type="string"),
    "a changed type of items": lambda _, it: arguments(it)["paths"]["items"].update(type="integer"),
    "a lost choice": lambda _, it: arguments(it)["kind"]["enum"].remove("folder"),
    "choices where there were none": lambda _, it: arguments(it)["glob"].update(enum=["*"]),
    "a lower maximum": lambda _, it: arguments(it)["limit"].update(maximum=99),
    "a higher minimum": lambda _, it: arguments(it)["limit"].update(minimum=2),
    "a new bound": lambda _, it: arguments(it)["glob"].update(maxLength=10),
    "a shorter item": lambda _, it: arguments(it)["paths"]["items"].update(maxLength=49),
    "fewer items": lambda _, it: arguments(it)["paths"].update(maxItems=19),
    "a removed output field": lambda _, it: row(it)["properties"].pop("size"),
    "an output field of another type": lambda _, it: row(it)["properties"]["size"].update(type="string"),
    "an output field that may be missing": lambda _, it: row(it)["required"].clear(),
    "an output field that is no whole number": lambda _, it: row(it)["properties"]["size"].update(type="number"),
    "an output that is no longer described": lambda _, it: it.pop("outputSchema"),
    "no longer read-only": lambda _, it: it["annotations"].update(readOnlyHint=False),
    "now destructive": lambda _, it: it["annotations"].update(destructiveHint=True),
    "no longer idempotent": lambda _, it: it["annotations"].update(idempotentHint=False),
    "now of the open world": lambda _, it: it["annotations"].update(openWorldHint=True),
    "hints that are gone": lambda _, it: it.pop("annotations"),
    "a removed resource": lambda new, _: new["resource_templates"].clear(),
    "a removed prompt": lambda new, _: new["prompts"].clear(),
    "a removed prompt argument": lambda new, _: new["prompts"][0]["arguments"].clear(),
    "a prompt argument that becomes required": lambda new, _: new["prompts"][0]["arguments"][0].update(required=True),
}

ADDITIVE: dict[str, Callable[[Json, Json], object]] = {
    "a new tool": lambda new, _: new["tools"].append(tool(name="fs_more")),
    "a new optional argument": lambda _, it: arguments(it).update(depth={"type": "integer"}),
    "an argument no longer required": lambda _, it: it["inputSchema"]["required"].clear(),
    "a wider type": lambda _, it: arguments(it)["limit"].update(type="number"),
    "a new choice": lambda _, it: arguments(it)["kind"]["enum"].append("link"),
    "any choice": lambda _, it: arguments(it)["kind"].pop("enum"),
    "a higher maximum": lambda _, it: arguments(it)["limit"].update(maximum=101),
    "no minimum": lambda _, it: arguments(it)["limit"].pop("minimum"),
    "a new output field": lambda _, it: row(it)["properties"].update(etag={"type": "string"}),
    "a new resource": lambda new, _: new["resource_templates"].append({"uriTemplate": "file:///{x}"}),
    "a new prompt": lambda new, _: new["prompts"].append({"name": "other"}),
    "a new optional prompt argument": lambda new, _: new["prompts"][0]["arguments"].append({"name": "depth"}),
}

TEXT: dict[str, Callable[[Json, Json], object]] = {
    "a description": lambda _, it: it.update(description="Use this to look."),
    "a title": lambda _, it: it.update(title="Look"),
    "an argument's description": lambda _, it: arguments(it)["glob"].update(description="A pattern."),
    "a default": lambda _, it: arguments(it)["limit"].update(default=20),
    "the instructions": lambda new, _: new.update(instructions="Other."),
}


@pytest.mark.parametrize("name", BREAKING)
def test_is_breaking(name: str):
    assert "breaking" in {change.kind for change in changed(BREAKING[name])}


@pytest.mark.parametrize("name", ADDITIVE)
def test_is_additive(name: str):
    assert {change.kind for change in changed(ADDITIVE[name])} == {"additive"}


@pytest.mark.parametrize("name", TEXT)
def test_is_only_text(name: str):
    assert {change.kind for change in changed(TEXT[name])} == {"text"}


def test_what_did_not_change_is_not_mentioned():
    assert compare(document(), document()) == []
    assert changed(lambda new, _: new.update(version="9.0.0")) == []


def test_a_change_says_where_it_is():
    (change,) = changed(lambda _, it: row(it)["properties"].pop("size"))
    assert change == ("breaking", "fs_find output.rows[].size", "the field is gone")
    (change,) = changed(lambda _, it: arguments(it)["paths"]["items"].update(maxLength=49))
    assert change.where == "fs_find.paths[]"


# -- what holds for any schema ----------------------------------------------------------------------------------------

NAMES = st.sampled_from("abcdef")
UPPER, LOWER = ("maximum", "maxLength", "maxItems"), ("minimum", "minLength", "minItems")


def schemas() -> st.SearchStrategy[Json]:
    numbers = st.integers(-50, 50)
    leaves = st.one_of(
        st.fixed_dictionaries({"type": st.just("integer")}, optional={"minimum": numbers, "maximum": numbers}),
        st.fixed_dictionaries({"type": st.just("string")}, optional={"maxLength": numbers, "minLength": numbers}),
        st.fixed_dictionaries(
            {"type": st.just("string"), "enum": st.lists(NAMES, min_size=1, unique=True)},
        ),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional={"maxItems": numbers}),
            objects(inner),
        ),
        max_leaves=6,
    )


def objects(inner: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    return st.dictionaries(NAMES, inner, min_size=1, max_size=4).flatmap(
        lambda properties: st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.just(properties),
                "required": st.lists(st.sampled_from(sorted(properties)), unique=True),
                "additionalProperties": st.just(False),
            }
        )
    )


def places(schema: Json) -> list[Json]:
    """The schema and every schema inside it."""
    inside = [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]
    return [schema, *(place for each in inside for place in places(each))]


def widenings(place: Json) -> list[Callable[[], object]]:
    """Ways in which `place` takes all that it took, and more."""
    ways: list[Callable[[], object]] = [
        lambda key=key: place.pop(key) for key in (*UPPER, *LOWER, "enum") if key in place
    ]
    ways += [lambda key=key: place.update({key: place[key] + 1}) for key in UPPER if key in place]
    ways += [lambda key=key: place.update({key: place[key] - 1}) for key in LOWER if key in place]
    if "enum" in place:
        ways.append(lambda: place["enum"].append("one more"))
    if place["type"] == "integer":
        ways.append(lambda: place.update(type="number"))
    if place["type"] == "object":
        ways.append(lambda: place["properties"].update(zz={"type": "string"}))
        ways.append(lambda: place.pop("additionalProperties"))
    if place.get("required"):
        ways.append(place["required"].pop)
    return ways


def narrowings(place: Json) -> list[Callable[[], object]]:
    """Ways in which `place` no longer takes something that it took."""
    ways: list[Callable[[], object]] = [
        *(lambda key=key: place.update({key: place[key] - 1}) for key in UPPER if key in place),
        *(lambda key=key: place.update({key: place[key] + 1}) for key in LOWER if key in place),
        lambda: place.update(type="boolean"),
    ]
    if "enum" in place:
        ways.append(place["enum"].pop)
    elif place["type"] == "string":
        ways.append(lambda: place.update(enum=["only"]))
    if place["type"] == "object":
        ways.append(place["properties"].popitem)
        ways.append(
            lambda: place.update(required=[*place["required"], "zz"], properties=place["properties"] | {"zz": {}})
        )
        optional = [name for name in place["properties"] if name not in place["required"]]
        ways += [lambda: place["required"].append(optional[0])] if optional else []
    return ways


def kinds_after(data: st.DataObject, ways: Callable[[Json], list[Callable[[], object]]]) -> set[str]:
    schema = data.draw(objects(schemas()))
    wider = copy.deepcopy(schema)
    way = data.draw(st.sampled_from([way for place in places(wider) for way in ways(place)]))
    way()
    old, new = ({"tools": [{"name": "t", "inputSchema": each}]} for each in (schema, wider))
    return {change.kind for change in compare(old, new)}


@given(st.data())
def test_widening_what_is_taken_is_never_breaking(data: st.DataObject):
    assert "breaking" not in kinds_after(data, widenings)


@given(st.data())
def test_narrowing_what_is_taken_is_always_breaking(data: st.DataObject):
    assert "breaking" in kinds_after(data, narrowings)


# -- the gate ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "passes"),
    [
        ("1.2.3", "1.2.4", False),
        ("1.2.3", "1.3.0", False),
        ("1.2.3", "2.0.0", True),
        ("0.1.0", "0.1.9", False),
        ("0.1.0", "0.2.0", True),
        ("0.9.0", "1.0.0", True),
        ("2.0.0", "1.9.0", False),
        ("0.1.0", "0.1.0", False),
        ("1.9.0", "1.10.0", False),
        ("9.0.0", "10.0.0rc1", True),
    ],
)
def test_a_breaking_change_needs_a_major_version(old: str, new: str, passes: bool):
    breaking = [Change("breaking", "t", "gone")]
    assert gate(old, new, breaking).passes is passes
    assert gate(old, new, [Change("additive", "t", "new"), Change("text", "t", "other")]).passes is True


def test_what_is_no_version_is_refused():
    with pytest.raises(ValueError, match="not a version"):
        gate("1.0.0", "next", [Change("breaking", "t", "gone")])


def repository(folder: Path) -> Callable[..., None]:
    def git(*arguments: str) -> None:
        who = (
            "-c",
            "user.name=T",
            "-c",
            "user.email=t@example.org",
            "-c",
            "tag.gpgsign=false",
            "-c",
            "commit.gpgsign=false",
        )
        subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True, timeout=30)

    git("init", "-q", "-b", "main")
    return git


def commit(folder: Path, git: Callable[..., None], version: str) -> None:
    (folder / "tools.json").write_text(json.dumps({"version": version}))
    git("add", "-A")
    git("commit", "-q", "-m", version)


def test_the_last_release_is_the_newest_tag_before_this_commit(tmp_path: Path):
    git = repository(tmp_path)
    assert last_release(tmp_path, "tools.json") is None
    commit(tmp_path, git, "0.9.0")
    git("tag", "v0.9.0")
    assert last_release(tmp_path, "tools.json") is None  # this commit is the release: nothing is before it
    commit(tmp_path, git, "0.10.0")
    assert last_release(tmp_path, "tools.json") == ("v0.9.0", {"version": "0.9.0"})
    git("tag", "v0.10.0")
    git("tag", "unrelated")
    commit(tmp_path, git, "0.10.1")
    assert last_release(tmp_path, "tools.json") == ("v0.10.0", {"version": "0.10.0"})
    assert last_release(tmp_path, "servers/other/tools.json") is None


def test_without_a_repository_there_is_no_release(tmp_path: Path):
    assert last_release(tmp_path, "tools.json") is None
