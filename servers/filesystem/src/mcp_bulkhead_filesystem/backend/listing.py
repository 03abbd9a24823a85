"""list: a folder as a tree of relative names, folders first; a file as its one line of facts."""

import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice

from mcp_bulkhead.errors import Failure, Missing, NotAllowed, OutsideRoot
from mcp_bulkhead.guards.paths import Entry, Kind, OpenedDir, Place, RootFS, Roots

from .answers import Listing, Row, cost_of, size_of
from .ignore import GIT, LEFT_OUT, Ignoring
from .names import below, first_that_exists, visible
from .walking import Position, Start
from .workers import Job

INDENT = "  "
CHECK_EVERY = 4_096
MAX_NAMES = 1 << 20
TOO_MANY = "a folder here has over a million names: not all of them were looked at"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the tree. Without a row it only says again where a continued tree is."""

    text: str
    rel: str
    row: Row | None = None


@dataclass(slots=True)
class Tree:
    """The lines of one folder's tree, in their order: each folder followed by what is in it, then the files."""

    roots: Roots
    root: RootFS
    ignored: bool
    job: Job
    listing: Listing
    after: Position | None = None

    def lines(
        self, rel: str, depth: int, ignoring: Ignoring, resume: Sequence[str] | None, level: int
    ) -> Iterator[Line]:
        with self.root.open_dir(rel) as folder:
            names = self.read(folder)
            ignoring = ignoring if self.ignored else ignoring.entering(folder, {name for name, _ in names})
        names = self.kept(rel, names, ignoring, count=not resume)
        names.sort(key=lambda each: (each[1] is not Kind.DIR, each[0]))
        for name, kind in names:
            told, inner = _told(name, kind, resume, self.after)
            if told and (inner is None or depth == 1):
                continue
            path = below(rel, name)
            try:
                entry = self.root.stat(path)
            except Missing:
                continue  # gone since the folder was read
            except Failure:
                self.listing.skipped.unreadable += 1
                continue
            enters = entry.kind is Kind.DIR and depth > 1 and not entry.denied
            if told and not enters:
                continue
            yield Line(
                INDENT * level + self.shown(path, entry, continued=told), path, None if told else self.row(path, entry)
            )
            if enters:
                yield from self.inside(path, depth - 1, ignoring, inner, level + 1)

    def inside(
        self, rel: str, depth: int, ignoring: Ignoring, resume: Sequence[str] | None, level: int
    ) -> Iterator[Line]:
        """A folder below the one that was asked for: what is wrong with it is counted, not raised."""
        if rel.rpartition("/")[2] == GIT:
            return
        try:
            yield from self.lines(rel, depth, ignoring, resume, level)
        except NotAllowed:
            self.listing.skipped.denied += 1
        except Failure:
            self.listing.skipped.unreadable += 1

    def read(self, folder: OpenedDir) -> list[tuple[str, Kind]]:
        """All names, which costs little for each; the rest is asked only for those that are shown."""
        names: list[tuple[str, Kind]] = []
        entries = folder.names()
        while step := list(islice(entries, CHECK_EVERY)):
            self.job.check()
            self.job.done += len(step)
            names += step
            if len(names) >= MAX_NAMES:
                self.note(TOO_MANY)
                break
        return names

    def kept(
        self, rel: str, entries: list[tuple[str, Kind]], ignoring: Ignoring, *, count: bool
    ) -> list[tuple[str, Kind]]:
        if self.ignored:
            return entries
        if not ignoring.whole:
            self.note(LEFT_OUT)
        dirs = [name for name, kind in entries if kind is Kind.DIR]
        names = [name for name, kind in entries if kind is not Kind.DIR]
        check = self.job.check
        gone = ignoring.ignored(rel, names, check, dirs=False) | ignoring.ignored(rel, dirs, check, dirs=True) | {GIT}
        left = [each for each in entries if each[0] not in gone]
        self.listing.skipped.ignored += len(entries) - len(left) if count else 0
        return left

    def note(self, text: str) -> None:
        if text not in self.listing.notes:
            self.listing.notes.append(text)

    def row(self, rel: str, entry: Entry) -> Row:
        return Row(visible(self.roots.place(self.root, rel).shown), entry.kind, entry.size, entry.denied)

    def shown(self, rel: str, entry: Entry, *, continued: bool) -> str:
        name = visible(entry.name)
        if continued:
            return f"{name}/  (continued)"
        if entry.denied:
            return f"{name}{'/' if entry.kind is Kind.DIR else ''}  (denied)"
        match entry.kind:
            case Kind.DIR:
                return f"{name}/"
            case Kind.LINK:
                return f"{name} -> {self.target(rel)}"
            case Kind.FILE:
                return f"{name}  {size_of(entry.size)}"
            case Kind.OTHER:
                return f"{name}  ({special(entry.mode)})"

    def target(self, rel: str) -> str:
        """Where a link leads, as a path inside; what lies outside is not named."""
        try:
            return visible(self.roots.place(self.root, self.root.resolve(rel)).shown)
        except OutsideRoot:
            return "(outside)"
        except Missing:
            return "(broken)"
        except NotAllowed:
            return "(denied)"
        except Failure:
            return "(unusable)"


