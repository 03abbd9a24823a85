"""Giving a name to something without ever taking it from something else.

`rename` overwrites, and asking first whether the name is free leaves a moment for a race. The kernels have a rename
that refuses (renameat2, renameatx_np). Where a kernel or file system lacks it, a hard link refuses just so for all but
folders, and an empty folder claims the name for a folder.
"""

import ctypes
import errno
import os
import stat
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType

from .write_failures import no_exclusive_rename

RENAME_NOREPLACE = 1
RENAME_EXCL = 4
LACKING = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)
NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK)
# For a libc without the function (musl, old glibc). Machine names as uname gives them, with the pointer size, since a
# 32-bit program may run on a 64-bit kernel.
SYS_RENAMEAT2: Mapping[tuple[str, int], int] = MappingProxyType(
    {
        ("x86_64", 8): 316,
        ("x86_64", 4): 353,
        ("i686", 4): 353,
        ("i386", 4): 353,
        ("aarch64", 8): 276,
        ("aarch64", 4): 382,
        ("armv7l", 4): 382,
        ("armv6l", 4): 382,
        ("riscv64", 8): 276,
        ("loongarch64", 8): 276,
        ("ppc64le", 8): 357,
        ("ppc64", 8): 357,
        ("s390x", 8): 347,
    }
)

Exclusive = Callable[[int, str, int, str], None]
"""Source folder, source name, destination folder, destination name. FileExistsError when the name is taken."""


def exclusive_rename() -> Exclusive:
    """The best way this machine has."""
    libc = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "darwin":
        return _by_function(libc.renameatx_np, RENAME_EXCL) if hasattr(libc, "renameatx_np") else by_links
    if sys.platform == "linux" and hasattr(libc, "renameat2"):
        return _by_function(libc.renameat2, RENAME_NOREPLACE)
    number = syscall_number()
    return _by_number(libc.syscall, number) if number is not None else by_links


def syscall_number() -> int | None:
    if sys.platform != "linux":
        return None
    return SYS_RENAMEAT2.get((os.uname().machine, ctypes.sizeof(ctypes.c_void_p)))


def by_links(src_fd: int, src: str, dst_fd: int, dst: str) -> None:
    """Any POSIX. For a moment the thing has both names; a crash in that moment leaves both, and nothing is lost."""
    if stat.S_ISDIR(os.stat(src, dir_fd=src_fd, follow_symlinks=False).st_mode):
        return _claim_folder(src_fd, src, dst_fd, dst)
    try:
        os.link(src, dst, src_dir_fd=src_fd, dst_dir_fd=dst_fd, follow_symlinks=False)
    except OSError as error:
        if error.errno in NO_LINKS:
            raise no_exclusive_rename() from error
        raise
    os.unlink(src, dir_fd=src_fd)
    return None


def _claim_folder(src_fd: int, src: str, dst_fd: int, dst: str) -> None:
    os.mkdir(dst, 0o700, dir_fd=dst_fd)
    try:
        os.rename(src, dst, src_dir_fd=src_fd, dst_dir_fd=dst_fd)
    except OSError:
        with suppress(OSError):
            os.rmdir(dst, dir_fd=dst_fd)
        raise


def _by_function(function: Callable[[int, bytes, int, bytes, int], int], flag: int) -> Exclusive:
    def rename(src_fd: int, src: str, dst_fd: int, dst: str) -> None:
        _settle(function(src_fd, os.fsencode(src), dst_fd, os.fsencode(dst), flag), src_fd, src, dst_fd, dst)

    return rename


def _by_number(syscall: Callable[..., int], number: int) -> Exclusive:
    def rename(src_fd: int, src: str, dst_fd: int, dst: str) -> None:
        names = (src_fd, os.fsencode(src), dst_fd, os.fsencode(dst))
        _settle(syscall(number, *names, ctypes.c_uint(RENAME_NOREPLACE)), src_fd, src, dst_fd, dst)

    return rename


def _settle(code: int, src_fd: int, src: str, dst_fd: int, dst: str) -> None:
    """After a kernel's answer: done, refused, or to be done the other way."""
    if code == 0:
        return
    number = ctypes.get_errno()
    # EINVAL is also what a kernel says of a folder moved into itself; the other way says it again.
    if number in LACKING:
        by_links(src_fd, src, dst_fd, dst)
        return
    raise OSError(number, os.strerror(number))
