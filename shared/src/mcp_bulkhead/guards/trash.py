"""Where deleted things go: a folder in the root, one subfolder per deletion, the old path kept below it."""

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from .opened import OpenedDir
from .paths import RootFS
from .reserved import TRASH
from .spots import Spot
from .temps import CREATE, remove_tree

PRIVATE_DIR = 0o700
PRIVATE_FILE = 0o600


@contextmanager
def place_in_trash(root: RootFS, spot: Spot) -> Generator[Spot]:
    """A free name for what is at `spot`; removed again when nothing was put there."""
    with root.open_dir("") as top, _made(top, TRASH) as trash:
        _hide_from_git(trash)
        batch = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        try:
            folder = _made(trash, batch)
            for name in spot.folder.rel.split("/") if spot.folder.rel else []:
                with folder:
                    folder = _made(folder, name)
            with folder:
                yield Spot(folder, spot.name)
        except BaseException:
            with suppress(OSError):
                remove_tree(trash.fd, batch)
            raise


def _made(folder: OpenedDir, name: str) -> OpenedDir:
    """A folder in it, created when it is missing; a link in its place is refused."""
    with suppress(FileExistsError):
        os.mkdir(name, PRIVATE_DIR, dir_fd=folder.fd)
    return folder.child_dir(name)


def _hide_from_git(trash: OpenedDir) -> None:
    """So that what was deleted is in nobody's commit, and in no search of ours."""
    with suppress(FileExistsError):
        fd = os.open(".gitignore", CREATE, PRIVATE_FILE, dir_fd=trash.fd)
        try:
            os.write(fd, b"*\n")
        finally:
            os.close(fd)
