"""The other side of `killable`: run as a script in an isolated interpreter, with the standard library only.

Reads a pattern, then batches of blocks; answers with the first match of every matching line, as byte offsets. With the
place of google-re2 in hand it searches with that instead of `re`: in linear time, but not always in little.
"""

import os
import re
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

CPU_SECONDS = 30
"""Ends this process even when the server was killed and nobody is left to do it."""
COUNT = struct.Struct("<I")
SPAN = struct.Struct("<II")
PR_SET_PDEATHSIG = 1
DFA_BYTES = 8 << 20

Find = Callable[[bytes, int], "tuple[int, int] | None"]
Search = Callable[[bytes, int], "list[tuple[int, int]]"]


def main(source: BinaryIO, sink: BinaryIO) -> None:
    die_with_the_server(number(source))
    limit_cpu()
    ignore_case = bool(number(source))
    library = taken(source, number(source)).decode()
    pattern = taken(source, number(source)).decode()
    if library:
        search: Search | None = linear(pattern, library, ignore_case=ignore_case)
    else:
        search = backtracking(pattern, ignore_case=ignore_case)
    if search is None:
        sink.write(COUNT.pack(1))
        sink.flush()
        return
    sink.write(COUNT.pack(0))
    sink.flush()
    while head := source.read(COUNT.size):
        count, limit = COUNT.unpack(head)[0], number(source)
        blocks = [taken(source, number(source)) for _ in range(count)]
        for block in blocks:
            spans = search(block, limit)
            sink.write(COUNT.pack(len(spans)) + b"".join(SPAN.pack(*span) for span in spans))
        sink.flush()


def backtracking(pattern: str, *, ignore_case: bool) -> Search | None:
    """Python's own `re`, or None when it does not take the pattern."""
    try:
        regex = re.compile(pattern, re.MULTILINE | (re.IGNORECASE if ignore_case else 0))
    except (re.error, OverflowError, RecursionError):
        return None
    return lambda block, limit: list(matches(regex, block, limit))


def linear(pattern: str, library: str, *, ignore_case: bool) -> Search | None:
    """google-re2 from the folder it is installed in: an isolated interpreter does not look there by itself."""
    sys.path.append(library)
    import re2  # pyright: ignore[reportMissingModuleSource]

    compiled = compiled_by(re2, pattern, ignore_case=ignore_case)
    return lambda block, limit: first_of_lines(finder(compiled), block, limit)


def compiled_by(re2: Any, pattern: str, *, ignore_case: bool) -> Any:
    """The pattern as google-re2 has it; raises `re2.error`."""
    options: Any = re2.Options()
    options.log_errors = False
    options.never_nl = True  # without it, `[^x]*` runs over lines and the search becomes quadratic
    options.case_sensitive = not ignore_case
    options.max_mem = DFA_BYTES
    compiled: Any = re2.compile(f"(?m){pattern}", options)
    re2.purge()  # its cache would keep the memory of 128 patterns
    return compiled


def finder(compiled: Any) -> Find:
    def find(block: bytes, at: int) -> tuple[int, int] | None:
        found = compiled.search(block, at)
        return found.span() if found is not None else None

    return find


def first_of_lines(find: Find, block: bytes, limit: int) -> list[tuple[int, int]]:
    """The first match of every matching line."""
    spans: list[tuple[int, int]] = []
    at = 0
    while len(spans) < limit and at <= len(block) and (span := find(block, at)) is not None:
        start, stop = span
        end = block.find(b"\n", start)
        if end < 0:
            end = len(block)
            if start == end and (not block or block.endswith(b"\n")):
                break  # an empty match behind the last line is on no line
        spans.append((start, min(stop, end)))
        at = end + 1
    return spans


def matches(regex: re.Pattern[str], block: bytes, limit: int) -> Iterator[tuple[int, int]]:
    """Look in the whole block first, then make sure on the line alone: `[^x]` must not reach the next one."""
    text = block.decode("utf-8", "surrogateescape")
    narrow = text.isascii()
    at = told = bytes_before = counted = 0
    while told < limit and at <= len(text) and (found := regex.search(text, at)):
        start = text.rfind("\n", 0, found.start()) + 1
        stop = text.find("\n", found.start())
        stop = len(text) if stop < 0 else stop
        if start == stop == len(text):
            return
        at = stop + 1
        alone = regex.search(text[start:stop])
        if alone is None:
            continue
        told += 1
        if narrow:
            yield start + alone.start(), start + alone.end()
            continue
        bytes_before += width(text[counted:start])
        counted = start
        first = bytes_before + width(text[start : start + alone.start()])
        yield first, first + width(alone[0])


def width(text: str) -> int:
    return len(text.encode("utf-8", "surrogateescape"))


def number(source: BinaryIO) -> int:
    value: int = COUNT.unpack(taken(source, COUNT.size))[0]
    return value


def taken(source: BinaryIO, count: int) -> bytes:
    data = source.read(count)
    if len(data) < count:
        raise SystemExit
    return data


def die_with_the_server(server: int) -> None:
    """The server cannot end us when it is killed itself. It may be gone before we ask to be told."""
    if sys.platform != "linux":
        return
    try:
        import ctypes
    except ImportError:
        return  # a Python built without it
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != server:
        raise SystemExit


def limit_cpu() -> None:
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
