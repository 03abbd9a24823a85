"""Walks in a fixed order that can be left anywhere and taken up again, even by another process.

Order: a folder, then the names in it that are not folders, then its folders, each sorted by code point. So the last
path of an answer is all that a continuation needs; what was deleted or added meanwhile cannot make it lose its place.
The stack holds paths, not handles: a tree of any depth needs one descriptor at a time, and each folder is opened
through the guard.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast

from mcp_bulkhead.errors import BadCursor, Failure, NotAllowed
from mcp_bulkhead.guards.paths import Kind, OpenedDir, Place, RootFS, Roots

from .answers import Skipped
from .ignore import GIT, LEFT_OUT, MARKS, Ignoring, ignoring_above
from .names import below, first_that_exists, named, visible
from .workers import Job

CHECK_EVERY = 4_096


@dataclass(frozen=True, slots=True)
class Position:
    """The last thing an answer told. As JSON it is a list of plain values."""

    root: str
    rel: str
    is_dir: bool = False
    line: int = 0

    def as_json(self) -> list[str | int]:
        return [self.root, visible(self.rel), int(self.is_dir), self.line]

    @classmethod
    def of_json(cls, value: Any) -> "Position":
        match value:
            case [str(root), str(rel), (0 | 1) as is_dir, int(line)] if line >= 0:
                return cls(root, named(rel), bool(is_dir), line)
            case _:
                raise BadCursor("This continuation does not fit.", hint="Start again without the cursor.")


@dataclass(frozen=True, slots=True)
class Start:
    """Where one walk begins: a folder, and the position behind which it goes on."""

    root: RootFS
    rel: str
    ignoring: Ignoring
    after: Position | None = None


def starts(roots: Roots, place: Place | None, after: Position | None, *, ignored: bool) -> list[Start]:
    """The walks a call stands for: below its path, or below every root; those behind the position are left out."""
    if place is None:
        begins = [(root, "") for root in roots]
    else:
        folder, found = first_that_exists(place, RootFS.open_dir)
        with folder:
            begins = [(found.root, folder.rel)]
    names = [root.name for root, _ in begins]
    if after is not None:
        if after.root not in names:
            raise BadCursor("The folder of this continuation is not open here.", hint="Start again without the cursor.")
        begins = begins[names.index(after.root) :]
    return [
        Start(
            root,
            rel,
            Ignoring() if ignored else ignoring_above(root, rel),
            after if after and after.root == root.name else None,
        )
        for root, rel in begins
    ]


@dataclass(frozen=True, slots=True)
class Visit:
    """One folder, open: its names that are not folders, sorted. `kinds` knows those that are not regular files."""

    folder: OpenedDir
    rel: str
    names: list[str]
    kinds: dict[str, Kind]
    fresh: bool
    """False when an earlier answer told of the folder itself already."""

    def kind(self, name: str) -> Kind:
        return self.kinds.get(name, Kind.FILE)

    def end(self, root: RootFS) -> Position | None:
        """The position behind these names; None when that is no further than where the walk was taken up."""
        if self.names:
            return Position(root.name, below(self.rel, self.names[-1]))
        return Position(root.name, self.rel, is_dir=True) if self.fresh else None


@dataclass(slots=True)
class Walk:
    """All folders below a start, each once; links are never followed."""

    start: Start
    job: Job
    skipped: Skipped
    ignored: bool
    inclusive: bool = False
    """Whether the position's own file comes again, because its lines were not all told."""
    notes: list[str] = field(default_factory=list[str])
    """Where to say what else there is to say."""
    _stack: list[tuple[str, Ignoring, Sequence[str] | None]] = field(default_factory=list[Any])

    def visits(self) -> Generator[Visit, None, None]:
        self._stack = [(self.start.rel, self.start.ignoring, self._resume())]
        while self._stack:
            self.job.check()
            rel, ignoring, resume = self._stack.pop()
            try:
                folder = self.start.root.open_dir(rel)
            except Failure as failure:
                self._count(failure)
                continue
            with folder:
                if folder.rel != rel:
                    self.skipped.unreadable += 1  # replaced by a link since its parent was read
                    continue
                visit = self._visit(folder, ignoring, resume)
                if visit is not None:
                    yield visit

    def _resume(self) -> Sequence[str] | None:
        after, base = self.start.after, self.start.rel
        if after is None:
            return None
        if base and after.rel != base and not after.rel.startswith(f"{base}/"):
            raise BadCursor("This continuation is for another folder.", hint="Start again without the cursor.")
        inner = after.rel[len(base) :].strip("/")
        return inner.split("/") if inner else []

    def _visit(self, folder: OpenedDir, ignoring: Ignoring, resume: Sequence[str] | None) -> Visit | None:
        try:
            names, dirs, kinds = self._read(folder)
        except Failure as failure:
            self._count(failure)
            return None
        ignoring = (
            ignoring
            if self.ignored
            else ignoring.entering(folder, MARKS.intersection(names) | MARKS.intersection(dirs))
        )
        if not ignoring.whole and LEFT_OUT not in self.notes:
            self.notes.append(LEFT_OUT)
        names, dirs = self._kept(folder.rel, names, dirs, ignoring, count=not resume)
        names.sort()
        dirs.sort()
        self.job.done += len(names) + len(dirs)
        into: Sequence[str] | None = None
        if resume:
            names, dirs, into = self._behind(resume, names, dirs)
        deeper = [(below(folder.rel, name), ignoring, None) for name in reversed(dirs)]
        if into is not None and deeper:
            deeper[-1] = (*deeper[-1][:2], into)  # type: ignore[assignment]
        self._stack += deeper
        return Visit(folder, folder.rel, names, kinds, fresh=resume is None)

    def _read(self, folder: OpenedDir) -> tuple[list[str], list[str], dict[str, Kind]]:
        """Names that are not folders, folders, and the kinds of those that are neither; in big steps, for speed."""
        names: list[str] = []
        dirs: list[str] = []
        kinds: dict[str, Kind] = {}
        entries = folder.names()
        while step := list(islice(entries, CHECK_EVERY)):
            self.job.check()
            regular = [name for name, kind in step if kind is Kind.FILE]
            folders = [name for name, kind in step if kind is Kind.DIR]
            if len(regular) + len(folders) < len(step):
                others = {name: kind for name, kind in step if kind is Kind.LINK or kind is Kind.OTHER}
                kinds.update(others)
                names += others
            names += regular
            dirs += folders
        return names, dirs, kinds

    def _kept(
        self, rel: str, names: list[str], dirs: list[str], ignoring: Ignoring, *, count: bool
    ) -> tuple[list[str], list[str]]:
        gone: set[str] = {GIT}.intersection(names)
        gone_dirs: set[str] = {GIT}.intersection(dirs)
        if not self.ignored:
            gone |= ignoring.ignored(rel, names, self.job.check, dirs=False)
            gone_dirs |= ignoring.ignored(rel, dirs, self.job.check, dirs=True)
        if count:
            self.skipped.ignored += len(gone) + len(gone_dirs)
        return (
            [name for name in names if name not in gone] if gone else names,
            [name for name in dirs if name not in gone_dirs] if gone_dirs else dirs,
        )

    def _behind(
        self, resume: Sequence[str], names: list[str], dirs: list[str]
    ) -> tuple[list[str], list[str], Sequence[str] | None]:
        """What is left of a folder: names, folders, and how the first of those is to be resumed."""
        first, rest = resume[0], resume[1:]
        after = cast("Position", self.start.after)
        if rest or after.is_dir:
            dirs = [name for name in dirs if name >= first]
            return [], dirs, rest if dirs and dirs[0] == first else None
        if self.inclusive:
            return [name for name in names if name >= first], dirs, None
        return [name for name in names if name > first], dirs, None

    def _count(self, failure: Failure) -> None:
        if isinstance(failure, NotAllowed):
            self.skipped.denied += 1
        else:
            self.skipped.unreadable += 1
