"""Who may change what at one time, within this process. Between processes the guard's lock on the folder decides."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Hashable
from contextlib import asynccontextmanager, contextmanager

from mcp_bulkhead.errors import Busy


class Turns:
    """One call at a time for each key, in the order of arrival, without holding a thread while waiting.

    A key is a path as text. Two texts may mean one file; then the second call finds it changed, and tries again.
    """

    def __init__(self) -> None:
        self._locks: dict[Hashable, asyncio.Lock] = {}
        self._users: Counter[Hashable] = Counter()

    @asynccontextmanager
    async def turn(self, key: Hashable, within_s: float) -> AsyncGenerator[None]:
        lock = self._locks.setdefault(key, asyncio.Lock())
        self._users[key] += 1
        try:
            await self._wait(lock, within_s)
            try:
                yield
            finally:
                lock.release()
        finally:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key], self._locks[key]

    async def _wait(self, lock: asyncio.Lock, within_s: float) -> None:
        try:
            async with asyncio.timeout(within_s):
                await lock.acquire()
        except TimeoutError as error:
            raise _busy() from error


class MoveGate:
    """Many changes at one time, or the move of one folder.

    Deny rules go by path. A file created in a folder while that folder gets another name could end up under a name that
    is closed.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._changes = 0
        self._moves = 0
        self._moving = False

    @contextmanager
    def change(self, within_s: float) -> Generator[None]:
        with self._changed:
            if not self._changed.wait_for(lambda: not self._moves, within_s):
                raise _busy()
            self._changes += 1
        try:
            yield
        finally:
            with self._changed:
                self._changes -= 1
                self._changed.notify_all()

    @contextmanager
    def move(self, within_s: float) -> Generator[None]:
        """New changes wait from here on, so that a steady stream of them cannot keep a move out."""
        with self._changed:
            self._moves += 1
        try:
            self._begin(within_s)
            try:
                yield
            finally:
                self._moving = False
        finally:
            with self._changed:
                self._moves -= 1
                self._changed.notify_all()

    def _begin(self, within_s: float) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: not self._changes and not self._moving, within_s):
                raise _busy()
            self._moving = True


def _busy() -> Busy:
    return Busy(
        "Other calls are changing the same place; nothing was changed by this one.",
        hint="Repeat the call.",
        retry_after_s=1.0,
    )
