"""Threads for file work: deadlines hold, stuck threads are replaced, beyond the cap it is busy, leaving never waits.

Work that is really stuck is a read of an empty pipe: the thread sits in the kernel, as it would in a dead mount.
"""

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

import pytest

from mcp_bulkhead.errors import Busy, Failure, TimedOut, Unavailable
from mcp_bulkhead_filesystem.backend.workers import Job, Lane, Stopped, Workers


@contextmanager
def stuck_pipe() -> Generator[tuple[Callable[[Job], bytes], Callable[[], None]]]:
    """Work that never returns, until it is let go."""
    source, sink = os.pipe()
    gone = False

    def release() -> None:
        nonlocal gone
        if not gone:
            gone = True
            os.close(sink)

    try:
        yield lambda _job: os.read(source, 1), release
    finally:
        release()
        deadline = time.monotonic() + 5
        while any(thread.name.startswith("files-") and thread.is_alive() for thread in threading.enumerate()):
            assert time.monotonic() < deadline
            time.sleep(0.001)
        os.close(source)


async def until(is_so: Callable[[], bool], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not is_so():  # noqa: ASYNC110 - what is waited for happens in threads that know no event
            await asyncio.sleep(0.001)


def played(scene: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scene()

    asyncio.run(bounded())


def test_work_returns_its_value_and_raises_its_own_errors():
    async def scene() -> None:
        workers = Workers(2)

        def wrong(_job: Job) -> None:
            raise ValueError("mine")

        assert await workers.run(Lane.SHORT, lambda _job: threading.current_thread().daemon, deadline_s=5) is True
        with pytest.raises(ValueError, match="mine"):
            await workers.run(Lane.SHORT, wrong, deadline_s=5)
        assert await workers.run(Lane.SHORT, lambda _job: 2, deadline_s=5) == 2
        workers.close()

    played(scene)


def test_a_stuck_thread_is_given_up_at_its_deadline_and_replaced():
    async def scene() -> None:
        workers = Workers(2, spare=1)
        with stuck_pipe() as (stuck, release):
            started = time.monotonic()
            with pytest.raises(TimedOut) as caught:
                await workers.run(Lane.SHORT, stuck, deadline_s=0.1)
            assert caught.value.retryable
            assert time.monotonic() - started < 2
            await until(lambda: workers.stuck == 1)
            assert await workers.run(Lane.SHORT, lambda _job: "served", deadline_s=5) == "served"
            release()
            await until(lambda: workers.stuck == 0)
            assert await workers.run(Lane.SHORT, lambda _job: "still", deadline_s=5) == "still"
            workers.close()

    played(scene)


def test_beyond_the_cap_of_stuck_threads_it_is_busy_at_once_and_recovers():
    async def scene() -> None:
        workers = Workers(2, spare=1)
        with stuck_pipe() as (stuck, release):
            for gone in (1, 2):
                with pytest.raises(TimedOut):
                    await workers.run(Lane.SHORT, stuck, deadline_s=0.05)
                await until(lambda gone=gone: workers.stuck == gone)
            started = time.monotonic()
            with pytest.raises(Busy) as caught:
                await workers.run(Lane.SHORT, lambda _job: 1, deadline_s=5)
            assert time.monotonic() - started < 1
            assert caught.value.details == {"stuck": 2}
            assert await workers.run(Lane.LONG, lambda _job: "the other lane", deadline_s=5) == "the other lane"
            release()
            await until(lambda: workers.stuck == 0)
            assert await workers.run(Lane.SHORT, lambda _job: "back", deadline_s=5) == "back"
            workers.close()

    played(scene)


def test_what_waits_behind_the_last_stuck_thread_is_told_busy():
    async def scene() -> None:
        workers = Workers(2, spare=0)
        with stuck_pipe() as (stuck, _release):
            first = asyncio.create_task(workers.run(Lane.SHORT, stuck, deadline_s=0.1))
            await until(lambda: any(lane.working for lane in workers._lanes.values()))
            waiting = asyncio.create_task(workers.run(Lane.SHORT, lambda _job: 1, deadline_s=20))
            with pytest.raises(TimedOut):
                await first
            with pytest.raises(Busy):
                await waiting
            workers.close()

    played(scene)


def test_work_that_never_got_a_thread_is_busy_not_timed_out():
    async def scene() -> None:
        workers = Workers(2)
        go = threading.Event()
        first = asyncio.create_task(workers.run(Lane.SHORT, lambda _job: go.wait(10), deadline_s=20))
        await until(lambda: any(lane.working for lane in workers._lanes.values()))
        with pytest.raises(Busy):
            await workers.run(Lane.SHORT, lambda _job: 1, deadline_s=0.05)
        assert workers.waiting == 0
        go.set()
        assert await first is True
        workers.close()

    played(scene)


def test_too_much_waiting_work_is_refused():
    async def scene() -> None:
        workers = Workers(2)
        go = threading.Event()
        many = [
            asyncio.create_task(workers.run(Lane.SHORT, lambda _job: go.wait(10), deadline_s=20)) for _ in range(80)
        ]
        await until(lambda: sum(task.done() for task in many) >= 15)
        refused = [task for task in many if task.done()]
        assert all(isinstance(task.exception(), Busy) for task in refused)
        go.set()
        assert all(await asyncio.gather(*(task for task in many if task not in refused)))
        workers.close()

    played(scene)


def test_cancelling_the_caller_stops_the_work_within_a_tenth_of_a_second():
    async def scene() -> None:
        workers = Workers(2)
        ended = threading.Event()
        begun = threading.Event()

        def loops(job: Job) -> None:
            try:
                while True:
                    begun.set()
                    job.check()
            except Stopped:
                ended.set()
                raise

        task = asyncio.create_task(workers.run(Lane.LONG, loops, deadline_s=20))
        await until(begun.is_set)
        task.cancel()
        started = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(ended.is_set)
        assert time.monotonic() - started < 0.1
        assert workers.stuck == 0
        workers.close()

    played(scene)


def test_a_cancelled_caller_of_stuck_work_leaves_at_once_and_the_thread_is_replaced():
    async def scene() -> None:
        workers = Workers(2, spare=1)
        with stuck_pipe() as (stuck, _release):
            task = asyncio.create_task(workers.run(Lane.SHORT, stuck, deadline_s=20))
            await until(lambda: any(lane.working for lane in workers._lanes.values()))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await workers.run(Lane.SHORT, lambda _job: "served", deadline_s=5) == "served"
            assert workers.stuck == 1
            workers.close()

    played(scene)


def test_long_work_never_takes_the_threads_of_short_work():
    async def scene() -> None:
        workers = Workers(4)
        go = threading.Event()
        long = [asyncio.create_task(workers.run(Lane.LONG, lambda _job: go.wait(10), deadline_s=20)) for _ in range(9)]
        await until(lambda: sum(len(lane.working) for lane in workers._lanes.values()) == 2)
        assert await workers.run(Lane.SHORT, lambda _job: "short", deadline_s=5) == "short"
        go.set()
        await asyncio.gather(*long)
        workers.close()

    played(scene)


def test_progress_is_told_while_work_runs():
    async def scene() -> None:
        workers = Workers(2)
        told: list[int] = []
        enough = threading.Event()

        def counts(job: Job) -> str:
            job.done = 7
            enough.wait(10)
            return "done"

        async def tell(done: int) -> None:
            told.append(done)
            enough.set()

        assert await workers.run(Lane.LONG, counts, deadline_s=20, progress=tell) == "done"
        assert told == [7]
        workers.close()

    played(scene)


def test_closing_stops_running_work_and_refuses_more():
    async def scene() -> None:
        workers = Workers(2)
        begun = threading.Event()

        def loops(job: Job) -> None:
            while True:
                begun.set()
                job.check()

        running = asyncio.create_task(workers.run(Lane.LONG, loops, deadline_s=20))
        await until(begun.is_set)
        waiting = asyncio.create_task(workers.run(Lane.LONG, loops, deadline_s=20))
        await until(lambda: workers.waiting == 1)
        workers.close()
        for task in (running, waiting):
            with pytest.raises((Stopped, Unavailable)):
                await task
        with pytest.raises(Failure):
            await workers.run(Lane.SHORT, lambda _job: 1, deadline_s=5)

    played(scene)


def test_a_process_with_a_stuck_thread_leaves_at_once():
    """In a process of its own: at exit, Python waits for threads that are not daemons."""
    program = """
import asyncio, os
from mcp_bulkhead.errors import TimedOut
from mcp_bulkhead_filesystem.backend.workers import Lane, Workers

async def main():
    workers = Workers(2)
    source, sink = os.pipe()
    try:
        await workers.run(Lane.SHORT, lambda job: os.read(source, 1), deadline_s=0.05)
    except TimedOut:
        print("left")
    workers.close()

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=20, check=False, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "left\n", "")


def test_an_event_loop_that_is_gone_does_not_hurt_the_threads():
    workers = Workers(2)
    with stuck_pipe() as (stuck, release):

        async def leave() -> None:
            task = asyncio.create_task(workers.run(Lane.SHORT, stuck, deadline_s=20))
            await until(lambda: any(lane.working for lane in workers._lanes.values()))
            task.cancel()

        asyncio.run(leave())
        release()
        assert asyncio.run(workers.run(Lane.SHORT, lambda _job: "served", deadline_s=5)) == "served"
        workers.close()
