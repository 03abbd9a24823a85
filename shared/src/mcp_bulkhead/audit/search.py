"""Who touched this: the records of all chains in the order they were written, filtered while they are read."""

import heapq
import json
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, cast

from .keys import DIGEST_PREFIX, keyed, read_digest_key
from .records import canonical, stamp
from .segments import chain_folders, lines, segments
from .verification import server_folders

BORDERS: Final = frozenset("/@#:?")
GLOB: Final = frozenset("*?[")
Record = dict[str, Any]


def query(
    directory: Path,
    *,
    target: str | None = None,
    tool: str | None = None,
    caller: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
) -> Iterator[Record]:
    """Matching records, newest last; with `limit` only the newest ones. Reading is not verifying: see `verify`.

    `target` is a glob, or names a thing and what lies below it (`docs` matches `docs/a.md`, not `docs2`). Personal
    targets are matched by their digest, if this reader may read the digest key. A line that cannot be read is given as
    `{"unreadable": ...}` whatever the filter: it may have been the one asked for.
    """
    from_time = stamp(since.timestamp()) if since is not None else ""
    to_time = stamp(until.timestamp()) if until is not None else "~"

    def wanted(record: Record, digest: str | None) -> bool:
        return (
            from_time <= str(record.get("time")) <= to_time
            and (tool is None or fnmatchcase(str(record.get("name")), tool))
            and (caller is None or record.get("caller") == caller)
            and (target is None or any(touches(str(one), target, digest) for one in named_targets(record)))
        )

    found = matching(directory, wanted, target)
    return found if limit is None else iter(deque(found, maxlen=limit))


def matching(directory: Path, wanted: Callable[[Record, str | None], bool], target: str | None) -> Iterator[Record]:
    streams: list[Iterator[Record]] = []
    for folder in server_folders(directory):
        secret = read_digest_key(folder) if target is not None else None
        digest = secret and DIGEST_PREFIX + keyed(secret, canonical(target).encode("ascii"))
        streams += [chain_records(chain, digest or None, wanted) for chain in chain_folders(folder)]
    return heapq.merge(*streams, key=lambda record: str(record.get("time", "")))


def chain_records(chain: Path, digest: str | None, wanted: Callable[[Record, str | None], bool]) -> Iterator[Record]:
    name, last_time = f"{chain.parent.name}/{chain.name}", ""
    for segment in segments(chain):
        try:
            for line in lines(segment.path):
                record = read_record(line.raw)
                if record is None and line.whole:
                    yield {"unreadable": f"{name}/{segment.path.name}:{line.number}", "time": last_time}
                if record is None:
                    continue
                last_time = str(record.get("time", last_time))
                if "log" not in record and wanted(record, digest):
                    yield record
        except FileNotFoundError:
            continue  # it expired while we read
        except OSError:
            yield {"unreadable": f"{name}/{segment.path.name}", "time": last_time}


def read_record(raw: bytes) -> Record | None:
    try:
        record: object = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return cast("Record", record) if isinstance(record, dict) else None


def named_targets(record: Record) -> list[object]:
    targets = record.get("targets")
    return cast("list[object]", targets) if isinstance(targets, list) else [] if targets is None else [targets]


def touches(one: str, target: str, digest: str | None) -> bool:
    if one in (target, digest):
        return True
    if GLOB & set(target) and fnmatchcase(one, target):
        return True
    return one.startswith(target) and bool(target) and (target[-1] in BORDERS or one[len(target)] in BORDERS)
