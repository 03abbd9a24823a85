"""What is published of a declaration, and that clients can take it."""

from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter, create_model

from mcp_bulkhead.schema import output, portable
from mcp_bulkhead.testing.client_facts import (
    description_problems,
    dialect_problems,
    invalid,
    output_problems,
    schema_problems,
)
from mcp_bulkhead.testing.requirements import requirement


class Point(BaseModel):
    x: int = Field(description="Across.")
    label: str | None = Field(default=None, description="What it is called.")


PLAIN = st.sampled_from(
    [
        str,
        int,
        float,
        bool,
        Literal["a", "b"],
        Literal["only"],
        Literal[1, 2],
        list[str],
        list[int | None],
        list[Point],
        Point,
        dict[str, int],
        dict[str, int | None],
        Annotated[int, Field(gt=3, lt=9)],
        Annotated[float, Field(gt=0, le=1.5)],
        Annotated[str, Field(pattern="^a", max_length=9, min_length=1)],
        Annotated[list[Annotated[int, Field(gt=1)]], Field(max_length=3)],
    ]
)
WIDE = st.sampled_from([int | str, Any, list[int | str], dict | list, None])
DEFAULTS = st.sampled_from([..., None])


def model_of(types: dict[str, Any], optional: set[str]) -> type[BaseModel]:
    fields: dict[str, Any] = {
        name: (kind | None, Field(default=None, description="A word."))
        if name in optional
        else (kind, Field(description="A word."))
        for name, kind in types.items()
    }
    return create_model("Arguments", **fields)


NAMES = st.sampled_from(
    ["path", "title", "format", "default", "const", "properties", "required", "items", "type", "enum"]
)


@requirement("LIST-12")
@given(st.dictionaries(NAMES, PLAIN, max_size=5), st.sets(NAMES))
def test_any_declaration_of_plain_types_becomes_a_portable_schema(types: dict[str, Any], optional: set[str]):
    schema = portable(model_of(types, optional).model_json_schema())
    assert list(schema_problems(schema)) == []
    assert list(dialect_problems(schema)) == []
    assert list(description_problems(schema)) == []
    assert set(schema["properties"]) == set(types)
    assert set(schema.get("required", [])) == set(types) - optional


@requirement("LIST-12")
@given(WIDE)
def test_a_parameter_without_one_plain_type_does_not_start(kind: Any):
    with pytest.raises(TypeError, match="plain type"):
        portable(create_model("Arguments", wide=(kind, Field(description="A word."))).model_json_schema())


@requirement("LIST-12")
def test_bounds_and_defaults_are_said_in_words():
    class Arguments(BaseModel):
        count: Annotated[int, Field(gt=0, le=50, description="How many.")] = 10
        share: Annotated[float, Field(gt=0, description="How much.")] = 0.5
        deep: Annotated[bool, Field(description="All the way down.")] = False
        cold: Annotated[int, Field(ge=-40, le=40, description="Degrees.")]

    said = {name: each["description"] for name, each in portable(Arguments.model_json_schema())["properties"].items()}
    assert said == {
        "count": "How many (1-50, default 10).",
        "share": "How much (more than 0, default 0.5).",
        "deep": "All the way down (default false).",
        "cold": "Degrees (-40 to 40).",
    }


@requirement("RES-8")
def test_a_field_that_may_be_null_is_not_required_and_not_sent():
    class Row(BaseModel):
        name: str
        note: str | None
        cells: list[int | None]
        more: dict[str, int | None] = {}
        inner: Point | None = None

    schema = output(TypeAdapter(Row).json_schema(mode="serialization"))
    assert schema["required"] == ["name", "cells"]
    row = Row(name="a", note=None, cells=[1, None], more={"x": None}, inner=Point(x=1))
    sent = row.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert sent == {"name": "a", "cells": [1, None], "more": {"x": None}, "inner": {"x": 1}}
    assert invalid(sent, schema) == []
    assert invalid({"name": 1, "cells": []}, schema) == ["$.name: type"]


@requirement("RES-8")
@given(st.dictionaries(NAMES, PLAIN, max_size=4), st.sets(NAMES))
def test_an_output_schema_has_no_reference_no_null_and_no_title(types: dict[str, Any], optional: set[str]):
    schema = output(model_of(types, optional).model_json_schema(mode="serialization"))
    assert list(output_problems(schema)) == []
    assert list(dialect_problems(schema)) == []
    assert '"null"' not in str(schema).replace("'", '"')


def test_what_looks_like_a_schema_in_a_default_is_left_alone():
    schema = output(
        {"type": "object", "properties": {"x": {"type": "object", "default": {"title": "kept", "$ref": "#"}}}}
    )
    assert schema["properties"]["x"]["default"] == {"title": "kept", "$ref": "#"}


def test_a_type_that_holds_itself_ends_as_an_object():
    class Tree(BaseModel):
        left: "Tree | None" = None

    schema = output(TypeAdapter(Tree).json_schema(mode="serialization"))
    assert schema["properties"]["left"] == {"type": "object"}
