"""Moving: one rename between two open folders. A link is moved, never what it means."""

import errno
import os
import stat
from dataclasses import dataclass

from .contents import PLACED, Step, no_step
from .folder_lock import two_folder_locks
from .path_failures import nothing_here
from .path_input import same_name
from .reserved import TRASH
from .spots import Spot
from .trees import denied_differently, survey
from .write_failures import into_itself, reserved, said_plainly
from .writing import Writer


@dataclass(frozen=True, slots=True)
class Moved:
    rel: str
    to: str
    is_dir: bool


def move(source: Writer, rel: str, target: Writer, to: str, *, replace: bool = False, step: Step = no_step) -> Moved:
    """Give a thing its new name. Never overwrites, unless `replace`: then a file, or an empty folder by a folder.

    Moves within one file system only, so that it is done whole or not at all. Out of the trash too: that is the undo.
    """
    with said_plainly(), source.root.parent_of(rel) as old, target.spot(to) as new:
        if old.rel.lower() == TRASH:
            raise reserved()
        found = old.look()
        if found is None:
            raise nothing_here()
        is_dir = stat.S_ISDIR(found.st_mode)
        if is_dir:
            if source.root is target.root and f"{new.rel}/".startswith(f"{old.rel}/") and new.rel != old.rel:
                raise into_itself()
            survey(old, denied_differently(source.root.deny, old.rel, target.root.deny, new.rel), step)
        with two_folder_locks(old.fd, new.fd, target.manner.patience_s):
            step("compared")
            _rename(target, old, new, replace=replace, is_dir=is_dir)
        step(PLACED)
        target.settle(new.folder, old.folder)
        return Moved(old.rel, new.rel, is_dir)


def _rename(target: Writer, old: Spot, new: Spot, *, replace: bool, is_dir: bool) -> None:
    try:
        if not replace:
            target.manner.exclusive(old.fd, old.name, new.fd, new.name)
            return
        same = _hard_linked(old, new)
        os.rename(old.name, new.name, src_dir_fd=old.fd, dst_dir_fd=new.fd)
        # Between two names of one file POSIX has rename do nothing, and call it a success.
        if same:
            os.unlink(old.name, dir_fd=old.fd)
    except OSError as error:
        if is_dir and error.errno == errno.EINVAL:
            raise into_itself() from error
        raise


def _hard_linked(old: Spot, new: Spot) -> bool:
    """Two names of one file; not one name in two spellings, as a file system that ignores case has it."""
    one, other = old.look(), new.look()
    if one is None or other is None or one.st_nlink == 1 or not os.path.samestat(one, other):
        return False
    in_one_folder = os.path.samestat(os.fstat(old.fd), os.fstat(new.fd))
    return not (in_one_folder and same_name(old.name.casefold(), new.name.casefold()))
