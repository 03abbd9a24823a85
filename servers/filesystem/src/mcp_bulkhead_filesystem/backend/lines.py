r"""Where lines begin, without reading more of a file than must be read.

A line ends at `\n`, `\r\n` or a lone `\r`, as editors and Python see it. Lines are found in the bytes, block by
block; a sparse index of line starts is kept per file version, so a page deep inside a large file costs its distance
to the nearest known line, and pages read one after the other cost only themselves.
"""

import bisect
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from mcp_bulkhead.guards.paths import OpenedFile

from .charset import EVIDENCE, Charset, detect
from .workers import Job

BLOCK = 256 * 1024
COUNTED = 16 * 1024 * 1024
"""Larger files are not read through just to say how many lines they have."""
MAX_MARKS = 1_024
REMEMBERED = 64
# As git's racy timestamps: a file written twice within one clock tick looks the same, so a fresh one is not remembered.
SETTLED_S = 2.0
NEAR = 4_096


class Breaks:
    r"""Line ends in raw blocks of one charset. Blocks begin at a character and never end inside `\r\n`."""

    def __init__(self, charset: Charset) -> None:
        self.unit = charset.unit
        self.lf, self.cr = charset.newline, charset.carriage_return
        self.any = re.compile(b"%b|%b(?:%b)?" % tuple(map(re.escape, (self.lf, self.cr, self.lf))))

    def simple(self, block: bytes) -> bool:
        r"""Whether every line end is a `\n` byte: then the fast byte searches tell the truth."""
        return self.unit == 1 and (b"\r" not in block or block.count(b"\r") == block.count(b"\r\n"))

    def count(self, block: bytes) -> int:
        if self.simple(block):
            return block.count(b"\n")
        return sum(1 for _ in self.ends(block))

    def ends(self, block: bytes, at: int = 0) -> Iterator[tuple[int, int]]:
        """Where each line end begins and stops, from `at` on. Its bytes across two UTF-16 characters are not one."""
        for match in self.any.finditer(block, at):
            if match.start() % self.unit == 0:
                yield match.span()

    def end(self, block: bytes, at: int) -> tuple[int, int] | None:
        return next(self.ends(block, at), None)

    def skip(self, block: bytes, count: int) -> int:
        """The offset behind the `count`-th line end (counted from 1), which must be there."""
        if self.simple(block):
            return _skip_newlines(block, count)
        for number, (_, stop) in enumerate(self.ends(block), 1):
            if number == count:
                return stop
        raise AssertionError("the caller counted the line ends first")

    def last(self, block: bytes) -> int:
        """The offset behind the last line end, 0 when there is none."""
        if self.simple(block):
            return block.rfind(b"\n") + 1
        stop = 0
        for _, stop in self.ends(block):  # noqa: B007 - the last one is wanted
            pass
        return stop

    def complete(self, block: bytes, *, at_end: bool) -> bytes:
        r"""The block without a half unit or a `\r` at its end whose `\n` may follow."""
        if at_end:
            return block
        block = block[: len(block) - len(block) % self.unit]
        return block[: -self.unit] if block.endswith(self.cr) and len(block) > self.unit else block


