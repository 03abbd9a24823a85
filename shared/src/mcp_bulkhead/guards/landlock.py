"""Landlock as the kernel offers it: three system calls, and the rights that each version (ABI) of them knows.

A ruleset names the kinds of access it handles. Whoever enters it loses all of them, for good and for every child,
except where a rule gives one back. What a ruleset does not handle stays as it was.
"""

import ctypes
import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import Final

Place = str | Path | int
"""A file or folder: its path, or a descriptor of it (O_PATH is enough), which no later rename can redirect."""

# One number on every Linux architecture that has Landlock (asm-generic).
SYS_CREATE_RULESET: Final = 444
SYS_ADD_RULE: Final = 445
SYS_RESTRICT_SELF: Final = 446
ASK_VERSION: Final = 1
PATH_BENEATH: Final = 1
NET_PORT: Final = 2
PR_SET_NO_NEW_PRIVS: Final = 38

RULESET = struct.Struct("=QQQ")
PATH_RULE = struct.Struct("=Qi")  # packed: no padding behind the descriptor
PORT_RULE = struct.Struct("=QQ")


class Fs(IntFlag):
    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


class Net(IntFlag):
    BIND_TCP = 1 << 0
    CONNECT_TCP = 1 << 1


class Scope(IntFlag):
    ABSTRACT_SOCKETS = 1 << 0
    SIGNALS = 1 << 1


FS_SINCE: Mapping[int, Fs] = {1: Fs(Fs.REFER - 1), 2: Fs.REFER, 3: Fs.TRUNCATE, 5: Fs.IOCTL_DEV}
NET_SINCE: Final = 4
SCOPE_SINCE: Final = 6
# The kernel refuses a rule on a file that names any other right.
FILE_RIGHTS: Final = Fs.EXECUTE | Fs.WRITE_FILE | Fs.READ_FILE | Fs.TRUNCATE | Fs.IOCTL_DEV


@dataclass(frozen=True, slots=True)
class Handled:
    """The kinds of access that are lost unless a rule gives them back."""

    fs: Fs
    net: Net
    scope: Scope

    def known_to(self, abi: int) -> "Handled":
        known = Fs(0)
        for since, rights in FS_SINCE.items():
            known |= rights if since <= abi else Fs(0)
        net = self.net if abi >= NET_SINCE else Net(0)
        return Handled(self.fs & known, net, self.scope if abi >= SCOPE_SINCE else Scope(0))


class Ruleset:
    """One ruleset of the kernel's. Any number of threads may enter it; `close` it when no more will."""

    def __init__(self, handled: Handled) -> None:
        self.handled = handled
        self._kernel = Kernel()
        self._pins: list[int] = []
        packed = RULESET.pack(handled.fs, handled.net, handled.scope)
        self._fd = self._kernel.call(SYS_CREATE_RULESET, packed, len(packed), 0)

    def allow(self, place: Place, rights: Fs) -> bool:
        """Give rights back at a place and below it; False where there is no such place to give them at."""
        try:
            fd = place if isinstance(place, int) else os.open(place, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            given = rights & self.handled.fs
            if not stat.S_ISDIR(os.fstat(fd).st_mode):
                given &= FILE_RIGHTS
            if given:
                self._kernel.call(SYS_ADD_RULE, self._fd, PATH_BENEATH, PATH_RULE.pack(given, fd), 0)
        finally:
            self._let_go(place, fd)
        return True

    def allow_port(self, port: int, rights: Net) -> None:
        if given := rights & self.handled.net:
            self._kernel.call(SYS_ADD_RULE, self._fd, NET_PORT, PORT_RULE.pack(given, port), 0)

    def enter(self) -> None:
        """Put the calling thread, and whatever it starts from now on, behind this ruleset. There is no way back."""
        self._kernel.give_up_new_privileges()
        self._kernel.call(SYS_RESTRICT_SELF, self._fd, 0)
        self._pins.clear()  # open for good: the fence outlives this object

    def close(self) -> None:
        """The fence stays up; only the handle for putting up more of it goes."""
        owned, self._fd, self._pins = [self._fd, *self._pins], -1, []
        for fd in owned:
            if fd >= 0:
                os.close(fd)

    def _let_go(self, place: Place, fd: int) -> None:
        if isinstance(place, int):
            return
        if str(place).startswith("/proc/"):
            # A rule holds to an inode, and under memory pressure /proc forgets its own and makes new ones that no rule
            # knows. It cannot forget what is open.
            self._pins.append(fd)
        else:
            os.close(fd)


class Kernel:
    """The C library's door to system calls, bound once: looking it up anew would cost more than the calls."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        # Registers are as wide as pointers, and the pointer type takes numbers, bytes and None alike.
        self._syscall, self._prctl = libc.syscall, libc.prctl
        self._syscall.restype = ctypes.c_long
        self._syscall.argtypes = (ctypes.c_long, *[ctypes.c_void_p] * 4)
        self._prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)

    def call(self, number: int, *arguments: int | bytes | None) -> int:
        return _checked(self._syscall(number, *arguments, *[0] * (4 - len(arguments))))

    def give_up_new_privileges(self) -> None:
        """No program started from here gains anything by setuid; the kernel asks for this before it lets us in."""
        _checked(self._prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def version() -> int:
    """The kernel's ABI; raises the OSError that says why there is none."""
    return Kernel().call(SYS_CREATE_RULESET, None, 0, ASK_VERSION)


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
