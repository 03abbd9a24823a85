r"""How a pattern is looked for in a block of text: always in linear time, or in a process that can be killed.

A block is UTF-8 with `\n` line ends. An engine says, for each block, where the first match of every matching line
lies.
"""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from mcp_bulkhead.errors import Invalid

from .killable import WALL_S, KillableRegex, too_slow
from .regex_process import compiled_by, finder, first_of_lines
from .workers import Job

Span = tuple[int, int]
Find = Callable[[bytes, int], Span | None]

MAX_PATTERN = 1_000
REGEX_SIGNS = frozenset("\\^$.|?*+()[]{}")
WORK = 1 << 22
"""Program steps times bytes that one uninterrupted search may cost: some tenths of a second at the worst."""
MIN_WINDOW = 1 << 10
MAX_WINDOW = 1 << 16


class Engine(Protocol):
    batch: int
    """How many bytes to collect before a scan: 0 = block by block."""

    def scan(self, blocks: Sequence[bytes], limit: int) -> list[list[Span]]:
        """At most `limit` matching lines of each block."""
        ...

    def close(self) -> None: ...


class InProcess:
    """A linear search that runs right here, some lines at a time, so that it can be left.

    Linear is not enough: a large program may cost microseconds for every byte. A line too long for its program to be
    looked through at once goes to a process that can be killed.
    """

    batch = 0

    def __init__(self, find: Find, job: Job, *, program: int = 1, apart: KillableRegex | None = None) -> None:
        self._find = find
        self._job = job
        self._window = max(MIN_WINDOW, min(MAX_WINDOW, WORK // program))
        self._most = max(MIN_WINDOW, WORK // program) if apart else None
        self._apart = apart

    def scan(self, blocks: Sequence[bytes], limit: int) -> list[list[Span]]:
        until = time.monotonic() + WALL_S
        return [self._block(block, limit, until) for block in blocks]

    def close(self) -> None:
        if self._apart is not None:
            self._apart.close()

    def _block(self, block: bytes, limit: int, until: float) -> list[Span]:
        spans: list[Span] = []
        for start, stop in windows(block, self._window):
            self._job.check()
            if time.monotonic() > until:
                raise too_slow()
            found = self._within(block[start:stop], limit - len(spans))
            spans += ((start + first, start + last) for first, last in found)
            if len(spans) >= limit:
                break
        return spans

    def _within(self, window: bytes, limit: int) -> list[Span]:
        if self._apart is not None and self._most is not None and len(window) > self._most:
            return self._apart.scan((window,), limit)[0]
        return first_of_lines(self._find, window, limit)


def windows(block: bytes, size: int) -> Iterator[tuple[int, int]]:
    """Whole lines of about this size together, or one longer line. A block without anything is one empty window."""
    start = 0
    while start + size < len(block):
        stop = block.rfind(b"\n", start, start + size) + 1 or block.find(b"\n", start + size) + 1
        if not stop:
            break
        yield start, stop
        start = stop
    if start < len(block) or not block:
        yield start, len(block)


def engine_for(pattern: str, *, literal: bool, ignore_case: bool, job: Job, linear: bool | None = None) -> Engine:
    """The engine for a pattern. `linear` False forces the killable process, as where google-re2 is not installed."""
    _check(pattern)
    if literal or REGEX_SIGNS.isdisjoint(pattern):
        return InProcess(_literal(pattern, ignore_case=ignore_case), job)
    if linear is not False and (re2 := _re2()) is not None:
        return _linear(re2, pattern, ignore_case=ignore_case, job=job)
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
    if (re2 := _re2()) is not None:
        return finder(compiled_by(re2, re.escape(needle), ignore_case=True))
    return _decoded(re.compile(re.escape(needle), re.IGNORECASE))


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


def _re2() -> Any | None:
    """google-re2, or None where it is not installed."""
    try:
        return import_module("re2")
    except ImportError:
        return None


def _linear(re2: Any, pattern: str, *, ignore_case: bool, job: Job) -> InProcess:
    try:
        compiled = compiled_by(re2, pattern, ignore_case=ignore_case)
    except re2.error as error:
        raise _bad("is not a regular expression of the linear kind (no look-around, no backreferences)") from error
    library = str(Path(re2.__file__).resolve().parents[1])
    apart = KillableRegex(pattern, ignore_case=ignore_case, job=job, library=library)
    return InProcess(finder(compiled), job, program=compiled.programsize, apart=apart)


def _bad(problem: str) -> Invalid:
    return Invalid(
        "This pattern cannot be searched for.",
        field="pattern",
        problem=problem,
        hint="Correct it, or set literal=true to look for the text as it stands.",
    )
