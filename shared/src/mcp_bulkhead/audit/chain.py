"""One chain on disk, held by one process: where records are written, signed and rotated."""

import errno
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

from .files import locked, open_file, overwrite_block, private_folder, replace_file, sync_folder, try_lock, write_all
from .keys import Keys
from .records import GENESIS, body, hash_line, line, stamp
from .recovery import Position, recover
from .seals import read_signed
from .segments import HEAD, INDEX, chain_folders, segment_path, segments

SLOTS: Final = 64
FORMAT: Final = 1


class Snapshot(NamedTuple):
    """What a sync has to make safe: a descriptor of its own, and the record it reaches to."""

    fd: int | None
    seq: int
    hash: str
    size: int
    path: Path | None


class Chain:
    """Appends to a chain. The writer's thread appends; the keeper's thread syncs what was appended until then."""

    def __init__(self, folder: Path, keys: Keys, lock: int, clock: Callable[[], float], known: Position | None) -> None:
        self.folder = folder
        self.name = f"{folder.parent.name}/{folder.name}"
        self.keys = keys
        self.clock = clock
        self.process_lock: int | None = lock
        self.guard = threading.Lock()
        self.fd: int | None = None
        found = recover(folder, keys, known)
        self.fresh = found.fresh
        self.at = found.at
        self.story = found.story
        self.unsealed = found.unsealed
        self.unsigned = 0
        self.lost_files = False

    def begin(self, old: float) -> None:
        """The first record of a process says who writes and what it found. A segment from before `old` is left."""
        if self.at.segment is not None and self.at.since < old:
            self.at = Position(self.at.seq, self.at.hash)
        if self.at.seq == 0:
            self.seal_head(0, GENESIS)
        self.register()
        now = self.clock()
        start = {"log": "start", "format": FORMAT, "chain": self.name, "pid": os.getpid(), "unsealed": self.unsealed}
        found = [body({"log": "recovered", **self.story}, now)] if self.story else []
        self.append([*found, body(start, now)])

    def register(self) -> None:
        """The server's list of chains, signed: one that vanishes as a whole, or comes back empty, is still missed."""
        server_folder = self.folder.parent
        with locked(server_folder / "lock"):
            state, index = read_signed(server_folder / INDEX, self.keys.public(), "index")
            named = {str(name) for name in index.get("chains", ())}
            if self.fresh and self.folder.name in named:
                self.story["head"] = "absent"
            if state != "good" and any(segments(folder) for folder in chain_folders(server_folder)):
                self.story["index"] = state
            if self.folder.name not in named:
                sealed = self.keys.sealed({"log": "index", "chains": sorted({*named, self.folder.name})})
                replace_file(server_folder / INDEX, sealed + b"\n")

    def append(self, bodies: Sequence[bytes]) -> int:
        """Writes the records in one go, all or none; returns the number of the last."""
        written: list[bytes] = []
        seq, prev = self.at.seq, self.at.hash
        for rest in bodies:
            seq += 1
            raw = line(seq, prev, rest)
            prev = hash_line(raw)
            written.append(raw)
        self._write(written, seq, prev)
        self.unsigned += len(written)
        return seq

    def checkpoint(self, **more: object) -> None:
        """A signed record: everything before it is fixed by its `prev`, whoever keeps a copy of it."""
        self.keys.load()
        fields: dict[str, object] = {
            "log": "checkpoint",
            "chain": self.name,
            "count": self.at.seq,
            "key": self.keys.key_id,
            "siblings": self.siblings(),
            **more,
        }
        raw = self.keys.seal(line(self.at.seq + 1, self.at.hash, body(fields, self.clock())))
        self._write([raw], self.at.seq + 1, hash_line(raw))
        self.unsigned = 0

    def siblings(self) -> dict[str, list[object]]:
        """Where the other chains of this server stand: each is a witness against shortening another."""
        public = self.keys.public()
        heads = {
            folder.name: read_signed(folder / HEAD, public, "head")[1]
            for folder in chain_folders(self.folder.parent)
            if folder != self.folder
        }
        return {name: [head["seq"], head["hash"]] for name, head in heads.items() if head}

    def rotate(self) -> None:
        """Closes the segment under a checkpoint; the next record opens a new one."""
        if self.fd is None and self.at.segment is None:
            return
        if self.unsigned:
            self.checkpoint()
        with self.guard:
            if self.fd is not None:
                os.fsync(self.fd)
                os.close(self.fd)
            self.fd = None
            self.at = Position(self.at.seq, self.at.hash)

    def snapshot(self) -> Snapshot:
        with self.guard:
            if self.process_lock is None:
                raise OSError(errno.EBADF, "the chain was let go")
            fd = None if self.fd is None else os.dup(self.fd)
            return Snapshot(fd, self.at.seq, self.at.hash, self.at.size, self.at.segment)

    def sync(self, reached: Snapshot) -> None:
        """Makes a snapshot survive a power cut; notices when the file under it was taken away."""
        if reached.fd is None:
            return
        try:
            os.fsync(reached.fd)
            self._still_ours(reached)
        except OSError:
            self.lost_files = True
            raise
        finally:
            os.close(reached.fd)

    def seal_head(self, seq: int, last: str) -> None:
        """Says, signed and outside the chain, how far the chain reaches. Only ever what is already on the disk."""
        head = {"log": "head", "chain": self.name, "seq": seq, "hash": last, "time": stamp(self.clock())}
        overwrite_block(self.folder / HEAD, self.keys.sealed(head))

    def release(self) -> None:
        with self.guard:
            for fd in (self.fd, self.process_lock):
                if fd is not None:
                    with suppress(OSError):
                        os.close(fd)
            self.fd = self.process_lock = None

    def _write(self, raw: Sequence[bytes], seq: int, last: str) -> None:
        fd = self._segment()
        data = b"\n".join(raw) + b"\n"
        try:
            write_all(fd, data)
        except OSError:
            self._take_back(fd)
            raise
        with self.guard:
            self.at = self.at._replace(seq=seq, hash=last, size=self.at.size + len(data))

    def _still_ours(self, reached: Snapshot) -> None:
        """A segment that was moved away takes records nobody will find; a replaced lock keeps nobody out."""
        assert reached.fd is not None
        assert reached.path is not None
        mine = os.fstat(reached.fd)
        if not os.path.samestat(mine, os.lstat(reached.path)) or mine.st_size < reached.size:
            raise OSError(errno.ESTALE, "the segment was taken away or shortened", str(reached.path))
        with self.guard:
            lock = self.process_lock
            if lock is not None and not os.path.samestat(os.fstat(lock), os.lstat(self.folder / "lock")):
                raise OSError(errno.ESTALE, "the lock file was replaced", str(self.folder))

    def _segment(self) -> int:
        if self.fd is not None:
            return self.fd
        flags = os.O_WRONLY | os.O_APPEND
        if self.at.segment is not None:
            fd, at = open_file(self.at.segment, flags), self.at
        else:
            path = segment_path(self.folder, self.at.seq + 1)
            fd = open_file(path, flags | os.O_CREAT | os.O_EXCL)
            sync_folder(self.folder)
            at = self.at._replace(segment=path, size=0, since=self.clock())
        with self.guard:
            self.fd, self.at = fd, at
        return fd

    def _take_back(self, fd: int) -> None:
        """Half a line must not stay. Even a full disk lets a file shrink; if this one does not, recovery cuts it."""
        try:
            os.ftruncate(fd, self.at.size)
        except OSError:
            self.lost_files = True


class Slot(NamedTuple):
    """The place of a chain, and the lock that keeps other processes out of it."""

    folder: Path
    lock: int


def free_slot(server_folder: Path) -> Slot:
    """The first that no other process holds: one desktop client has one chain over all its restarts."""
    private_folder(server_folder)
    for number in range(SLOTS):
        folder = private_folder(server_folder / f"chain-{number}")
        lock = try_lock(folder / "lock")
        if lock is not None:
            return Slot(folder, lock)
    raise OSError(errno.ENOLCK, "every chain of this server is held by another process", str(server_folder))


def open_chain(
    slot: Slot, keys: Keys, clock: Callable[[], float], *, known: tuple[str, Position] | None, old: float
) -> Chain:
    mine = known[1] if known is not None and known[0] == slot.folder.name else None
    try:
        chain = Chain(slot.folder, keys, slot.lock, clock, mine)
    except OSError:
        os.close(slot.lock)
        raise
    try:
        chain.begin(old)
    except OSError:
        chain.release()
        raise
    return chain
