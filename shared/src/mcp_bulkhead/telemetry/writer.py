"""Whole lines to stderr, without ever waiting for whoever reads it.

Some clients start a server and never read its stderr. A blocking write would stop the server for good after 64 kB, some
two hundred calls. So lines wait in a small backlog while the pipe is full; beyond that they are dropped and counted.
"""

import os
import select
import time
from collections import deque
from typing import TextIO

BACKLOG_BYTES = 256 * 1024
CHUNK = getattr(select, "PIPE_BUF", 512)
"""What a pipe that reports itself writable takes without blocking; POSIX promises it."""


class LineWriter:
    """Not thread-safe by itself: the logging handler's lock is around it."""

    def __init__(self, stream: TextIO | None) -> None:
        self.lost = 0
        self._stream = stream
        self._fd = descriptor_of(stream)
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._draining = False

    def write(self, line: bytes) -> None:
        if self._fd is None:
            self._write_to_object(line)
        elif self._waiting_bytes + len(line) > BACKLOG_BYTES:
            self.lost += 1
            self._drain(0)
        else:
            self._waiting.append(line)
            self._waiting_bytes += len(line)
            self._drain(0)

    def flush(self, timeout_s: float) -> bool:
        """Give the reader a last chance. True if nothing waits any more."""
        if self._fd is not None:
            self._drain(timeout_s)
        return not self._waiting

    def _write_to_object(self, line: bytes) -> None:
        if self._stream is not None:
            self._stream.write(line.decode("ascii"))
            self._stream.flush()

    def _drain(self, timeout_s: float) -> None:
        # A signal handler that logs comes back in here in the middle of a line; its own line then just queues.
        if self._draining:
            return
        self._draining = True
        try:
            self._write_while_possible(time.monotonic() + timeout_s)
        except BlockingIOError:  # somebody made our stderr non-blocking, and it is full
            pass
        except OSError:  # closed at the other end: nobody will ever read the rest
            self.lost += len(self._waiting)
            self._waiting.clear()
            self._waiting_bytes = 0
        finally:
            self._draining = False

    def _write_while_possible(self, deadline: float) -> None:
        assert self._fd is not None
        while self._waiting and takes_more(self._fd, deadline - time.monotonic()):
            written = os.write(self._fd, self._waiting[0][:CHUNK])
            self._waiting_bytes -= written
            rest = self._waiting[0][written:]
            if rest:
                self._waiting[0] = rest
            else:
                self._waiting.popleft()


def descriptor_of(stream: TextIO | None) -> int | None:
    try:
        return stream.fileno() if stream is not None else None
    except (OSError, ValueError, AttributeError):  # a StringIO, a test's capture, a closed file
        return None


def takes_more(fd: int, timeout_s: float) -> bool:
    if not hasattr(select, "poll"):  # Windows cannot ask a pipe; its clients in practice read stderr into a file
        return True
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(max(0.0, timeout_s) * 1_000))
