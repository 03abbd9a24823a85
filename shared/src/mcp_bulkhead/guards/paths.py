"""One folder that an operator opened, and the only way into it.

The kernel does the checking: each open starts at a handle of the root and cannot leave it (`openat2`, or a walk that
follows no link by itself), and everything after the open is asked of the opened handle. No path is checked first and
used later.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from mcp_bulkhead.errors import Missing

from .deny import DEFAULT_DENY, DenyRules
from .entries import Entry, Kind
from .links import LinkPolicy, proc_device
from .opened import OpenedDir, OpenedFile, check_allowed
from .openers import Method, choose_opener
from .path_failures import ambiguous_name, failure_from, invalid_root, root_gone
from .path_input import check_relative, same_name, split_parts
from .root_handle import RootHandle
from .roots import Place, Roots
from .spots import Spot, split_last
from .write_failures import not_on_windows, read_only, said_plainly

__all__ = ["DEFAULT_DENY", "DenyRules", "Entry", "Kind", "OpenedDir", "OpenedFile", "Place", "RootFS", "Roots"]

T = TypeVar("T")


class RootFS:
    """Files and folders below one directory; safe to use from several threads."""

    def __init__(
        self,
        path: str,
        *,
        writable: bool = False,
        name: str | None = None,
        deny: DenyRules = DEFAULT_DENY,
        follow_links: bool = True,
        method: Method = "auto",
    ) -> None:
        self.path = _absolute(path)
        self.real_path = os.path.realpath(self.path)
        self.name = _root_name(self.path if name is None else name)
        self.writable = writable
        self.deny = deny
        self._handle = RootHandle(self.path)
        anchors = (tuple(split_parts(self.real_path)), tuple(split_parts(self.path)))
        links = LinkPolicy(anchors, follow_links, proc_device())
        try:
            self._opener = choose_opener(self._handle, self.real_path, links, deny, method)
        except BaseException:
            self._handle.close()
            raise
        self.method = self._opener.method

    def open_file(self, rel: str) -> OpenedFile:
        """A regular file for reading. Pipes, sockets and devices are refused without being opened."""
        return self._guarded(self._opener.open_file, rel)

    def open_dir(self, rel: str) -> OpenedDir:
        """A folder for listing; "" is the root itself."""
        return self._guarded(self._opener.open_dir, rel)

    def stat(self, rel: str) -> Entry:
        """What is at this path, without following a link in the last place. A denied entry is flagged, not refused."""
        st, resolved = self._guarded(lambda path: self._opener.stat(path, follow=False), rel)
        name = resolved.rpartition("/")[2] or self.name
        return Entry.of(name, st, denied=self.deny.matches(resolved) is not None)

    def resolve(self, rel: str) -> str:
        """Where an existing path really is, after links, relative to the root."""
        _, resolved = self._guarded(lambda path: self._opener.stat(path, follow=True), rel)
        check_allowed(resolved, self.deny)
        return resolved

    def parent_of(self, rel: str) -> Spot:
        """For changing it: the last name of a path, not followed, in its open folder. Refused in a read-only root."""
        if not self.writable:
            raise read_only()
        if sys.platform == "win32":
            raise not_on_windows()
        check_relative(rel)
        folder, name, is_folder = split_last(rel)
        opened = self.open_dir(folder)
        with said_plainly():
            return Spot.at(opened, name, is_folder=is_folder)

    def is_current(self) -> bool:
        """Whether the operator's path still names the folder that was opened at the start."""
        try:
            st = Path(self.path).stat()
        except OSError:
            return False
        return (st.st_dev, st.st_ino) == self._handle.identity

    def close(self) -> None:
        self._opener.close()

    def _guarded(self, open_path: Callable[[str], T], rel: str) -> T:
        check_relative(rel)
        try:
            try:
                return open_path(rel)
            except FileNotFoundError:
                stored = self._as_stored(rel)
                if stored == rel:
                    raise
                return open_path(stored)
        except OSError as error:
            failure = failure_from(error)
            raise (root_gone() if isinstance(failure, Missing) and self._handle.is_removed() else failure) from error

    def _as_stored(self, rel: str) -> str:
        """The path with each missing name in the one Unicode spelling its folder has (NFC against NFD).

        A name in plain ASCII has one spelling, so the commonest mistake, a path that is not there, costs nothing more.
        """
        found = ""
        for part in [] if rel.isascii() else split_parts(rel):
            path = f"{found}/{part}" if found else part
            try:
                self._opener.stat(path, follow=False)
            except FileNotFoundError:
                if part.isascii():
                    return rel
                stored = self._stored_name(found, part)
                path = f"{found}/{stored}" if found else stored
            found = path
        return found or rel

    def _stored_name(self, folder: str, wanted: str) -> str:
        with self._opener.open_dir(folder) as opened:
            alike = [name for name, _ in opened.names() if same_name(name, wanted)]
        if len(alike) > 1:
            raise ambiguous_name(len(alike))
        return alike[0] if alike else wanted


def _absolute(path: str) -> str:
    """The operator's path made absolute; ".." is left to the file system, since behind a link it leads elsewhere."""
    if not path or "\0" in path:
        raise invalid_root("A root folder has no usable path.", "Give the full path of an existing folder.")
    if path.startswith("~"):
        raise invalid_root(
            f"The root folder {path!r} starts with '~'.", "Write the full path: only a shell expands it."
        )
    full = Path(path).absolute()
    return str(full.resolve() if ".." in full.parts else full)


def _root_name(name: str) -> str:
    last = Path(name).name
    if last == "..":
        raise invalid_root("A root folder cannot be named '..'.", "Choose another name.")
    return last or "root"
