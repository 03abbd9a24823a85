"""Private files and folders, opened without following links, and the locks that keep two processes apart."""

import errno
import os
import stat
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from ..errors import Unavailable

NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
CLOEXEC: Final = getattr(os, "O_CLOEXEC", 0)
NONBLOCK: Final = getattr(os, "O_NONBLOCK", 0)
BINARY: Final = getattr(os, "O_BINARY", 0)
LOCK_WAIT_S: Final = 5.0
BLOCK: Final = 512


def unwritable() -> Unavailable:
    """What a caller reads when its record could not be kept. The place and the system's words stay in the log."""
    return Unavailable(
        "The audit log cannot be written, so nothing that changes anything is done.",
        hint="Reading still works. An operator must free space or repair the audit folder; then try again.",
        code="audit_unavailable",
        retry_after_s=5.0,
    )


def no_room() -> Unavailable:
    """What an operator reads when there are more processes than chains: none of their calls would be recorded."""
    return Unavailable(
        "Too many processes of this server share one state folder: none of the calls of one more could be recorded.",
        hint="End some of them, or give this one its own folder with --state-dir.",
        code="audit_unavailable",
    )


def private_folder(path: Path) -> Path:
    """A real folder that only its owner may enter; a link or a file in its place is an error, not a detour."""
    if not path.parent.exists():
        private_folder(path.parent)
    try:
        path.mkdir(mode=0o700)
    except FileExistsError:
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "not a real folder", str(path)) from None
        if stat.S_IMODE(found.st_mode) & 0o077 and os.name == "posix":
            path.chmod(0o700)
    return path


def open_file(path: Path, flags: int) -> int:
    """A descriptor on a regular file, 0600 when it is made here. NONBLOCK: a planted FIFO must not hang the log."""
    fd = os.open(path, flags | NOFOLLOW | CLOEXEC | NONBLOCK | BINARY, 0o600)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return fd


def write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read_small(path: Path, limit: int = 1 << 20) -> bytes:
    with os.fdopen(open_file(path, os.O_RDONLY), "rb") as file:
        return file.read(limit)


def replace_file(path: Path, data: bytes) -> None:
    """Readers see the old content or the new one, also after a power cut."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    fd = open_file(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        try:
            write_all(fd, data)
            os.fsync(fd)
        finally:
            os.close(fd)
        fresh.replace(path)
    except OSError:
        with suppress(OSError):
            fresh.unlink()
        raise


def overwrite_block(path: Path, text: bytes) -> None:
    """Replace a one-line file that is written often: in place within one sector, so that no fsync is needed to keep
    the old content or the new one. Readers beside it read again when they meet a mixture.
    """
    block = text.ljust(BLOCK - 1) + b"\n"
    assert len(block) == BLOCK
    try:
        fd = open_file(path, os.O_WRONLY)
    except FileNotFoundError:
        replace_file(path, block)
        return
    try:
        write_all(fd, block)
        if os.fstat(fd).st_size != BLOCK:
            os.ftruncate(fd, BLOCK)
    finally:
        os.close(fd)


def sync_folder(path: Path) -> None:
    """Makes a new name in a folder survive a power cut. Windows neither offers nor needs it."""
    if os.name != "posix":
        return
    fd = os.open(path, os.O_RDONLY | CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def try_lock(path: Path) -> int | None:
    """A held lock as an open descriptor (closing it lets go, and so does dying), or None when another holds it."""
    fd = open_file(path, os.O_RDWR | os.O_CREAT)
    try:
        _lock(fd)
    except OSError as error:
        os.close(fd)
        if error.errno in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            return None
        raise
    return fd


def _lock(fd: int) -> None:
    if os.name == "posix":
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        import msvcrt

        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)


@contextmanager
def locked(path: Path) -> Generator[None]:
    """One process of a server at a time, for the moments when keys are made and chains are named."""
    deadline = time.monotonic() + LOCK_WAIT_S
    while (fd := try_lock(path)) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(errno.ETIMEDOUT, "another process keeps the lock", str(path))
        time.sleep(0.01)
    try:
        yield
    finally:
        os.close(fd)
