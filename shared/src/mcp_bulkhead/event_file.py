"""The events of a server in a file of their own, one JSON object a line, for any number of its processes.

What `write` returned from is on disk. A batch is written whole or taken back and tried again, so an event may come
twice (same `id`) but never half; the one line a killed process may leave unfinished is ended before the next.
"""

import json
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from .audit.files import locked, open_file, private_folder, sync_folder, write_all
from .events import Event

MAX_BYTES: Final = 16 << 20
KEEP: Final = 8
MAX_LINE_BYTES: Final = 64 << 10


class JsonLines:
    """A sink in `path` (0600). At `max_bytes` it becomes `path.1`, the older ones move up, and the oldest goes."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES, keep: int = KEEP, fsync: bool = True) -> None:
        self.path = path.absolute()
        self.max_bytes = max_bytes
        self.keep = keep
        self.fsync = fsync

    def write(self, events: Sequence[Event]) -> None:
        data = b"".join(line_of(event) for event in events)
        private_folder(self.path.parent)
        with locked(self.path.with_name(self.path.name + ".lock")):
            fd = self._open(len(data))
            try:
                self._append(fd, data)
            finally:
                os.close(fd)

    def close(self) -> None:
        """Nothing is held open between batches."""

    def _open(self, more: int) -> int:
        fd = self._descriptor()
        size = os.fstat(fd).st_size
        if not size or size + more <= self.max_bytes:
            return fd
        os.close(fd)
        self._rotate()
        return self._descriptor()

    def _descriptor(self) -> int:
        fd = open_file(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        if os.name == "posix" and stat.S_IMODE(os.fstat(fd).st_mode) & 0o077:
            os.fchmod(fd, 0o600)
        return fd

    def _append(self, fd: int, data: bytes) -> None:
        size = os.fstat(fd).st_size
        try:
            write_all(fd, data if ends_a_line(fd, size) else b"\n" + data)
            if self.fsync:
                os.fsync(fd)
                if not size:
                    sync_folder(self.path.parent)
        except OSError:
            with suppress(OSError):
                os.ftruncate(fd, size)
            raise

    def _rotate(self) -> None:
        for number in range(self.keep, 0, -1):
            older = self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))

    def _numbered(self, number: int) -> Path:
        return self.path if not number else self.path.with_name(f"{self.path.name}.{number}")


def lines_beside(server: str, state_dir: Path) -> JsonLines:
    """The file sink under its entry point: `SERVER-events.jsonl` in the state directory."""
    return JsonLines(state_dir / f"{server}-events.jsonl")


def ends_a_line(fd: int, size: int) -> bool:
    if not size:
        return True
    os.lseek(fd, size - 1, os.SEEK_SET)
    return os.read(fd, 1) == b"\n"


def line_of(event: Event) -> bytes:
    """One line of ASCII. Data that is too large, or that JSON cannot say, is left out, and said to be."""
    try:
        line = spelled(event, dict(event.data))
    except (TypeError, ValueError, RecursionError):
        return spelled(event, {"left_out": "not JSON"})
    return line if len(line) <= MAX_LINE_BYTES else spelled(event, {"left_out": f"{len(line)} bytes"})


def spelled(event: Event, data: dict[str, Any]) -> bytes:
    fields = {
        "id": event.id,
        "time": datetime.fromtimestamp(event.time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "name": event.name,
        "tenant": event.tenant,
        "actor": event.actor,
        "target": event.target,
        "trace_id": event.trace_id,
        "data": data,
    }
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n"
