"""Any POSIX: one part at a time, each opened from the handle of its parent without following links (O_NOFOLLOW).

".." never asks the file system: it goes back to the folder we came from. Links are read, and their text is walked the
same way.
"""

import errno
import os
import stat
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from .deny import DenyRules
from .links import MAX_LINKS, LinkPolicy
from .opened import NOFOLLOW, OpenedDir, OpenedFile, open_dir_at, open_file_at, open_pinned_file
from .path_input import split_parts
from .root_handle import RootHandle

# O_PATH (Linux): a folder that may be entered but not listed can still be passed through.
PIN: int = getattr(os, "O_PATH", 0) | getattr(os, "O_CLOEXEC", 0) | NOFOLLOW
PASS_DIR: int = PIN | getattr(os, "O_DIRECTORY", 0)
# Handles kept open on the way down; a ".." beyond them walks down again from the root.
MAX_HELD = 64

T = TypeVar("T")


class PosixWalk:
    """Opens paths below one directory handle."""

    method = "walk"

    def __init__(self, root: RootHandle, links: LinkPolicy, rules: DenyRules, *, reopen: bool) -> None:
        """`reopen`: O_PATH handles exist, and /proc can turn one into a readable descriptor."""
        self._root = root
        self._links = links
        self._rules = rules
        self._open_file_at = _open_pinned_at if reopen else open_file_at

    def open_file(self, path: str) -> OpenedFile:
        return self._walk(path, lambda fd, name, rel: self._open_file_at(fd, name, rel, self._rules))

    def open_dir(self, path: str) -> OpenedDir:
        return self._walk(path, lambda fd, name, rel: open_dir_at(fd, name, rel, self._rules))

    def stat(self, path: str, *, follow: bool) -> tuple[os.stat_result, str]:
        return self._walk(path, _stat_target if follow else _stat_link)

    def close(self) -> None:
        self._root.close()

    def _walk(self, path: str, finish: Callable[[int, str, str], T]) -> T:
        """Go to the last folder, where `finish(folder, name, rel)` opens the last name or says ELOOP to a link."""
        todo = split_parts(path)[::-1] or ["."]
        links_so_far = 0
        with _Descent(self._root.fd) as here:
            while True:
                name = todo.pop()
                if name in (".", ".."):
                    if name == "..":
                        here.up()
                    if not todo:
                        return finish(here.top, ".", here.rel)
                    continue
                try:
                    if not todo:
                        return finish(here.top, name, here.rel_of(name))
                    here.down(name)
                except OSError as error:
                    from_root, inside = self._links.expand(_read_link(here.top, name, error), here.device)
                    links_so_far += 1
                    if links_so_far > MAX_LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error
                    if from_root:
                        here.restart()
                    todo += inside[::-1] or ["."]


class _Descent:
    """The folders from the root down to here: all their names, and the handles of the last few."""

    def __init__(self, root_fd: int) -> None:
        self._root_fd = root_fd
        self._names: list[str] = []
        self._held: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restart()

    @property
    def top(self) -> int:
        return self._held[-1] if self._held else self._root_fd

    @property
    def device(self) -> int:
        return os.fstat(self.top).st_dev

    @property
    def rel(self) -> str:
        return "/".join(self._names)

    def rel_of(self, name: str) -> str:
        return "/".join([*self._names, name])

    def down(self, name: str) -> None:
        self._held.append(os.open(name, PASS_DIR, dir_fd=self.top))
        self._names.append(name)
        if len(self._held) > MAX_HELD:
            os.close(self._held.pop(0))

    def up(self) -> None:
        if not self._names:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        self._names.pop()
        os.close(self._held.pop())
        if self._names and not self._held:
            names, self._names = self._names, []
            for name in names:
                self.down(name)

    def restart(self) -> None:
        self._names.clear()
        while self._held:
            os.close(self._held.pop())


def _read_link(dir_fd: int, name: str, error: OSError) -> str:
    """The text of the link that stopped us, or the error itself when it was no link."""
    if error.errno not in (errno.ELOOP, errno.EMLINK, errno.ENOTDIR):
        raise error
    try:
        return os.readlink(name, dir_fd=dir_fd)
    except OSError as no_link:
        # It was a link a moment ago, and is none now: somebody is renaming.
        swapped = error.errno != errno.ENOTDIR
        raise (OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) if swapped else error) from no_link


def _open_pinned_at(dir_fd: int, name: str, rel: str, rules: DenyRules) -> OpenedFile:
    pin = os.open(name, PIN, dir_fd=dir_fd)
    try:
        return open_pinned_file(pin, rel, rules)
    finally:
        os.close(pin)


def _stat_link(dir_fd: int, name: str, rel: str) -> tuple[os.stat_result, str]:
    return os.stat(name, dir_fd=dir_fd, follow_symlinks=False), rel


def _stat_target(dir_fd: int, name: str, rel: str) -> tuple[os.stat_result, str]:
    st = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    if stat.S_ISLNK(st.st_mode):
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return st, rel