@dataclass(slots=True)
class Facts:
    """What is known of one version of a text file."""

    charset: Charset
    eol: str = "none"
    lines: int | None = None
    """None: not counted, because the file is large."""
    marks: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """Known line starts: (number from 1, byte offset), sorted."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def mark(self, line: int, offset: int) -> None:
        with self.lock:
            at = bisect.bisect_left(self.marks, (line, 0))
            if at < len(self.marks) and self.marks[at][0] == line:
                return
            self.marks.insert(at, (line, offset))
            if len(self.marks) > MAX_MARKS:
                del self.marks[1::2]

    def nearest(self, line: int) -> tuple[int, int]:
        with self.lock:
            at = bisect.bisect_right(self.marks, (line, 2**63))
            return self.marks[at - 1] if at else (1, self.charset.bom)


class KnownFiles:
    """The facts of files read lately, by version. Bounded; shared by all threads."""

    def __init__(self) -> None:
        self._facts: OrderedDict[str, Facts | None] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, file: OpenedFile, job: Job) -> Facts | None:
        """The facts of a file, None when it is not text."""
        etag = file.etag()
        with self._lock:
            if etag in self._facts:
                self._facts.move_to_end(etag)
                return self._facts[etag]
        facts = survey(file, job)
        if abs(time.time() - file.mtime_ns / 1e9) > SETTLED_S:
            with self._lock:
                self._facts[etag] = facts
                while len(self._facts) > REMEMBERED:
                    self._facts.popitem(last=False)
        return facts


def survey(file: OpenedFile, job: Job) -> Facts | None:
    """Read the beginning of a file, all of it when it is not large, and say what it is."""
    small = file.size <= COUNTED
    # The first page of a huge file must not wait for evidence it does not need.
    head = file.pread(EVIDENCE, 0)
    charset = detect(head, whole=len(head) >= file.size)
    if charset is None:
        return None
    facts = Facts(charset)
    if not small:
        facts.eol = _eol(Breaks(charset), iter([Breaks(charset).complete(head, at_end=False)]))[0]
        return facts
    breaks = Breaks(charset)
    facts.eol, ends = _eol(breaks, blocks(file, breaks, charset.bom, job))
    facts.lines = ends + (0 if file.size <= charset.bom or _ends_with_break(file, breaks) else 1)
    return facts


def at_a_glance(file: OpenedFile) -> Facts | None:
    """Only the charset: enough to go through a file from its beginning."""
    head = file.pread(EVIDENCE, 0)
    charset = detect(head, whole=len(head) >= file.size)
    return None if charset is None else Facts(charset)


def blocks(file: OpenedFile, breaks: Breaks, offset: int, job: Job) -> Iterator[bytes]:
    """The file from `offset` on, in blocks that can be searched one by one."""
    while True:
        job.check()
        block = file.pread(BLOCK, offset)
        if not block:
            return
        block = breaks.complete(block, at_end=len(block) < BLOCK)
        yield block
        offset += len(block)


def line_start(file: OpenedFile, facts: Facts, line: int, job: Job) -> int | None:
    """The byte offset of a line; None when the file ends before it (and then `facts.lines` is known)."""
    breaks = Breaks(facts.charset)
    number, offset = facts.nearest(line)
    start = offset
    for block in blocks(file, breaks, offset, job):
        if number == line:
            return start
        count = breaks.count(block)
        if number + count >= line:
            start = offset + breaks.skip(block, line - number)
            facts.mark(line, start)
            if start >= file.size:
                facts.lines = line - 1
                return None
            return start
        if count:
            start = offset + breaks.last(block)
            facts.mark(number + count, start)
        number, offset = number + count, offset + len(block)
    facts.lines = number if start < offset else number - 1
    return None


def count_lines(file: OpenedFile, facts: Facts, job: Job) -> int:
    """How many lines there are, whatever it takes; remembered."""
    if facts.lines is None:
        line_start(file, facts, 2**62, job)
    return facts.lines or 0


def _eol(breaks: Breaks, parts: Iterator[bytes]) -> tuple[str, int]:
    """The kind of line ends, and how many."""
    crlf = lf = cr = 0
    for block in parts:
        if breaks.simple(block):
            found = block.count(b"\n")
            pairs = block.count(b"\r")
            crlf, lf = crlf + pairs, lf + found - pairs
            continue
        for start, stop in breaks.ends(block):
            pair = stop - start > breaks.unit
            is_cr = block[start : start + breaks.unit] == breaks.cr
            crlf, cr, lf = crlf + pair, cr + (is_cr and not pair), lf + (not is_cr)
    kinds = [name for name, count in (("lf", lf), ("crlf", crlf), ("cr", cr)) if count]
    return ("mixed" if len(kinds) > 1 else kinds[0] if kinds else "none"), crlf + lf + cr


def _ends_with_break(file: OpenedFile, breaks: Breaks) -> bool:
    tail = file.pread(breaks.unit, file.size - breaks.unit)
    return tail in (breaks.lf, breaks.cr)


def _skip_newlines(block: bytes, count: int) -> int:
    low, high = 0, len(block)
    while high - low > NEAR:
        middle = (low + high) // 2
        found = block.count(b"\n", low, middle)
        if found < count:
            count, low = count - found, middle
        else:
            high = middle
    for _ in range(count):
        low = block.index(b"\n", low) + 1
    return low
