"""Copying: a file through a temporary one, a folder through a temporary folder, so that only whole copies appear.

From any root into a writable one. A link given as the source is followed inside its root, as reading it would; links
inside a copied folder are copied as the text they are.
"""

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from .contents import BLOCK, PLACED, PRIVATE, Step, Written, no_step
from .entries import Kind
from .folder_lock import FolderLock
from .opened import OpenedDir, OpenedFile
from .path_failures import not_regular
from .paths import RootFS
from .spots import Spot
from .temps import CREATE, remove_tree, stamp, sync, temp_name, write_all
from .trees import MAX_DEPTH, Survey, joined
from .write_failures import exists, holds_denied, into_itself, said_plainly, too_deep
from .writing import Writer

RIGHTS = 0o777
PRIVATE_DIR = 0o700
Allow = Callable[[Survey], None]
"""Told how much would be copied so far; raises when that is too much, and then nothing is."""


@dataclass(frozen=True, slots=True)
class Copied:
    """Where the copy is and what is in it; for a file also as a written one."""

    rel: str
    what: Survey
    file: Written | None = None


def allow_all(_what: Survey) -> None:
    """No limit on what is copied."""


def copy(
    source: RootFS,
    rel: str,
    target: Writer,
    to: str,
    *,
    replace: bool = False,
    step: Step = no_step,
    allow: Allow = allow_all,
) -> Copied:
    """Copy a file or a whole folder, keeping permissions. Never overwrites, unless `replace`: then a file by a file."""
    with said_plainly():
        real = source.resolve(rel)
        if source.stat(real).kind is Kind.DIR:
            return _folder(source, real, target, to, step, allow)
        with source.open_file(real) as file, target.open(to, step=step) as place:
            if place.file is not None and not replace:
                raise exists()
            allow(Survey(files=1, bytes=file.size))
            written = place.put(_blocks(file, step), new_mode=file.mode & RIGHTS)
            return Copied(written.rel, Survey(files=1, bytes=written.size), written)


def _folder(source: RootFS, real: str, target: Writer, to: str, step: Step, allow: Allow) -> Copied:
    with source.open_dir(real) as old, target.spot(to) as new:
        if source is target.root and f"{new.rel}/".startswith(f"{old.rel}/"):
            raise into_itself()
        if new.look() is not None:
            raise exists()
        copying = Copying(target, new, step, allow)
        with _temp_folder(new) as name:
            with new.folder.child_dir(name) as top:
                copying.tree(old, top, "")
            with FolderLock(new.fd, target.manner.patience_s):
                step("compared")
                target.manner.exclusive(new.fd, name, new.fd, new.name)
        step(PLACED)
        target.settle(new.folder)
        return Copied(new.rel, copying.what)


@contextmanager
def _temp_folder(new: Spot) -> Generator[str]:
    name = temp_name()
    os.mkdir(name, PRIVATE_DIR, dir_fd=new.fd)
    try:
        yield name
    except BaseException:
        with suppress(OSError):
            remove_tree(new.fd, name)
        raise


class Copying:
    """One copy of a folder: what is closed on either side stops it."""

    def __init__(self, target: Writer, new: Spot, step: Step, allow: Allow) -> None:
        self.what = Survey(dirs=1)
        self._target = target
        self._new = new
        self._step = step
        self._allow = allow

    def tree(self, old: OpenedDir, new: OpenedDir, below: str, depth: int = 1) -> None:
        if depth > MAX_DEPTH:
            raise too_deep(MAX_DEPTH)
        closed = old.deny_test()
        closed_there = new.rules.in_dir(joined(self._new.rel, below))
        for entry in list(old.entries()):
            self._step("copying")
            if closed(entry.name) or closed_there(entry.name):
                raise holds_denied()
            self.what.add(joined(below, entry.name), entry)
            self._allow(self.what)
            match entry.kind:
                case Kind.DIR:
                    self._folder(old, new, entry.name, below, depth)
                case Kind.FILE:
                    with old.child_file(entry.name) as file:
                        self._file(file, new, entry.name)
                case Kind.LINK:
                    os.symlink(os.readlink(entry.name, dir_fd=old.fd), entry.name, dir_fd=new.fd)
                case Kind.OTHER:
                    raise not_regular()
        os.fchmod(new.fd, os.fstat(old.fd).st_mode & RIGHTS)
        self._target.settle(new)

    def _folder(self, old: OpenedDir, new: OpenedDir, name: str, below: str, depth: int) -> None:
        os.mkdir(name, PRIVATE_DIR, dir_fd=new.fd)
        with old.child_dir(name) as inner_old, new.child_dir(name) as inner_new:
            self.tree(inner_old, inner_new, joined(below, name), depth + 1)

    def _file(self, file: OpenedFile, new: OpenedDir, name: str) -> None:
        fd = os.open(name, CREATE, PRIVATE, dir_fd=new.fd)
        try:
            for block in _blocks(file, self._step):
                write_all(fd, block)
            stamp(fd)
            os.fchmod(fd, file.mode & RIGHTS)
            if self._target.manner.fsync:
                sync(fd)
        finally:
            os.close(fd)


def _blocks(file: OpenedFile, step: Step) -> Generator[bytes]:
    offset = 0
    while block := file.pread(BLOCK, offset):
        step("copying")
        yield block
        offset += len(block)
