"""The files of one chain: segments named after their first record, read line by line and from the end."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from .files import open_file
from .records import MAX_LINE_BYTES, Frame, frame, hash_line

SEGMENT: Final = re.compile(r"seg-([0-9]{12,18})\.jsonl\Z")
CHAIN: Final = re.compile(r"chain-([0-9]{1,3})\Z")
CHUNK: Final = 64 << 10
LONGEST_LINE: Final = 2 * MAX_LINE_BYTES

HEAD: Final = "head.json"
TOMBSTONE: Final = "expired.json"
INDEX: Final = "chains.json"


class Segment(NamedTuple):
    first: int
    path: Path


class Line(NamedTuple):
    """One line as found. `frame` is None when it does not start as ours do; `whole` is False without a newline."""

    number: int
    raw: bytes
    frame: Frame | None
    hash: str
    whole: bool


class Tail(NamedTuple):
    """The end of a segment: its last readable line, how many bytes are good, and what follows them."""

    last: Line | None
    good_bytes: int
    torn: bytes


def segment_path(folder: Path, first: int) -> Path:
    return folder / f"seg-{first:012d}.jsonl"


def segments(folder: Path) -> list[Segment]:
    named = ((SEGMENT.match(entry.name), entry) for entry in folder.iterdir())
    return sorted(Segment(int(found[1]), entry) for found, entry in named if found)


def chain_folders(server_folder: Path) -> list[Path]:
    named = ((CHAIN.match(entry.name), entry) for entry in server_folder.iterdir())
    return [entry for _, entry in sorted((int(found[1]), entry) for found, entry in named if found)]


def lines(path: Path) -> Iterator[Line]:
    """Every line of a segment, in constant memory: an endless line is one unreadable line, not an endless string."""
    with os.fdopen(open_file(path, os.O_RDONLY), "rb", buffering=CHUNK) as file:
        number = 0
        while part := file.readline(LONGEST_LINE):
            number += 1
            if len(part) == LONGEST_LINE and not part.endswith(b"\n"):
                while (more := file.readline(LONGEST_LINE)) and not more.endswith(b"\n"):
                    pass
                yield Line(number, b"", None, "", whole=bool(more))
                continue
            raw = part.removesuffix(b"\n")
            yield Line(number, raw, frame(raw), hash_line(raw), whole=part.endswith(b"\n"))


def tail(path: Path) -> Tail:
    """Reads backwards until a line that is ours: what a killed process half wrote, and disk garbage, comes after it."""
    with os.fdopen(open_file(path, os.O_RDONLY), "rb") as file:
        size = file.seek(0, os.SEEK_END)
        start, data = size, b""
        while start > 0:
            step = min(start, max(CHUNK, len(data)))
            start -= step
            file.seek(start)
            data = file.read(step) + data
            if (found := _last_line(data, at_start=start == 0)) is not None:
                line, end = found
                return Tail(line, start + end, data[end:])
    return Tail(None, 0, data)


def _last_line(data: bytes, *, at_start: bool) -> tuple[Line, int] | None:
    """The last well-framed whole line in `data`, and where it ends."""
    end = data.rfind(b"\n") + 1
    while end:
        begin = data.rfind(b"\n", 0, end - 1) + 1
        if begin == 0 and not at_start:
            return None
        raw = data[begin : end - 1]
        if (found := frame(raw)) is not None:
            return Line(0, raw, found, hash_line(raw), whole=True), end
        end = begin
    return None


def hash_at(path: Path, seq: int) -> str | None:
    """The hash of the record with this number, if the segment has it."""
    return next((line.hash for line in lines(path) if line.frame is not None and line.frame.seq == seq), None)
