"""What is being written stands beside its place under a name nobody sees, until it takes the place in one step."""

import os
import secrets
import stat
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self

from .opened import NOFOLLOW, READ_DIR
from .reserved import TEMP_PREFIX

Content = bytes | Iterable[bytes]
STALE_AFTER_S = 900.0
"""A writer that took longer than this is dead, or will be told that its file is gone."""
CREATE: int = os.O_RDWR | os.O_CREAT | os.O_EXCL | NOFOLLOW | getattr(os, "O_CLOEXEC", 0)
MAX_TREE_DEPTH = 100


class Temp:
    """A new file in a folder; removed again unless it was placed."""

    def __init__(self, folder_fd: int, mode: int) -> None:
        self._folder_fd = folder_fd
        self.name = temp_name()
        self.placed = False
        self.fd = os.open(self.name, CREATE, mode, dir_fd=folder_fd)

    def write(self, content: Content) -> None:
        for part in (content,) if isinstance(content, bytes) else content:
            write_all(self.fd, part)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fd)
        if not self.placed:
            with suppress(OSError):
                os.unlink(self.name, dir_fd=self._folder_fd)


def temp_name() -> str:
    return TEMP_PREFIX + secrets.token_hex(8)


def write_all(fd: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(fd, left) :]


def stamp(fd: int, after_ns: int = -1) -> None:
    """Set the time of the last change to now, exactly, and later than `after_ns`.

    The kernel's own stamp may be one clock tick old. Two versions written within one tick, the second in the inode the
    first one freed, would look the same to whoever compares.
    """
    with suppress(PermissionError):  # it belongs to somebody else, and was changed in place
        now = max(time.time_ns(), after_ns + 1)
        os.utime(fd, ns=(now, now))


def sync(fd: int) -> None:
    """To the disk itself: macOS keeps that for a call of its own."""
    if sys.platform == "darwin":
        import fcntl

        with suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            return
    os.fsync(fd)


def sweep(folder_fd: int) -> int:
    """Remove what crashed writers left in this folder; how many there were."""
    with os.scandir(folder_fd) as items:
        names = [item.name for item in items if item.name.startswith(TEMP_PREFIX)]
    return sum(_removed(folder_fd, name) for name in names)


def _removed(folder_fd: int, name: str) -> bool:
    with suppress(OSError):
        st = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
        # The change time, since no program can set it.
        if time.time() - st.st_ctime < STALE_AFTER_S:
            return False
        if stat.S_ISDIR(st.st_mode):
            remove_tree(folder_fd, name)
        else:
            os.unlink(name, dir_fd=folder_fd)
        return True
    return False


def remove_tree(folder_fd: int, name: str, depth: int = 0) -> None:
    """A folder of ours that never got its place, links unfollowed."""
    fd = os.open(name, READ_DIR | NOFOLLOW, dir_fd=folder_fd)
    try:
        with os.scandir(fd) as items:
            found = [(item.name, item.is_dir(follow_symlinks=False)) for item in items]
        for child, is_dir in found:
            if not is_dir:
                os.unlink(child, dir_fd=fd)
            elif depth < MAX_TREE_DEPTH:
                remove_tree(fd, child, depth + 1)
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=folder_fd)
