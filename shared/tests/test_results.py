"""How what a handler returns becomes what a client gets."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from mcp_bulkhead import Link, Media, Page, Text
from mcp_bulkhead.errors import MAX_ERROR_CHARS, Failure, Invalid, Later, Refused, TooLarge
from mcp_bulkhead.results import ERROR_META, PROVENANCE_META, Rendering, cut_at_line, render, render_failure
from mcp_bulkhead.testing.answers import hygiene_problems, refusal_problems, success_problems
from mcp_bulkhead.testing.requirements import requirement

ANY_TEXT = st.text(st.characters(), max_size=200) | st.sampled_from(["\udcff", "\ud83d", "a\x00b", "\u202e", "\u200b"])
PAYLOAD_TOOL: dict[str, Any] = {"name": "x"}


class Row(BaseModel):
    text: str
    note: str | None = None


def rendering(**more: Any) -> Rendering:
    usual: dict[str, Any] = {"max_chars": 2_000, "hard_chars": 10_000, "sign": signed}
    return Rendering(**{**usual, **more})


def signed(position: Any) -> str:
    return f"signed-{json.dumps(position)}"


def answer_of(value: Any, **more: Any) -> dict[str, Any]:
    return render(value, rendering(**more)).model_dump(mode="json", by_alias=True, exclude_none=True)


@requirement("RES-5")
@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_no_text_leaves_with_a_surrogate_or_what_cannot_be_seen(body: str, uri: str, source: str):
    answer = answer_of(Text(body, links=[Link(uri=uri, name=source)], source=source, next=[body]), untrusted=True)
    assert list(success_problems(answer, PAYLOAD_TOOL)) == []
    json.dumps(answer, ensure_ascii=False).encode()


@requirement("RES-5", "RES-2")
@given(st.lists(st.tuples(ANY_TEXT, st.none() | ANY_TEXT), max_size=5))
def test_no_model_leaves_with_a_surrogate_and_both_forms_agree(rows: list[tuple[str, str | None]]):
    page = Page[Row](rows=[Row(text=text, note=note) for text, note in rows])
    answer = answer_of(page)
    schema = {"type": "object", "properties": {"rows": {"type": "array"}}}
    assert list(success_problems(answer, {"name": "x", "outputSchema": schema})) == []
    json.dumps(answer, ensure_ascii=False).encode()


@requirement("RES-4")
@given(st.text(max_size=30), st.integers(0, 3_000))
def test_no_text_is_over_the_hard_cap(line: str, times: int):
    answer = answer_of(Text("\n".join([line] * times)))
    assert len(answer["content"][0]["text"]) <= 10_000 + 100


@requirement("RES-7")
@given(st.lists(st.integers(0, 900), min_size=1, max_size=40), st.booleans())
def test_a_page_is_cut_between_rows_and_goes_on_after_the_last_one_sent(sizes: list[int], more: bool):
    rows = [Row(text=f"{number}:" + "x" * size) for number, size in enumerate(sizes)]
    page = Page[Row].of(rows, after=lambda row: int(row.text.partition(":")[0]) + 1, more=more)
    data = answer_of(page)["structuredContent"]
    sent = [row["text"] for row in data["rows"]]
    assert sent == [row.text for row in rows][: len(sent)]
    assert sent
    if len(sent) < len(rows) or more:
        assert data["next"] == f"signed-{len(sent)}"
    else:
        assert "next" not in data
    assert len(sent) == 1 or len(json.dumps(data)) <= 2_000 + 200


def test_a_page_that_is_empty_is_the_last():
    answer = answer_of(Page[Row].of([], after=lambda row: row, more=False))
    assert answer["structuredContent"] == {"rows": []}


def test_one_row_that_is_too_long_is_refused_rather_than_cut():
    with pytest.raises(TooLarge) as refused:
        answer_of(Page[Row](rows=[Row(text="x" * 20_000)]))
    assert refused.value.details["limit"] == 10_000


@given(st.text(st.sampled_from("ab\n"), max_size=60), st.integers(1, 40))
def test_a_cut_is_a_beginning_and_ends_at_a_line_if_there_is_one(text: str, limit: int):
    cut = cut_at_line(text, limit)
    assert text.startswith(cut)
    assert len(cut) <= limit
    if "\n" in text[1:limit] and len(text) > limit:
        assert text[len(cut)] == "\n"


def test_a_text_that_goes_on_says_how():
    text = answer_of(Text("one\ntwo\n", next={"line": 3}))["content"][0]["text"]
    assert text.splitlines() == ["one", "two", '-- more: repeat this call with cursor="signed-{\\"line\\": 3}"']


def test_what_was_escaped_is_counted_and_where_it_came_from_is_said():
    answer = answer_of(Text("a\u202eb\u200bc\u200b", source="notes/x"), untrusted=True)
    assert answer["content"][0]["text"] == r"a\u{202e}b\u{200b}c\u{200b}"
    told = answer["_meta"][PROVENANCE_META]
    assert (told["untrusted"], told["source"]) == (True, "notes/x")
    assert sum(told["escaped"].values()) == 3


def test_media_and_links_follow_the_text_and_name_no_audience():
    answer = answer_of(
        Text("a picture", media=[Media(b"\x89PNG", "image/png")], links=[Link("file:///x", "x", size=4)])
    )
    assert [block["type"] for block in answer["content"]] == ["text", "image", "resource_link"]
    assert list(hygiene_problems(answer)) == []


def test_a_handler_may_return_nothing_else():
    with pytest.raises(TypeError, match="str"):
        answer_of("just a text")


@requirement("ERR-1", "ERR-2", "ERR-3")
@given(ANY_TEXT, ANY_TEXT, st.dictionaries(st.text(max_size=20), ANY_TEXT, max_size=30), st.none() | st.floats(0, 9e9))
def test_every_failure_is_one_small_object_said_twice(
    message: str, hint: str, details: dict[str, str], wait: float | None
):
    failure = Later(message * 20, hint=(hint * 20) or "x", details=details, retry_after_s=wait)
    answer = render_failure(failure).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert list(refusal_problems(answer, "try_later")) == []
    json.dumps(answer, ensure_ascii=False).encode()


def test_a_long_failure_keeps_its_code_and_the_beginning_of_its_words():
    failure = Refused("m" * 3_000, hint="h" * 3_000, details={"big": "d" * 5_000}, code="denied")
    error = render_failure(failure).model_dump(by_alias=True)["_meta"][ERROR_META]
    assert error["code"] == "denied"
    assert error["message"].startswith("mmm")
    assert error["hint"].startswith("hhh")
    assert len(json.dumps({"error": error}, separators=(",", ":"))) < MAX_ERROR_CHARS


@requirement("AUDIT-6")
def test_a_secret_is_removed_from_every_part_of_an_answer():
    def hide(text: str) -> str:
        return text.replace("s3cret", "[redacted]")

    text = answer_of(Text("a s3cret", links=[]), redact=hide)
    typed = answer_of(Page[Row](rows=[Row(text="s3cret", note="my s3cret")]), redact=hide)
    failed = render_failure(Invalid("not s3cret", field="s3cret", hint="s3cret"), hide).model_dump(mode="json")
    assert "s3cret" not in json.dumps([text, typed, failed])
    assert typed["structuredContent"]["rows"][0]["text"] == "[redacted]"
    assert typed["content"][0]["text"] == json.dumps(typed["structuredContent"], separators=(",", ":"))


def test_a_failure_without_a_hint_has_the_shape_all_the_same():
    assert Failure("x").as_dict() == {"code": "failed", "message": "x", "hint": "", "retryable": False}
