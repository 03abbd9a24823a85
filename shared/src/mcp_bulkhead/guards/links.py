"""How symbolic links are expanded by hand: read, rebased when absolute, and walked again as parts."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from .path_failures import links_not_followed
from .path_input import split_parts

# The kernel's own limit (MAXSYMLINKS).
MAX_LINKS = 40


@dataclass(frozen=True, slots=True)
class LinkPolicy:
    """Whether links are followed, and which absolute targets lie inside the root.

    `anchors` are the root's own absolute paths as parts. They only turn text into text: what comes out is walked from
    the root's handle, so a wrong or stale anchor can lead to a wrong file inside, never to one outside.
    """

    anchors: tuple[tuple[str, ...], ...]
    follow: bool = True
    proc_device: int | None = None

    def expand(self, target: str, device: int) -> tuple[bool, list[str]]:
        """The parts a link's text stands for, and whether they start at the root instead of beside the link."""
        if not self.follow:
            raise links_not_followed()
        # The text of a link in /proc names things of other processes: nothing to walk by.
        if device == self.proc_device:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        parts = split_parts(target)
        if not target.startswith("/"):
            return False, parts
        for anchor in self.anchors:
            if tuple(parts[: len(anchor)]) == anchor:
                return True, parts[len(anchor) :]
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def proc_device() -> int | None:
    """The device number of /proc, or None where it is not mounted."""
    proc = Path("/proc")
    return proc.stat().st_dev if proc.is_mount() else None
