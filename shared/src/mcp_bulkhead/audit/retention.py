"""Whole old segments go; a signed tombstone stands for all that went, so that the chain continues over the gap."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from .chain import Chain
from .files import replace_file, sync_folder
from .records import GENESIS, parse, stamp, unstamp
from .recovery import Position, born
from .seals import read_signed
from .segments import TOMBSTONE, Segment, chain_folders, lines, segments

MAX_OPEN: Final = 1_000
Link = tuple[int, str]
"""Number and hash of a record: what the next one continues from."""


class Contents(NamedTuple):
    """What must be remembered of a segment when it goes."""

    end: Link
    intact: bool
    records: int
    first_time: str
    last_time: str
    opened: tuple[str, ...]
    closed: frozenset[str]


def expire(chain: Chain, before: float, stopping: Callable[[], bool], excess: int = 0) -> int:
    """Removes the closed segments whose last call is older than `before`, oldest first; returns how many.

    While `excess` bytes are too many, age does not matter.
    """
    gone = 0
    at = chain.at
    for segment, following in closed_segments(chain, at):
        if stopping() or (excess <= 0 and not is_older(segment.path, before)):
            break
        excess -= segment.path.lstat().st_size
        bury(chain, segment, continued_at(following, at))
        gone += 1
    return gone


def is_older(path: Path, before: float) -> bool:
    return born(path) < before and last_used(path) < before


def size_of_segments(server_folder: Path) -> int:
    """What all chains of a server take up, those of other processes included."""
    return sum(size_of(segment.path) for folder in chain_folders(server_folder) for segment in segments(folder))


def size_of(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:  # its own process has just let it expire
        return 0


def last_used(path: Path) -> float:
    """When the last call was recorded: the checkpoint that closed a segment later does not keep it longer."""
    latest = ""
    for line in lines(path):
        if line.frame is not None and (b'"log":' not in line.raw or "log" not in (parse(line.raw) or {})):
            latest = max(latest, line.frame.time)
    return unstamp(latest)


def closed_segments(chain: Chain, at: Position) -> list[tuple[Segment, Segment]]:
    """Each segment that no longer grows, with the one that follows it (which may not exist yet)."""
    growing = [segment.first for segment in segments(chain.folder) if segment.path == at.segment]
    border = growing[0] if growing else at.seq + 1
    found = [segment for segment in segments(chain.folder) if segment.first < border]
    last = Segment(border, at.segment or chain.folder)
    return list(zip(found, [*found[1:], last], strict=True)) if found else []


def continued_at(following: Segment, at: Position) -> Link | None:
    """The record that the following segment says it continues from."""
    if following.first == at.seq + 1:
        return at.seq, at.hash
    first = next(lines(following.path), None)
    return (first.frame.seq - 1, first.frame.prev) if first is not None and first.frame is not None else None


def bury(chain: Chain, segment: Segment, continued: Link | None) -> None:
    """First the tombstone, then the segment: a crash in between leaves both, and the next run finishes.

    A segment that does not verify goes as well (retention is a promise too), but its tombstone says so for ever.
    """
    state, old = read_signed(chain.folder / TOMBSTONE, chain.keys.public(), "tombstone")
    start: Link = (int(old.get("last_seq", 0)), str(old.get("last_hash", GENESIS)))
    if segment.first > start[0]:
        found = read_contents(segment, start)
        whole = found.intact and state in ("good", "absent") and continued in (None, found.end)
        tombstone = merged(old, found, segment, continued or found.end, whole=whole)
        tombstone |= {"chain": chain.name, "time": stamp(chain.clock())}
        replace_file(chain.folder / TOMBSTONE, chain.keys.sealed(tombstone) + b"\n")
        sync_folder(chain.folder)
    segment.path.unlink()


def read_contents(segment: Segment, start: Link) -> Contents:
    (seq, last), intact, number = start, True, 0
    times: list[str] = []
    opened: dict[str, None] = {}
    closed: set[str] = set()
    for line in lines(segment.path):
        number += 1
        intact = intact and line.whole and line.frame is not None and line.frame[:2] == (seq + 1, last)
        seq, last = (line.frame.seq if line.frame else seq + 1), line.hash
        times = [*times[:1], line.frame.time] if line.frame else times
        if b'"intent":' in line.raw:
            follow_intent(parse(line.raw) or {}, opened, closed)
    begun, ended = (times[0], times[-1]) if times else ("", "")
    return Contents((seq, last), intact, number, begun, ended, tuple(opened), frozenset(closed))


def follow_intent(record: Mapping[str, Any], opened: dict[str, None], closed: set[str]) -> None:
    name = str(record.get("intent"))
    if record.get("phase") == "intent":
        opened[name] = None
    elif record.get("phase") == "outcome":
        closed.add(name)
        opened.pop(name, None)


def merged(old: Mapping[str, Any], found: Contents, segment: Segment, end: Link, *, whole: bool) -> dict[str, Any]:
    """One tombstone for everything that ever expired in this chain."""
    still_open = [name for name in old.get("open_intents", ()) if name not in found.closed]
    return {
        "log": "tombstone",
        "first_seq": 1,
        "first_prev": GENESIS,
        "last_seq": end[0],
        "last_hash": end[1],
        "records": int(old.get("records", 0)) + found.records,
        "segments": int(old.get("segments", 0)) + 1,
        "from": old.get("from") or found.first_time,
        "to": found.last_time,
        "open_intents": [*still_open, *found.opened][-MAX_OPEN:],
        "damaged": [*old.get("damaged", ()), *([] if whole else [[segment.first, end[0]]])],
    }
