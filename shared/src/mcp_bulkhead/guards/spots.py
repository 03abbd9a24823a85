"""A name in an open folder: what every change acts on. Nothing below here knows a path."""

import os
import stat
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self

from .opened import OpenedDir, OpenedFile, check_allowed
from .path_failures import ambiguous_name, not_dir
from .path_input import check_name, same_name
from .reserved import TEMP_PREFIX
from .write_failures import no_name, reserved, the_root


class Version(NamedTuple):
    """What must be the same for a file to be the same. The change time is in it because no program can set it."""

    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, st: os.stat_result) -> Self:
        return cls(st.st_dev, st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns)


class Spot:
    """One name in one open folder, whether anything is there or not. Closing it closes the folder."""

    __slots__ = ("folder", "name")

    def __init__(self, folder: OpenedDir, name: str) -> None:
        self.folder = folder
        self.name = name

    @classmethod
    def at(cls, folder: OpenedDir, name: str, *, is_folder: bool = False) -> Self:
        """The name as the folder spells it, unless a rule keeps it closed. The folder is closed on refusal.

        `is_folder`: if anything is there, it must be a folder, and no link to one.
        """
        try:
            check_name(name)
            spot = cls(folder, stored_name(folder, name))
            spot.check(is_folder=is_folder)
        except BaseException:
            folder.close()
            raise
        return spot

    def check(self, *, is_folder: bool) -> None:
        check_allowed(self.rel, self.folder.rules)
        if TEMP_PREFIX in self.rel.lower():
            raise reserved()
        found = self.look() if is_folder else None
        if found is not None and not stat.S_ISDIR(found.st_mode):
            raise not_dir()

    @property
    def fd(self) -> int:
        return self.folder.fd

    @property
    def rel(self) -> str:
        return f"{self.folder.rel}/{self.name}" if self.folder.rel else self.name

    def look(self) -> os.stat_result | None:
        """What is there now, a link as the link it is."""
        with suppress(FileNotFoundError):
            return os.stat(self.name, dir_fd=self.fd, follow_symlinks=False)
        return None

    def version(self) -> Version | None:
        found = self.look()
        return None if found is None else Version.of(found)

    def open_file(self) -> OpenedFile:
        return self.folder.child_file(self.name)

    def close(self) -> None:
        self.folder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def split_last(rel: str) -> tuple[str, str, bool]:
    """Folder, name, and whether a closing slash demands that the name is a folder's."""
    bare = rel.rstrip("/")
    folder, _, name = bare.rpartition("/")
    if not bare:
        raise the_root()
    if name in (".", ".."):
        raise no_name()
    return folder, name, bare != rel


def stored_name(folder: OpenedDir, name: str) -> str:
    """The Unicode spelling (NFC against NFD) in which the folder has the name; its own when it has none."""
    if name.isascii():
        return name
    with suppress(FileNotFoundError):
        os.stat(name, dir_fd=folder.fd, follow_symlinks=False)
        return name
    alike = [other for other, _ in folder.names() if same_name(other, name)]
    if len(alike) > 1:
        raise ambiguous_name(len(alike))
    return alike[0] if alike else name
