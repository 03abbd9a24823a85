"""read: several files, each from any line, within one allowance of lines and characters."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from mcp_bulkhead.errors import Failure, TooLarge
from mcp_bulkhead.guards.paths import OpenedFile, Place, RootFS, Roots

from .answers import BinaryPiece, FailedPiece, MediaPiece, Piece, TextPiece, cost_of, size_of
from .lines import Facts, KnownFiles, count_lines
from .media import MAGIC_BYTES, is_shown, type_of
from .names import first_that_exists, is_absent, uri_of, visible
from .paging import Allowance, Page, Reader
from .wanting import Want, continued
from .workers import Job

MAX_LINES = 1_000
HEADER_ROOM = 160
"""Characters a header, its notes and its continuation take beside the two paths in them."""
MIN_ROOM = 200


@dataclass(slots=True)
class Reading:
    """One call of read."""

    roots: Roots
    known: KnownFiles
    start: int | None
    numbers: bool
    allowance: Allowance
    media_left: int
    max_media: int
    job: Job
    pieces: list[Piece] = field(default_factory=list[Piece])

    def run(self, wants: Sequence[Want]) -> list[Piece]:
        """The pieces in the order asked for. One that fails does not stop the others, unless all do."""
        for want in wants:
            self.job.check()
            try:
                self.pieces.append(self.one(want))
            except Failure as failure:
                self.pieces.append(FailedPiece(visible(want.literal or want.path), failure))
        first = self.pieces[0] if self.pieces else None
        if isinstance(first, FailedPiece) and all(isinstance(piece, FailedPiece) for piece in self.pieces):
            raise first.failure
        return self.pieces

    def one(self, want: Want) -> Piece:
        file, place, want = self.open(want)
        with file:
            want.check()
            shown = visible(self.roots.place(place.root, place.rel).shown)
            facts = self.known.of(file, self.job)
            binary = facts is None
            piece = self.binary(file, place.root, shown) if binary else self.text(file, facts, shown, want)
            return replace(piece, real=visible(self.roots.place(place.root, file.rel).shown))

    def open(self, want: Want) -> tuple[OpenedFile, Place, Want]:
        """A file of exactly the text that was sent comes first; then the path without its range."""
        if want.literal and want.literal != want.path:
            try:
                file, place = first_that_exists(self.roots.locate(want.literal), RootFS.open_file)
            except Failure as failure:
                if not is_absent(failure):
                    raise
            else:
                return file, place, Want(want.literal)
        file, place = first_that_exists(self.roots.locate(want.path), RootFS.open_file)
        return file, place, want

    def text(self, file: OpenedFile, facts: Facts, shown: str, want: Want) -> TextPiece:
        first, last = self.range(file, facts, want)
        overhead = HEADER_ROOM + 2 * cost_of(shown)
        allowance = self.allowance
        allowance.room = max(allowance.room - overhead, 0 if self.pieces else MIN_ROOM)
        if allowance.room < MIN_ROOM or not allowance.lines:
            more = continued(shown, first, want.at, last)
            return TextPiece(
                shown, f"== {shown}  {_about(file, facts)}", "", ("-- not read: this answer is full",), more
            )
        page = Reader(file, facts, Page(first, want.at), last, self.numbers, allowance, self.job).run()
        changed = _changed(file)
        return TextPiece(
            shown,
            f"== {shown}  {_range(page, facts)}  {_about(file, facts)}",
            "".join(page.parts),
            tuple(_notes(page, facts, changed=changed)),
            continued(shown, *page.next, last) if page.next else None,
            page.lines,
            changed,
        )

    def range(self, file: OpenedFile, facts: Facts, want: Want) -> tuple[int, int | None]:
        if want.first is not None:
            return want.first, want.last
        if self.start is None or self.start >= 0:
            return max(self.start or 1, 1), None
        return max(1, count_lines(file, facts, self.job) + self.start + 1), None

    def binary(self, file: OpenedFile, root: RootFS, shown: str) -> MediaPiece | BinaryPiece:
        mime = type_of(file.pread(MAGIC_BYTES, 0), file.rel)
        header = f"== {shown}  {mime}  {size_of(file.size)}  etag={file.etag()}"
        if not is_shown(mime):
            uri = uri_of(root, file.rel)
            return BinaryPiece(shown, f"{header}  not text: {uri}", uri, mime, file.size)
        if file.size > self.media_left:
            raise TooLarge(
                f"This {mime} ({size_of(file.size)}) is over what is left of {size_of(self.max_media)} for one answer.",
                hint="Read fewer images at once, or ask for a smaller version of it to be made.",
                details={"bytes": file.size, "limit": self.max_media},
            )
        self.media_left -= file.size
        return MediaPiece(shown, header, whole(file, self.job), mime)


def whole(file: OpenedFile, job: Job) -> bytes:
    """All bytes of a file whose size was checked before."""
    parts: list[bytes] = []
    offset = 0
    while offset < file.size:
        job.check()
        part = file.pread(min(1 << 20, file.size - offset), offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
    return b"".join(parts)


def _about(file: OpenedFile, facts: Facts) -> str:
    eol = "" if facts.eol == "none" else f" {facts.eol}"
    return f"{size_of(file.size)}  {facts.charset.label}{eol}  etag={file.etag()}"


def _range(page: Page, facts: Facts) -> str:
    total = "?" if facts.lines is None else facts.lines
    if not page.last:
        return "empty" if facts.lines == 0 else f"L-/{total}"
    at = f"@{page.at}" if page.at else ""
    end = f"-{page.last}" if page.last != page.first else ""
    return f"L{page.first}{at}{end}/{total}"


def _notes(page: Page, facts: Facts, *, changed: bool) -> list[str]:
    notes: list[str] = []
    if not page.last and page.at_end and facts.lines:
        notes.append(f"-- nothing at line {page.first}: the last one is {facts.lines}")
    if page.deferred:
        notes.append("-- not read: this answer is full")
    if page.cut:
        notes.append(f"-- line {page.last} goes on")
    elif page.unterminated:
        notes.append("-- no newline at the end of the file")
    if page.damaged:
        notes.append(f"-- {page.damaged} bytes are not {facts.charset.codec} and are shown as \\xHH")
    if changed:
        notes.append("-- the file changed while it was read: read it again before relying on it")
    return notes


def _changed(file: OpenedFile) -> bool:
    now = os.fstat(file.fd)
    return (now.st_size, now.st_mtime_ns) != (file.size, file.mtime_ns)
