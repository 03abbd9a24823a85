"""How paths are opened below a root on this machine."""

import errno
import os
import sys
from typing import Literal, Protocol

from mcp_bulkhead.errors import Unsupported

from .deny import DenyRules
from .links import LinkPolicy
from .opened import OpenedDir, OpenedFile
from .posix_walk import PosixWalk
from .root_handle import RootHandle

Method = Literal["auto", "openat2", "walk"]


class Opener(Protocol):
    """Opens paths below one root. Plain OSErrors come out where the kernel refused."""

    @property
    def method(self) -> str: ...
    def open_file(self, path: str) -> OpenedFile: ...
    def open_dir(self, path: str) -> OpenedDir: ...
    def stat(self, path: str, *, follow: bool) -> tuple[os.stat_result, str]: ...
    def close(self) -> None: ...


def choose_opener(root: RootHandle, path: str, links: LinkPolicy, rules: DenyRules, method: Method) -> Opener:
    """`openat2` where kernel and seccomp let us, else the walk; on Windows a walk over handles."""
    if sys.platform == "win32":
        from .windows_handles import WindowsHandles

        return WindowsHandles(path, rules)
    if method != "walk":
        try:
            return _openat2(root, links, rules)
        except OSError as error:
            if method == "openat2":
                raise Unsupported("openat2 is not available here.", hint="Use the method 'auto'.") from error
    return PosixWalk(root, links, rules, reopen=root.can_reopen())


def _openat2(root: RootHandle, links: LinkPolicy, rules: DenyRules) -> Opener:
    if sys.platform != "linux" or not root.can_reopen():
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    from .openat2 import Openat2

    return Openat2(root, links, rules)
