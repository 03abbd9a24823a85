"""Looking through a folder from its handle, before the whole of it is moved, copied or deleted. No link is followed."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b

from .contents import Step, no_step
from .deny import DenyRules
from .entries import Entry, Kind
from .opened import NOFOLLOW, READ_DIR, Opened
from .path_failures import changing, nothing_here
from .spots import Spot
from .write_failures import holds_denied, other_device, said_plainly, too_deep

MAX_DEPTH = 100
"""Each level holds a handle, and a process has about a thousand."""
STEP_EVERY = 64
SWAPPED = (errno.ENOTDIR, errno.ENOENT, errno.ELOOP, errno.EMLINK)

Closed = Callable[[str], bool]
ClosedIn = Callable[[str], Closed]
"""For a folder, given by its path below the top ("" is the top): which names in it stop the whole."""


@dataclass(slots=True)
class Survey:
    """What is in a tree, or in one file. `digest` is another when anything in it is another."""

    files: int = 0
    dirs: int = 0
    bytes: int = 0
    seen: "blake2b" = field(default_factory=lambda: blake2b(digest_size=16), repr=False)

    @property
    def digest(self) -> str:
        return self.seen.hexdigest()

    @property
    def count(self) -> int:
        return self.files + self.dirs

    def add(self, below: str, entry: Entry) -> None:
        is_dir = entry.kind is Kind.DIR
        self.dirs += is_dir
        self.files += not is_dir
        self.bytes += 0 if is_dir else entry.size
        facts = (below, entry.mode, entry.dev, entry.ino, 0 if is_dir else entry.size, entry.mtime_ns)
        self.seen.update(repr(facts).encode("utf-8", "surrogatepass"))


def any_denied(rules: DenyRules, rel: str) -> ClosedIn:
    """For deleting: nothing that a rule keeps closed may go along."""
    return lambda below: rules.in_dir(joined(rel, below))


def denied_differently(rules: DenyRules, rel: str, new_rules: DenyRules, new_rel: str) -> ClosedIn:
    """For moving: what is closed stays closed, and nothing gets to a closed name.

    A rule such as `.kube/config` would otherwise end when the folder is renamed, or be filled from one that was not
    closed.
    """

    def closed_in(below: str) -> Closed:
        before, after = rules.in_dir(joined(rel, below)), new_rules.in_dir(joined(new_rel, below))
        return lambda name: before(name) != after(name)

    return closed_in


def survey(spot: Spot, closed_in: ClosedIn, step: Step = no_step) -> Survey:
    """Count what is at this spot and below; refused when something in it is closed."""
    with said_plainly():
        st = spot.look()
        if st is None:
            raise nothing_here()
        found, entry = Survey(), Entry.of(spot.name, st, denied=False)
        found.add("", entry)
        if entry.kind is Kind.DIR:
            with open_child(spot.fd, spot.name) as top:
                _look_through(top.fd, "", found, closed_in, step)
        return found


def children(fd: int) -> list[Entry]:
    """What a folder of ours holds, temporary names too, as it is now."""
    with os.scandir(fd) as items:
        return [Entry.of(item.name, item.stat(follow_symlinks=False), denied=False) for item in items]


def open_child(fd: int, name: str) -> Opened:
    """A folder of an open folder; not what was put in its place since it was listed."""
    try:
        return Opened(os.open(name, READ_DIR | NOFOLLOW, dir_fd=fd), name)
    except OSError as error:
        if error.errno in SWAPPED:
            raise changing() from error
        raise


def joined(rel: str, below: str) -> str:
    return f"{rel}/{below}" if rel and below else rel or below


def _look_through(fd: int, below: str, found: Survey, closed_in: ClosedIn, step: Step, depth: int = 1) -> None:
    if depth > MAX_DEPTH:
        raise too_deep(MAX_DEPTH)
    closed, device = closed_in(below), os.fstat(fd).st_dev
    for entry in sorted(children(fd), key=lambda entry: entry.name):
        if not found.count % STEP_EVERY:
            step("looking")
        if closed(entry.name):
            raise holds_denied()
        if entry.dev != device:
            raise other_device()
        path = joined(below, entry.name)
        found.add(path, entry)
        if entry.kind is Kind.DIR:
            with open_child(fd, entry.name) as child:
                _look_through(child.fd, path, found, closed_in, step, depth + 1)
