"""A unified diff from what is known to have changed: linear in the text, and no longer than a reader needs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .splicing import Region, common_ends

CONTEXT = 3
MAX_CHARS = 4_000
MAX_LINE = 240
BEFORE_CHANGE = 60


@dataclass(slots=True)
class _Part:
    """Whole lines that changed: character offsets in both texts, and where the change begins in the first line."""

    old_start: int
    old_end: int
    start: int
    end: int
    column: int


def unified(old: str, new: str, regions: Sequence[Region], max_chars: int = MAX_CHARS) -> str:
    """The changed places with three lines around each; says how many are left out."""
    parts = [_whole_lines(old, new, region) for region in _one_per_line(old, regions)]
    hunks = list(_hunks(old, parts))
    out: list[str] = []
    room = max_chars
    old_line = new_line = 1
    old_at = new_at = 0
    for number, hunk in enumerate(hunks):
        begin = _back(old, hunk[0].old_start)
        new_begin = hunk[0].start - (hunk[0].old_start - begin)
        old_line, old_at = old_line + old.count("\n", old_at, begin), begin
        new_line, new_at = new_line + new.count("\n", new_at, new_begin), new_begin
        lines = _lines(old, new, hunk, begin)
        removed, added = (sum(line[0] in marks for line in lines) for marks in ("- ", "+ "))
        # By the format's own rule, no lines at all stand behind the line before.
        first, new_first = old_line - (not removed), new_line - (not added)
        for text in (f"@@ -{first},{removed} +{new_first},{added} @@", *lines):
            room -= len(text) + 1
            if room < 0:
                left = len(hunks) - number
                return "\n".join([*out, f"... {left} more changed place{'s' if left > 1 else ''}, in part or whole"])
            out.append(text)
    return "\n".join(out)


def trimmed(old: str, new: str) -> Sequence[Region]:
    """All that differs, as one region: for a text that was written anew as a whole."""
    if old == new:
        return ()
    head, tail = common_ends(old, new)
    return (Region(head, len(old) - tail, head, len(new) - tail),)


def _one_per_line(old: str, regions: Sequence[Region]) -> list[Region]:
    found: list[Region] = []
    for region in regions:
        if found and old.find("\n", found[-1].old_end, region.old_start) < 0:
            found[-1] = Region(found[-1].old_start, region.old_end, found[-1].start, region.end)
        else:
            found.append(region)
    return found


def _whole_lines(old: str, new: str, region: Region) -> _Part:
    column = region.old_start - (old.rfind("\n", 0, region.old_start) + 1)
    old_end, end = region.old_end, region.end
    if not (_begins_line(old, old_end) and _begins_line(new, end)):
        more = old.find("\n", old_end) + 1 - old_end if old.find("\n", old_end) >= 0 else len(old) - old_end
        old_end, end = old_end + more, end + more
    return _Part(region.old_start - column, old_end, region.start - column, end, column)


def _begins_line(text: str, at: int) -> bool:
    return at == 0 or text[at - 1] == "\n"


def _hunks(old: str, parts: Sequence[_Part]) -> Iterator[list[_Part]]:
    hunk: list[_Part] = []
    for part in parts:
        if hunk and old.count("\n", hunk[-1].old_end, part.old_start) > 2 * CONTEXT:
            yield hunk
            hunk = []
        hunk.append(part)
    if hunk:
        yield hunk


def _lines(old: str, new: str, hunk: Sequence[_Part], begin: int) -> list[str]:
    lines: list[str] = []
    for part in hunk:
        lines += _shown(" ", old[begin : part.old_start], 0)
        lines += _shown("-", old[part.old_start : part.old_end], part.column)
        lines += _shown("+", new[part.start : part.end], part.column)
        begin = part.old_end
    lines += _shown(" ", old[begin : _forward(old, begin)], 0)
    return lines


def _shown(mark: str, text: str, column: int) -> Iterator[str]:
    if not text:
        return
    *lines, last = text.split("\n")
    for number, line in enumerate(lines):
        yield mark + _cut(line, 0 if number else column)
    if last:
        yield mark + _cut(last, 0 if lines else column)
        yield "\\ No newline at end of file"


def _cut(line: str, column: int) -> str:
    if len(line) <= MAX_LINE:
        return line
    start = max(0, min(column - BEFORE_CHANGE, len(line) - MAX_LINE))
    end = start + MAX_LINE
    return f"{'...' if start else ''}{line[start:end]}{'...' if end < len(line) else ''}"


def _back(text: str, at: int) -> int:
    for _ in range(CONTEXT):
        at = text.rfind("\n", 0, max(at - 1, 0)) + 1
    return at


def _forward(text: str, at: int) -> int:
    for _ in range(CONTEXT):
        found = text.find("\n", at)
        if found < 0:
            return len(text)
        at = found + 1
    return at
