"""Changing what is below one root: the one way in for everything that writes.

Each change opens the folder through the guard and then acts on one name in that handle, so nothing that happens to the
path meanwhile leads the change elsewhere. A folder that somebody else moves out of the root while a change is in it
takes the change along, as if the change had come first.

Deny rules go by path, so a folder that is moved while another call creates something in it could carry that to a
closed name. The caller keeps changes away while it moves a folder.
"""

import os
from contextlib import suppress

from mcp_bulkhead.errors import Missing

from .contents import Manner, Step, Target, no_step
from .opened import OpenedDir, check_allowed
from .paths import RootFS
from .renames import exclusive_rename
from .reserved import TEMP_PREFIX, is_in_trash
from .spots import Spot, split_last
from .temps import sweep
from .write_failures import no_folder, read_only, reserved, said_plainly

NEW_DIR = 0o777
MAX_SWEPT = 1_024


class Writer:
    """Files and folders below one root, for changing; safe to use from several threads."""

    def __init__(
        self, root: RootFS, *, fsync: bool = True, keep_hard_links: bool = False, patience_s: float = 5.0
    ) -> None:
        self.root = root
        self.manner = Manner(exclusive_rename(), fsync, keep_hard_links, patience_s)
        self._swept: set[str] = set()

    def open(self, rel: str, *, hold: bool = False, step: Step = no_step) -> Target:
        """A file to write, there or not; links inside the root are followed to the file they mean."""
        with said_plainly():
            spot = self.spot(self._followed(rel))
            self._sweep(spot.folder)
            return Target(spot, self.manner, step, hold=hold)

    def spot(self, rel: str) -> Spot:
        """A name that may be created, changed or removed. Nothing in the trash may."""
        try:
            spot = self.root.parent_of(rel)
        except Missing as missing:
            raise no_folder() from missing
        return self._own(spot)

    def mkdir(self, rel: str) -> None:
        """Create one folder."""
        with said_plainly(), self.spot(rel) as spot:
            os.mkdir(spot.name, NEW_DIR, dir_fd=spot.fd)
            self.settle(spot.folder)

    def make_all(self, rel: str) -> int:
        """Create the folders of this path that are missing, each in the handle of the one before; how many."""
        made = 0
        with said_plainly():
            folder, missing = self._to_make(rel)
            for name in missing:
                with self._own(Spot.at(folder, name)) as spot:
                    made += self._make(spot)
                    folder = spot.folder.child_dir(spot.name)
            folder.close()
        return made

    def would_make(self, rel: str) -> int:
        """How many names of this path are missing; refused as creating them would be."""
        with said_plainly():
            folder, missing = self._to_make(rel)
            folder.close()
        return len(missing)

    def settle(self, *folders: OpenedDir) -> None:
        """Make the names in these folders last, if the operator wants that. What is done stays done if it fails."""
        for folder in folders if self.manner.fsync else ():
            with suppress(OSError):
                os.fsync(folder.fd)

    def _followed(self, rel: str) -> str:
        try:
            return self.root.resolve(rel)
        except Missing:
            return rel

    def _to_make(self, rel: str) -> tuple[OpenedDir, list[str]]:
        if not self.root.writable:
            raise read_only()
        folder, missing = self._deepest(rel)
        try:
            # The whole of it first: half a path would be left behind otherwise.
            check_free("/".join(filter(None, (folder.rel, *missing))), folder)
        except BaseException:
            folder.close()
            raise
        return folder, missing

    def _deepest(self, rel: str) -> tuple[OpenedDir, list[str]]:
        """The last folder of a path that is there, and the names behind it that are not."""
        missing: list[str] = []
        while True:
            try:
                return self.root.open_dir(rel), missing[::-1]
            except Missing:
                rel, name, _ = split_last(rel)
                missing.append(name)

    @staticmethod
    def _own(spot: Spot) -> Spot:
        if is_in_trash(spot.rel):
            spot.close()
            raise reserved()
        return spot

    def _make(self, spot: Spot) -> bool:
        try:
            os.mkdir(spot.name, NEW_DIR, dir_fd=spot.fd)
        except FileExistsError:
            return False
        self.settle(spot.folder)
        return True

    def _sweep(self, folder: OpenedDir) -> None:
        """Once per folder and process: a crash is rare, and a large folder takes a while to look through."""
        if folder.rel in self._swept:
            return
        if len(self._swept) >= MAX_SWEPT:
            self._swept.clear()
        self._swept.add(folder.rel)
        sweep(folder.fd)


def check_free(rel: str, folder: OpenedDir) -> None:
    """Refuse what a rule keeps closed, and what is the server's own."""
    check_allowed(rel, folder.rules)
    if is_in_trash(rel) or TEMP_PREFIX in rel.lower():
        raise reserved()
