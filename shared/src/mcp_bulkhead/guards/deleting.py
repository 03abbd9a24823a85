"""Deleting: into the trash by one rename, or for good from the bottom up. A link is deleted, never what it means."""

import os
import stat
from dataclasses import dataclass

from mcp_bulkhead.errors import Failure

from .contents import PLACED, Step, no_step
from .entries import Kind
from .folder_lock import FolderLock, two_folder_locks
from .path_failures import changing
from .spots import Spot, Version
from .trash import place_in_trash
from .trees import Survey, any_denied, children, open_child, survey
from .write_failures import (
    changed_meanwhile,
    holds_denied,
    not_empty,
    said_plainly,
    trash_elsewhere,
    write_failure_from,
)
from .writing import Writer


@dataclass(frozen=True, slots=True)
class Deleted:
    """What is gone, and where it is now, if it is in the trash."""

    rel: str
    what: Survey
    trash: str | None = None


def look_before_deleting(writer: Writer, rel: str, *, step: Step = no_step) -> Survey:
    """What `delete` would delete: to be shown to a person; its digest holds the deletion to it."""
    with writer.spot(rel) as spot:
        return survey(spot, any_denied(writer.root.deny, spot.rel), step)


def delete(
    writer: Writer,
    rel: str,
    *,
    recursive: bool = False,
    trash: bool = True,
    digest: str | None = None,
    step: Step = no_step,
) -> Deleted:
    """Delete a file, a link or a folder; a folder that holds anything only when `recursive`.

    `digest`, from a survey, makes it Stale when what is there is no longer what was looked at.
    """
    with said_plainly(), writer.spot(rel) as spot:
        what = survey(spot, any_denied(writer.root.deny, spot.rel), step)
        before = spot.version()
        if digest is not None and digest != what.digest:
            raise changed_meanwhile()
        if what.count > 1 and not recursive:
            raise not_empty()
        if before is None:
            raise changing()
        if trash:
            return Deleted(spot.rel, what, _to_trash(writer, spot, before, step))
        _for_good(writer, spot, before, step)
        return Deleted(spot.rel, what)


def _to_trash(writer: Writer, spot: Spot, before: Version, step: Step) -> str:
    patience = writer.manner.patience_s
    with place_in_trash(writer.root, spot) as place:
        with two_folder_locks(spot.fd, place.fd, patience):
            _check(spot, before, step)
            try:
                writer.manner.exclusive(spot.fd, spot.name, place.fd, place.name)
            except OSError as error:
                failure = write_failure_from(error)
                raise (trash_elsewhere() if failure.reason == "cross_root" else failure) from error
        step(PLACED)
        writer.settle(place.folder, spot.folder)
        return place.rel


def _for_good(writer: Writer, spot: Spot, before: Version, step: Step) -> None:
    st = spot.look()
    is_dir = st is not None and stat.S_ISDIR(st.st_mode)
    with FolderLock(spot.fd, writer.manner.patience_s):
        _check(spot, before, step)
        if not is_dir:
            os.unlink(spot.name, dir_fd=spot.fd)
        else:
            _whole_folder(writer, spot, step)
    step(PLACED)
    writer.settle(spot.folder)


def _whole_folder(writer: Writer, spot: Spot, step: Step) -> None:
    gone = Survey()
    try:
        with open_child(spot.fd, spot.name) as top:
            _empty(writer, top.fd, spot.rel, gone, step)
        os.rmdir(spot.name, dir_fd=spot.fd)
    except (OSError, Failure) as error:
        failure = error if isinstance(error, Failure) else write_failure_from(error)
        failure.details["deleted"] = gone.count
        raise failure from error


def _empty(writer: Writer, fd: int, rel: str, gone: Survey, step: Step) -> None:
    closed = writer.root.deny.in_dir(rel)
    for entry in children(fd):
        step("deleting")
        if closed(entry.name):
            raise holds_denied()
        if entry.kind is Kind.DIR:
            with open_child(fd, entry.name) as child:
                _empty(writer, child.fd, f"{rel}/{entry.name}", gone, step)
            os.rmdir(entry.name, dir_fd=fd)
        else:
            os.unlink(entry.name, dir_fd=fd)
        gone.add(entry.name, entry)


def _check(spot: Spot, before: Version, step: Step) -> None:
    if spot.version() != before:
        raise changed_meanwhile()
    step("compared")
