"""Small values under names, with lifetimes: the same in memory and in a file, and no operation is ever half done."""

import os
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_bulkhead.errors import Unavailable
from mcp_bulkhead.state.database import Act
from mcp_bulkhead.state.sqlite import SqliteStore
from mcp_bulkhead.state.store import MAX_VALUE_BYTES, MemoryStore, Store

TTL = 60.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


Made = tuple[Store, Clock]


@pytest.fixture(params=["memory", "sqlite"])
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Made]:
    clock = Clock()
    store: Store = (
        MemoryStore(clock=clock) if request.param == "memory" else SqliteStore(tmp_path / "state.db", clock=clock)
    )
    yield store, clock
    store.close(10)


def done(act: Callable[[], Any]) -> Any:
    return anyio.run(act)


def rows(path: Path) -> int:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("select count(*) from entries").fetchone()[0]
    finally:
        connection.close()


# -- what every store does --------------------------------------------------------------------------------------------


def test_a_name_is_given_once_and_the_second_is_shown_what_is_there(made: Made):
    store, _ = made

    async def work():
        assert await store.get("a") is None
        assert await store.add("a", b"1", ttl_s=TTL) is None
        assert await store.add("a", b"2", ttl_s=TTL, durable=True) == b"1"
        assert await store.get("a") == b"1"

    anyio.run(work)


def test_a_swap_happens_only_where_the_old_value_is(made: Made):
    store, _ = made

    async def work():
        assert not await store.swap("a", b"", b"1", ttl_s=TTL)
        assert await store.get("a") is None
        await store.add("a", b"1", ttl_s=TTL)
        assert not await store.swap("a", b"0", b"2", ttl_s=TTL)
        assert await store.swap("a", b"1", b"2", ttl_s=TTL, durable=True)
        assert await store.get("a") == b"2"

    anyio.run(work)


def test_a_delete_can_be_of_one_value_only(made: Made):
    store, _ = made

    async def work():
        await store.add("a", b"1", ttl_s=TTL)
        assert not await store.delete("a", only=b"2")
        assert await store.get("a") == b"1"
        assert await store.delete("a", only=b"1")
        assert not await store.delete("a")
        assert await store.add("a", b"", ttl_s=TTL) is None
        assert await store.get("a") == b""
        assert await store.delete("a")

    anyio.run(work)


def test_what_is_over_is_gone_for_every_operation(made: Made):
    store, clock = made

    async def work():
        for name in ("get", "swap", "touch", "delete", "scan", "add"):
            await store.add(f"x/{name}", b"1", ttl_s=10)
        clock.now += 10
        assert await store.get("x/get") is None
        assert not await store.swap("x/swap", b"1", b"2", ttl_s=TTL)
        assert not await store.touch("x/touch", ttl_s=TTL)
        assert not await store.delete("x/delete")
        assert await store.scan("x/", limit=10) == []
        assert await store.add("x/add", b"3", ttl_s=TTL) is None
        assert await store.scan("x/", limit=10) == [("x/add", b"3")]

    anyio.run(work)


def test_a_touch_and_a_swap_give_a_new_lifetime(made: Made):
    store, clock = made

    async def work():
        await store.add("a", b"1", ttl_s=10)
        clock.now += 9
        assert await store.touch("a", ttl_s=10)
        clock.now += 9
        assert await store.swap("a", b"1", b"2", ttl_s=10)
        clock.now += 9
        assert await store.get("a") == b"2"
        clock.now += 1
        assert await store.get("a") is None

    anyio.run(work)


def test_a_scan_keeps_to_its_prefix_and_its_limit(made: Made):
    store, _ = made

    async def work():
        for key in ("a/1", "a/2", "a/3", "ab", "a", "b/1", "a/~"):
            await store.add(key, key.encode(), ttl_s=TTL)
        assert {key for key, _ in await store.scan("a/", limit=10)} == {"a/1", "a/2", "a/3", "a/~"}
        assert len(await store.scan("a/", limit=2)) == 2
        assert len(await store.scan("", limit=1_000)) == 7
        for limit in (0, 1_001):
            with pytest.raises(ValueError, match="scan"):
                await store.scan("a/", limit=limit)

    anyio.run(work)


