"""Where a chain goes on after a restart: what the last process left, and what is said about it in the log."""

import hashlib
import os
from pathlib import Path
from typing import Any, Literal, NamedTuple

from .files import open_file, replace_file
from .keys import Keys
from .records import GENESIS, unstamp
from .seals import read_signed
from .segments import HEAD, TOMBSTONE, Segment, Tail, hash_at, lines, segments, tail

HeadState = Literal["good", "new", "absent", "forged", "unknown_key", "contradicted"]


class Position(NamedTuple):
    """The last record of a chain, and the segment it is in when that one may grow."""

    seq: int
    hash: str
    segment: Path | None = None
    size: int = 0
    since: float = 0.0


class Recovered(NamedTuple):
    """Where to go on, what is not yet under a signature, and what the log must say (nothing after a clean end)."""

    at: Position
    unsealed: int
    fresh: bool
    """Nothing was here before: no record, no head."""
    story: dict[str, Any]


def recover(folder: Path, keys: Keys, known: Position | None) -> Recovered:
    """Take stock of a chain this process has just locked. `known`: how far it wrote itself before it lost the files."""
    public = keys.public()
    state, head = read_signed(folder / HEAD, public, "head")
    torn: list[dict[str, Any]] = []
    found = last_position(folder, keys, torn)
    signed = Position(int(head.get("seq", 0)), str(head.get("hash", GENESIS)))
    head_state: HeadState = state
    if state == "absent" and found.seq == 0 and known is None:
        head_state = "new"
    elif state == "good" and not agrees(folder, found, signed):
        head_state = "contradicted"
    story: dict[str, Any] = {} if head_state in ("good", "new") else {"head": head_state}
    if torn:
        story["torn"] = torn
    last = max((found, signed, known or found), key=lambda position: position.seq)
    if last.seq > found.seq:
        story["missing"] = last.seq - found.seq
    return Recovered(
        found._replace(seq=last.seq, hash=last.hash), max(0, found.seq - signed.seq), head_state == "new", story
    )


def last_position(folder: Path, keys: Keys, torn: list[dict[str, Any]]) -> Position:
    """The last readable record. What follows it is moved aside, and told in `torn`."""
    for segment in reversed(segments(folder)):
        end = tail(segment.path)
        if end.torn:
            torn.append(set_aside(folder, segment, end))
        if end.last is not None and end.last.frame is not None:
            return Position(end.last.frame.seq, end.last.hash, segment.path, end.good_bytes, born(segment.path))
        segment.path.unlink()
    state, tombstone = read_signed(folder / TOMBSTONE, keys.public(), "tombstone")
    if state == "good":
        return Position(int(tombstone["last_seq"]), str(tombstone["last_hash"]))
    return Position(0, GENESIS)


def set_aside(folder: Path, segment: Segment, end: Tail) -> dict[str, Any]:
    """Torn bytes are evidence: copied before they are cut, so that a second crash cannot lose them."""
    kept = folder / f"torn-{segment.first:012d}-{end.good_bytes}.bin"
    replace_file(kept, end.torn)
    fd = open_file(segment.path, os.O_RDWR)
    try:
        os.ftruncate(fd, end.good_bytes)
        os.fsync(fd)
    finally:
        os.close(fd)
    return {"bytes": len(end.torn), "sha256": hashlib.sha256(end.torn).hexdigest(), "file": kept.name}


def born(path: Path) -> float:
    """When the first record of a segment was written: segments are closed by age too."""
    first = next(lines(path), None)
    return unstamp(first.frame.time) if first is not None and first.frame is not None else 0.0


def agrees(folder: Path, found: Position, signed: Position) -> bool:
    """Whether the chain still holds the very record that the signed head names (if it has not expired)."""
    if signed.seq >= found.seq:
        return signed.seq > found.seq or signed.hash == found.hash
    home = [segment for segment in segments(folder) if segment.first <= signed.seq]
    return not home or hash_at(home[-1].path, signed.seq) == signed.hash
