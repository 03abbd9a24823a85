"""grep: looks through files in walk order, until a limit, the room or the time is used up."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from enum import StrEnum

from mcp_bulkhead.errors import Failure, Missing, NotAllowed, TimedOut
from mcp_bulkhead.guards.paths import Kind, OpenedFile, RootFS

from .answers import Grepped
from .blocks import Block, is_small, large_blocks, small_block
from .engines import Engine, Span
from .globs import Glob
from .hits import ALONE, Neighbours, Report
from .lines import KnownFiles, at_a_glance, line_start
from .names import below, visible
from .walking import Position, Start, Visit, Walk
from .workers import Job

ALL = 1 << 31


class Mode(StrEnum):
    LINES = "lines"
    FILES = "files"
    COUNT = "count"


@dataclass(slots=True)
class Target:
    """One file to search. Lines up to `told` were told already."""

    root: RootFS
    rel: str
    told: int = 0

    def position(self, line: int = 0) -> Position:
        return Position(self.root.name, self.rel, line=line)


@dataclass(slots=True)
class Grepping:
    """One call's search."""

    report: Report
    known: KnownFiles
    engine: Engine
    glob: Glob | None
    mode: Mode
    ignored: bool
    job: Job
    last: Position | None = None
    """Everything up to here was searched and told."""
    searched: Target | None = None
    """A file behind `last` that is done, too."""
    pending: list[tuple[Target, Block]] = field(default_factory=list[tuple[Target, Block]])
    pending_bytes: int = 0

    @property
    def answer(self) -> Grepped:
        return self.report.answer

    def run(self, starts: Sequence[Start]) -> Grepped:
        """Search everything below the starts."""
        first = starts[0]
        self.last = first.after or Position(first.root.name, first.rel, is_dir=True)
        return self._finished(lambda: all(self._below(start) for start in starts) and self._flush())

    def run_file(self, root: RootFS, rel: str, after: Position | None) -> Grepped:
        """Search one file that was named."""
        target = Target(root, rel, after.line if after else 0)
        self.last = target.position(target.told)
        with root.open_file(rel) as file:
            answer = self._finished(lambda: self._file(target, file) and self._flush())
        if self.mode is not Mode.LINES:
            answer.next = None  # one file has one line of answer: there is nothing behind it to go on with
        return answer

    def _finished(self, search: Callable[[], bool]) -> Grepped:
        answer = self.answer
        try:
            complete = search()
        except TimedOut as failure:
            if not answer.hits:
                raise
            answer.notes.append(f"stopped: {failure.message}")
            complete = False
        last = self.searched.position() if self.searched else self.last
        if not complete and last is not None:
            answer.next = last.as_json()
        if answer.late and last is not None:
            answer.notes.append(f"time is up after {answer.files} files, at {visible(last.rel) or 'the start'}")
        elif not answer.hits:
            answer.notes.append(f"no match in {answer.files} files")
        return answer

    def _below(self, start: Start) -> bool:
        inclusive = start.after is not None and start.after.line > 0
        walk = Walk(start, self.job, self.answer.skipped, self.ignored, inclusive, self.answer.notes)
        with closing(walk.visits()) as visits:
            return all(self._visit(start, visit) for visit in visits)

    def _visit(self, start: Start, visit: Visit) -> bool:
        names = visit.names
        if self.glob is not None:
            names = self.glob.among(names, visit.rel[len(start.rel) :].removeprefix("/"))
        skipped, after = self.answer.skipped, start.after
        for name in names:
            if (kind := visit.kinds.get(name)) is not None:
                skipped.links += kind is Kind.LINK
                skipped.special += kind is Kind.OTHER
            else:
                rel = below(visit.rel, name)
                told = after.line if after is not None and after.rel == rel else 0
                if not self._child(visit, name, Target(start.root, rel, told)):
                    return False
        return not self.job.late or self._late_between(start.root, visit)

    def _child(self, visit: Visit, name: str, target: Target) -> bool:
        self.job.check()
        if self.job.late and self.answer.files:
            return self._flush() and self._out_of_time()
        try:
            file = visit.folder.child_file(name)
        except Missing:
            return True  # gone since the folder was read
        except NotAllowed:
            self.answer.skipped.denied += 1
            return True
        except Failure:
            self.answer.skipped.unreadable += 1
            return True
        with file:
            return self._file(target, file)

    def _file(self, target: Target, file: OpenedFile) -> bool:
        self.answer.files += 1
        try:
            return self._small(target, file) if is_small(file) else self._flush() and self._large(target, file)
        except OSError:
            self.answer.skipped.unreadable += 1
            return self._nothing_in(target)

    def _small(self, target: Target, file: OpenedFile) -> bool:
        block = small_block(file.pread(file.size + 1, 0))
        if block is None:
            self.answer.skipped.binary += 1
            return self._nothing_in(target)
        if self.engine.batch:
            self.pending.append((target, block))
            self.pending_bytes += len(block.data)
            return self.pending_bytes < self.engine.batch or self._flush()
        spans = self.engine.scan((block.data,), self._cap(target))[0]
        if spans and not self._tell(target, block, spans):
            return False
        self.searched = target
        return True

    def _nothing_in(self, target: Target) -> bool:
        """Go on behind this file, unless earlier ones still wait to be searched."""
        if not self.pending:
            self.searched = target
        return True

    def _flush(self) -> bool:
        """Search the small files collected so far."""
        pending, self.pending, self.pending_bytes = self.pending, [], 0
        if not pending:
            return True
        cap = max(self._cap(target) for target, _ in pending)
        found = self.engine.scan([block.data for _, block in pending], cap)
        for (target, block), spans in zip(pending, found, strict=True):
            if spans and not self._tell(target, block, spans):
                return False
            self.searched = target
        return True

    def _tell(self, target: Target, block: Block, spans: Sequence[Span]) -> bool:
        """What was found in a whole file."""
        match self.mode:
            case Mode.FILES:
                return self.report.file(target.root, target.rel)
            case Mode.COUNT:
                return self.report.count(target.root, target.rel, len(spans))
            case Mode.LINES:
                return self._tell_lines(target, block, spans, ALONE)

    def _tell_lines(self, target: Target, block: Block, spans: Sequence[Span], around: Neighbours) -> bool:
        for line, start in _numbered(block, spans):
            if line <= target.told:
                continue
            if not self.report.line(target.root, target.rel, block, line, start, around):
                return False
            target.told = line
            self.last, self.searched = target.position(line), None
        return True

    def _cap(self, target: Target) -> int:
        """How many lines of a file are worth finding: one more than can be told."""
        if self.mode is Mode.FILES:
            return 1
        return ALL if target.told or self.mode is Mode.COUNT else self.report.limit - len(self.answer.hits) + 1

    def _large(self, target: Target, file: OpenedFile) -> bool:
        """A file searched block by block, each with its neighbours for context."""
        facts = self.known.of(file, self.job) if target.told else at_a_glance(file)
        if facts is None:
            self.answer.skipped.binary += 1
            return self._nothing_in(target)
        first = max(1, target.told + 1 - self.report.context)
        offset = line_start(file, facts, first, self.job)
        if offset is None:
            return self._nothing_in(target)
        count = last_counted = 0
        for block, around in _with_neighbours(large_blocks(file, facts.charset, offset, first, self.job)):
            spans = self.engine.scan([block.data], self._cap(target))[0]
            if spans and self.mode is Mode.FILES:
                return self._told(target, told=self.report.file(target.root, target.rel))
            if self.mode is Mode.COUNT:
                numbers = [line for line, _ in _numbered(block, spans)]
                count += len(numbers) - (numbers[:1] == [last_counted])
                last_counted = numbers[-1] if numbers else last_counted
            elif not self._tell_lines(target, block, spans, around):
                return False
            if self.job.late:
                return self._late_inside(target, block, count)
        return self._told(target, told=not count or self.report.count(target.root, target.rel, count))

    def _told(self, target: Target, *, told: bool) -> bool:
        if told:
            self.searched = target
        return told

    def _late_inside(self, target: Target, block: Block, count: int) -> bool:
        """Time is up in the middle of a large file. A count cannot be taken up again, so it is told as it is.

        Of one enormous line the rest is given up: a call that makes no way would be repeated for ever.
        """
        if count:
            self._told(target, told=self.report.count(target.root, target.rel, count, at_least=True))
        elif self.mode is not Mode.COUNT:
            self.last, self.searched = target.position(block.line + max(block.data.count(b"\n") - 1, 0)), None
        else:
            self.searched = target
        return self._out_of_time()

    def _late_between(self, root: RootFS, visit: Visit) -> bool:
        """Time is up behind a folder, in which there may have been nothing to search."""
        end = visit.end(root)
        if end is None:
            return True
        if not self._flush():
            return False
        self.last, self.searched = end, None
        return self._out_of_time()

    def _out_of_time(self) -> bool:
        self.answer.late = True
        return False


def _numbered(block: Block, spans: Sequence[Span]) -> Iterator[tuple[int, int]]:
    """The line number of each match, and where it begins."""
    line, counted = block.line, 0
    for start, _ in spans:
        line += block.data.count(b"\n", counted, start)
        counted = start
        yield line, start


def _with_neighbours(stream: Iterator[Block]) -> Iterator[tuple[Block, Neighbours]]:
    earlier, block = b"", next(stream, None)
    while block is not None:
        following = next(stream, None)
        yield block, Neighbours(earlier, following.data if following else b"")
        earlier, block = block.data, following