def list_folder(tree: Tree, start: Start, *, depth: int, limit: int, room: int) -> Listing:
    """Fill the listing with one folder's tree, until the limit, the room or the time is used up."""
    listing = tree.listing
    place = visible(tree.roots.place(start.root, start.rel).shown)
    listing.lines.append(f"== {place.rstrip('/')}/  {mode_of(start.root)}")
    last: Position | None = None
    full = False
    for line in tree.lines(start.rel, depth, start.ignoring, _resume(start), 0):
        cost = cost_of(line.text) + 1
        full = line.row is not None and bool(listing.rows) and (len(listing.rows) >= limit or cost > room)
        if full or (listing.rows and tree.job.late):
            listing.late = not full
            break
        room -= cost
        listing.lines.append(line.text)
        if line.row is not None:
            listing.rows.append(line.row)
            last = Position(start.root.name, line.rel, line.row.kind is Kind.DIR)
    else:
        if not listing.rows:
            listing.notes.append("nothing more here" if start.after else "nothing here")
        return listing
    listing.next = (last or start.after or Position(start.root.name, start.rel, is_dir=True)).as_json()
    return listing


def list_roots(roots: Roots) -> list[str]:
    return [f"== {visible(root.name)}/  {mode_of(root)}  {visible(root.path)}" for root in roots]


def mode_of(root: RootFS) -> str:
    return "rw" if root.writable else "ro"


def file_line(roots: Roots, place: Place) -> tuple[str, Row]:
    """The facts of one path that is not a folder."""
    entry, found = first_that_exists(place, RootFS.stat)
    shown = visible(roots.place(found.root, found.rel).shown)
    row = Row(shown, entry.kind, entry.size, entry.denied)
    if entry.denied:
        return f"== {shown}  (denied)", row
    when = time_of(entry.mtime_ns) or f"@{entry.mtime_ns // 10**9}"
    facts = [shown, f"{entry.size} bytes", f"modified {when}", stat.filemode(entry.mode), mode_of(found.root)]
    if entry.kind is Kind.LINK:
        tree = Tree(roots, found.root, ignored=True, job=Job(0.0), listing=Listing())
        facts[1] = f"-> {tree.target(found.rel)}"
    elif entry.kind is Kind.FILE:
        if entry.nlink > 1:
            facts.append(f"{entry.nlink} hard links")
        with found.root.open_file(found.rel) as file:
            facts.append(f"etag={file.etag()}")
    else:
        facts[1] = special(entry.mode)
    return "== " + "  ".join(facts), row


def time_of(mtime_ns: int) -> str | None:
    """A file's time as RFC 3339 has it; None where it has no way to say it: some file systems reach further."""
    try:
        return datetime.fromtimestamp(mtime_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return None


def special(mode: int) -> str:
    kinds = ((stat.S_ISFIFO, "pipe"), (stat.S_ISSOCK, "socket"), (stat.S_ISCHR, "device"), (stat.S_ISBLK, "device"))
    return next((word for test, word in kinds if test(mode)), "special")


def _resume(start: Start) -> Sequence[str] | None:
    if start.after is None:
        return None
    inner = start.after.rel[len(start.rel) :].strip("/")
    return inner.split("/") if inner else []


def _told(
    name: str, kind: Kind, resume: Sequence[str] | None, after: Position | None
) -> tuple[bool, Sequence[str] | None]:
    """Whether an earlier answer had this entry, and if it may have stopped inside it, where."""
    if not resume or after is None:
        return False, None
    first, rest = resume[0], resume[1:]
    is_dir = kind is Kind.DIR
    if not rest and not after.is_dir:
        return is_dir or name <= first, None
    if not is_dir or name > first:
        return False, None
    return True, rest if name == first else None
