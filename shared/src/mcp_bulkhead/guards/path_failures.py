"""What the operating system says about a path, in words a model can act on."""

import errno
from collections.abc import Callable, Mapping
from types import MappingProxyType

from mcp_bulkhead.errors import (
    Busy,
    Failure,
    Invalid,
    Missing,
    NotAllowed,
    OutsideRoot,
    Refused,
    Unavailable,
    Unsupported,
)

OPERATOR = "the operator who configured this server"


def failure_from(error: OSError) -> Failure:
    """The typed failure for one errno; raise it `from` the error, whose text may hold a path and stays in the log."""
    return BY_ERRNO.get(error.errno or 0, storage_trouble)()


def outside() -> Failure:
    return OutsideRoot(
        "This path, or a link on it, leads out of the opened folder.",
        hint="Use a path below an opened folder; list the folder to see what is in it.",
        who=OPERATOR,
    )


def nothing_here() -> Failure:
    return Missing("There is nothing at this path.", hint="List the parent folder to see the names in it.")


def not_dir() -> Failure:
    return Invalid(
        "A part of this path is a file, not a folder.",
        code="not_dir",
        hint="Name the file without anything behind it, or list the parent folder.",
    )


def is_dir() -> Failure:
    return Invalid("This is a folder, not a file.", code="is_dir", hint="List the folder, then name a file in it.")


def not_regular() -> Failure:
    return Unsupported(
        "This is not a regular file (a link, pipe, socket or device), so it has no text to read.",
        code="not_regular",
        hint="List the folder to see the kind of each entry, and choose a file.",
    )


def too_many_links() -> Failure:
    return Refused(
        "The path runs through too many links, or through one that is not an ordinary link.",
        code="too_many_links",
        hint="List the folder and use the path the link points to.",
    )


def links_not_followed() -> Failure:
    return NotAllowed(
        "Links are not followed in this folder.",
        code="denied",
        rule="no_links",
        hint="List the folder and use the path of the file itself.",
        who=OPERATOR,
    )


def denied(pattern: str) -> Failure:
    return NotAllowed(
        "A deny rule keeps this path closed.",
        code="denied",
        rule=f"deny:{pattern}",
        hint="Work without it; list the folder to see what else is there.",
        who=OPERATOR,
    )


def permission_denied() -> Failure:
    return Refused(
        "The operating system does not let this server read it.",
        code="permission_denied",
        hint="Choose another path; listing the parent folder shows what else is there.",
        who=OPERATOR,
    )


def name_too_long() -> Failure:
    return Invalid(
        "The path, or a name in it, is longer than the file system allows.",
        code="name_too_long",
        hint="List the parent folder and copy the name from there.",
    )


def invalid_path(problem: str = "the file system does not accept a name in it") -> Failure:
    return Invalid(
        "This is not a usable path.",
        field="path",
        problem=problem,
        code="invalid_path",
        hint="List the folder and copy the path from there.",
    )


def ambiguous_name(count: int) -> Failure:
    return Invalid(
        f"{count} entries have this name in different Unicode spellings, and none is spelled exactly so.",
        code="ambiguous_name",
        hint="List the parent folder and copy the name exactly.",
    )


def changing() -> Failure:
    return Busy("The folder is changing, or the server is short of file handles.", hint="Repeat the call.")


def storage_trouble() -> Failure:
    return Unavailable("The storage behind this folder does not answer as it should.", hint="Repeat the call.")


def root_gone() -> Failure:
    return Unavailable(
        "The opened folder itself was removed or replaced while this server was running.",
        retryable=False,
        hint="Ask for the server to be restarted.",
    )


def invalid_root(problem: str, fix: str) -> Failure:
    """For the operator, at start-up: the one message here that may show a path."""
    return Failure(problem, code="invalid_root", hint=fix)


BY_ERRNO: Mapping[int, Callable[[], Failure]] = MappingProxyType(
    {
        errno.EXDEV: outside,
        errno.ENOENT: nothing_here,
        errno.ENOTDIR: not_dir,
        errno.EISDIR: is_dir,
        errno.ELOOP: too_many_links,
        errno.EACCES: permission_denied,
        errno.EPERM: permission_denied,
        errno.ENAMETOOLONG: name_too_long,
        errno.EINVAL: invalid_path,
        errno.EILSEQ: invalid_path,
        errno.EAGAIN: changing,
        errno.EMFILE: changing,
        errno.ENFILE: changing,
        errno.ENOMEM: changing,
    }
)
