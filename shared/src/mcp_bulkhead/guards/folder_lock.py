"""One writer at a time in a folder, among all processes that ask: an advisory lock on the folder's own handle.

It needs no lock file and no shared state folder, and the kernel lets go of it when a process dies. Threads exclude
each other too, since each call has its own handle. A file system without such locks (some network mounts) is used
without: what is compared just before the rename still holds there, but for the moment between the two.
"""

import errno
import os
import random
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from .write_failures import writer_busy

FIRST_PAUSE_S = 0.000_1
LONGEST_PAUSE_S = 0.005
HELD = (errno.EWOULDBLOCK, errno.EACCES)
NO_LOCKS = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)


class FolderLock:
    """The lock of one open folder, or Busy. It never waits in the kernel: that wait could not be left."""

    __slots__ = ("_fd", "_locked", "_patience_s")

    def __init__(self, fd: int, patience_s: float, *, held: bool = False) -> None:
        """`held`: somebody up the stack has it already, through this very handle, and will let go of it."""
        self._fd = fd
        self._patience_s = -1.0 if held else patience_s
        self._locked = False

    def acquire(self) -> None:
        if self._patience_s >= 0:
            self._locked = _acquire(self._fd, self._patience_s)

    def release(self) -> None:
        locked, self._locked = self._locked, False
        if locked:
            import fcntl

            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


@contextmanager
def two_folder_locks(one: int, other: int, patience_s: float) -> Generator[None]:
    """Both, in one order for everybody; a folder given twice is locked once."""
    first, second = sorted((one, other), key=_identity)
    same = _identity(first) == _identity(second)
    with FolderLock(first, patience_s), FolderLock(second, patience_s, held=same):
        yield


def _identity(fd: int) -> tuple[int, int]:
    st = os.fstat(fd)
    return st.st_dev, st.st_ino


def _acquire(fd: int, patience_s: float) -> bool:
    import fcntl

    until, pause = time.monotonic() + patience_s, FIRST_PAUSE_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in NO_LOCKS:
                return False
            if error.errno not in HELD:
                raise
            if time.monotonic() >= until:
                raise writer_busy() from error
        else:
            return True
        time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - only to keep two waiters out of step
        pause = min(2 * pause, LONGEST_PAUSE_S)
