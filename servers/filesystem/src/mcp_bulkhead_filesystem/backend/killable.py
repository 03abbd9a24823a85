"""A regular expression in a process of its own, for where there is no linear engine.

Python's `re` can take exponential time and cannot be interrupted. Here it runs in a small interpreter that is started
on first use, gets blocks over a pipe, and is killed when its time is up, when the caller leaves, or by its own CPU
limit. google-re2 runs there, too, where a pattern is so large and a line so long that even linear time is too much:
its search cannot be interrupted either.
"""

import os
import selectors
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mcp_bulkhead.errors import Invalid, TimedOut, Unavailable

from .workers import Job

WALL_S = 2.0
"""For one batch; a hundred times what an ordinary pattern needs."""
TICK_S = 0.05
BATCH = 512 * 1024
COUNT = struct.Struct("<I")
SPAN = struct.Struct("<II")


class KillableRegex:
    """One pattern's process. Not shared between threads, except that any may kill it."""

    batch = BATCH

    def __init__(self, pattern: str, *, ignore_case: bool, job: Job, wall_s: float = WALL_S, library: str = "") -> None:
        self._pattern = pattern.encode()
        self._library = library.encode()
        self._ignore_case = ignore_case
        self._job = job
        self._wall_s = wall_s
        self._process: subprocess.Popen[bytes] | None = None

    def scan(self, blocks: Sequence[bytes], limit: int) -> list[list[tuple[int, int]]]:
        until = time.monotonic() + self._wall_s
        process = self._process or self._started(until)
        request = [COUNT.pack(len(blocks)), COUNT.pack(limit)]
        for block in blocks:
            request += (COUNT.pack(len(block)), block)
        self._exchange(process, b"".join(request), until)
        found: list[list[tuple[int, int]]] = []
        for _ in blocks:
            (count,) = COUNT.unpack(self._take(process, COUNT.size, until))
            spans = self._take(process, SPAN.size * count, until)
            found.append(list(SPAN.iter_unpack(spans)))
        return found

    def close(self) -> None:
        """Kill and reap. A killed process is gone at once: the wait is no wait."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _started(self, until: float) -> subprocess.Popen[bytes]:
        program = Path(__file__).with_name("regex_process.py")
        process = subprocess.Popen(  # noqa: S603 - our own file, our own interpreter
            [sys.executable, "-I", "-S", str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        self._process = process
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        self._job.on_cancel = process.kill
        header = [COUNT.pack(os.getpid()), COUNT.pack(self._ignore_case)]
        for text in (self._library, self._pattern):
            header += (COUNT.pack(len(text)), text)
        self._exchange(process, b"".join(header), until)
        (problem,) = COUNT.unpack(self._take(process, COUNT.size, until))
        if problem:
            raise Invalid(
                "This pattern cannot be searched for.",
                field="pattern",
                problem="is not a regular expression",
                hint="Correct it, or set literal=true to look for the text as it stands.",
            )
        return process

    def _exchange(self, process: subprocess.Popen[bytes], data: bytes, until: float) -> None:
        """Write all of it; the other side reads everything before it answers, so neither waits for the other."""
        assert process.stdin is not None
        view = memoryview(data)
        while view:
            self._ready(process.stdin.fileno(), selectors.EVENT_WRITE, until)
            try:
                view = view[process.stdin.write(view[:65_536]) or 0 :]
            except BrokenPipeError as error:
                raise self._died() from error

    def _take(self, process: subprocess.Popen[bytes], count: int, until: float) -> bytes:
        assert process.stdout is not None
        parts: list[bytes] = []
        while count:
            self._ready(process.stdout.fileno(), selectors.EVENT_READ, until)
            part = process.stdout.read(count)
            if not part:
                raise self._died()
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def _ready(self, fd: int, event: int, until: float) -> None:
        """Wait for a pipe, but not for ever; notices a caller who left."""
        with selectors.DefaultSelector() as selector:
            selector.register(fd, event)
            while not selector.select(TICK_S):
                self._job.check()
                if time.monotonic() > until:
                    self.close()
                    raise too_slow()

    def _died(self) -> TimedOut | Unavailable:
        self._job.check()
        process = self._process
        limited = process is not None and process.wait() < 0
        self.close()
        return too_slow() if limited else Unavailable("The search process ended by itself.", hint="Repeat the call.")


def too_slow() -> TimedOut:
    return TimedOut(
        "This pattern takes too long: it can match in too many ways.",
        code="pattern_too_slow",
        retryable=False,
        hint="Avoid nested repetition such as (a+)+, or set literal=true.",
    )
