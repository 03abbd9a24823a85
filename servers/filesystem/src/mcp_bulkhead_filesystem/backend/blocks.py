r"""A file as blocks to search in: UTF-8 whatever it was, `\n` line ends, whole lines unless a line is enormous."""

from collections.abc import Iterator
from dataclasses import dataclass

from mcp_bulkhead.guards.paths import OpenedFile

from .charset import EVIDENCE, Charset, detect, readable
from .lines import BLOCK, Breaks, blocks
from .workers import Job

LONG_LINE = 1 << 20
OVERLAP = 4_096
"""Blocks of one enormous line share this much, so that a match on the border is found."""
SHOWN = 300
"""Characters of a line that are shown."""


@dataclass(slots=True)
class Block:
    """Text to search. `line` is the number of its first line, `into` how many bytes of that line came before.

    `exact` says that its bytes are the file's own, so that an offset in a line can be sent to read.
    """

    data: bytes
    line: int = 1
    into: int = 0
    exact: bool = True


def small_block(data: bytes) -> Block | None:
    """A whole file at once; None when it is not text."""
    if data.isascii() and b"\0" not in data:
        return Block(_newlines(data))
    charset = detect(data[:EVIDENCE], whole=len(data) <= EVIDENCE)
    if charset is None:
        return None
    return Block(_newlines(_as_utf8(charset, data[charset.bom :])), exact=charset.is_utf8)


def large_blocks(file: OpenedFile, charset: Charset, offset: int, line: int, job: Job) -> Iterator[Block]:
    """A file from a line's start on."""
    decoder = None if charset.is_utf8 else charset.decoder()
    rest, into = b"", 0
    for raw in blocks(file, Breaks(charset), offset, job):
        data = raw if decoder is None else _encoded(charset, decoder.decode(raw))
        data = rest + _newlines(data)
        edge = data.rfind(b"\n") + 1
        if edge:
            yield Block(data[:edge], line, into, charset.is_utf8)
            line, into, rest = line + data.count(b"\n", 0, edge), 0, data[edge:]
        elif len(data) < LONG_LINE:
            rest = data
        else:
            yield Block(data, line, into, charset.is_utf8)
            rest = data[_boundary(data, len(data) - OVERLAP) :]
            into += len(data) - len(rest)
    if rest:
        yield Block(rest, line, into, charset.is_utf8)


def line_around(data: bytes, start: int) -> tuple[int, int]:
    """Where the line holding this offset begins and ends."""
    end = data.find(b"\n", start)
    return data.rfind(b"\n", 0, start) + 1, len(data) if end < 0 else end


def excerpt(data: bytes, begin: int, end: int, at: int) -> tuple[str, int]:
    """A line as shown, whole or what is around the match; and how many bytes of the line come before what is shown."""
    if end - begin <= 4 * SHOWN:
        text = _text(data[begin:end])
        if len(text) <= SHOWN:
            return text, 0
    first = _boundary(data, max(begin, at - SHOWN // 3))
    text = _text(data[first : _boundary(data, min(end, first + 4 * SHOWN))])
    cut = len(text) > SHOWN or first + 4 * SHOWN < end
    return f"{'…' if first > begin else ''}{text[:SHOWN]}{'…' if cut else ''}", first - begin


def _text(raw: bytes) -> str:
    return readable(raw.decode("utf-8", "surrogateescape"))[0]


def lines_before(earlier: bytes, data: bytes, begin: int, count: int) -> list[bytes]:
    """The last lines before an offset that begins a line, in order."""
    found: list[bytes] = []
    for part, edge in ((data, begin), (earlier, len(earlier))):
        stop = edge
        while stop > 0 and len(found) < count:
            start = part.rfind(b"\n", 0, stop - 1) + 1
            found.append(part[start : stop - 1] if part[stop - 1 : stop] == b"\n" else part[start:stop])
            stop = start
    return found[::-1]


def lines_after(data: bytes, end: int, later: bytes, count: int) -> list[bytes]:
    """The first lines after an offset that ends a line."""
    found: list[bytes] = []
    for part, edge in ((data, end + 1), (later, 0)):
        start = edge
        while start < len(part) and len(found) < count:
            stop = part.find(b"\n", start)
            stop = len(part) if stop < 0 else stop
            found.append(part[start:stop])
            start = stop + 1
    return found


def is_small(file: OpenedFile) -> bool:
    return file.size <= BLOCK


def _newlines(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in data else data


def _as_utf8(charset: Charset, data: bytes) -> bytes:
    return data if charset.is_utf8 else _encoded(charset, charset.decode(data))


def _encoded(charset: Charset, text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass" if charset.unit > 1 else "surrogateescape")


def _boundary(data: bytes, at: int) -> int:
    """Not within a UTF-8 character, when there is one."""
    for back in range(4):
        if at - back >= 0 and (at - back == len(data) or data[at - back] & 0xC0 != 0x80):  # noqa: PLR2004
            return at - back
    return at
