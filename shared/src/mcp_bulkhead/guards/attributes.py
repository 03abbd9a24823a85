"""What a new version of a file takes over from the old one: owner, group, permissions, extended attributes.

Not taken over, as when a program writes to a file in place: the set-user and set-group bits and file capabilities.
Changed content must not run with somebody else's rights.
"""

import os
import stat
from contextlib import suppress

NOT_COPIED = ("security.capability", "security.ima", "security.evm")


def copy_attributes(old: int, new: int, st: os.stat_result) -> tuple[str, ...]:
    """Give the open file `new` what `old` has; returns what this user is not permitted to give."""
    lost = [*_copy_owner(new, st), *_copy_xattrs(old, new)]
    mode = st.st_mode & 0o777
    if "group" in lost:
        # The group's rights were meant for another group.
        mode &= ~0o070 | (mode & 0o007) << 3
    with suppress(PermissionError):
        os.fchmod(new, mode)
        return tuple(lost)
    return (*lost, "mode")


def _copy_owner(new: int, st: os.stat_result) -> list[str]:
    mine = os.fstat(new)
    if (mine.st_uid, mine.st_gid) == (st.st_uid, st.st_gid):
        return []
    with suppress(PermissionError):
        os.fchown(new, st.st_uid, st.st_gid)
        return []
    with suppress(PermissionError):
        os.fchown(new, -1, st.st_gid)
        return ["owner"]
    return ["group"] if mine.st_uid == st.st_uid else ["owner", "group"]


def _copy_xattrs(old: int, new: int) -> list[str]:
    if not hasattr(os, "listxattr"):
        return []
    lost: list[str] = []
    try:
        names = os.listxattr(old)
    except OSError:
        return []
    for name in names:
        if name in NOT_COPIED:
            continue
        try:
            os.setxattr(new, name, os.getxattr(old, name))
        except OSError:
            lost.append(name)
    return lost


def plain_mode(st: os.stat_result) -> int:
    """The permission bits of a copy."""
    return stat.S_IMODE(st.st_mode) & 0o777
