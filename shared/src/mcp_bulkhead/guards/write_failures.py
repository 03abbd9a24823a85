"""What can go wrong when something is to be changed, in words a model can act on."""

import errno
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

from mcp_bulkhead.errors import (
    Busy,
    Conflict,
    Failure,
    Invalid,
    Missing,
    NotAllowed,
    ReadOnly,
    Refused,
    Stale,
    TooLarge,
    Unavailable,
    Unsupported,
)

from .path_failures import OPERATOR, failure_from, invalid_path


@contextmanager
def said_plainly() -> Generator[None]:
    """Whatever the operating system says inside comes out as a typed failure."""
    try:
        yield
    except OSError as error:
        raise write_failure_from(error) from error


def write_failure_from(error: OSError) -> Failure:
    known = WRITE_BY_ERRNO.get(error.errno or 0)
    return known() if known else failure_from(error)


def read_only() -> Failure:
    return ReadOnly(
        "This folder is open for reading only.",
        hint="Put the result into your answer instead, or ask for the folder to be opened for writing.",
        who=OPERATOR,
    )


def exists() -> Failure:
    return Conflict(
        "Something of this name is here already.",
        code="exists",
        hint="Choose another name, or say that it is to be replaced.",
    )


def no_folder() -> Failure:
    return Missing(
        "The folder this would be in is not there.",
        hint="Create the folder first, or ask for missing folders to be created.",
    )


def not_empty() -> Failure:
    return Conflict(
        "This folder is not empty.",
        code="not_empty",
        hint="List it, and say that all in it is to be deleted if that is what you want.",
    )


def changed_meanwhile() -> Failure:
    return Stale(
        "The file was changed, replaced or removed since that version; nothing was written.",
        hint="Read it again, and make the change to what is there now.",
    )


def no_space() -> Failure:
    return Unavailable(
        "The storage is full, or this user's share of it; nothing was changed.",
        code="no_space",
        retryable=False,
        hint="Tell the user that space must be freed.",
    )


def not_permitted() -> Failure:
    return Refused(
        "The operating system does not let this server change it.",
        code="permission_denied",
        hint="Choose another place, or tell the user which path needs other permissions.",
        who=OPERATOR,
    )


def cross_root() -> Failure:
    return Unsupported(
        "The two places are on different file systems, so this cannot be moved in one step.",
        code="cross_root",
        hint="Copy it, look at the copy, then delete the original.",
    )


def trash_elsewhere() -> Failure:
    return Unsupported(
        "This is on another file system than the trash, so it cannot be put there.",
        code="cross_root",
        hint="Leave it in place, or ask for deletion without the trash.",
        details={"who_may_change_it": OPERATOR},
    )


def into_itself() -> Failure:
    return Invalid(
        "A folder cannot be moved or copied into itself.",
        code="into_itself",
        hint="Choose a place that is not below the folder.",
    )


def the_root() -> Failure:
    return Invalid(
        "This is an opened folder itself; only what is in it can be changed.",
        code="the_root",
        hint="Name something in it.",
        field="path",
    )


def no_name() -> Failure:
    return invalid_path("its last part must be a name")


def reserved() -> Failure:
    return NotAllowed(
        "This name is kept for the server's own use.",
        code="denied",
        rule="reserved",
        hint="Choose another name. What is in the trash can be moved out of it, not written or deleted.",
    )


def holds_denied() -> Failure:
    return NotAllowed(
        "Something in this folder is closed by a deny rule, so the folder stays as and where it is.",
        code="denied",
        rule="deny_inside",
        hint="Work on the other entries of the folder one by one.",
        who=OPERATOR,
    )


def too_deep(limit: int) -> Failure:
    return TooLarge(
        f"This folder is nested more than {limit} levels deep.",
        code="too_deep",
        hint="Begin with a folder further down.",
        details={"limit": limit},
    )


def other_device() -> Failure:
    return Unsupported(
        "Another file system is mounted inside this folder.",
        code="cross_root",
        hint="Work on the entries of the folder one by one, and leave that one out.",
    )


def writer_busy() -> Failure:
    return Busy(
        "Another program is changing this folder; nothing was written.",
        hint="Repeat the call.",
        retry_after_s=1.0,
    )


def no_exclusive_rename() -> Failure:
    return Unsupported(
        "This file system cannot place a file without the risk of overwriting another.",
        code="unsupported",
        hint="Say that it is to be replaced, if nothing of value can be there.",
    )


def not_on_windows() -> Failure:
    return Unsupported("Changing files is not supported on Windows yet.", hint="Reading works.")


WRITE_BY_ERRNO: Mapping[int, Callable[[], Failure]] = MappingProxyType(
    {
        errno.EEXIST: exists,
        errno.ENOTEMPTY: not_empty,
        errno.ENOSPC: no_space,
        errno.EDQUOT: no_space,
        errno.EFBIG: no_space,
        errno.EROFS: read_only,
        errno.EACCES: not_permitted,
        errno.EPERM: not_permitted,
        errno.EXDEV: cross_root,
        errno.EBUSY: writer_busy,
        errno.ETXTBSY: writer_busy,
    }
)