def test_names_and_values_beyond_the_bounds_are_a_mistake_of_ours(made: Made):
    store, _ = made

    async def work():
        for key, value in (("", b""), ("k" * 513, b""), ("\u00e9", b""), ("k", b"x" * (MAX_VALUE_BYTES + 1))):
            with pytest.raises(ValueError, match="in the store"):
                await store.add(key, value, ttl_s=TTL)
        with pytest.raises(ValueError, match="in the store"):
            await store.swap("k", b"", b"x" * (MAX_VALUE_BYTES + 1), ttl_s=TTL)
        assert await store.add("k" * 512, b"x" * MAX_VALUE_BYTES, ttl_s=TTL) is None
        assert len(await store.get("k" * 512) or b"") == MAX_VALUE_BYTES

    anyio.run(work)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "swap", "touch", "delete", "delete_only", "get", "wait"]),
        st.sampled_from(["a", "b", "a/1"]),
        st.sampled_from([b"1", b"2", b""]),
        st.sampled_from([b"1", b"2", b""]),
        st.sampled_from([1.0, 5.0]),
    ),
    max_size=30,
)


async def step(store: Store, what: str, key: str, one: bytes, two: bytes, ttl_s: float) -> Any:
    match what:
        case "add":
            return await store.add(key, one, ttl_s=ttl_s)
        case "swap":
            return await store.swap(key, one, two, ttl_s=ttl_s)
        case "touch":
            return await store.touch(key, ttl_s=ttl_s)
        case "delete":
            return await store.delete(key)
        case "delete_only":
            return await store.delete(key, only=one)
        case _:
            return await store.get(key)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_the_file_and_the_dictionary_never_tell_different_things(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Any]
):
    clock = Clock()
    path = tmp_path_factory.mktemp("twin") / "state.db"
    stores = (MemoryStore(clock=clock), SqliteStore(path, clock=clock, fsync=False))

    async def work():
        for what, key, one, two, ttl_s in steps:
            if what == "wait":
                clock.now += ttl_s / 2
            memory, file = [await step(store, what, key, one, two, ttl_s) for store in stores]
            assert memory == file, what
            assert sorted(await stores[0].scan("a", limit=9)) == sorted(await stores[1].scan("a", limit=9))

    anyio.run(work)
    for store in stores:
        store.close(10)


def test_of_many_at_once_one_gets_the_name_and_one_each_value(made: Made):
    store, _ = made
    won: list[int] = []
    swapped: list[int] = []

    async def one(number: int):
        if await store.add("a", b"0", ttl_s=TTL) is None:
            won.append(number)
        for _ in range(5):
            now = await store.get("a")
            assert now is not None
            if await store.swap("a", now, str(int(now) + 1).encode(), ttl_s=TTL):
                swapped.append(number)

    async def work():
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(one, number)
        assert await store.get("a") == str(len(swapped)).encode()

    anyio.run(work)
    assert len(won) == 1
    assert swapped


