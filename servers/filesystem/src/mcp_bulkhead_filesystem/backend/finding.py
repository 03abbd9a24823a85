"""find: names by glob, in walk order."""

from contextlib import closing
from dataclasses import dataclass

from mcp_bulkhead.guards.paths import Kind, Roots

from .answers import Found, cost_of
from .globs import Glob
from .names import below, visible
from .walking import Position, Start, Visit, Walk
from .workers import Job

OVERHEAD = 400
"""Characters kept for the notes and the continuation."""


@dataclass(slots=True)
class Finding:
    """One call's search, filled until a limit is met."""

    roots: Roots
    glob: Glob
    kind: Kind | None
    ignored: bool
    limit: int
    room: int
    job: Job
    found: Found
    last: tuple[Start, str, bool] | None = None

    def run(self, starts: list[Start]) -> Found:
        for start in starts:
            walk = Walk(start, self.job, self.found.skipped, self.ignored, notes=self.found.notes)
            with closing(walk.visits()) as visits:
                for visit in visits:
                    if not self.take(start, visit):
                        return self.stopped()
        if not self.found.paths:
            self.found.notes.append("nothing matches")
        return self.found

    def take(self, start: Start, visit: Visit) -> bool:
        """Add what matches in this folder; False when the answer is full or the time is up."""
        folder = visit.rel[len(start.rel) :].removeprefix("/")
        if (
            visit.fresh
            and folder
            and self.takes(folder)
            and not self.add(start, visit.rel, self.shown(start, visit), is_dir=True)
        ):
            return False
        only_dirs = self.glob.dirs_only or self.kind is Kind.DIR
        names = [] if only_dirs else self.glob.among(visit.names, folder)
        if names and not self.take_names(start, visit, names):
            return False
        return not self.job.late or self.out_of_time(start, visit)

    def take_names(self, start: Start, visit: Visit, names: list[str]) -> bool:
        is_denied = visit.folder.deny_test()
        prefix = self.shown(start, visit) if visit.rel or len(self.roots) > 1 else ""
        for name in names:
            if not self.wants(visit.kind(name)):
                continue
            if is_denied(name):
                self.found.skipped.denied += 1
            elif not self.add(start, below(visit.rel, name), prefix + visible(name), is_dir=False):
                return False
        return True

    def stopped(self) -> Found:
        if self.last is not None:
            start, rel, is_dir = self.last
            self.found.next = Position(start.root.name, rel, is_dir).as_json()
        return self.found

    def takes(self, folder: str) -> bool:
        """Whether the folder itself is one of the answers."""
        return self.wants(Kind.DIR) and self.glob.matches(folder.rpartition("/")[2], folder)

    def wants(self, kind: Kind) -> bool:
        return self.kind is None or self.kind is kind

    def shown(self, start: Start, visit: Visit) -> str:
        return visible(self.roots.place(start.root, visit.rel).shown) + "/"

    def add(self, start: Start, rel: str, shown: str, *, is_dir: bool) -> bool:
        cost = cost_of(shown) + 1
        if self.found.paths and (len(self.found.paths) >= self.limit or cost > self.room):
            return False
        self.room -= cost
        self.found.paths.append(shown)
        self.found.lines.append(shown)
        self.last = (start, rel, is_dir)
        return True

    def out_of_time(self, start: Start, visit: Visit) -> bool:
        """False, and the position, unless stopping here would make no way at all."""
        end = visit.end(start.root)
        if end is None:
            return True
        self.last = (start, end.rel, end.is_dir)
        self.found.late = True
        place = visible(self.roots.place(start.root, visit.rel).shown)
        self.found.notes.append(f"time is up after {self.job.done} entries, at {place}")
        return False
