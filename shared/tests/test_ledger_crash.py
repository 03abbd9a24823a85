"""Killed at any step, or raced by another process: one effect, and the retry is told the truth."""

import contextlib
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Generator
from pathlib import Path

import anyio
import pytest

from mcp_bulkhead.errors import Failure
from mcp_bulkhead.state.ledger import Ledger
from mcp_bulkhead.state.sqlite import SqliteStore

LEASE_S = 0.4
STEPS = (
    "get", "add lease", "add entry",  # the beginning
    "effect",
    "swap entry", "delete lease",  # the end
)  # fmt: skip

ACTOR = """
    import os, sys
    from pathlib import Path
    from types import SimpleNamespace
    import anyio
    from mcp_bulkhead.state.ledger import Ledger
    from mcp_bulkhead.state.sqlite import SqliteStore

    folder, way, stop_at, stop_when = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    me = SimpleNamespace(id="ann", tenant="acme")

    class Pausing:
        '''The store, standing still for good before or after one step.'''

        def __init__(self, store):
            self.store, self.step = store, 0

        async def at(self, act):
            number, self.step = self.step, self.step + 1
            if number == stop_at and stop_when == "before":
                await self.stand_still()
            answer = await act()
            if number == stop_at and stop_when == "after":
                await self.stand_still()
            return answer

        async def stand_still(self):
            os.write(1, b"here\\n")
            await anyio.sleep_forever()

        def get(self, key):
            return self.at(lambda: self.store.get(key))

        def add(self, key, value, **more):
            return self.at(lambda: self.store.add(key, value, **more))

        def swap(self, key, old, new, **more):
            return self.at(lambda: self.store.swap(key, old, new, **more))

        def delete(self, key, **more):
            return self.at(lambda: self.store.delete(key, **more))

        def touch(self, key, **more):
            return self.store.touch(key, **more)

    async def effect():
        with open(folder / "effects", "a") as file:
            file.write("k\\n")

    async def work():
        store = Pausing(SqliteStore(folder / "state.db"))
        ledger = Ledger(store, lease_s=float(sys.argv[5]))
        act = ledger.once if way == "once" else ledger.consume
        async with act(me, "t", "k", "d") as turn:
            await store.at(effect)
            await turn.finish("answer")
        os.write(1, b"over\\n")

    anyio.run(work)
"""

RACER = """
    import os, sys, time
    from pathlib import Path
    from types import SimpleNamespace
    import anyio
    from mcp_bulkhead.state.ledger import Ledger
    from mcp_bulkhead.state.sqlite import SqliteStore

    folder, way, keys, name = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
    me = SimpleNamespace(id="ann", tenant="acme")
    fd = os.open(folder / "effects", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def work():
        ledger = Ledger(SqliteStore(folder / "state.db", busy_s=30), wait_s=60, lease_s=60)
        act = ledger.once if way == "once" else ledger.consume
        for number in range(keys):
            async with act(me, "t", f"k{number}", "d") as turn:
                if not turn.replayed:
                    os.write(fd, f"k{number}\\n".encode())
                    await turn.finish(name)
            print(f"k{number}", turn.answer if turn.replayed else name)

    os.write(2, b"ready\\n")
    sys.stdin.readline()
    anyio.run(work)
"""


class Ann:
    id = "ann"
    tenant = "acme"


def effects(folder: Path) -> Counter[str]:
    path = folder / "effects"
    return Counter(path.read_text().split()) if path.exists() else Counter()


@contextlib.contextmanager
def child(code: str, *arguments: object) -> Generator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


def retried(folder: Path, way: str, *, safe: bool = False) -> str:
    """What a retry after the crash comes to: acted, answer, or a failure's code."""

    async def work() -> str:
        store = SqliteStore(folder / "state.db")
        ledger = Ledger(store, lease_s=LEASE_S, wait_s=20)
        turns = (
            ledger.once(Ann(), "t", "k", "d", safe_to_repeat=safe)
            if way == "once"
            else ledger.consume(Ann(), "t", "k", "d")
        )
        try:
            async with turns as turn:
                if turn.replayed:
                    return turn.answer
                with (folder / "effects").open("a") as file:
                    file.write("k\n")
                await turn.finish("answer")
                return "acted"
        except Failure as failure:
            return failure.reason
        finally:
            store.close(10)

    return anyio.run(work)


