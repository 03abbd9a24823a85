"""A good server has no finding; every spoiled one has exactly the finding that names what is wrong."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_bulkhead import ServerSpec
from mcp_bulkhead.publish import Facts, ToolFacts
from mcp_bulkhead.publish.codes import FailureCode
from mcp_bulkhead.publish.commands import report_findings
from mcp_bulkhead.publish.linter import Finding, jaccard, lint
from mcp_bulkhead.publish.portability import input_problems

Json = dict[str, Any]


def find() -> ToolFacts:
    return ToolFacts(
        seen={
            "name": "fs_find",
            "title": "Find files",
            "description": (
                "Use this to find files by name. For text inside files use fs_grep. "
                "Returns at most 100 paths, and `next` when there are more. `!` and `ALWAYS` are plain characters here."
            ),
            "inputSchema": {
                "type": "object",
                "properties": {
                    "glob": {"type": "string", "description": "A pattern such as `**/*.PY` (at most 1,000 characters).",
                             "maxLength": 1000},
                    "kind": {"type": "string", "enum": ["file", "folder"], "description": "Only entries of this sort."},
                    "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 50,
                              "description": "How many paths (1-100, default 50)."},
                    "paths": {"type": "array", "items": {"type": "string"}, "description": "Folders to look in."},
                },
                "required": ["glob"],
                "additionalProperties": False,
            },
            "outputSchema": {
                "type": "object",
                "properties": {"rows": {"type": "array", "items": {}}, "next": {"type": "string"}},
                "required": ["rows"],
            },
            "annotations": {
                "readOnlyHint": True, "destructiveHint": False, "idempotentHint": True, "openWorldHint": False,
            },
        },
        toolset="read", default=True, effect="read", scope="fs.read", cost="cheap", deadline_s=None, idempotent=True,
        open_world=False, untrusted=True, personal=False,
    )  # fmt: skip


def grep() -> ToolFacts:
    seen = {
        **copy.deepcopy(dict(find().seen)),
        "name": "fs_grep",
        "description": "Use this when an expression is to be seen with the lines around it, as JSON or UTF-8 text.",
    }
    return replace(find(), seen=seen)


def facts(*tools: ToolFacts, **changes: Any) -> Facts:
    spec = ServerSpec(name="files", module="files", title="Files", summary="Reads files.", tool_prefix="fs_")
    values: Json = {
        "spec": spec,
        "version": "1.0.0",
        "instructions": "Paths begin at the root.",
        "tools": tools or (find(), grep()),
        "templates": (),
        "prompts": ({"name": "orient", "arguments": [{"name": "path", "description": "Where to begin."}]},),
        "settings": (),
        "codes": {"denied": FailureCode(code="denied", kind="Refused", package="mcp_bulkhead")},
        "refused": (("fs_find", "denied"),),
    }
    return Facts(**(values | changes))


def spoiled(change: Callable[[Json], object]) -> list[Finding]:
    seen = copy.deepcopy(dict(find().seen))
    change(seen)
    return lint(facts(replace(find(), seen=seen), grep()))


def properties(seen: Json) -> Json:
    return seen["inputSchema"]["properties"]


def describe(text: str) -> Callable[[Json], object]:
    return lambda seen: seen.update(description=text)


def argument(name: str, **schema: Any) -> Callable[[Json], object]:
    return lambda seen: properties(seen).update({name: {"description": "A thing to be given.", **schema}})


SPOILED: tuple[tuple[str, Callable[[Json], object]], ...] = (
    ("when-first", describe("Finds files by name.")),
    ("when-first", describe("Useful. Use this to find files.")),
    ("when-first", describe("")),
    ("description-length", describe("Use this to find. " + "x" * 423)),
    ("description-length", describe("Use this to find. " + "x" * 2000)),
    ("title-missing", lambda seen: seen.pop("title")),
    ("parameter-described", lambda seen: properties(seen)["kind"].pop("description")),
    ("parameter-described", lambda seen: properties(seen)["kind"].update(description="The kind.")),
    ("parameter-described", lambda seen: properties(seen)["limit"].update(description="Limit (1-100, default 50).")),
    ("shouting", describe("Use this to find files. IMPORTANT facts follow.")),
    ("shouting", describe("Use this to find files. Note that it is FAST.")),
    ("shouting", describe("Use this to find files!")),
    ("shouting", describe("Use this to find files. Always call it first.")),
    ("shouting", describe("Use this to find files; never guess a path.")),
    ("shouting", describe("Use this to find files. You must call it before fs_read.")),
    ("shouting", describe("Use this to find files. Critical: read the result.")),
    ("shouting", describe("Use this to find files. Make sure that the folder exists.")),
    ("shouting", lambda seen: properties(seen)["kind"].update(description="ONLY entries of this sort.")),
    ("tool-name", lambda seen: seen.update(name="FsFind")),
    ("tool-name", lambda seen: seen.update(name="fs_find_" + "x" * 25)),
    ("tool-name", lambda seen: seen.update(name="fs.find")),
    ("tool-name", lambda seen: seen.update(name="find_files")),
    ("identity-argument", argument("tenant", type="string")),
    ("identity-argument", argument("api_key", type="string")),
    ("limits-in-words", lambda seen: properties(seen)["limit"].update(maximum=10)),
    ("limits-in-words", argument("depth", type="integer", minimum=3)),
    ("limits-in-words", argument("name", type="string", maxLength=100)),
    ("hints-explicit", lambda seen: seen["annotations"].pop("openWorldHint")),
    ("hints-explicit", lambda seen: seen.pop("annotations")),
    ("hints-consistent", lambda seen: seen["annotations"].update(readOnlyHint=False)),
    ("hints-consistent", lambda seen: seen["annotations"].update(destructiveHint=True)),
    ("hints-consistent", lambda seen: seen["annotations"].update(idempotentHint=False)),
    ("hints-consistent", lambda seen: seen["annotations"].update(openWorldHint=True)),
    ("schema-portable", argument("x", anyOf=[{"type": "string"}, {"type": "integer"}], type="string")),
    ("schema-portable", argument("x", type=["string", "null"])),
    ("schema-portable", argument("x")),
    ("schema-portable", argument("x", type="null")),
    ("schema-portable", argument("x", type="string", format="date")),
    ("schema-portable", argument("x", type="string", const="a")),
    ("schema-portable", argument("x", type="string", pattern="a+")),
    ("schema-portable", argument("x", type="string", title="X")),
    ("schema-portable", argument("x", type="integer", exclusiveMinimum=0)),
    ("schema-portable", argument("x", type="integer", enum=[1, 2])),
    ("schema-portable", argument("x", type="string", default=None)),
    ("schema-portable", argument("x", type="array")),
    ("schema-portable", argument("x", type="array", items={"type": ["string", "null"]})),
    ("schema-portable", argument("x", type="object", properties={"y": {"$ref": "#/$defs/Y"}})),
    ("schema-portable", argument("x y", type="string")),
    ("schema-portable", lambda seen: seen["inputSchema"].update(additionalProperties=True)),
    ("schema-portable", lambda seen: seen["inputSchema"]["required"].append("ghost")),
    ("schema-portable", lambda seen: seen["inputSchema"]["required"].append("limit")),
    ("schema-portable", lambda seen: seen["inputSchema"].update(allOf=[])),
    ("schema-portable", lambda seen: seen["outputSchema"].update(type="array")),
    ("schema-portable", lambda seen: seen["outputSchema"]["properties"].update(x={"$ref": "#/$defs/X"})),
    ("schema-portable", argument("x", type="array", items=True)),
    ("schema-portable", argument("x", type="object", additionalProperties={"type": "string", "format": "date"})),
    ("schema-size", argument("x", type="string", enum=[f"choice {number}" for number in range(700)])),
    ("schema-size", lambda seen: seen["outputSchema"].update(description="x" * 9000)),
    ("schema-valid", argument("x", type="string", minLength="3")),
    ("schema-valid", lambda seen: seen["outputSchema"].update(required="rows")),
)  # fmt: skip


def test_a_good_server_has_no_finding():
    assert lint(facts()) == []


@pytest.mark.parametrize(("rule", "change"), SPOILED)
def test_a_spoiled_tool_is_found(rule: str, change: Callable[[Json], object]):
    assert rule in {finding.rule for finding in spoiled(change)}


@pytest.mark.parametrize(("rule", "change"), [each for each in SPOILED if not each[0].startswith("schema-valid")])
def test_it_is_found_once_and_under_its_own_name(rule: str, change: Callable[[Json], object]):
    assert {finding.rule for finding in spoiled(change)} <= {rule, *RELATED.get(rule, ())}


RELATED = {
    "when-first": ("sibling-overlap",),
    "schema-portable": ("schema-valid", "parameter-described"),
    "schema-size": ("limits-in-words",),
}


@pytest.mark.parametrize(
    "calm",
    [
        "Use this to find files. For SQL or JSON, and for URLs, use fs_grep.",
        "Use this when a name is known. Not for folders: those are in fs_list, which never follows links.",
        "Use this before fs_read. What is ignored is always counted. Links that lead out: never followed.",
        "Use this if `ALWAYS.md!` is a name like any other.",
    ],
)
def test_a_calm_description_is_left_alone(calm: str):
    assert spoiled(describe(calm)) == []


def test_more_capitals_can_be_made_known():
    seen = copy.deepcopy(dict(find().seen)) | {"description": "Use this to find files in a NAS."}
    one = facts(replace(find(), seen=seen))
    assert [finding.rule for finding in lint(one)] == ["shouting"]
    assert lint(one, known_words=frozenset({"NAS"})) == []


@pytest.mark.parametrize(
    ("effect", "read_only", "destructive"),
    [("read", True, False), ("write", False, False), ("destroy", False, True), ("send", False, True)],
)
def test_hints_follow_the_effect(effect: str, read_only: bool, destructive: bool):
    for said_read_only in (True, False):
        for said_destructive in (True, False):
            hints = {**find().seen["annotations"], "readOnlyHint": said_read_only, "destructiveHint": said_destructive}
            tool = replace(find(), effect=effect, seen={**find().seen, "annotations": hints})
            right = (said_read_only, said_destructive) == (read_only, destructive)
            assert (lint(facts(tool)) == []) is right


def test_siblings_that_begin_alike_are_found():
    twin = replace(grep(), seen={**grep().seen, "description": "Use this to find files by size. Returns paths."})
    assert [finding.rule for finding in lint(facts(find(), twin))] == ["sibling-overlap"]


def test_the_overlap_counts_the_words_of_both():
    assert jaccard("Use this to read", "use THIS to write") == 3 / 5
    assert jaccard("", "") == 0.0


@given(st.text(max_size=80), st.text(max_size=80))
def test_the_overlap_is_symmetric_and_a_share(one: str, other: str):
    assert jaccard(one, other) == jaccard(other, one)
    assert 0.0 <= jaccard(one, other) <= 1.0
    assert jaccard(one, one) in (0.0, 1.0)


def many(count: int, *, default: bool) -> list[ToolFacts]:
    """Tools that differ in every word."""
    kind = "usual" if default else "further"
    made: list[ToolFacts] = []
    for number in range(count):
        words = " ".join(f"{word}_{kind}_{number}" for word in ("look", "for", "these", "things"))
        seen = {**find().seen, "name": f"fs_{kind}_{number}", "description": f"Use this to {words}."}
        made.append(replace(find(), default=default, seen=seen))
    return made


def test_only_tools_that_everybody_gets_count_against_their_number():
    assert lint(facts(*many(15, default=True), *many(9, default=False))) == []
    assert [finding.rule for finding in lint(facts(*many(16, default=True)))] == ["too-many-tools"]


def test_the_server_is_judged_too():
    spec = facts().spec
    rules: list[tuple[str, Json]] = [
        ("instructions-length", {"instructions": "x" * 2001}),
        ("summary-length", {"spec": replace(spec, summary="x" * 101)}),
        ("summary-length", {"spec": replace(spec, summary="")}),
        ("unknown-code", {"refused": (("fs_find", "never_raised"),)}),
        ("prompt-arguments", {"prompts": ({"name": "p", "arguments": [{"name": "a"}]},)}),
        (
            "prompt-arguments",
            {"prompts": ({"name": "p", "arguments": [{"name": n, "description": "d"} for n in "abcd"]},)},
        ),
    ]
    for rule, change in rules:
        assert [finding.rule for finding in lint(facts(**change))] == [rule]


def test_what_is_just_within_a_limit_passes():
    seen: Json = {**find().seen, "description": "Use this to find. ".ljust(440, "x")}
    size = len(json.dumps(seen["inputSchema"], separators=(",", ":"), ensure_ascii=False).encode())
    seen["inputSchema"] = {**seen["inputSchema"], "description": "x" * (8192 - size - len(',"description":""'))}
    three = [{"name": name, "description": "Where to begin."} for name in "abc"]
    at_the_limit = facts(
        replace(find(), seen=seen),
        spec=replace(facts().spec, summary="x" * 100),
        instructions="x" * 2000,
        prompts=({"name": "p", "arguments": three},),
    )
    assert lint(at_the_limit) == []
    seen["inputSchema"] = {**seen["inputSchema"], "description": seen["inputSchema"]["description"] + "x"}
    assert [finding.rule for finding in lint(replace(at_the_limit, tools=(replace(find(), seen=seen),)))] == [
        "schema-size"
    ]


def test_half_the_words_in_common_is_not_too_many():
    one, other = ({**find().seen, "description": f"Use this to {words}."} for words in ("read a file", "list a folder"))
    assert jaccard(one["description"], other["description"]) == 0.5
    assert lint(facts(replace(find(), seen=one), replace(find(), seen=other))) == []


def test_findings_are_said_and_fail_the_command():
    said: list[str] = []
    shouting = replace(find(), seen={**find().seen, "description": "Use this to find files!"})
    assert report_findings([facts(shouting)], said.append) == 1
    assert said == ["fs_find: a description informs, it does not order: ! [shouting]"]
    assert report_findings([facts()], said.append) == 0


# -- what no client could take never passes ---------------------------------------------------------------------------

STRANGE = st.sampled_from(
    ["$ref", "$defs", "anyOf", "oneOf", "allOf", "not", "if", "format", "const", "pattern", "title"]
)


@given(strange=STRANGE, where=st.sampled_from(["root", "property", "items", "nested"]))
def test_a_strange_keyword_is_found_wherever_it_stands(strange: str, where: str):
    inner: Json = {"type": "string", "description": "x"}
    items: Json = {"type": "string"}
    schema: Json = {
        "type": "object",
        "properties": {
            "a": inner,
            "b": {"type": "array", "items": items},
            "c": {"type": "object", "properties": {"d": {"type": "array", "items": {"type": "string"}}}},
        },
        "additionalProperties": False,
    }
    assert list(input_problems(schema)) == []
    nested = schema["properties"]["c"]["properties"]["d"]["items"]
    {"root": schema, "property": inner, "items": items, "nested": nested}[where][strange] = {}
    assert "schema-portable" in {problem.rule for problem in input_problems(schema)}
