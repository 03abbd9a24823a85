r"""A file's text as its bytes are, and as a model sees it, every line end a `\n`; and how one changes the other.

Text is replaced in the model's view and changed in the file's own form: what is outside the replaced characters keeps
its bytes, line ends of any kind included, and what is put in gets the line ends that were there.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mcp_bulkhead.errors import Invalid, Unsupported

from .charset import SURROGATES, Charset

EOL = re.compile(r"\r\n|\n|\r")
FIRST_NONCHARACTER = 0xFDD0
LAST_CODE_POINT = 0x10FFFF


class Region(NamedTuple):
    """Text that is another now: where it was in the original view, and where it is in the present one."""

    old_start: int
    old_end: int
    start: int
    end: int


class Span(NamedTuple):
    start: int
    end: int
    length: int
    """Of what is put in its place."""


class View:
    r"""Text with every line end as `\n`, and the way back to offsets in the text itself."""

    __slots__ = ("_marked", "_pair", "text")

    def __init__(self, text: str) -> None:
        self._pair = ""
        self._marked = self.text = text
        if "\r" in text:
            self._pair = _unused(text)
            self._marked = text.replace("\r\n", self._pair)
            self.text = self._marked.replace(self._pair, "\n").replace("\r", "\n")

    def pairs(self, start: int, end: int) -> int:
        r"""How many of the line ends between two offsets are `\r\n`: so much longer is the text itself."""
        return self._marked.count(self._pair, start, end) if self._pair else 0


@dataclass(slots=True)
class Document:
    """One text file being changed."""

    charset: Charset
    bom: bytes
    tail: bytes
    """Half a code unit at the end, which no text can hold."""
    text: str
    view: View
    original: str
    """The view of what the file was."""
    regions: Sequence[Region] = ()

    @classmethod
    def of(cls, raw: bytes, charset: Charset) -> "Document":
        end = len(raw) - (len(raw) - charset.bom) % charset.unit
        body = raw[charset.bom : end]
        text = charset.decode(body)
        if text.encode(charset.codec, _lossless(charset)) != body:
            raise Unsupported(
                f"This file cannot be changed as {charset.codec} text without changing other bytes too.",
                code="encoding",
                hint="Leave it as it is, or write the whole file as base64.",
            )
        view = View(text)
        return cls(charset, raw[: charset.bom], raw[end:], text, view, view.text)

    def replace(self, spans: Sequence[tuple[int, int]], old: str, new: str) -> None:
        """Put `new` in the place of each span of the view, in order; all of them hold `old`."""
        head, tail = common_ends(old, new)
        core = new[head : len(new) - tail]
        parts: list[str] = []
        done = seen = shift = 0
        for start, end in spans:
            shift += self.view.pairs(seen, start)
            inside = shift + self.view.pairs(start, start + head)
            begin, seen = start + head + inside, end - tail
            inside += self.view.pairs(start + head, seen)
            parts += (self.text[done:begin], self._in_place(core, start + shift, begin, seen + inside))
            done, shift = seen + inside, inside
        self.text = _joined([*parts, self.text[done:]])
        self.regions = composed(self.regions, [Span(a + head, b - tail, len(core)) for a, b in spans])
        self.view = View(self.text)

    def encoded(self) -> bytes:
        return self.bom + self.text.encode(self.charset.codec, _lossless(self.charset)) + self.tail

    def check_encodable(self, new: str) -> None:
        """Refuse what the file's encoding has no bytes for, rather than write something else."""
        check_encodable(new, self.charset)
        if not new.isascii() and not self.text.isascii() and SURROGATES.search(self.text):
            raise Invalid(
                f"This file holds bytes that are not {self.charset.codec}, so its encoding is not certain.",
                code="encoding",
                hint="Change it with ASCII characters only, or write the whole file as base64.",
            )

    def _in_place(self, core: str, before: int, begin: int, end: int) -> str:
        r"""New text with the line ends of what it replaces. `before`: where the match began, in the text."""
        if "\n" not in core or "\r" not in self.text:
            return core
        ends = EOL.findall(self.text, begin, end) or [self._nearby(before, begin, end)]
        first, *lines = core.split("\n")
        return first + "".join(ends[min(place, len(ends) - 1)] + line for place, line in enumerate(lines))

    def _nearby(self, before: int, begin: int, end: int) -> str:
        inside = EOL.findall(self.text, before, begin)
        if inside:
            return inside[-1]
        after = EOL.search(self.text, end)
        return after[0] if after else dominant_eol(self.text)


def _joined(parts: Sequence[str]) -> str:
    r"""The parts with a `\r` more wherever a `\r` would come before a `\n`: two line ends must not become one.

    Only a file with lone carriage returns among its line ends can get there.
    """
    whole: list[str] = []
    for part in filter(None, parts):
        if whole and whole[-1][-1] == "\r" and part[0] == "\n":
            whole.append("\r")
        whole.append(part)
    return "".join(whole)


def dominant_eol(text: str) -> str:
    r"""The line end a text has most; `\n` when it has none."""
    pairs = text.count("\r\n")
    counts = {"\n": text.count("\n") - pairs, "\r\n": pairs, "\r": text.count("\r") - pairs}
    return max(counts, key=lambda eol: counts[eol])


def seen_by_a_model(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def check_encodable(text: str, charset: Charset) -> None:
    try:
        text.encode(charset.codec)
    except UnicodeEncodeError as error:
        raise Invalid(
            f"The character U+{ord(text[error.start]):04X} does not exist in {charset.codec}, this file's encoding.",
            code="unencodable",
            field="new",
            hint="Write it with other characters, or write the whole file as base64 in another encoding.",
        ) from error


def composed(regions: Sequence[Region], spans: Sequence[Span]) -> Sequence[Region]:
    """The regions after a further change, given in offsets of the present view. What touches becomes one."""
    found: list[Region] = []
    events = sorted([(each.start, each.end, each) for each in (*regions, *spans)], key=lambda event: event[:2])
    before = after = 0
    group: list[Region | Span] = []
    start = end = 0
    for event_start, event_end, each in [*events, (2**62, 2**62, None)]:
        if group and event_start > end:
            grown = sum(one.end - one.start - (one.old_end - one.old_start) for one in group if isinstance(one, Region))
            put_in = sum(one.length - (one.end - one.start) for one in group if isinstance(one, Span))
            found.append(Region(start - before, end - before - grown, start + after, end + after + put_in))
            before, after, group = before + grown, after + put_in, []
        if each is not None:
            start, end = (event_start, event_end) if not group else (start, max(end, event_end))
            group.append(each)
    return found


def common_ends(old: str, new: str) -> tuple[int, int]:
    """How many characters are the same at the beginning and, of the rest, at the end."""
    most = min(len(old), len(new))
    head = _same(old, new, most)
    return head, _same(old[head:][::-1], new[head:][::-1], most - head)


def _same(one: str, other: str, most: int) -> int:
    """The length of the common beginning, by halving: comparing slices is fast, looking at characters is not."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _unused(text: str) -> str:
    return next(char for char in map(chr, range(FIRST_NONCHARACTER, LAST_CODE_POINT)) if char not in text)


def _lossless(charset: Charset) -> str:
    return "surrogatepass" if charset.unit > 1 else "surrogateescape"
