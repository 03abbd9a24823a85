"""The store in one SQLite file: survives kill -9, and the processes of one machine share it.

A thread of its own holds the one connection, so that a slow disk never holds up the event loop. What waits meanwhile
is committed together, reads before writes: many callers share one fsync.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .database import Act, Database
from .store import check, check_limit, unavailable

if TYPE_CHECKING:
    import sqlite3

MAX_BYTES: Final = 256 << 20
BUSY_S: Final = 2.0
ANSWER_WITHIN_S: Final = 10.0
AT_ONCE: Final = 128

GET: Final = "select value from entries where key = :key and ends > :now"
ADD: Final = """
    insert into entries (key, value, ends) values (:key, :value, :ends)
    on conflict (key) do update set value = excluded.value, ends = excluded.ends where entries.ends <= :now
"""
SWAP: Final = "update entries set value = :value, ends = :ends where key = :key and value = :old and ends > :now"
TOUCH: Final = "update entries set ends = :ends where key = :key and ends > :now"
DELETE: Final = "delete from entries where key = :key and ends > :now and (:old is null or value = :old)"
SCAN: Final = "select key, value from entries where key >= :key and key < :last and ends > :now limit :most"


class Request(NamedTuple):
    """One operation on its way to the thread, and where its answer is waited for."""

    act: Act
    future: "asyncio.Future[Any]"
    loop: asyncio.AbstractEventLoop


class SqliteStore:
    """A `Store` in the file `path`. Nothing is opened or started before the first operation.

    `fsync=False` gives up what a power cut may take; what a killed process leaves is kept either way.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.time,
        fsync: bool = True,
        busy_s: float = BUSY_S,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.database = Database(path, clock=clock, fsync=fsync, busy_s=busy_s, max_bytes=max_bytes)
        self.requests: SimpleQueue[Request | None] = SimpleQueue()
        self.lock = threading.Lock()
        self.thread: threading.Thread | None = None
        self.closed = False

    async def get(self, key: str) -> bytes | None:
        return await self._ask(Act(partial(present, key=key)))

    async def add(self, key: str, value: bytes, *, ttl_s: float, durable: bool = False) -> bytes | None:
        check(key, value)

        def add(db: "sqlite3.Connection", now: float) -> bytes | None:
            row = {"key": key, "value": value, "ends": now + ttl_s, "now": now}
            put = db.execute(ADD, row).rowcount == 1
            return None if put else present(db, now, key)

        return await self._ask(Act(add, writes=True, durable=durable))

    async def swap(self, key: str, old: bytes, new: bytes, *, ttl_s: float, durable: bool = False) -> bool:
        check(key, new)

        def swap(db: "sqlite3.Connection", now: float) -> bool:
            row = {"key": key, "old": old, "value": new, "ends": now + ttl_s, "now": now}
            return db.execute(SWAP, row).rowcount == 1

        return await self._ask(Act(swap, writes=True, durable=durable))

    async def touch(self, key: str, *, ttl_s: float) -> bool:
        def touch(db: "sqlite3.Connection", now: float) -> bool:
            return db.execute(TOUCH, {"key": key, "ends": now + ttl_s, "now": now}).rowcount == 1

        return await self._ask(Act(touch, writes=True))

    async def delete(self, key: str, *, only: bytes | None = None) -> bool:
        def delete(db: "sqlite3.Connection", now: float) -> bool:
            return db.execute(DELETE, {"key": key, "old": only, "now": now}).rowcount == 1

        return await self._ask(Act(delete, writes=True))

    async def scan(self, prefix: str, *, limit: int) -> list[tuple[str, bytes]]:
        check_limit(limit)

        def scan(db: "sqlite3.Connection", now: float) -> list[tuple[str, bytes]]:
            bounds = {"key": prefix, "last": prefix + "\x7f", "now": now, "most": limit}
            return [(key, bytes(value)) for key, value in db.execute(SCAN, bounds)]

        return await self._ask(Act(scan))

    def close(self, timeout_s: float = 1.0) -> None:
        with self.lock:
            thread, was_closed, self.closed = self.thread, self.closed, True
        if thread is None:
            return
        if not was_closed:
            self.requests.put(None)
        thread.join(timeout_s)

    async def _ask(self, act: Act) -> Any:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._submit(Request(act, future, loop))
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await future
        except TimeoutError:
            raise unavailable() from None

    def _submit(self, request: Request) -> None:
        with self.lock:
            if self.closed:
                raise unavailable()
            if self.thread is None:
                self.thread = threading.Thread(target=self._work, name="state-store", daemon=True)
                self.thread.start()
            self.requests.put(request)

    def _work(self) -> None:
        more = True
        while more:
            waiting = taken(self.requests)
            more = None not in waiting
            batch = [request for request in waiting if request is not None]
            self._serve([request for request in batch if not request.act.writes])
            self._serve([request for request in batch if request.act.writes])
        self.database.close()

    def _serve(self, batch: Sequence[Request]) -> None:
        if not batch:
            return
        answers = self.database.run([request.act for request in batch])
        for number, request in enumerate(batch):
            answer = None if answers is None else answers[number]
            with suppress(RuntimeError):  # the loop is gone, and whoever waited with it
                request.loop.call_soon_threadsafe(settle, request.future, answers is not None, answer)


def taken(requests: "SimpleQueue[Request | None]") -> list[Request | None]:
    """What waits, after waiting for the first."""
    waiting = [requests.get()]
    with suppress(Empty):
        while len(waiting) < AT_ONCE:
            waiting.append(requests.get_nowait())
    return waiting


def settle(future: "asyncio.Future[Any]", done: bool, answer: Any) -> None:
    if future.done():
        return
    if done:
        future.set_result(answer)
    else:
        future.set_exception(unavailable())


def present(db: "sqlite3.Connection", now: float, key: str) -> bytes | None:
    row = db.execute(GET, {"key": key, "now": now}).fetchone()
    return None if row is None else bytes(row[0])
