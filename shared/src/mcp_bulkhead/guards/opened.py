"""What a guarded open gives back: handles with an owner. Everything further is asked of the handle, never of a path."""

import errno
import os
import stat
import struct
from collections.abc import Callable, Iterator
from hashlib import blake2b
from types import TracebackType
from typing import Self

from .deny import DenyRules
from .entries import Entry, Kind
from .path_failures import denied, failure_from, not_regular
from .path_input import check_name
from .reserved import TEMP_PREFIX

# O_NONBLOCK: the open of a pipe or device that slips in must not wait; O_NOCTTY: nor make a terminal ours.
# A flag that the platform lacks is 0, so that this module imports everywhere.
SAFE = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
READ_FILE: int = os.O_RDONLY | SAFE
READ_DIR: int = READ_FILE | getattr(os, "O_DIRECTORY", 0)


class Opened:
    """A file descriptor with an owner: closed once, on leaving the `with`."""

    __slots__ = ("fd", "rel")

    def __init__(self, fd: int, rel: str) -> None:
        self.fd = fd
        self.rel = rel

    def close(self) -> None:
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class OpenedFile(Opened):
    """A regular file, open for reading. `rel` is where it really is, after links."""

    __slots__ = ("dev", "ino", "mode", "mtime_ns", "nlink", "size")

    def __init__(self, fd: int, rel: str, st: os.stat_result) -> None:
        self.fd = fd
        self.rel = rel
        self.size = st.st_size
        self.mtime_ns = st.st_mtime_ns
        self.mode = st.st_mode
        self.dev = st.st_dev
        self.ino = st.st_ino
        self.nlink = st.st_nlink

    def pread(self, n: int, offset: int) -> bytes:
        return os.pread(self.fd, n, offset)

    def etag(self) -> str:
        """Changes when the file is written or replaced; cheap, since it does not read the content."""
        state = struct.pack(">QQQQ", *(each & 2**64 - 1 for each in (self.dev, self.ino, self.size, self.mtime_ns)))
        return blake2b(state, digest_size=8).hexdigest()


class OpenedDir(Opened):
    """A folder, open for listing. Its entries are reached from its handle, so a swap of its path changes nothing.

    One listing of a handle runs at a time. A walk over a deep tree keeps paths on its stack, not handles, or it runs
    out of descriptors.
    """

    __slots__ = ("rules",)

    def __init__(self, fd: int, rel: str, rules: DenyRules) -> None:
        super().__init__(fd, rel)
        self.rules = rules

    def entries(self) -> Iterator[Entry]:
        """Every name with its stat; one that vanishes meanwhile, or is still being written by us, is left out."""
        is_denied = self.deny_test()
        try:
            with os.scandir(self._open_fd()) as items:
                for item in items:
                    if item.name.startswith(TEMP_PREFIX):
                        continue
                    try:
                        st = item.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    yield Entry.of(item.name, st, denied=is_denied(item.name))
        except OSError as error:
            raise failure_from(error) from error

    def names(self) -> Iterator[tuple[str, Kind]]:
        """The fast form: no stat, and no deny flags; `deny_test` gives those."""
        file, folder = Kind.FILE, Kind.DIR
        try:
            with os.scandir(self._open_fd()) as items:
                for item in items:
                    if item.name.startswith(TEMP_PREFIX):
                        continue
                    if item.is_file(follow_symlinks=False):
                        yield item.name, file
                    elif item.is_dir(follow_symlinks=False):
                        yield item.name, folder
                    else:
                        yield item.name, Kind.LINK if item.is_symlink() else Kind.OTHER
        except OSError as error:
            raise failure_from(error) from error

    def deny_test(self) -> Callable[[str], bool]:
        """A fast test for the names of this folder: true when the deny rules keep the entry closed."""
        return self.rules.in_dir(self.rel)

    def child_dir(self, name: str) -> "OpenedDir":
        check_name(name)
        try:
            return open_dir_at(self.fd, name, self._below(name), self.rules)
        except OSError as error:
            raise failure_from(error) from error

    def child_file(self, name: str) -> OpenedFile:
        """A regular file of this folder; a link is refused, wherever it leads."""
        check_name(name)
        try:
            return open_file_at(self.fd, name, self._below(name), self.rules)
        except OSError as error:
            raise (not_regular() if error.errno == errno.ELOOP else failure_from(error)) from error

    def _open_fd(self) -> int:
        # os.scandir(-1) does not fail: it lists the current directory of the process.
        if self.fd < 0:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self.fd

    def _below(self, name: str) -> str:
        return f"{self.rel}/{name}" if self.rel else name


def open_dir_at(dir_fd: int, name: str, rel: str, rules: DenyRules) -> OpenedDir:
    """O_DIRECTORY makes the kernel refuse anything else before it opens it."""
    opened = OpenedDir(os.open(name, READ_DIR | NOFOLLOW, dir_fd=dir_fd), rel, rules)
    try:
        check_allowed(rel, rules)
    except BaseException:
        opened.close()
        raise
    return opened


def open_file_at(dir_fd: int, name: str, rel: str, rules: DenyRules) -> OpenedFile:
    """Look, open, and look again at what was opened: for walks, and where there is no O_PATH.

    Nothing but a regular file comes out. A pipe put in place between the first look and the open is opened without
    waiting, and closed at once.
    """
    check_regular(os.stat(name, dir_fd=dir_fd, follow_symlinks=False), rel, rules)
    fd = os.open(name, READ_FILE | NOFOLLOW, dir_fd=dir_fd)
    try:
        st = os.fstat(fd)
        check_kind(st)
    except BaseException:
        os.close(fd)
        raise
    return OpenedFile(fd, rel, st)


def open_pinned_file(pin: int, rel: str, rules: DenyRules) -> OpenedFile:
    """Open for reading what an O_PATH handle holds. A swap of the name in between changes nothing."""
    st = os.fstat(pin)
    check_regular(st, rel, rules)
    return OpenedFile(os.open(f"/proc/self/fd/{pin}", READ_FILE), rel, st)


def check_kind(st: os.stat_result) -> None:
    if not stat.S_ISREG(st.st_mode):
        raise _wrong_kind(st.st_mode)


def check_regular(st: os.stat_result, rel: str, rules: DenyRules) -> None:
    check_kind(st)
    check_allowed(rel, rules)


def check_allowed(rel: str, rules: DenyRules) -> None:
    if (pattern := rules.matches(rel)) is not None:
        raise denied(pattern)


def _wrong_kind(mode: int) -> Exception:
    if stat.S_ISDIR(mode):
        return IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if stat.S_ISLNK(mode):
        return OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return not_regular()
