"""What the backend gives back: plain data with the text already laid out, and where to go on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from mcp_bulkhead.errors import Failure
from mcp_bulkhead.guards.paths import Kind


@dataclass(slots=True)
class Skipped:
    """What was passed over, and why; said in every answer, because silence reads as absence."""

    ignored: int = 0
    denied: int = 0
    unreadable: int = 0
    binary: int = 0
    links: int = 0
    special: int = 0

    def said(self) -> str:
        """`3 unreadable, 1 denied`, or nothing."""
        words = {"links": "links not followed", "special": "not regular files"}
        counts = ((each.name, getattr(self, each.name)) for each in fields(self))
        return ", ".join(f"{count} {words.get(name, name)}" for name, count in counts if count)


@dataclass(frozen=True, slots=True)
class TextPiece:
    r"""A page of one file. `body` is the file's own text with `\n` line ends; header and footer are ours.

    `more` is the path to send for the rest, or None at the end.
    """

    path: str
    header: str
    body: str
    notes: Sequence[str] = ()
    more: str | None = None
    lines: int = 0
    changed: bool = False
    real: str = ""
    """Where the file really is, after links: for the record."""

    @property
    def text(self) -> str:
        tail = [*self.notes, *([f"-- more: {self.more}"] if self.more else [])]
        gap = "" if not self.body or self.body.endswith("\n") else "\n"
        return f"{self.header}\n{self.body}{gap}" + "".join(f"{line}\n" for line in tail)


@dataclass(frozen=True, slots=True)
class MediaPiece:
    """An image or a sound, to be shown as such."""

    path: str
    header: str
    data: bytes
    mime: str
    real: str = ""

    @property
    def text(self) -> str:
        return f"{self.header}\n"


@dataclass(frozen=True, slots=True)
class BinaryPiece:
    """A file without text: what it is, and the resource that holds its bytes."""

    path: str
    header: str
    uri: str
    mime: str
    size: int
    real: str = ""

    @property
    def text(self) -> str:
        return f"{self.header}\n"


@dataclass(frozen=True, slots=True)
class FailedPiece:
    """One of several files that could not be read; the others still are."""

    path: str
    failure: Failure
    real: str = ""

    @property
    def text(self) -> str:
        return f"== {self.path}  {self.failure.reason}: {self.failure.message} {self.failure.hint}".rstrip() + "\n"


Piece = TextPiece | MediaPiece | BinaryPiece | FailedPiece


@dataclass(frozen=True, slots=True)
class Row:
    """One entry of a listing."""

    path: str
    kind: Kind
    size: int
    denied: bool = False


@dataclass(slots=True)
class Answer:
    """Lines of text, what was left out, and the position after the last one (None = nothing is left)."""

    lines: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    skipped: Skipped = field(default_factory=Skipped)
    next: Any = None
    late: bool = False
    """The time was up before the end was reached."""

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self._all())

    def _all(self) -> Iterator[str]:
        yield from self.lines
        yield from (f"-- {note}" for note in self.notes)
        if said := self.skipped.said():
            yield f"-- skipped: {said}"


@dataclass(slots=True)
class Listing(Answer):
    rows: list[Row] = field(default_factory=list[Row])


@dataclass(slots=True)
class Found(Answer):
    paths: list[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class Hit:
    """A file, and the line where it matched (0 when only the file is named)."""

    path: str
    line: int = 0
    count: int = 0


@dataclass(slots=True)
class Grepped(Answer):
    hits: list[Hit] = field(default_factory=list[Hit])
    files: int = 0
    """Files looked into by this call."""


@dataclass(frozen=True, slots=True)
class OpenedResource:
    """A whole file: text as decoded, line ends untouched, or bytes."""

    body: str | bytes
    mime: str
    size: int
    mtime_ns: int
    etag: str
    uri: str


def size_of(count: int) -> str:
    """`41 kB`: two figures are enough to decide by."""
    if count < 1_000:  # noqa: PLR2004 - the SI step
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1_000
        if value < 1_000 or unit == "TB":  # noqa: PLR2004
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"  # noqa: PLR2004
    raise AssertionError


def cost_of(text: str) -> int:
    """The characters a line will take once the library has written out what cannot be seen (at most nine for one)."""
    if text.isprintable():
        return len(text)
    hidden = sum(not char.isprintable() for char in text.replace("\t", " "))
    return len(text) + 8 * hidden
