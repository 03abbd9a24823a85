"""The other side of `killable`: run as a script in an isolated interpreter, with the standard library only.

Reads a pattern, then batches of blocks; answers with the first match of every matching line, as byte offsets.
"""

import re
import struct
import sys
from collections.abc import Iterator
from typing import BinaryIO

CPU_SECONDS = 30
"""Ends this process even when the server was killed and nobody is left to do it."""
COUNT = struct.Struct("<I")
SPAN = struct.Struct("<II")


def main(source: BinaryIO, sink: BinaryIO) -> None:
    limit_cpu()
    flags = re.MULTILINE | (re.IGNORECASE if number(source) else 0)
    pattern = taken(source, number(source)).decode()
    try:
        regex = re.compile(pattern, flags)
    except (re.error, OverflowError, RecursionError):
        sink.write(COUNT.pack(1))
        sink.flush()
        return
    sink.write(COUNT.pack(0))
    sink.flush()
    while head := source.read(COUNT.size):
        count, limit = COUNT.unpack(head)[0], number(source)
        blocks = [taken(source, number(source)) for _ in range(count)]
        for block in blocks:
            spans = list(matches(regex, block, limit))
            sink.write(COUNT.pack(len(spans)) + b"".join(SPAN.pack(*span) for span in spans))
        sink.flush()


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


def limit_cpu() -> None:
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))


if __name__ == "__main__":
    main(sys.stdin.buffer, sys.stdout.buffer)
