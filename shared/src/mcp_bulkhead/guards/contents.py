"""New content for one file: the old or the new whole, never half, even when the process dies in between.

Only `append` and the option that keeps hard links write into the file itself; a crash there can leave a part.
"""

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from .attributes import copy_attributes
from .folder_lock import FolderLock
from .opened import NOFOLLOW, SAFE, OpenedFile
from .renames import Exclusive
from .spots import Spot, Version
from .temps import Content, Temp, stamp, sync, write_all
from .write_failures import changed_meanwhile, said_plainly

NEW_FILE = 0o666
PRIVATE = 0o600
BLOCK: Final = 1 << 20
PLACED, SETTLED = "placed", "settled"
Step = Callable[[str], None]
"""Told the name of each step as it is done. Raising calls the change off; at PLACED and after it, it must not raise."""


def no_step(_name: str) -> None:
    """For changes that nobody follows."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How changes are made, for all of a writer's."""

    exclusive: Exclusive
    fsync: bool = True
    keep_hard_links: bool = False
    patience_s: float = 5.0
    """How long to wait for another process that holds a folder."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a file is now. `lost` names what the system did not let us keep: owner, group, mode, an attribute, fsync."""

    rel: str
    etag: str
    size: int
    created: bool = False
    lost: tuple[str, ...] = ()


class Target:
    """A file to be written: its name in its open folder, and the version that was there when it was opened, if any."""

    def __init__(self, spot: Spot, manner: Manner, step: Step, *, hold: bool) -> None:
        """`hold`: keep other writers out of the folder from here on, instead of only while the file is placed."""
        self.spot = spot
        self.manner = manner
        self._step = step
        self._held = FolderLock(spot.fd, manner.patience_s) if hold else None
        self.file: OpenedFile | None = None
        self.version: Version | None = None
        try:
            if self._held is not None:
                self._held.acquire()
            if spot.look() is not None:
                self.file = spot.open_file()
                self._before = os.fstat(self.file.fd)
                self.version = Version.of(self._before)
        except BaseException:
            self.close()
            raise

    @property
    def etag(self) -> str | None:
        return None if self.file is None else self.file.etag()

    def read(self) -> bytes:
        """The whole old content; nothing when there was no file."""
        return b"" if self.file is None else b"".join(self.blocks())

    def blocks(self) -> Generator[bytes]:
        offset = 0
        while self.file is not None and (block := self.file.pread(BLOCK, offset)):
            yield block
            offset += len(block)

    def put(self, content: Content, *, new_mode: int | None = None) -> Written:
        """Create the file, or replace the version that was opened. Stale when it is no longer that one.

        A replaced file keeps mode, owner and attributes; its other hard links keep the old content, unless the
        operator wanted it otherwise. A created one has `new_mode`, or what the process gives to new files.
        """
        with said_plainly():
            if self.file is None or self.version is None:
                return self._create(content, new_mode)
            if self.manner.keep_hard_links and self.file.nlink > 1:
                return self._overwrite(self.version, content)
            return self._replace(self.file, self.version, content)

    def append(self, content: bytes) -> Written:
        """Add to the end. A hard-linked file gets a new version instead, so that nothing outside the root changes."""
        if self.file is None:
            return self.put(content)
        if self.file.nlink > 1 and not self.manner.keep_hard_links:
            return self.put(part for whole in (self.blocks(), (content,)) for part in whole)
        with said_plainly(), self._opened_again(os.O_WRONLY | os.O_APPEND) as (fd, before):
            try:
                write_all(fd, content)
            except OSError:
                with suppress(OSError):
                    os.ftruncate(fd, before.size)
                raise
            return self._finished(fd, before.mtime_ns)

    def _create(self, content: Content, mode: int | None) -> Written:
        with Temp(self.spot.fd, NEW_FILE if mode is None else PRIVATE) as temp:
            self._fill(temp, content, -1)
            if mode is not None:
                os.fchmod(temp.fd, mode)
            self._sync(temp.fd)
            with self._folder():
                self.manner.exclusive(self.spot.fd, temp.name, self.spot.fd, self.spot.name)
                temp.placed = True
            return self._written(temp.fd, created=True, lost=self._placed())

    def _replace(self, file: OpenedFile, before: Version, content: Content) -> Written:
        with Temp(self.spot.fd, PRIVATE) as temp:
            self._fill(temp, content, before.mtime_ns)
            lost = copy_attributes(file.fd, temp.fd, self._before)
            self._step("attributes")
            self._sync(temp.fd)
            with self._folder():
                self._check(before)
                os.rename(temp.name, self.spot.name, src_dir_fd=self.spot.fd, dst_dir_fd=self.spot.fd)
                temp.placed = True
            return self._written(temp.fd, lost=lost + self._placed())

    def _overwrite(self, before: Version, content: Content) -> Written:
        whole = content if isinstance(content, bytes) else b"".join(content)
        with self._opened_again(os.O_RDWR) as (fd, _):
            if len(whole) > before.size:
                _reserve(fd, before.size, len(whole))
            os.lseek(fd, 0, os.SEEK_SET)
            write_all(fd, whole)
            os.ftruncate(fd, len(whole))
            return self._finished(fd, before.mtime_ns)

    def _fill(self, temp: Temp, content: Content, after_ns: int) -> None:
        self._step("temp")
        temp.write(content)
        stamp(temp.fd, after_ns)
        self._step("written")

    def _check(self, before: Version) -> None:
        if self.spot.version() != before:
            raise changed_meanwhile()
        self._step("compared")

    @contextmanager
    def _opened_again(self, flags: int) -> Generator[tuple[int, Version]]:
        """The file itself for writing, provably the one that was opened; nobody else places files meanwhile."""
        before = self.version
        with self._folder():
            if before is None or self.spot.version() != before:
                raise changed_meanwhile()
            fd = os.open(self.spot.name, flags | SAFE | NOFOLLOW, dir_fd=self.spot.fd)
            try:
                if Version.of(os.fstat(fd)) != before:
                    raise changed_meanwhile()
                self._step("compared")
                yield fd, before
            finally:
                os.close(fd)

    def _folder(self) -> FolderLock:
        return FolderLock(self.spot.fd, self.manner.patience_s, held=self._held is not None)

    def _finished(self, fd: int, after_ns: int) -> Written:
        stamp(fd, after_ns)
        if self.manner.fsync:
            sync(fd)
        return self._written(fd)

    def _sync(self, fd: int) -> None:
        if self.manner.fsync:
            sync(fd)
            self._step("synced")

    def _placed(self) -> tuple[str, ...]:
        """From here on the change is made, and is told of as made, even when the disk does not confirm it."""
        self._step(PLACED)
        if not self.manner.fsync:
            return ()
        try:
            os.fsync(self.spot.fd)
        except OSError:
            return ("fsync",)
        self._step(SETTLED)
        return ()

    def _written(self, fd: int, *, created: bool = False, lost: tuple[str, ...] = ()) -> Written:
        st = os.fstat(fd)
        etag = OpenedFile(fd, self.spot.rel, st).etag()
        return Written(self.spot.rel, etag, st.st_size, created, lost)

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
        if self._held is not None:
            self._held.release()
        self.spot.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _reserve(fd: int, before: int, size: int) -> None:
    """Take the space first, so that a full disk is told of while the old content is still whole."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError:
        os.ftruncate(fd, before)
        raise
