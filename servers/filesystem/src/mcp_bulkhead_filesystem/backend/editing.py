"""Replacing pieces of text in a file: all of them or none, each exactly where it was meant."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from mcp_bulkhead.errors import Failure, Invalid, Missing, TooLarge, Unsupported

from .charset import EVIDENCE, SURROGATES, Charset, detect
from .diffs import unified
from .nearest import Nearest, nearest
from .splicing import Document, seen_by_a_model

MAX_EDITS = 100
MAX_NAMED_LINES = 10
MAX_COUNTED = 1_000
MAX_REPLACED = 100_000


@dataclass(frozen=True, slots=True)
class Edit:
    r"""Text to find and what to put in its place, both with `\n` line ends. `all`: at every place it is at."""

    old: str
    new: str
    all: bool = False


@dataclass(frozen=True, slots=True)
class Edited:
    """The new bytes, and what to tell of them."""

    content: bytes
    replaced: int
    diff: str


def charset_of(raw: bytes) -> Charset:
    """As reading names it, so that what was read is what is changed."""
    charset = detect(raw[:EVIDENCE], whole=len(raw) <= EVIDENCE)
    if charset is None:
        raise Unsupported(
            "This file is not text, so no text in it can be replaced.",
            code="binary",
            hint="Write the whole file as base64 instead.",
        )
    return charset


def apply(raw: bytes, edits: Sequence[Edit], check: Callable[[], None] = lambda: None) -> Edited:
    """Each edit in turn, on what the ones before it left. `check` may call it off between two of them."""
    if not 0 < len(edits) <= MAX_EDITS:
        raise Invalid(f"Between 1 and {MAX_EDITS} edits are possible in one call.", field="edits")
    document = Document.of(raw, charset_of(raw))
    replaced = 0
    for number, edit in enumerate(edits, 1):
        check()
        try:
            replaced += _apply(document, edit)
        except Failure as failure:
            if len(edits) > 1:
                failure.details["edit"] = number
            raise
    return Edited(document.encoded(), replaced, unified(document.original, document.view.text, document.regions))


def _apply(document: Document, edit: Edit) -> int:
    old, new = seen_by_a_model(edit.old), seen_by_a_model(edit.new)
    _check(old, new)
    document.check_encodable(new)
    text = document.view.text
    most = MAX_REPLACED if edit.all else MAX_COUNTED
    places = list(islice(_places(text, old, overlapping=not edit.all), most + 1))
    if not places:
        raise _no_match(text, old)
    if len(places) > 1 and not edit.all:
        raise _ambiguous(text, places)
    if len(places) > MAX_REPLACED:
        raise TooLarge(
            f"This text is at more than {MAX_REPLACED:,} places.",
            hint="Replace a longer piece of text, which is at fewer places.",
        )
    document.replace([(place, place + len(old)) for place in places], old, new)
    return len(places)


def _check(old: str, new: str) -> None:
    if not old:
        raise Invalid(
            "There is nothing to look for.",
            field="old",
            problem="it is empty",
            hint="Give some text that is there, and put it into `new` again with what is to be added.",
        )
    if old == new:
        raise Invalid(
            "This edit changes nothing.",
            code="no_change",
            field="new",
            problem="it is the same as `old`",
            hint="Leave the edit out, or look at what is to be different.",
        )
    if "\0" in new:
        raise Invalid("Text cannot hold a NUL character.", field="new", problem="it contains a NUL character")


def _places(text: str, old: str, *, overlapping: bool) -> Iterator[int]:
    at = text.find(old)
    while at >= 0:
        yield at
        at = text.find(old, at + (1 if overlapping else len(old)))


def _ambiguous(text: str, places: Sequence[int]) -> Failure:
    lines: list[int] = []
    line, seen = 1, 0
    for place in places[:MAX_NAMED_LINES]:
        line, seen = line + text.count("\n", seen, place), place
        lines.append(line)
    count = f"{len(places)}" if len(places) <= MAX_COUNTED else f"more than {MAX_COUNTED:,}"
    return Invalid(
        f"The text to replace is at {count} places; nothing was changed.",
        code="ambiguous",
        hint="Take some of the lines around the right place into `old` and `new`, or set `all` to change every one.",
        details={"lines": lines},
    )


def _no_match(text: str, old: str) -> Failure:
    close = nearest(text, old)
    details: dict[str, Any] = close.details() if close else {}
    return Missing(
        "The text to replace is not in the file; nothing was changed.",
        code="no_match",
        hint=_next_step(text, close),
        details=details,
    )


def _next_step(text: str, close: Nearest | None) -> str:
    if SURROGATES.search(text):
        return r"Some bytes of this file are no characters and were shown as \xHH; choose `old` without them."
    if close is None:
        return "Read the file again, and copy `old` from it exactly."
    end = close.line + close.lines - 1
    lines = f"line {close.line}" if end == close.line else f"lines {close.line} to {end}"
    return f"Closest is {lines}: `differs` says in what, `diff` shows it (- as sent, + as in the file)."
