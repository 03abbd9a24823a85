"""What a search tells: `path:line: text`, within a number of hits and characters."""

from collections.abc import Iterator
from dataclasses import dataclass

from mcp_bulkhead.guards.paths import RootFS, Roots

from .answers import Grepped, Hit, cost_of
from .blocks import Block, excerpt, line_around, lines_after, lines_before
from .names import visible


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The text before and behind a block, for context that reaches over its edges."""

    earlier: bytes = b""
    later: bytes = b""


ALONE = Neighbours()


@dataclass(slots=True)
class Report:
    """Fills an answer with hits. Every method says False when the hit does not fit any more: it was not told then."""

    roots: Roots
    context: int
    limit: int
    room: int
    answer: Grepped
    path: str = ""
    """The file that was printed last, and its last line: hits close together share their context."""
    printed: int = 0

    def line(self, root: RootFS, rel: str, block: Block, line: int, start: int, around: Neighbours = ALONE) -> bool:
        """A matching line: its number, and where in the block the match is."""
        path = visible(self.roots.place(root, rel).shown)
        printed = self.printed if path == self.path else 0
        lines = list(self._lines(path, block, line, start, around, printed))
        if not self._fits(sum(cost_of(text) + 1 for _, text in lines)):
            return False
        self.answer.lines += (text for _, text in lines)
        self.answer.hits.append(Hit(path, line))
        if line <= printed:
            self._mark(path, line, self._hit(path, block, line, start))
        self.path, self.printed = path, max(printed, *(number for number, _ in lines), 0)
        return True

    def file(self, root: RootFS, rel: str) -> bool:
        path = visible(self.roots.place(root, rel).shown)
        return self._one(path, Hit(path))

    def count(self, root: RootFS, rel: str, count: int, *, at_least: bool = False) -> bool:
        path = visible(self.roots.place(root, rel).shown)
        return self._one(f"{path}: {count}{' or more' if at_least else ''}", Hit(path, count=count))

    def _one(self, text: str, hit: Hit) -> bool:
        if not self._fits(cost_of(text) + 1):
            return False
        self.answer.lines.append(text)
        self.answer.hits.append(hit)
        return True

    def _fits(self, cost: int) -> bool:
        if self.answer.hits and (len(self.answer.hits) >= self.limit or cost > self.room):
            return False
        self.room -= cost
        return True

    def _lines(
        self, path: str, block: Block, line: int, start: int, around: Neighbours, printed: int
    ) -> Iterator[tuple[int, str]]:
        """The hit with its context, without what was printed already."""
        data = block.data
        begin, end = line_around(data, start)
        before = lines_before(around.earlier, data, begin, self.context)
        after = lines_after(data, end, around.later, self.context)
        first = line - len(before)
        if self.context and self.path and (path != self.path or first > printed + 1):
            yield 0, "--"
        for number, raw in enumerate(before, first):
            if number > printed:
                yield number, f"{path}-{number}- {excerpt(raw, 0, len(raw), 0)[0]}"
        if line > printed:
            yield line, self._hit(path, block, line, start)
        for number, raw in enumerate(after, line + 1):
            if number > printed:
                yield number, f"{path}-{number}- {excerpt(raw, 0, len(raw), 0)[0]}"

    def _hit(self, path: str, block: Block, line: int, start: int) -> str:
        begin, end = line_around(block.data, start)
        text, skipped = excerpt(block.data, begin, end, start)
        into = skipped + (block.into if begin == 0 else 0)
        return f"{path}:{line}{f'@{into}' if into and block.exact else ''}: {text}"

    def _mark(self, path: str, line: int, text: str) -> None:
        """The line was printed as context of the hit before it: it is a hit itself."""
        context = f"{path}-{line}- "
        for place in range(len(self.answer.lines) - 1, -1, -1):
            if self.answer.lines[place].startswith(context):
                self.answer.lines[place] = text
                return
