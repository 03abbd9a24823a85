"""The kill switch: a file that names tools (or `all`), in force within a second, in-flight calls included."""

from pathlib import Path
from typing import Final

from ..errors import NotAllowed

ALL: Final = "all"
MAX_BYTES: Final = 64_000


class KillSwitch:
    """What the operator has switched off. One name a line; `all` means everything; `#` starts a comment."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.off: frozenset[str] = frozenset()
        self.seen: tuple[int, int, int] | None = None

    def look(self) -> bool:
        """Read the file again if it changed; true when something was switched."""
        before, self.off = self.off, self.read()
        return before != self.off

    def read(self) -> frozenset[str]:
        if self.path is None:
            return frozenset()
        try:
            found = self.path.stat()
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            if stamp == self.seen:
                return self.off
            text = self.path.read_bytes()[:MAX_BYTES].decode("utf-8", "replace")
        except FileNotFoundError:
            self.seen = None
            return frozenset()
        except OSError:
            return frozenset({ALL})  # a switch nobody can read is on: the safe side
        self.seen = stamp
        names = (line.partition("#")[0].strip() for line in text.splitlines())
        return frozenset(name for name in names if name) or frozenset({ALL})

    def is_off(self, name: str | None) -> bool:
        return ALL in self.off or (name is not None and name in self.off)

    def check(self, name: str | None) -> None:
        if self.is_off(name):
            raise switched_off()


def switched_off() -> NotAllowed:
    return NotAllowed(
        "The operator has switched this off.",
        code="switched_off",
        rule="kill_switch",
        who="the operator, by the kill switch file",
        hint="Do not retry; tell the user that the operator has switched this tool off.",
    )
