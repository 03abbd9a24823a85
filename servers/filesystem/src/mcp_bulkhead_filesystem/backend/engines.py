r"""How a pattern is looked for in a block of text: always in linear time, or in a process that can be killed.

A block is UTF-8 with `\n` line ends. An engine says, for each block, where the first match of every matching line
lies.
"""

import re
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, Protocol

from mcp_bulkhead.errors import Invalid

from .killable import KillableRegex
from .workers import Job

Span = tuple[int, int]
Find = Callable[[bytes, int], Span | None]

MAX_PATTERN = 1_000
REGEX_SIGNS = frozenset("\\^$.|?*+()[]{}")
DFA_BYTES = 8 << 20


class Engine(Protocol):
    batch: int
    """How many bytes to collect before a scan: 0 = block by block."""

    def scan(self, blocks: Sequence[bytes], limit: int) -> list[list[Span]]:
        """At most `limit` matching lines of each block."""
        ...

    def close(self) -> None: ...


class InProcess:
    """A linear search that runs right here."""

    batch = 0

    def __init__(self, find: Find) -> None:
        self._find = find

    def scan(self, blocks: Sequence[bytes], limit: int) -> list[list[Span]]:
        return [first_of_lines(self._find, block, limit) for block in blocks]

    def close(self) -> None:
        return


def first_of_lines(find: Find, block: bytes, limit: int) -> list[Span]:
    """The first match of every matching line."""
    spans: list[Span] = []
    at = 0
    while len(spans) < limit and at <= len(block) and (span := find(block, at)) is not None:
        start, stop = span
        end = block.find(b"\n", start)
        if end < 0:
            end = len(block)
            if start == end and (not block or block.endswith(b"\n")):
                break  # an empty match behind the last line is on no line
        spans.append((start, min(stop, end)))
        at = end + 1
    return spans


def engine_for(pattern: str, *, literal: bool, ignore_case: bool, job: Job, linear: bool | None = None) -> Engine:
    """The engine for a pattern. `linear` False forces the killable process, as where google-re2 is not installed."""
    _check(pattern)
    if literal or REGEX_SIGNS.isdisjoint(pattern):
        return InProcess(_literal(pattern, ignore_case=ignore_case))
    if linear is not False and (compiled := _linear(pattern, ignore_case=ignore_case)) is not None:
        return InProcess(compiled)
    return KillableRegex(pattern, ignore_case=ignore_case, job=job)


def _check(pattern: str) -> None:
    if not pattern or len(pattern) > MAX_PATTERN:
        raise _bad(f"must have 1 to {MAX_PATTERN} characters")
    if "\n" in pattern or "\r" in pattern:
        raise _bad("holds a line break: matching is line by line")
    try:
        pattern.encode()
    except UnicodeEncodeError as error:
        raise _bad("holds half a character (a lone surrogate)") from error


def _literal(needle: str, *, ignore_case: bool) -> Find:
    raw = needle.encode()
    if not ignore_case:
        return lambda block, at: (found, found + len(raw)) if (found := block.find(raw, at)) >= 0 else None
    if needle.isascii():
        return _folded(raw.lower())
    compiled = _linear(re.escape(needle), ignore_case=True)
    return compiled or _decoded(re.compile(re.escape(needle), re.IGNORECASE))


def _folded(needle: bytes) -> Find:
    """ASCII without case; the lower-cased block is kept for the next match in it."""
    last: tuple[bytes, bytes] = (b"", b"")

    def find(block: bytes, at: int) -> Span | None:
        nonlocal last
        if last[0] is not block:
            last = (block, block.lower())
        found = last[1].find(needle, at)
        return (found, found + len(needle)) if found >= 0 else None

    return find


def _decoded(regex: re.Pattern[str]) -> Find:
    """`re` on text, to fold case beyond ASCII; an escaped literal has nothing to backtrack over."""

    def find(block: bytes, at: int) -> Span | None:
        found = regex.search(block[at:].decode("utf-8", "surrogateescape"))
        if found is None:
            return None
        before = len(found.string[: found.start()].encode("utf-8", "surrogateescape"))
        return at + before, at + before + len(found[0].encode("utf-8", "surrogateescape"))

    return find


def _linear(pattern: str, *, ignore_case: bool) -> Find | None:
    """google-re2's search, or None where it is not installed."""
    try:
        re2: Any = import_module("re2")
    except ImportError:
        return None
    options: Any = re2.Options()
    options.log_errors = False
    options.never_nl = True  # without it, `[^x]*` runs over lines and the search becomes quadratic
    options.case_sensitive = not ignore_case
    options.max_mem = DFA_BYTES
    try:
        compiled: Any = re2.compile(f"(?m){pattern}", options)
    except re2.error as error:
        raise _bad("is not a regular expression of the linear kind (no look-around, no backreferences)") from error
    re2.purge()  # its cache would keep the memory of 128 patterns

    def find(block: bytes, at: int) -> Span | None:
        found = compiled.search(block, at)
        return found.span() if found is not None else None

    return find


def _bad(problem: str) -> Invalid:
    return Invalid(
        "This pattern cannot be searched for.",
        field="pattern",
        problem=problem,
        hint="Correct it, or set literal=true to look for the text as it stands.",
    )
