"""The kill switch: a file that names tools (or `all`), in force within a second, in-flight calls included.

Whoever writes it is in a hurry, and perhaps in an editor that adds a byte order mark: what can be understood is, and
what cannot means `all`.
"""

import codecs
import logging
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ..errors import NotAllowed

log = logging.getLogger("mcp_bulkhead.switch")

ALL: Final = "all"
MAX_BYTES: Final = 64_000
AROUND: Final = " \t,;\"'`\u2018\u2019\u201c\u201d"
"""What people and their editors put around a name."""

Stamp = tuple[int, int, int, int]


class KillSwitch:
    """What the operator has switched off. One name a line; `all` means everything; `#` starts a comment.

    Given the names that can be switched off, any other counts as `all`: a misspelled tool must not stay on.
    """

    def __init__(self, path: Path | None, known: Iterable[str] | None = None) -> None:
        self.path = path
        self.known: dict[str, str] | None = None
        self.off: frozenset[str] = frozenset()
        self.seen: Stamp | None = None
        if known is not None:
            self.knows(known)

    def knows(self, names: Iterable[str]) -> None:
        """All names that can be switched off, also of what is not offered at present."""
        self.known = {name.casefold(): name for name in names}
        self.seen = None

    def look(self) -> bool:
        """Read the file again if it changed; true when something was switched."""
        before, self.off = self.off, self.read()
        return before != self.off

    def read(self) -> frozenset[str]:
        if self.path is None:
            return frozenset()
        before, self.seen = self.seen, None
        try:
            found = self.path.stat()
            stamp = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
            if stamp == before:
                self.seen = before
                return self.off
            if not stat.S_ISREG(found.st_mode):  # a pipe would keep everybody waiting
                return frozenset({ALL})
            with self.path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            return frozenset()
        except OSError:
            return frozenset({ALL})  # a switch nobody can read is on: the safe side
        self.seen = stamp
        return self.named(content)

    def named(self, content: bytes) -> frozenset[str]:
        text = decoded(content)
        if text is None or len(content) > MAX_BYTES:
            return self.everything("cannot be read as a list of names")
        lines = (line.partition("#")[0].strip().strip(AROUND) for line in text.splitlines())
        names = frozenset(self.spelled(line) for line in lines if line)
        if ALL in names or not names:
            return frozenset({ALL})
        if self.known is not None and not names <= set(self.known.values()):
            return self.everything("names something that this server does not have")
        return names

    def everything(self, why: str) -> frozenset[str]:
        log.warning("the kill switch file %s: everything is switched off", why)
        return frozenset({ALL})

    def spelled(self, name: str) -> str:
        """A name as this server writes it, whatever its case."""
        folded = name.casefold()
        return folded if self.known is None else self.known.get(folded, folded)

    def is_off(self, name: str | None) -> bool:
        return ALL in self.off or (name is not None and self.spelled(name) in self.off)

    def check(self, name: str | None) -> None:
        if self.is_off(name):
            raise switched_off()


def decoded(content: bytes) -> str | None:
    """Text in UTF-8 or UTF-16, with or without a byte order mark; None when it is neither."""
    encoding = "utf-8-sig"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    elif b"\0" in content:
        little_endian = content[1::2].count(0) > content[::2].count(0)
        encoding = "utf-16-le" if little_endian else "utf-16-be"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def switched_off() -> NotAllowed:
    return NotAllowed(
        "The operator has switched this off.",
        code="switched_off",
        rule="kill_switch",
        who="the operator, by the kill switch file",
        hint="Do not retry; tell the user that the operator has switched this tool off.",
    )