def test_several_event_loops_in_threads_share_one_store(made: Made):
    store, _ = made
    won: list[str] = []

    async def work():
        for key in (f"k{number}" for number in range(50)):
            mine = await store.add(key, b"1", ttl_s=TTL) is None
            won.extend([key] if mine else [])

    threads = [threading.Thread(target=anyio.run, args=(work,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(won) == sorted(f"k{number}" for number in range(50))


def test_a_full_memory_refuses_instead_of_forgetting_what_lives():
    clock = Clock()
    store = MemoryStore(clock=clock, max_entries=3)

    async def work():
        for key in "abc":
            await store.add(key, b"1", ttl_s=10)
        with pytest.raises(Unavailable):
            await store.add("d", b"1", ttl_s=10)
        assert [await store.get(key) for key in "abcd"] == [b"1", b"1", b"1", None]
        clock.now += 10
        assert await store.add("d", b"1", ttl_s=10) is None

    anyio.run(work)


# -- the file ---------------------------------------------------------------------------------------------------------


def test_what_was_kept_is_there_after_a_restart(tmp_path: Path):
    path = tmp_path / "state.db"
    first, second = SqliteStore(path), SqliteStore(path)
    assert done(lambda: first.add("a", b"\0\xff", ttl_s=TTL, durable=True)) is None
    first.close(10)
    assert done(lambda: second.get("a")) == b"\0\xff"
    second.close(10)


def test_two_stores_on_one_file_see_each_other_at_once(tmp_path: Path):
    one, other = SqliteStore(tmp_path / "state.db"), SqliteStore(tmp_path / "state.db")

    async def work():
        for number in range(20):
            assert await one.add(f"k{number}", b"1", ttl_s=TTL) is None
            assert await other.get(f"k{number}") == b"1"
            assert await other.swap(f"k{number}", b"1", b"2", ttl_s=TTL)
            assert await one.get(f"k{number}") == b"2"

    anyio.run(work)
    one.close(10)
    other.close(10)


def test_nothing_is_made_before_it_is_needed(tmp_path: Path):
    store = SqliteStore(tmp_path / "state" / "state.db")
    assert list(tmp_path.iterdir()) == []
    assert store.thread is None
    store.close()
    with pytest.raises(Unavailable):
        done(lambda: store.get("a"))


def test_sqlite_is_loaded_when_it_is_used_and_not_before():
    code = """
        import sys
        import mcp_bulkhead.state.sqlite, mcp_bulkhead.state.ledger
        assert "sqlite3" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=30)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_the_files_are_the_owner_s_alone(tmp_path: Path):
    before = os.umask(0)
    try:
        store = SqliteStore(tmp_path / "state" / "state.db")
        done(lambda: store.add("a", b"1", ttl_s=TTL))
    finally:
        os.umask(before)
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "state").iterdir()}
    assert found == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    store.close(10)
    (tmp_path / "state" / "state.db").chmod(0o644)
    again = SqliteStore(tmp_path / "state" / "state.db")
    assert done(lambda: again.get("a")) == b"1"
    assert stat.S_IMODE((tmp_path / "state" / "state.db").stat().st_mode) == 0o600
    again.close(10)


@pytest.mark.skipif(os.name != "posix", reason="links need no privilege on POSIX")
def test_a_link_in_the_place_of_the_file_is_refused(tmp_path: Path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    victim.chmod(0o644)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "state.db").symlink_to(victim)
    store = SqliteStore(tmp_path / "state" / "state.db")
    with pytest.raises(Unavailable):
        done(lambda: store.add("a", b"1", ttl_s=TTL))
    store.close(10)
    assert victim.read_bytes() == b"precious"
    assert stat.S_IMODE(victim.stat().st_mode) == 0o644


@pytest.mark.parametrize(("fsync", "levels"), [(True, [1, 2, 1]), (False, [0, 0, 0])])
def test_what_is_durable_is_synced_at_its_commit_and_nothing_else_is(tmp_path: Path, fsync: bool, levels: list[int]):
    store = SqliteStore(tmp_path / "state.db", fsync=fsync)

    async def level(key: str, *, durable: bool) -> int:
        await store.add(key, b"1", ttl_s=TTL, durable=durable)
        return await store._ask(Act(synchronous, writes=True, durable=durable))

    def synchronous(db: sqlite3.Connection, now: float) -> int:
        return db.execute("pragma synchronous").fetchone()[0]

    async def work():
        assert [await level(key, durable=key == "b") for key in "abc"] == levels

    anyio.run(work)
    store.close(10)


def test_what_is_over_makes_room_in_the_file(tmp_path: Path):
    clock = Clock()
    store = SqliteStore(tmp_path / "state.db", clock=clock)

    async def work():
        for number in range(50):
            await store.add(f"k{number}", b"1", ttl_s=10)
        clock.now += 10
        store.database.purged_at = -1e9
        await store.add("new", b"1", ttl_s=10)

    anyio.run(work)
    store.close(10)
    assert rows(tmp_path / "state.db") == 1


def test_the_event_loop_goes_on_while_the_file_is_locked(tmp_path: Path):
    path = tmp_path / "state.db"
    store = SqliteStore(path, busy_s=30)
    done(lambda: store.add("a", b"1", ttl_s=TTL))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("begin immediate")

    async def work():
        answers: list[Any] = []

        async def write():
            answers.append(await store.swap("a", b"1", b"2", ttl_s=TTL))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            with anyio.fail_after(5):
                for _ in range(1_000):
                    await anyio.lowlevel.checkpoint()
                await anyio.sleep(0.05)
            assert answers == []
            other.execute("rollback")
        assert answers == [True]

    anyio.run(work)
    other.close()
    store.close(10)


# -- trouble ----------------------------------------------------------------------------------------------------------


def refused(act: Callable[[], Any]) -> dict[str, Any]:
    with pytest.raises(Unavailable) as caught:
        anyio.run(act)
    told = caught.value.as_dict()
    assert told["code"] == "store_unavailable"
    assert told["retryable"] is True
    return told


def test_a_file_locked_for_too_long_is_unavailable_and_works_again_after(tmp_path: Path):
    path = tmp_path / "state.db"
    store = SqliteStore(path, busy_s=0.05)
    done(lambda: store.add("a", b"1", ttl_s=TTL))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("begin immediate")
    told = refused(lambda: store.add("b", b"1", ttl_s=TTL))
    assert str(path) not in str(told)
    assert done(lambda: store.get("a")) == b"1"
    other.execute("rollback")
    other.close()
    assert done(lambda: store.add("b", b"1", ttl_s=TTL)) is None
    store.close(10)


@pytest.mark.parametrize("damage", ["garbage", "header", "middle"])
def test_a_damaged_file_is_unavailable_and_is_left_as_it_is(tmp_path: Path, damage: str):
    path = tmp_path / "state.db"
    store = SqliteStore(path)

    async def fill():
        for number in range(100):
            await store.add(f"k{number:03}", b"x" * 500, ttl_s=TTL)

    anyio.run(fill)
    store.close(10)
    data = bytearray(path.read_bytes())
    assert len(data) > 8 * 4_096
    start, end = {"garbage": (0, len(data)), "header": (0, 20), "middle": (4_096, len(data))}[damage]
    data[start:end] = b"\xa5" * (end - start)
    path.write_bytes(data)
    store = SqliteStore(path)
    refused(lambda: store.get("k050"))
    refused(lambda: store.add("k050", b"", ttl_s=TTL))
    store.close(10)
    assert path.read_bytes() == data


def test_a_file_of_a_later_version_is_not_touched(tmp_path: Path):
    path = tmp_path / "state.db"
    other = sqlite3.connect(path)
    other.execute("pragma user_version = 99")
    other.commit()
    other.close()
    store = SqliteStore(path)
    refused(lambda: store.get("a"))
    store.close(10)


def test_a_full_file_refuses_what_is_new_keeps_what_is_there_and_takes_more_once_it_is_over(tmp_path: Path):
    clock = Clock()
    store = SqliteStore(tmp_path / "state.db", clock=clock, max_bytes=100_000)

    async def fill() -> int:
        for number in range(1_000):
            try:
                await store.add(f"k{number}", b"x" * 4_000, ttl_s=10, durable=True)
            except Unavailable:
                return number
        raise AssertionError("it never was full")

    async def kept(number: int):
        assert [await store.get(f"k{each}") for each in range(number)] == [b"x" * 4_000] * number
        assert await store.get(f"k{number}") is None

    number = anyio.run(fill)
    assert number > 5
    anyio.run(kept, number)
    clock.now += 10
    assert done(lambda: store.add("new", b"x" * 4_000, ttl_s=10)) is None
    store.close(10)


@pytest.mark.skipif(os.name != "posix", reason="file size limits are POSIX")
def test_a_disk_that_takes_no_more_is_unavailable_and_what_was_acknowledged_is_there(tmp_path: Path):
    code = """
        import resource, signal, sys
        from pathlib import Path
        import anyio
        from mcp_bulkhead.errors import Unavailable
        from mcp_bulkhead.state.sqlite import SqliteStore
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        store = SqliteStore(Path(sys.argv[1]))
        async def work():
            await store.add("first", b"1", ttl_s=600)
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
            for number in range(1_000):
                try:
                    await store.add(f"k{number}", b"x" * 4_000, ttl_s=600, durable=True)
                except Unavailable as failure:
                    print(number, failure.reason)
                    return
        anyio.run(work)
    """
    path = tmp_path / "state.db"
    child = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(path)],
        check=True, timeout=60, capture_output=True, text=True,
    )  # fmt: skip
    number, reason = child.stdout.split()
    assert reason == "store_unavailable"
    assert int(number) > 5
    store = SqliteStore(path)

    async def kept():
        assert [await store.get(f"k{each}") for each in range(int(number))] == [b"x" * 4_000] * int(number)

    anyio.run(kept)
    store.close(10)


def test_a_file_taken_away_under_a_running_process_is_said_and_then_begun_anew(tmp_path: Path):
    path = tmp_path / "state.db"
    store = SqliteStore(path)
    for act in (lambda: store.get("a"), lambda: store.add("b", b"1", ttl_s=TTL)):
        done(lambda: store.add("a", b"1", ttl_s=TTL))
        for each in list(tmp_path.iterdir()):
            each.unlink()
        refused(act)
        assert done(lambda: store.get("a")) is None
    store.close(10)
    assert rows(path) == 0


def test_a_file_replaced_under_a_running_process_is_said_and_then_used(tmp_path: Path):
    path, other = tmp_path / "state.db", tmp_path / "other" / "state.db"
    store, second = SqliteStore(path), SqliteStore(other)
    done(lambda: store.add("a", b"1", ttl_s=TTL))
    done(lambda: second.add("a", b"2", ttl_s=TTL))
    second.close(10)
    for each in list(tmp_path.glob("state.db*")):
        each.unlink()
    other.rename(path)
    refused(lambda: store.get("a"))
    assert done(lambda: store.get("a")) == b"2"
    store.close(10)


def test_a_cause_is_logged_once_and_never_told_to_the_caller(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "state").write_bytes(b"a file where the folder should be")
    store = SqliteStore(tmp_path / "state" / "state.db")
    for _ in range(3):
        assert str(tmp_path) not in str(refused(lambda: store.get("a")))
    store.close(10)
    assert len([record for record in caplog.records if "cannot be used" in record.message]) == 1


@pytest.mark.parametrize("kills", [6, pytest.param(60, marks=pytest.mark.long)])
def test_a_killed_process_leaves_what_it_was_told_is_kept_and_a_sound_file(tmp_path: Path, kills: int):
    code = """
        import os, sys
        from pathlib import Path
        import anyio
        from mcp_bulkhead.state.sqlite import SqliteStore
        store = SqliteStore(Path(sys.argv[1]))
        async def work():
            number = 0
            while True:
                await store.add(f"{sys.argv[2]}/{number}", b"x" * 300, ttl_s=600, durable=number % 5 == 0)
                os.write(1, f"{number}\\n".encode())
                number += 1
        anyio.run(work)
    """
    path = tmp_path / "state.db"
    for run in range(kills):
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(path), str(run)], stdout=subprocess.PIPE
        )
        assert child.stdout is not None
        for _ in range(3 + 7 * run):
            child.stdout.readline()
        child.kill()
        told = [int(line) for line in child.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")]
        child.wait(30)
        child.stdout.close()
        last = max(told, default=2 + 7 * run)
        store = SqliteStore(path)

        async def kept(store: Store = store, run: int = run, last: int = last):
            assert [await store.get(f"{run}/{each}") for each in range(last + 1)] == [b"x" * 300] * (last + 1)

        anyio.run(kept)
        store.close(10)
    connection = sqlite3.connect(path)
    assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
    connection.close()
