"""Threads of our own for file work, because a system call on a dead mount never comes back.

asyncio's default executor has a fixed number of threads and waits for all of them at exit: a handful of reads from a
dead network mount would stop the server for good. Here a thread that does not come back by its deadline is given up
and replaced, up to a cap; beyond it, new work is refused as busy. Short work and long searches have lanes of their
own, so that searches can never hold every thread. All threads are daemons: leaving never waits for them.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

from mcp_bulkhead.errors import Busy, TimedOut, Unavailable

T = TypeVar("T")
Progress = Callable[[int], Awaitable[None]]

GRACE_S = 0.25
"""How long a thread may take to notice that nobody waits any more; after that it counts as stuck."""
PROGRESS_EVERY_S = 0.25
SOFT_SHARE = 0.8
"""The part of the deadline after which a search returns what it has, with a continuation."""
MAX_WAITING = 64


class Stopped(Exception):  # noqa: N818 - an outcome: nobody waits for this work any more
    """Raised inside a worker thread to leave work that was cancelled."""


class Lane(Enum):
    SHORT = "short"
    LONG = "long"


@dataclass(slots=True)
class Job:
    """What running work knows of its caller. Work that loops calls `check` every few entries."""

    soft_until: float
    done: int = 0
    cancelled: bool = False
    on_cancel: Callable[[], None] | None = None

    def check(self) -> None:
        if self.cancelled:
            raise Stopped

    @property
    def late(self) -> bool:
        return time.monotonic() >= self.soft_until

    def cancel(self) -> None:
        self.cancelled = True
        if self.on_cancel is not None:
            self.on_cancel()


@dataclass(slots=True, eq=False)
class _Task(Generic[T]):
    work: Callable[[Job], T]
    job: Job
    loop: asyncio.AbstractEventLoop
    answer: "asyncio.Future[T]"
    running: bool = False
    over: bool = False
    given_up: bool = False

    def settle(self, value: T | None, error: BaseException | None) -> None:
        try:
            self.loop.call_soon_threadsafe(self._deliver, value, error)
        except RuntimeError:
            return  # the loop is closed: nobody is left to hear it

    def _deliver(self, value: T | None, error: BaseException | None) -> None:
        if self.answer.done():
            return
        if error is not None:
            self.answer.set_exception(error)
        else:
            self.answer.set_result(cast("T", value))


@dataclass(slots=True, eq=False)
class _Threads:
    """One lane: at most `size` threads at work, at most `spare` more given up as stuck."""

    name: str
    size: int
    spare: int
    changed: threading.Condition = field(default_factory=threading.Condition)
    waiting: "deque[_Task[Any]]" = field(default_factory=deque[_Task[Any]])
    working: "set[_Task[Any]]" = field(default_factory=set[_Task[Any]])
    live: int = 0
    idle: int = 0
    stuck: int = 0
    closed: bool = False

    def submit(self, task: _Task[Any]) -> None:
        with self.changed:
            if self.closed:
                raise Unavailable("The server is shutting down.", retryable=False)
            if len(self.waiting) >= MAX_WAITING or (not self.live and self.stuck >= self.size + self.spare):
                raise self.busy()
            self.waiting.append(task)
            self.staff()
            self.changed.notify()

    def staff(self) -> None:
        """Start a thread when work waits and the caps allow one. Called with the lock held."""
        while (
            self.idle < len(self.waiting) and self.live < self.size and self.live + self.stuck < self.size + self.spare
        ):
            self.live += 1
            self.idle += 1
            threading.Thread(target=self.serve, name=f"files-{self.name}", daemon=True).start()

    def serve(self) -> None:
        """A thread's whole life. It was counted as idle when it was started."""
        while True:
            with self.changed:
                while not self.waiting and not self.closed:
                    self.changed.wait()
                self.idle -= 1
                if self.closed:
                    self.live -= 1
                    return
                task = self.waiting.popleft()
                task.running = True
                self.working.add(task)
            value, error = _run(task)
            with self.changed:
                task.over = True
                self.working.discard(task)
                if task.given_up:
                    self.stuck -= 1
                    self.staff()
                    return
                self.idle += 1
            task.settle(value, error)
            del task, value, error

    def withdraw(self, task: _Task[Any]) -> bool:
        """Take back work that has not begun."""
        with self.changed:
            if task.running or task not in self.waiting:
                return False
            self.waiting.remove(task)
            return True

    def give_up(self, task: _Task[Any]) -> None:
        """Stop counting on the thread that runs this, and let another take its place."""
        with self.changed:
            if not task.running or task.over or task.given_up:
                return
            task.given_up = True
            self.live -= 1
            self.stuck += 1
            self.staff()
            lost = [] if self.live else list(self.waiting)
            self.waiting = deque() if lost else self.waiting
        for each in lost:
            each.settle(None, self.busy())

    def close(self) -> None:
        with self.changed:
            self.closed = True
            waiting, self.waiting = list(self.waiting), deque[_Task[Any]]()
            working = list(self.working)
            self.changed.notify_all()
        for task in working:
            task.job.cancel()
        for task in waiting:
            task.settle(None, Unavailable("The server is shutting down.", retryable=False))

    def busy(self) -> Busy:
        blocked = " The storage behind it does not answer." if self.stuck else ""
        return Busy(
            f"Every thread for file work is taken.{blocked}",
            hint="Wait for other calls to end, then repeat this one.",
            retry_after_s=1.0,
            details={"stuck": self.stuck} if self.stuck else None,
        )


