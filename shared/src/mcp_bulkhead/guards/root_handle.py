"""The one handle of a root, opened once, and what it is, whatever happens to its path later."""

import errno
import os
import stat
import sys
from pathlib import Path

from mcp_bulkhead.errors import Failure

from .path_failures import invalid_root


class RootHandle:
    """A directory descriptor with its identity. On Windows the pinned handle is elsewhere, and `fd` stays -1."""

    def __init__(self, path: str) -> None:
        self.fd = -1
        try:
            st = Path(path).stat()
            if not stat.S_ISDIR(st.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if sys.platform != "win32":
                self.fd = os.open(path, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC)
                st = os.fstat(self.fd)
        except OSError as error:
            raise _unusable(path, error) from error
        self.identity = (st.st_dev, st.st_ino)

    def is_removed(self) -> bool:
        return self.fd >= 0 and os.fstat(self.fd).st_nlink == 0

    def can_reopen(self) -> bool:
        """Whether /proc/self/fd is mounted and tells the truth about our handles."""
        if not hasattr(os, "O_PATH"):
            return False
        try:
            st = Path(f"/proc/self/fd/{self.fd}").stat()
        except OSError:
            return False
        return (st.st_dev, st.st_ino) == self.identity

    def close(self) -> None:
        """Only -1 stays behind: the number may soon belong to another file."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)


def _unusable(path: str, error: OSError) -> Failure:
    what = {
        errno.ENOENT: "does not exist",
        errno.ENOTDIR: "is not a folder",
        errno.EACCES: "may not be opened by this user",
        errno.ELOOP: "is a link that leads nowhere",
    }.get(error.errno or 0, "cannot be opened")
    return invalid_root(f"The root folder {path!r} {what}.", "Give the full path of an existing, readable folder.")
