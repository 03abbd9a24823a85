"""Linux 5.6 and later: the kernel resolves each path below the root's handle, and refuses one that would leave.

Every open is link-free (RESOLVE_NO_SYMLINKS), so the path the kernel accepted *is* the resolved path; nobody has to ask
/proc for a name afterwards. A path with a link fails with ELOOP; then the first link is read, its text is put in, and
the whole path goes through openat2 again. Text is never trusted: only the last openat2 opens.
"""

import ctypes
import errno
import os
import stat

from .deny import DenyRules
from .links import MAX_LINKS, LinkPolicy
from .opened import READ_DIR, OpenedDir, OpenedFile, check_allowed, open_pinned_file
from .path_input import tidy
from .root_handle import RootHandle

# One number on every Linux architecture (asm-generic).
SYS_OPENAT2 = 437
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
# A rename anywhere on the machine, during a step through "..", makes the kernel say EAGAIN instead of guessing.
MAX_TRIES = 64


class OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


class Openat2:
    """Opens paths below one directory handle."""

    method = "openat2"

    def __init__(self, root: RootHandle, links: LinkPolicy, rules: DenyRules) -> None:
        self._root = root
        self._links = links
        self._rules = rules
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        self._syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)
        self._syscall.restype = ctypes.c_long
        self._pin = _how(os.O_PATH | os.O_CLOEXEC)
        self._pin_link = _how(os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._read_dir = _how(READ_DIR)
        # Says at once whether the kernel (ENOSYS) and a seccomp filter (EPERM) let us.
        os.close(self._call(".", self._pin))

    def open_file(self, path: str) -> OpenedFile:
        pin, rel = self._open(path, self._pin)
        try:
            return open_pinned_file(pin, rel, self._rules)
        finally:
            os.close(pin)

    def open_dir(self, path: str) -> OpenedDir:
        opened = OpenedDir(*self._open(path, self._read_dir), self._rules)
        try:
            check_allowed(opened.rel, self._rules)
        except BaseException:
            opened.close()
            raise
        return opened

    def stat(self, path: str, *, follow: bool) -> tuple[os.stat_result, str]:
        pin, rel = self._open(path, self._pin if follow else self._pin_link)
        try:
            return os.fstat(pin), rel
        finally:
            os.close(pin)

    def close(self) -> None:
        self._root.close()

    def _open(self, path: str, how: OpenHow) -> tuple[int, str]:
        for _ in range(MAX_LINKS):
            try:
                return self._call(path or ".", how), tidy(path)
            except OSError as error:
                if error.errno != errno.ELOOP:
                    raise
            path = self._without_first_link(path, last_too=how is not self._pin_link)
        return self._call(path or ".", how), tidy(path)

    def _without_first_link(self, path: str, *, last_too: bool) -> str:
        """The path with its first link replaced by what it says; unchanged if the link is gone by now."""
        parts = path.split("/")
        for place in range(1, len(parts) + last_too):
            pin = self._call("/".join(parts[:place]) or ".", self._pin_link)
            try:
                st = os.fstat(pin)
                if stat.S_ISLNK(st.st_mode):
                    from_root, inside = self._links.expand(os.readlink("", dir_fd=pin), st.st_dev)
                    before = [] if from_root else parts[: place - 1]
                    return "/".join([*before, *inside, *parts[place:]]).lstrip("/")
            finally:
                os.close(pin)
        return path

    def _call(self, path: str, how: OpenHow) -> int:
        encoded = os.fsencode(path)
        code = 0
        for _ in range(MAX_TRIES):
            fd: int = self._syscall(SYS_OPENAT2, self._root.fd, encoded, ctypes.byref(how), 24)
            if fd >= 0:
                return fd
            code = ctypes.get_errno()
            if code not in (errno.EAGAIN, errno.EINTR):
                break
        raise OSError(code, os.strerror(code))


def _how(flags: int) -> OpenHow:
    return OpenHow(flags, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS)