@pytest.mark.parametrize("way", ["once", "consume"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", range(len(STEPS)), ids=STEPS)
def test_killed_at_any_step_a_retry_acts_only_where_nothing_was_begun(tmp_path: Path, step: int, when: str, way: str):
    with child(ACTOR, tmp_path, way, step, when, LEASE_S) as actor:
        assert actor.stdout is not None
        assert actor.stdout.readline() == "here\n"
    reached = STEPS[: step + (when == "after")]
    begun, happened, ended = (name in reached for name in ("add entry", "effect", "swap entry"))
    assert effects(tmp_path)["k"] == happened
    expected = "answer" if ended else "ambiguous_outcome" if begun else "acted"
    assert retried(tmp_path, way) == expected
    assert effects(tmp_path)["k"] == (happened or not begun)
    assert retried(tmp_path, way) == ("ambiguous_outcome" if expected == "ambiguous_outcome" else "answer")
    assert effects(tmp_path)["k"] == (happened or not begun)


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_around_its_effect_what_is_safe_to_repeat_is_repeated_once(tmp_path: Path, when: str):
    with child(ACTOR, tmp_path, "once", STEPS.index("effect"), when, LEASE_S) as actor:
        assert actor.stdout is not None
        assert actor.stdout.readline() == "here\n"
    assert retried(tmp_path, "once", safe=True) == "acted"
    assert retried(tmp_path, "once", safe=True) == "answer"
    assert effects(tmp_path)["k"] == (2 if when == "after" else 1)


def test_every_step_is_one_the_tests_above_stop_at(tmp_path: Path):
    with child(ACTOR, tmp_path, "once", len(STEPS), "before", LEASE_S) as actor:
        assert actor.stdout is not None
        assert actor.stdout.readline() == "over\n"


def test_while_the_first_process_lives_the_second_waits_for_it(tmp_path: Path):
    with child(ACTOR, tmp_path, "once", STEPS.index("effect"), "before", LEASE_S) as actor:
        assert actor.stdout is not None
        assert actor.stdout.readline() == "here\n"

        async def work():
            store = SqliteStore(tmp_path / "state.db")
            ledger = Ledger(store, lease_s=LEASE_S, wait_s=3 * LEASE_S)
            with pytest.raises(Failure) as caught:
                async with ledger.once(Ann(), "t", "k", "d"):
                    raise AssertionError("the first one is at it")
            store.close(10)
            assert caught.value.reason == "in_progress"

        anyio.run(work)
    assert retried(tmp_path, "once") == "ambiguous_outcome"
    assert effects(tmp_path) == {}


@pytest.mark.parametrize("way", ["once", "consume"])
@pytest.mark.parametrize("keys", [60, pytest.param(1_000, marks=pytest.mark.long)])
def test_two_processes_that_race_for_the_same_keys_cause_one_effect_each_and_tell_one_story(
    tmp_path: Path, keys: int, way: str
):
    names = [f"k{number}" for number in range(keys)]
    with child(RACER, tmp_path, way, keys, "red") as red, child(RACER, tmp_path, way, keys, "blue") as blue:
        for racer in (red, blue):
            assert racer.stderr is not None
            assert racer.stderr.readline() == "ready\n"
        for racer in (red, blue):
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        stories = [racer.communicate(timeout=120) for racer in (red, blue)]
        assert [racer.returncode for racer in (red, blue)] == [0, 0], stories
    assert effects(tmp_path) == dict.fromkeys(names, 1)
    assert stories[0][0] == stories[1][0]
    winners = Counter(line.split()[1] for line in stories[0][0].splitlines())
    assert winners.total() == keys
