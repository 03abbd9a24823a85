"""Names in a folder, never followed."""

import os
import stat
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    FILE = "file"
    DIR = "dir"
    LINK = "link"
    OTHER = "other"

    @classmethod
    def of(cls, mode: int) -> "Kind":
        if stat.S_ISREG(mode):
            return cls.FILE
        if stat.S_ISDIR(mode):
            return cls.DIR
        return cls.LINK if stat.S_ISLNK(mode) else cls.OTHER


@dataclass(frozen=True, slots=True)
class Entry:
    """A name in a folder, never followed. A denied entry shows that it is there, not how large it is."""

    name: str
    kind: Kind
    size: int
    mtime_ns: int
    mode: int
    dev: int
    ino: int
    nlink: int
    denied: bool

    @classmethod
    def of(cls, name: str, st: os.stat_result, *, denied: bool) -> "Entry":
        size = 0 if denied else st.st_size
        return cls(
            name, Kind.of(st.st_mode), size, st.st_mtime_ns, st.st_mode, st.st_dev, st.st_ino, st.st_nlink, denied
        )