class Workers:
    """Runs blocking file work off the event loop, with a deadline that holds even when the work does not return."""

    def __init__(self, threads: int = 8, *, spare: int | None = None) -> None:
        short = max(1, threads // 2)
        counts = {Lane.SHORT: short, Lane.LONG: max(1, threads - short)}
        self._lanes = {
            lane: _Threads(lane.value, size, size if spare is None else spare) for lane, size in counts.items()
        }

    async def run(
        self, lane: Lane, work: Callable[[Job], T], *, deadline_s: float, progress: Progress | None = None
    ) -> T:
        """The result of `work`, or TimedOut or Busy. Cancelling the caller tells the work to stop."""
        loop = asyncio.get_running_loop()
        until = loop.time() + deadline_s
        job = Job(soft_until=time.monotonic() + deadline_s * SOFT_SHARE)
        task = _Task(work, job, loop, loop.create_future())
        threads = self._lanes[lane]
        threads.submit(task)
        try:
            if not await _wait(task, until, progress):
                self._stop(threads, task)
                raise self._overdue(threads, task)
            return task.answer.result()
        except asyncio.CancelledError:
            self._stop(threads, task)
            raise
        finally:
            task.answer.cancel()

    @property
    def stuck(self) -> int:
        """Threads given up and not yet back; a gauge."""
        return sum(threads.stuck for threads in self._lanes.values())

    @property
    def waiting(self) -> int:
        return sum(len(threads.waiting) for threads in self._lanes.values())

    def close(self) -> None:
        """Tell everything to stop. Never waits: a thread in a dead mount would not answer."""
        for threads in self._lanes.values():
            threads.close()

    def _stop(self, threads: _Threads, task: _Task[Any]) -> None:
        task.job.cancel()
        if not threads.withdraw(task):
            task.loop.call_later(GRACE_S, threads.give_up, task)

    def _overdue(self, threads: _Threads, task: _Task[Any]) -> Busy | TimedOut:
        if not task.running:
            return threads.busy()
        return TimedOut(
            "The storage did not answer in time.",
            hint="Repeat the call, or ask for less: a narrower folder or a smaller range.",
            retry_after_s=1.0,
        )


async def _wait(task: _Task[Any], until: float, progress: Progress | None) -> bool:
    """Whether the answer came in time; reports progress while waiting."""
    while (left := until - task.loop.time()) > 0:
        await asyncio.wait((task.answer,), timeout=min(left, PROGRESS_EVERY_S) if progress else left)
        if task.answer.done():
            return True
        if progress is not None:
            await progress(task.job.done)
    return task.answer.done()


class _Outcome(Generic[T]):
    """Keeps whatever ends the work, whole, for the caller who is owed an answer: the thread itself must live on."""

    value: T | None = None
    error: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self.error = error
        return True


def _run(task: _Task[T]) -> tuple[T | None, BaseException | None]:
    with _Outcome[T]() as outcome:
        task.job.check()
        outcome.value = task.work(task.job)
    return outcome.value, outcome.error
