"""One page of one text file: whole lines while they fit, a part of a line only when it alone is too long."""

from dataclasses import dataclass, field

from mcp_bulkhead.guards.paths import OpenedFile

from .answers import cost_of
from .charset import Charset, readable
from .lines import Breaks, Facts, line_start
from .workers import Job

STEP = 64 * 1024
MAX_BYTES_PER_CHAR = 4
MIN_SLICE = 16


@dataclass(slots=True)
class Allowance:
    """What is left of an answer: characters and lines, shared by all its files."""

    room: int
    lines: int
    full: int
    """The room there was at the beginning."""


@dataclass(slots=True)
class Page:
    first: int
    at: int
    last: int = 0
    parts: list[str] = field(default_factory=list[str])
    next: tuple[int, int] | None = None
    """Line and byte in it where the rest begins; None at the end of the file or range."""
    damaged: int = 0
    cut: bool = False
    deferred: bool = False
    """Nothing fits here any more, but would fit into an answer of its own."""
    at_end: bool = False
    unterminated: bool = False

    @property
    def lines(self) -> int:
        return max(0, self.last - self.first + 1)


@dataclass(slots=True)
class Reader:
    """Takes lines off a file, one page per instance."""

    file: OpenedFile
    facts: Facts
    page: Page
    last: int | None
    numbers: bool
    allowance: Allowance
    job: Job
    breaks: Breaks = field(init=False)
    buffer: bytes = b""
    offset: int = 0
    """Where the buffer begins in the file."""
    place: int = 0
    """How much of the buffer is used."""
    ended: bool = False

    def __post_init__(self) -> None:
        self.breaks = Breaks(self.facts.charset)

    def run(self) -> Page:
        page, line = self.page, self.page.first
        start = line_start(self.file, self.facts, line, self.job)
        if start is None:
            page.at_end = True
            return page
        page.at -= page.at % self.breaks.unit  # a made-up offset must not split a unit
        self.offset = start + page.at
        while self.last is None or line <= self.last:
            if not self.take(line):
                break
            line += 1
        if page.next is not None and not page.next[1]:
            self.facts.mark(page.next[0], self.offset + self.place)
        if page.at_end and self.facts.lines is None:
            self.facts.lines = max(page.last, page.first - (page.at == 0))
        return page

    def take(self, line: int) -> bool:
        """Add one line; False when the page ends instead."""
        page, allowance = self.page, self.allowance
        span = self.find_end()
        if span is None and self.ended and self.place == len(self.buffer):
            page.at_end = True
            return False
        if not allowance.lines:
            page.next = (line, 0)
            return False
        stop = span[0] if span else len(self.buffer)
        prefix = f"{line}\t" if self.numbers else ""
        room = allowance.room - len(prefix) - 1
        raw = self.buffer[self.place : stop]
        text = self.fitting(raw, room) if span or self.ended else None
        if text is None:
            return self.overflow(line, raw, prefix, room)
        page.parts.append(f"{prefix}{text}\n" if span else prefix + text)
        page.last, page.unterminated = line, span is None
        allowance.room -= cost_of(text) + len(prefix) + 1
        allowance.lines -= 1
        self.place = span[1] if span else len(self.buffer)
        return True

    def fitting(self, raw: bytes, room: int) -> str | None:
        """A line as text, None when it takes more than the room."""
        if len(raw) > room * MAX_BYTES_PER_CHAR:
            return None
        text, damaged = readable(self.facts.charset.decode(raw))
        if cost_of(text) > room:
            return None
        self.page.damaged += damaged
        return text

    def overflow(self, line: int, raw: bytes, prefix: str, room: int) -> bool:
        """A line that does not fit: the next page begins with it, unless this page would hold nothing at all."""
        page, allowance = self.page, self.allowance
        if page.parts:
            page.next = (line, 0)
            return False
        crowded = allowance.room < allowance.full // 2
        if crowded:
            page.next, page.deferred = (line, page.at), True
            return False
        text, used, damaged = cut(self.facts.charset, raw, max(room, MIN_SLICE))
        page.parts.append(prefix + text)
        page.damaged += damaged
        page.last, page.cut = line, True
        page.next = (line, page.at + used)
        allowance.room -= cost_of(text) + len(prefix) + 1
        allowance.lines -= 1
        return False

    def find_end(self) -> tuple[int, int] | None:
        """The next line end, reading on while it may lie further away and the line could still fit."""
        while True:
            span = self.breaks.end(self.buffer, self.place)
            if span is not None or self.ended:
                return span
            if len(self.buffer) - self.place > max(self.allowance.room, MIN_SLICE) * MAX_BYTES_PER_CHAR:
                return None
            self.feed()

    def feed(self) -> None:
        self.job.check()
        rest = self.buffer[self.place :]
        self.offset += self.place
        block = self.file.pread(STEP, self.offset + len(rest))
        self.ended = len(block) < STEP
        self.buffer, self.place = self.breaks.complete(rest + block, at_end=self.ended), 0


def cut(charset: Charset, raw: bytes, room: int) -> tuple[str, int, int]:
    """As much of a line as fits: its text, the bytes that went into it, and how many were undecodable."""
    decoder = charset.decoder()
    parts: list[str] = []
    used, damaged, step = 0, 0, room
    while room > 0 and step > 0 and used < len(raw):
        before = decoder.getstate()
        text, bad = readable(decoder.decode(raw[used : used + step * charset.unit]))
        if cost_of(text) > room and step > MIN_SLICE:
            decoder.setstate(before)
            step //= 2
            continue
        parts.append(text)
        used += step * charset.unit
        room -= cost_of(text)
        damaged += bad
        step = min(step, room)
    return "".join(parts), min(used, len(raw)) - len(decoder.getstate()[0]), damaged
