"""A handle is good for who got it, for as long as was said, and what it holds is closed in any case, once."""

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_bulkhead.errors import Busy, Failure, Spent, Unavailable
from mcp_bulkhead.state.handles import LiveHandles
from mcp_bulkhead.state.sqlite import SqliteStore
from mcp_bulkhead.state.store import MAX_SCAN, MemoryStore, Store
from mcp_bulkhead.state.stored_handles import StoredHandles

KEY = b"k" * 32
UNKNOWN = "handle_unknown"
EXPIRED = "handle_expired"


@dataclass(frozen=True)
class Person:
    id: str = "ann"
    tenant: str = "acme"


ANN, BOB = Person(), Person("bob")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Tab:
    """Something that lives, and has to be closed."""

    def __init__(self, number: int) -> None:
        self.number = number


class Desk:
    """Handles on tabs, and a book of what was closed."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.made = 0
        self.closed: Counter[int] = Counter()
        options = {"per_caller": 3, "at_most": 100} | options
        self.handles: LiveHandles[Tab] = LiveHandles("tab", KEY, close=self.close, clock=self.clock, **options)

    async def close(self, tab: Tab) -> None:
        await anyio.lowlevel.checkpoint()
        self.closed[tab.number] += 1

    async def make(self) -> Tab:
        self.made += 1
        return Tab(self.made)

    async def open(self, who: Person = ANN, ttl_s: float = 10, *, sliding: bool = False) -> str:
        return await self.handles.open(who, self.make, ttl_s=ttl_s, sliding=sliding)

    async def number(self, handle: str, who: Person = ANN) -> int:
        async with self.handles.use(who, handle) as tab:
            return tab.number


async def told(act: Awaitable[Any]) -> Failure:
    with pytest.raises(Failure) as caught:
        await act
    assert caught.value.hint
    return caught.value


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded():
        with anyio.fail_after(20):
            await work()

    anyio.run(bounded)


# -- what a handle is -------------------------------------------------------------------------------------------------


def test_a_handle_is_its_kind_and_40_url_safe_characters_and_never_the_same():
    async def work():
        desk = Desk(per_caller=200, at_most=200)
        handles = {await desk.open() for _ in range(200)}
        assert len(handles) == 200
        assert all(re.fullmatch(r"tab_[A-Za-z0-9_-]{40}", handle) for handle in handles)

    run(work)


def test_a_handle_leads_its_caller_to_its_thing_again_and_again():
    async def work():
        desk = Desk()
        first, second = await desk.open(), await desk.open()
        assert [await desk.number(handle) for handle in (first, second, first)] == [1, 2, 1]

    run(work)


def others(handle: str) -> Iterator[str]:
    kind, _, body = handle.partition("_")
    yield from ("", "tab_", "tab", body, f"ctx_{body}", handle + "A", handle[:-1], handle + "\n", handle.upper())
    yield f"{kind}_{body[:-1]}" + ("A" if body[-1] != "A" else "B")
    yield f"{kind}_" + ("A" if body[0] != "A" else "B") + body[1:]
    yield from ("tab_" + "A" * 40, "tab_" + "\u00e9" * 40, "\ud800", "tab_" + "=" * 40)


def test_a_made_up_handle_and_somebody_else_s_are_told_apart_by_nothing():
    async def work():
        desk = Desk()
        handle = await desk.open()
        strangers = [BOB, Person("ann", "umbrella"), Person("acme", "ann")]
        seen = [await told(desk.number(handle, who)) for who in strangers]
        seen += [await told(desk.number(other)) for other in others(handle)]
        seen += [await told(desk.handles.close(BOB, handle))]
        assert {failure.reason for failure in seen} == {UNKNOWN}
        assert len({str(failure.as_dict()) for failure in seen}) == 1
        assert await desk.number(handle) == 1

    run(work)


def test_somebody_else_s_handle_stays_unknown_after_it_has_expired():
    async def work():
        desk = Desk()
        handle = await desk.open()
        desk.clock.now += 10
        assert (await told(desk.number(handle, BOB))).reason == UNKNOWN
        assert (await told(desk.number(handle))).reason == EXPIRED

    run(work)


def test_another_kind_and_another_key_open_nothing():
    async def work():
        handle = await Desk().open()
        for kind, key in (("ctx", KEY), ("tab", b"x" * 32)):
            handles: LiveHandles[Tab] = LiveHandles(kind, key)
            assert (await told(handles.close(ANN, handle))).reason == UNKNOWN
        for kind in ("", "Tab", "a_b", "a" * 17, "tab\n"):
            with pytest.raises(ValueError, match="kind"):
                LiveHandles(kind, KEY)

    run(work)


def test_a_refusal_repeats_nothing_of_the_handle():
    async def work():
        desk = Desk()
        handle = await desk.open()
        desk.clock.now += 10
        for failure in (await told(desk.number(handle)), await told(desk.number(handle, BOB))):
            assert handle[4:] not in str(failure.as_dict())

    run(work)


# -- how long ---------------------------------------------------------------------------------------------------------


def test_a_fixed_time_ends_when_it_was_said_however_much_it_is_used():
    async def work():
        desk = Desk()
        handle = await desk.open(ttl_s=10)
        for _ in range(3):
            desk.clock.now += 3
            assert await desk.number(handle) == 1
        desk.clock.now += 1
        assert (await told(desk.number(handle))).reason == EXPIRED

    run(work)


def test_a_sliding_time_begins_anew_at_the_end_of_each_use():
    async def work():
        desk = Desk()
        handle = await desk.open(ttl_s=10, sliding=True)
        async with desk.handles.use(ANN, handle):
            desk.clock.now += 50
            assert await desk.handles.sweep() == 0
            assert await desk.number(handle) == 1
        desk.clock.now += 9
        assert await desk.number(handle) == 1
        desk.clock.now += 10
        assert (await told(desk.number(handle))).reason == EXPIRED
        assert await desk.handles.sweep() == 1

    run(work)


def test_what_expires_in_use_is_had_by_nobody_else_and_closed_after_that_use():
    async def work():
        desk = Desk()
        handle = await desk.open()
        async with desk.handles.use(ANN, handle):
            async with desk.handles.use(ANN, handle):
                desk.clock.now += 10
                assert await desk.handles.sweep() == 1
                assert (await told(desk.number(handle))).reason == EXPIRED
            assert desk.closed == {}
            assert desk.handles.live == 1
        assert desk.closed == {1: 1}
        assert desk.handles.live == 0

    run(work)


def test_what_nobody_asks_for_again_is_closed_by_the_sweeper():
    async def work():
        desk = Desk()
        handle = await desk.open()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(desk.handles.keep_sweeping, 0.001)
            desk.clock.now += 10
            while desk.handles.live:  # noqa: ASYNC110 - a sweep tells nobody
                await anyio.sleep(0.001)
            tasks.cancel_scope.cancel()
        assert desk.closed == {1: 1}
        assert (await told(desk.number(handle))).reason == EXPIRED

    run(work)


# -- how many ---------------------------------------------------------------------------------------------------------


def test_a_caller_beyond_its_quota_is_told_who_holds_how_many_and_others_are_not_touched():
    async def work():
        desk = Desk()
        handles = [await desk.open() for _ in range(3)]
        failure = await told(desk.open())
        assert isinstance(failure, Spent)
        assert failure.reason == "handle_quota"
        assert failure.details == {"caller": "ann", "held": 3, "limit": 3}
        assert "ann holds 3 of 3 tab handles" in failure.message
        assert desk.made == 3
        assert await desk.number(await desk.open(BOB), BOB) == 4
        await desk.handles.close(ANN, handles[0])
        assert await desk.number(await desk.open()) == 5

    run(work)


def test_what_has_expired_does_not_count():
    async def work():
        desk = Desk()
        for _ in range(3):
            await desk.open()
        desk.clock.now += 10
        assert await desk.number(await desk.open()) == 4
        assert desk.closed == {1: 1, 2: 1, 3: 1}

    run(work)


def test_a_quota_holds_for_calls_at_once_too_also_while_things_are_being_made():
    async def work():
        desk = Desk()
        go, outcomes = anyio.Event(), Counter[str]()

        async def slowly() -> Tab:
            await go.wait()
            return await desk.make()

        async def one():
            try:
                await desk.handles.open(ANN, slowly, ttl_s=10)
                outcomes["opened"] += 1
            except Failure as failure:
                outcomes[failure.reason] += 1

        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(one)
            await anyio.wait_all_tasks_blocked()
            assert desk.handles.live == desk.handles.held_by(ANN) == 3
            go.set()
        assert outcomes == {"opened": 3, "handle_quota": 5}

    run(work)


def test_a_thing_that_could_not_be_made_takes_no_place():
    async def work():
        desk = Desk()

        async def fails() -> Tab:
            raise ValueError("no tab today")

        async def forever() -> Tab:
            await anyio.sleep_forever()
            return await desk.make()

        for _ in range(5):
            with pytest.raises(ValueError, match="today"):
                await desk.handles.open(ANN, fails, ttl_s=10)
        with anyio.move_on_after(0.01):
            await desk.handles.open(ANN, forever, ttl_s=10)
        assert desk.handles.live == desk.handles.held_by(ANN) == 0

    run(work)


def test_a_full_house_names_nobody():
    async def work():
        desk = Desk(at_most=2)
        await desk.open()
        await desk.open()
        failure = await told(desk.open(BOB))
        assert isinstance(failure, Busy)
        assert failure.reason == "handles_exhausted"
        assert "ann" not in str(failure.as_dict())
        desk.clock.now += 10
        await desk.open(BOB)

    run(work)


def test_8_tasks_with_200_handles_each_close_every_thing_once():
    async def work():
        desk = Desk(per_caller=25, at_most=200)

        async def visit(who: Person, number: int):
            handle = await desk.open(who)
            async with desk.handles.use(who, handle):
                await anyio.lowlevel.checkpoint()
                desk.clock.now += number % 3 == 0
            if number % 2:
                await desk.handles.close(who, handle)

        async def one(who: Person):
            for number in range(200):
                try:
                    await visit(who, number)
                except Failure as failure:  # the others made its time pass
                    assert failure.reason == EXPIRED

        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(one, Person(f"p{number}"))
        await desk.handles.shutdown()
        assert desk.made == 1_600
        assert desk.closed == dict.fromkeys(range(1, 1_601), 1)
        assert desk.handles.live == 0

    run(work)


# -- the end ----------------------------------------------------------------------------------------------------------


def test_what_is_given_back_is_closed_and_its_handle_has_expired():
    async def work():
        desk = Desk()
        handle = await desk.open()
        await desk.handles.close(ANN, handle)
        assert desk.closed == {1: 1}
        assert (await told(desk.number(handle))).reason == EXPIRED
        assert (await told(desk.handles.close(ANN, handle))).reason == EXPIRED

    run(work)


def test_an_eviction_is_of_one_caller_or_of_all_and_spares_what_is_in_use_until_its_end():
    async def work():
        desk = Desk()
        mine, theirs = await desk.open(), await desk.open(BOB)
        async with desk.handles.use(ANN, mine):
            assert await desk.handles.evict(ANN) == 1
            assert desk.closed == {}
        assert desk.closed == {1: 1}
        assert await desk.number(theirs, BOB) == 2
        assert await desk.handles.evict() == 1
        assert desk.closed == {1: 1, 2: 1}

    run(work)


def test_a_shutdown_closes_everything_in_use_or_not_once_and_opens_nothing_more():
    async def work():
        desk = Desk()
        used, unused, ended = await desk.open(), await desk.open(), await desk.open()
        async with desk.handles.use(ANN, used), desk.handles.use(ANN, ended):
            await desk.handles.close(ANN, ended)
            await desk.handles.shutdown()
            await desk.handles.shutdown()
            assert desk.closed == {1: 1, 2: 1, 3: 1}
        assert desk.closed == {1: 1, 2: 1, 3: 1}
        assert (await told(desk.number(unused))).reason == EXPIRED
        assert isinstance(await told(desk.open()), Unavailable)
        assert desk.handles.live == 0

    run(work)


def test_what_was_being_made_at_the_shutdown_is_closed_too():
    async def work():
        desk = Desk()
        go, failures = anyio.Event(), list[Failure]()

        async def slowly() -> Tab:
            await go.wait()
            return await desk.make()

        async def one():
            failures.append(await told(desk.handles.open(ANN, slowly, ttl_s=10)))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
            await anyio.wait_all_tasks_blocked()
            await desk.handles.shutdown()
            go.set()
        assert [failure.reason for failure in failures] == ["shutting_down"]
        assert desk.closed == {1: 1}

    run(work)


def test_a_shutdown_waits_for_what_is_being_closed_already():
    async def work():
        go, over = anyio.Event(), list[str]()

        async def slowly(tab: Tab):
            await go.wait()
            over.append("closed")

        handles: LiveHandles[Tab] = LiveHandles("tab", KEY, close=slowly)
        handle = await handles.open(ANN, Desk().make, ttl_s=10)

        async def shut():
            await handles.shutdown()
            over.append("shut down")

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(handles.close, ANN, handle)
            await anyio.wait_all_tasks_blocked()
            assert handles.live == 1
            tasks.start_soon(shut)
            await anyio.wait_all_tasks_blocked()
            go.set()
        assert over == ["closed", "shut down"]

    run(work)


def test_a_closing_that_fails_or_hangs_is_logged_and_holds_up_nobody_else(caplog: pytest.LogCaptureFixture):
    async def work():
        closed: list[int] = []

        async def badly(tab: Tab):
            if tab.number == 1:
                raise ValueError("stuck")
            if tab.number == 2:
                await anyio.sleep_forever()
            closed.append(tab.number)

        desk = Desk()
        handles: LiveHandles[Tab] = LiveHandles("tab", KEY, close=badly, close_s=0.05)
        for _ in range(3):
            await handles.open(ANN, desk.make, ttl_s=10)
        await handles.shutdown()
        assert closed == [3]
        assert handles.live == 0

    run(work)
    messages = [record.message for record in caplog.records]
    assert sorted(messages) == ["closing a tab failed", "closing a tab took longer than 0.05 seconds"]


def test_a_cancelled_caller_does_not_leave_a_thing_half_closed():
    async def work():
        desk = Desk()
        handle = await desk.open()
        with anyio.CancelScope() as scope:
            async with desk.handles.use(ANN, handle):
                await desk.handles.close(ANN, handle)
                scope.cancel()
                await anyio.sleep_forever()
        assert scope.cancelled_caught
        assert desk.closed == {1: 1}

    run(work)


# -- stored values ----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["memory", "sqlite"])
def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Store, Clock]]:
    clock = Clock()
    path = tmp_path / "state.db"
    store: Store = MemoryStore(clock=clock) if request.param == "memory" else SqliteStore(path, clock=clock)
    yield store, clock
    store.close(10)


Shelf = tuple[Store, Clock]


def test_a_stored_value_comes_back_for_its_caller_in_any_worker_with_the_key(shelf: Shelf):
    async def work():
        value = {"row": 17, "after": ["a", None]}
        handle = await StoredHandles("export", KEY, shelf[0]).open(ANN, value, ttl_s=10)
        assert re.fullmatch(r"export_[A-Za-z0-9_-]{40}", handle)
        assert await StoredHandles("export", KEY, shelf[0]).read(ANN, handle) == value
        for kind, key, who in (("export", KEY, BOB), ("draft", KEY, ANN), ("export", b"x", ANN)):
            assert (await told(StoredHandles(kind, key, shelf[0]).read(who, handle))).reason == UNKNOWN

    run(work)


def test_a_stored_value_expires_at_its_time_or_slides(shelf: Shelf):
    async def work():
        store, clock = shelf
        handles = StoredHandles("export", KEY, store)
        fixed = await handles.open(ANN, 1, ttl_s=10)
        sliding = await handles.open(ANN, 2, ttl_s=10, sliding=True)
        clock.now += 9
        assert [await handles.read(ANN, each) for each in (fixed, sliding)] == [1, 2]
        clock.now += 9
        assert (await told(handles.read(ANN, fixed))).reason == EXPIRED
        assert await handles.read(ANN, sliding) == 2
        clock.now += 10
        assert (await told(handles.read(ANN, sliding))).reason == EXPIRED
        assert await handles.live() == 0

    run(work)


def test_an_expired_handle_never_leads_to_who_has_its_place_now(shelf: Shelf):
    async def work():
        store, clock = shelf
        handles = StoredHandles("export", KEY, store, per_caller=1)
        old = await handles.open(ANN, "old", ttl_s=10)
        clock.now += 10
        new = await handles.open(ANN, "new", ttl_s=10)
        assert (await told(handles.read(ANN, old))).reason == EXPIRED
        assert (await told(handles.close(ANN, old))).reason == EXPIRED
        assert await handles.read(ANN, new) == "new"

    run(work)


def test_a_quota_of_stored_values_is_exact_for_two_workers_at_once(shelf: Shelf):
    async def work():
        workers = [StoredHandles("export", KEY, shelf[0], per_caller=5) for _ in range(2)]
        outcomes: Counter[str] = Counter()

        async def one(number: int):
            try:
                await workers[number % 2].open(ANN, number, ttl_s=10)
                outcomes["opened"] += 1
            except Spent as failure:
                assert failure.details == {"caller": "ann", "held": 5, "limit": 5}
                outcomes[failure.reason] += 1

        async with anyio.create_task_group() as tasks:
            for number in range(12):
                tasks.start_soon(one, number)
        assert outcomes == {"opened": 5, "handle_quota": 7}
        assert await workers[0].held_by(ANN) == 5
        handle = await workers[1].open(BOB, "b", ttl_s=10)
        assert await workers[0].live() == 6
        await workers[0].close(BOB, handle)
        assert (await told(workers[1].read(BOB, handle))).reason == EXPIRED
        assert await workers[0].live() == 5

    run(work)


def test_a_lowered_quota_counts_what_is_held_already(shelf: Shelf):
    async def work():
        before = StoredHandles("export", KEY, shelf[0], per_caller=4)
        handles = [await before.open(ANN, number, ttl_s=10) for number in range(4)]
        for handle in handles[:2]:
            await before.close(ANN, handle)
        assert (await told(StoredHandles("export", KEY, shelf[0], per_caller=2).open(ANN, 5, ttl_s=10))).reason == (
            "handle_quota"
        )

    run(work)


def test_too_large_a_value_and_too_large_a_quota_are_mistakes_of_ours(shelf: Shelf):
    async def work():
        with pytest.raises(ValueError, match="at most"):
            await StoredHandles("export", KEY, shelf[0]).open(ANN, "x" * 70_000, ttl_s=10)
        for quota in (0, MAX_SCAN + 1):
            with pytest.raises(ValueError, match="may hold"):
                StoredHandles("export", KEY, shelf[0], per_caller=quota)

    run(work)


@pytest.mark.parametrize("junk", [b"", b"1", b"[1,2]", b'"abc"'])
def test_a_value_that_cannot_be_read_is_trouble_and_not_an_expired_handle(shelf: Shelf, junk: bytes):
    async def work():
        store, _ = shelf
        handles = StoredHandles("export", KEY, store)
        handle = await handles.open(ANN, 1, ttl_s=10)
        ((place, sealed),) = await store.scan("handle/", limit=1)
        await store.swap(place, sealed, junk, ttl_s=10)
        failure = await told(handles.read(ANN, handle))
        assert failure.reason == "store_unavailable"

    run(work)
