"""What must be true of every answer, as sentences about what is not: an empty list is a good answer."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from ..errors import MAX_ERROR_CHARS
from ..results import ERROR_META
from .client_facts import invalid

UNSEEN: Final = re.compile(
    "[\ud800-\udfff\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]"
)
"""What an answer may not hold raw: surrogates, control characters but tab and line ends, zero-width and bidi marks."""

SLACK: Final = 1.1
"""A budget is kept at a natural edge: the line or row that crosses it may be told, and the way on."""

MIN_ECHO: Final = 8
"""Shorter words may appear in a refusal by chance: "file", "pipe"."""

Answer = Mapping[str, Any]


def texts_of(answer: Answer) -> str:
    return "".join(block["text"] for block in answer["content"] if block["type"] == "text")


def shown(answer: Answer) -> Any:
    """What an example's `shows` looks at."""
    return answer["structuredContent"] if "structuredContent" in answer else texts_of(answer)


def success_problems(answer: Answer, tool: Mapping[str, Any], *, budget_chars: int | None = None) -> Iterator[str]:
    """What is wrong with the answer of a call that worked."""
    if answer.get("isError"):
        yield f"was refused: {texts_of(answer)[:500]}"
        return
    schema, structured = tool.get("outputSchema"), answer.get("structuredContent")
    if schema is None and structured is not None:
        yield "has structured content, but its tool no output schema"
    if schema is not None:
        yield from typed_problems(answer, schema)
    text = texts_of(answer)
    if budget_chars is not None and len(text) > budget_chars * SLACK + 200:
        yield f"has {len(text)} characters, more than its budget of {budget_chars}"
    yield from hygiene_problems(answer)


def typed_problems(answer: Answer, schema: Mapping[str, Any]) -> Iterator[str]:
    structured = answer.get("structuredContent")
    if not isinstance(structured, dict):
        yield "has no structured content, though its tool has an output schema"
        return
    yield from (f"breaks its output schema at {where}" for where in invalid(structured, schema))
    texts = [block for block in answer["content"] if block["type"] == "text"]
    if len(texts) != 1 or texts[0]["text"] != compact(structured):
        yield "has a text that is not the compact JSON of its structured content"


def hygiene_problems(answer: Answer) -> Iterator[str]:
    for text in strings_in(answer):
        found = UNSEEN.search(text)
        if found:
            yield f"holds a raw U+{ord(found.group()):04X}"
    for block in cast("list[dict[str, Any]]", answer.get("content", [])):
        if "audience" in (block.get("annotations") or {}):
            yield "names an audience"


def refusal_problems(answer: Answer, code: str | None, sent: Any = None) -> Iterator[str]:
    """What is wrong with the answer of a call that had to be refused."""
    if not answer.get("isError"):
        yield f"was answered: {texts_of(answer)[:500]}"
        return
    if "structuredContent" in answer:
        yield "has structured content: TypeScript SDK 1.x throws such an answer away"
    content = answer["content"]
    if len(content) != 1 or content[0]["type"] != "text":
        yield "is not one text block"
        return
    text = content[0]["text"]
    told = cast("Answer", answer.get("_meta") or {}).get(ERROR_META)
    if text != compact({"error": told}):
        yield "says in _meta something else than in its text"
        return
    yield from error_problems(cast("dict[str, Any]", told), code, sent)
    yield from hygiene_problems(answer)


def error_problems(error: Mapping[str, Any], code: str | None, sent: Any = None) -> Iterator[str]:
    """What is wrong with an error object, wherever it travels."""
    text = compact({"error": error})
    if code is not None and error.get("code") != code:
        yield f"has the code {error.get('code')!r} instead of {code!r}: {error.get('message')}"
    for key, kind in (("code", str), ("message", str), ("hint", str), ("retryable", bool)):
        if not isinstance(error.get(key), kind):
            yield f"has no {key}"
    if not error.get("hint"):
        yield "has no hint"
    if len(text) >= MAX_ERROR_CHARS:
        yield f"has {len(text)} characters, not fewer than {MAX_ERROR_CHARS}"
    for value in strings_in(sent):
        if len(value) >= MIN_ECHO and (value in text or json.dumps(value)[1:-1] in text):
            yield f"echoes what was sent: {value[:40]!r}"


def strings_in(value: Any) -> Iterator[str]:
    """Every text inside a JSON value, keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in cast("Mapping[str, Any]", value).values():
            yield from strings_in(each)
    elif isinstance(value, list | tuple):
        for each in cast("list[Any]", value):
            yield from strings_in(each)


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
