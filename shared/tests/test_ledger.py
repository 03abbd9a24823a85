"""A repeated call gets the first answer and no second effect; what nobody can know is said."""

import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_bulkhead.errors import Busy, Conflict, Failure, Invalid, Refused, Stale, TimedOut, Unavailable
from mcp_bulkhead.state.ledger import Ledger, Turn, fingerprint
from mcp_bulkhead.state.sqlite import SqliteStore
from mcp_bulkhead.state.store import MemoryStore, Store

ANSWER = {"path": "a.txt", "replaced": 1, "lines": [1, 2], "z": None, "a": "\ud800"}
QUICK: dict[str, Any] = {"lease_s": 0.3, "wait_s": 0.0}


@dataclass(frozen=True)
class Person:
    id: str = "ann"
    tenant: str = "acme"


ANN = Person()


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "state.db")
    yield made
    made.close(10)


def once(ledger: Ledger, key: str = "k", digest: str = "d", *, who: Person = ANN, tool: str = "t", safe: bool = False):
    return ledger.once(who, tool, key, digest, safe_to_repeat=safe)


def yes(ledger: Ledger, token: str = "k", digest: str = "d", *, who: Person = ANN, tool: str = "t"):
    return ledger.consume(who, tool, token, digest)


async def acted(ledger: Ledger, answer: Any = "done", way: Callable[..., Any] = once, **call: Any) -> tuple[bool, Any]:
    """Whether the block was to act, and the answer."""
    async with way(ledger, **call) as turn:
        if turn.replayed:
            return False, turn.answer
        assert await turn.finish(answer)
        return True, answer


async def told(act: Awaitable[Any]) -> Failure:
    with pytest.raises(Failure) as caught:
        await act
    assert caught.value.hint
    return caught.value


async def interrupted(ledger: Ledger, way: Callable[..., Any] = once, **call: Any) -> None:
    with pytest.raises(RuntimeError, match="in the middle"):
        async with way(ledger, **call):
            raise RuntimeError("in the middle")


# -- one effect -------------------------------------------------------------------------------------------------------


def test_a_repeated_call_gets_the_stored_answer_as_it_was(store: Store):
    async def work():
        ledger = Ledger(store)
        assert await acted(ledger, ANSWER) == (True, ANSWER)
        again, answer = await acted(ledger, "another")
        assert not again
        assert answer == ANSWER
        assert list(answer) == list(ANSWER)

    anyio.run(work)


def test_the_same_key_with_other_arguments_is_a_conflict_before_and_after_the_end(store: Store):
    async def work():
        ledger = Ledger(store)
        async with once(ledger) as turn:
            failure = await told(acted(ledger, digest="other"))
            assert isinstance(failure, Conflict)
            assert failure.reason == "idempotency_conflict"
            await turn.finish(1)
        assert (await told(acted(ledger, digest="other"))).reason == "idempotency_conflict"

    anyio.run(work)


@pytest.mark.parametrize("other", [{"who": Person("bob")}, {"who": Person("ann", "umbrella")}, {"tool": "u"}])
def test_a_key_means_nothing_to_another_caller_tenant_or_tool(store: Store, other: dict[str, Any]):
    async def work():
        ledger = Ledger(store)
        assert await acted(ledger, "secret") == (True, "secret")
        assert await acted(ledger, "mine", digest="other", **other) == (True, "mine")
        assert await acted(ledger) == (False, "secret")

    anyio.run(work)


def test_names_that_run_together_are_still_two_callers(store: Store):
    async def work():
        ledger = Ledger(store)
        assert (await acted(ledger, 1, who=Person("b", "a/")))[0]
        assert (await acted(ledger, 2, who=Person("/b", "a")))[0]
        assert (await acted(ledger, 3, who=Person('b","t', "a/")))[0]

    anyio.run(work)


def test_the_second_of_two_at_once_waits_and_gets_the_answer_of_the_first(store: Store):
    async def work():
        ledger, begun, answers = Ledger(store), anyio.Event(), list[tuple[bool, Any]]()

        async def second():
            await begun.wait()
            answers.append(await acted(ledger, "second"))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(second)
            async with once(ledger) as turn:
                begun.set()
                await anyio.wait_all_tasks_blocked()
                assert answers == []
                await turn.finish("first")
        assert answers == [(False, "first")]

    with_limit(work)


def test_who_waits_longer_than_the_bound_is_told_that_it_is_in_progress(store: Store):
    async def work():
        ledger = Ledger(store, wait_s=0.05)
        async with once(ledger) as turn:
            failure = await told(acted(ledger))
            assert isinstance(failure, Busy)
            assert failure.reason == "in_progress"
            assert failure.may_retry
            await turn.finish("first")
        assert await acted(ledger) == (False, "first")

    with_limit(work)


def test_8_tasks_with_200_keys_cause_200_effects_and_agree_on_every_answer(store: Store):
    keys = [f"k{number}" for number in range(200)]
    effects: Counter[str] = Counter()
    seen: dict[str, set[int]] = {key: set() for key in keys}

    async def one(ledger: Ledger, task: int):
        for key in keys[task * 7 :] + keys[: task * 7]:
            async with once(ledger, key) as turn:
                if not turn.replayed:
                    effects[key] += 1
                    await turn.finish(task)
                seen[key].add(task if not turn.replayed else turn.answer)

    async def work():
        ledger = Ledger(store, wait_s=60)
        async with anyio.create_task_group() as tasks:
            for task in range(8):
                tasks.start_soon(one, ledger, task)

    with_limit(work, 120)
    assert effects == dict.fromkeys(keys, 1)
    assert all(len(answers) == 1 for answers in seen.values())


def test_8_threads_with_a_loop_each_cause_one_effect_a_key(store: Store):
    effects: list[int] = []

    async def work():
        ledger = Ledger(store, wait_s=60)
        for number in range(25):
            async with once(ledger, f"k{number}") as turn:
                if not turn.replayed:
                    effects.append(number)
                    await turn.finish(number)
                else:
                    assert turn.answer == number

    threads = [threading.Thread(target=anyio.run, args=(work,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(effects) == list(range(25))


# -- outcomes nobody knows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [once, yes])
def test_an_interrupted_call_is_not_repeated_and_the_retry_is_told_to_look_first(store: Store, way: Callable[..., Any]):
    async def work():
        ledger = Ledger(store)
        await interrupted(ledger, way)
        for _ in range(2):
            failure = await told(acted(ledger, way=way))
            assert failure.reason == "ambiguous_outcome"
            assert not failure.may_retry
            assert "Look before" in failure.hint

    with_limit(work)


def test_an_interrupted_call_that_is_safe_to_repeat_is_repeated(store: Store):
    async def work():
        ledger = Ledger(store)
        await interrupted(ledger)
        assert await acted(ledger, "again", safe=True) == (True, "again")
        assert await acted(ledger) == (False, "again")

    with_limit(work)


@pytest.mark.parametrize("how", [TimedOut("late"), Unavailable("gone"), ValueError("bug")])
def test_a_failure_that_leaves_the_effect_open_leaves_the_outcome_open(store: Store, how: Exception):
    async def work():
        ledger = Ledger(store)
        with pytest.raises(type(how)):
            async with once(ledger):
                raise how
        assert (await told(acted(ledger))).reason == "ambiguous_outcome"

    with_limit(work)


def test_a_block_that_forgets_to_finish_leaves_the_outcome_open(store: Store):
    async def work():
        ledger = Ledger(store)
        async with once(ledger):
            pass
        assert (await told(acted(ledger))).reason == "ambiguous_outcome"

    with_limit(work)


def test_a_cancelled_call_leaves_the_outcome_open(store: Store):
    async def work():
        ledger = Ledger(store)
        with anyio.move_on_after(0.05):
            async with once(ledger):
                await anyio.sleep_forever()
        assert (await told(acted(ledger))).reason == "ambiguous_outcome"

    with_limit(work)


def test_a_call_cancelled_before_its_block_began_leaves_nothing(store: Store):
    async def work():
        ledger = Ledger(store)
        with anyio.CancelScope() as scope:
            scope.cancel()
            async with once(ledger):
                raise AssertionError("it was cancelled")
        assert await acted(ledger) == (True, "done")

    with_limit(work)


class CancelsAt(MemoryStore):
    """A store during whose n-th operation the caller goes away."""

    def __init__(self, number: int, scope: anyio.CancelScope) -> None:
        super().__init__()
        self.left = number
        self.scope = scope

    async def get(self, key: str) -> bytes | None:
        await self.count()
        return await super().get(key)

    async def add(self, key: str, value: bytes, *, ttl_s: float, durable: bool = False) -> bytes | None:
        present = await super().add(key, value, ttl_s=ttl_s, durable=durable)
        await self.count()
        return present

    async def count(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.scope.cancel()
        await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_call_cancelled_while_it_was_being_entered_did_nothing_and_may_be_repeated(number: int):
    async def work():
        scope = anyio.CancelScope()
        store = CancelsAt(number, scope)
        with scope:
            async with once(Ledger(store)):
                raise AssertionError("it was cancelled")
        assert scope.cancelled_caught
        assert await acted(Ledger(store, **QUICK)) == (True, "done")

    with_limit(work)


def test_a_process_that_stands_still_is_overtaken_only_where_that_is_safe_and_its_answer_does_not_win():
    clock = Clock()
    store = MemoryStore(clock=clock)

    async def work():
        ledger = Ledger(store, lease_s=100, wait_s=0)
        async with once(ledger) as stalled:
            clock.now += 101
            assert (await told(acted(ledger))).reason == "ambiguous_outcome"
            assert await acted(ledger, "second", safe=True) == (True, "second")
            assert not await stalled.finish("first")
            assert not stalled.kept
        assert await acted(ledger) == (False, "second")

    with_limit(work)


def test_a_process_that_only_stood_still_and_finishes_is_believed():
    clock = Clock()
    store = MemoryStore(clock=clock)

    async def work():
        ledger = Ledger(store, lease_s=100, wait_s=0)
        async with once(ledger) as stalled:
            clock.now += 101
            assert (await told(acted(ledger))).reason == "ambiguous_outcome"
            assert await stalled.finish("first")
        assert await acted(ledger) == (False, "first")

    with_limit(work)


def test_a_long_call_keeps_its_lease_and_gets_it_back_after_standing_still():
    clock = Clock()
    store = MemoryStore(clock=clock)

    async def work():
        async with once(Ledger(store, lease_s=0.3)) as turn:
            for step in (0.2, 0.2, 0.2, 0.5):
                clock.now += step
                with anyio.fail_after(10):
                    while not await renewed():  # noqa: ASYNC110 - a renewal tells nobody
                        await anyio.sleep(0.01)
                assert (await told(acted(Ledger(store, wait_s=0)))).reason == "in_progress"
            await turn.finish("late")
        assert await store.scan("lease/", limit=1) == []
        assert await acted(Ledger(store)) == (False, "late")

    async def renewed() -> bool:
        return any(store.entries[name][1] > clock.now + 0.29 for name, _ in await store.scan("lease/", limit=2))

    with_limit(work)


class Interposed(MemoryStore):
    """A store in which something happens just before a lease is looked up."""

    before_lease: Callable[[], Awaitable[Any]] | None = None

    async def get(self, key: str) -> bytes | None:
        act = self.before_lease
        if act is not None and key.startswith("lease/"):
            self.before_lease = None
            await act()
        return await super().get(key)


def test_an_answer_that_comes_between_two_looks_is_not_taken_for_an_interrupted_call():
    async def work():
        store = Interposed()
        ledger = Ledger(store)
        manager = once(ledger)
        turn = await manager.__aenter__()

        async def end():
            await turn.finish("first")
            await manager.__aexit__(None, None, None)

        store.before_lease = end
        assert await acted(ledger) == (False, "first")

    with_limit(work)


class Recording(MemoryStore):
    """A store that remembers what was to be durable, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.durably: list[str] = []

    async def add(self, key: str, value: bytes, *, ttl_s: float, durable: bool = False) -> bytes | None:
        self.durably += [f"add {key.partition('/')[0]}"] if durable else []
        return await super().add(key, value, ttl_s=ttl_s, durable=durable)

    async def swap(self, key: str, old: bytes, new: bytes, *, ttl_s: float, durable: bool = False) -> bool:
        self.durably += [f"swap {key.partition('/')[0]}"] if durable else []
        return await super().swap(key, old, new, ttl_s=ttl_s, durable=durable)


@pytest.mark.parametrize(("way", "place"), [(once, "once"), (yes, "used")])
def test_the_entry_is_durable_before_the_effect_and_the_answer_before_it_leaves(way: Callable[..., Any], place: str):
    async def work():
        store = Recording()
        async with way(Ledger(store)) as turn:
            assert store.durably == [f"add {place}"]
            await turn.finish("done")
            assert store.durably == [f"add {place}", f"swap {place}"]
        store.durably.clear()
        await interrupted(Ledger(store), key="other")
        assert await acted(Ledger(store), "again", key="other", safe=True) == (True, "again")
        assert store.durably == ["add once", "swap once", "swap once"]

    with_limit(work)


# -- nothing was done -------------------------------------------------------------------------------------------------


def test_a_failure_that_says_nothing_was_done_frees_the_key_also_for_better_arguments(store: Store):
    async def work():
        ledger = Ledger(store)
        with pytest.raises(Stale):
            async with once(ledger):
                raise Stale("changed")
        assert await acted(ledger, "better", digest="other") == (True, "better")

    with_limit(work)


def test_a_released_turn_frees_the_key(store: Store):
    async def work():
        ledger = Ledger(store)
        async with once(ledger) as turn:
            await turn.release()
        assert await acted(ledger) == (True, "done")

    with_limit(work)


def test_a_failure_after_the_finish_changes_nothing(store: Store):
    async def work():
        ledger = Ledger(store)
        with pytest.raises(Stale):
            async with once(ledger) as turn:
                await turn.finish("done")
                raise Stale("too late")
        assert await acted(ledger) == (False, "done")

    with_limit(work)


# -- bounds -----------------------------------------------------------------------------------------------------------


def test_an_answer_that_is_too_large_is_not_kept_and_the_effect_not_repeated(store: Store):
    async def work():
        ledger = Ledger(store, max_answer_bytes=1_000)
        assert await acted(ledger, "x" * 998) == (True, "x" * 998)
        assert await acted(ledger) == (False, "x" * 998)
        assert await acted(ledger, "x" * 999, key="large") == (True, "x" * 999)
        failure = await told(acted(ledger, key="large"))
        assert failure.reason == "answer_not_kept"
        assert failure.details["bytes"] == 1_001
        assert max(len(value) for _, value in await store.scan("once/", limit=10)) < 1_300

    with_limit(work)


@pytest.mark.parametrize("key", ["", "k" * 201])
def test_a_key_of_no_length_or_of_too_much_is_invalid_and_not_repeated_in_the_answer(store: Store, key: str):
    async def work():
        failure = await told(acted(Ledger(store), key=key))
        assert isinstance(failure, Invalid)
        assert failure.details["field"] == "idempotency_key"
        assert "kkkk" not in str(failure.as_dict())

    with_limit(work)


def test_any_text_is_a_key(store: Store):
    async def work():
        ledger = Ledger(store)
        for key in ("\ud800", "\0", "a/b", "\u00e9", "k" * 200, "'; drop table entries; --"):
            assert (await acted(ledger, key, key=key))[0]
            assert await acted(ledger, key=key) == (False, key)

    with_limit(work)


def test_a_key_is_good_for_a_day_from_its_answer():
    clock = Clock()
    store = MemoryStore(clock=clock)

    async def work():
        ledger = Ledger(store, lease_s=1e6)
        async with once(ledger) as turn:
            clock.now += 3_600
            await turn.finish("old")
        clock.now += 24 * 3_600 - 1
        assert await acted(ledger) == (False, "old")
        clock.now += 1
        assert await acted(ledger, "new", digest="other") == (True, "new")

    with_limit(work)


def test_neither_caller_nor_key_nor_token_is_readable_in_the_names(store: Store):
    async def work():
        ledger = Ledger(store)
        await acted(ledger, 1, key="my-secret-key")
        await acted(ledger, 1, way=yes, token="my-secret-token")
        names = [key for key, _ in await store.scan("", limit=10)]
        assert len(names) == 2
        assert not any(word in name for name in names for word in ("secret", "ann", "acme"))

    with_limit(work)


@pytest.mark.parametrize("one_less", [{"a": 1, "b": [2, {"c": None}]}])
def test_a_fingerprint_is_of_the_meaning_and_not_of_the_order_or_the_key(one_less: dict[str, Any]):
    same = {"idempotency_key": "k", **dict(reversed(list(one_less.items())))}
    assert fingerprint(one_less) == fingerprint(same)
    for other in ({**one_less, "a": 2}, {**one_less, "a": "1"}, {"a": 1}, {**one_less, "d": None}):
        assert fingerprint(other) != fingerprint(one_less)


# -- confirmations ----------------------------------------------------------------------------------------------------


def test_a_yes_is_used_once_and_a_retry_of_the_same_call_gets_the_same_result(store: Store):
    async def work():
        ledger = Ledger(store)
        assert await acted(ledger, ANSWER, way=yes) == (True, ANSWER)
        assert await acted(ledger, way=yes) == (False, ANSWER)

    with_limit(work)


@pytest.mark.parametrize(
    "other", [{"digest": "e"}, {"who": Person("bob")}, {"who": Person("ann", "umbrella")}, {"tool": "u"}]
)
def test_a_yes_replayed_with_other_arguments_or_by_another_is_used_up_and_shows_nothing(
    store: Store, other: dict[str, Any]
):
    async def work():
        ledger = Ledger(store)
        async with yes(ledger) as turn:
            failure = await told(acted(ledger, way=yes, **other))
            assert isinstance(failure, Refused)
            assert failure.reason == "confirmation_used"
            await turn.finish("secret")
        failure = await told(acted(ledger, way=yes, **other))
        assert failure.reason == "confirmation_used"
        assert "secret" not in str(failure.as_dict())
        assert await acted(ledger, way=yes) == (False, "secret")

    with_limit(work)


def test_a_yes_is_spent_by_a_failure_too_and_the_retry_is_told_the_same_failure(store: Store):
    async def work():
        ledger = Ledger(store)
        with pytest.raises(Stale):
            async with yes(ledger):
                raise Stale("The file changed.", hint="Read it again.", details={"etag": "x"})
        failure = await told(acted(ledger, way=yes))
        assert failure.as_dict() == {
            "code": "stale", "message": "The file changed.", "hint": "Read it again.", "retryable": False,
            "details": {"etag": "x"},
        }  # fmt: skip
        assert (await told(acted(ledger, way=yes, digest="e"))).reason == "confirmation_used"

    with_limit(work)


def test_a_yes_that_met_a_busy_server_is_still_good_for_the_same_call_and_no_other(store: Store):
    async def work():
        ledger = Ledger(store)
        with pytest.raises(Busy):
            async with yes(ledger):
                raise Busy("locked")
        assert (await told(acted(ledger, way=yes, digest="e"))).reason == "confirmation_used"
        assert await acted(ledger, "done", way=yes) == (True, "done")
        assert await acted(ledger, way=yes) == (False, "done")

    with_limit(work)


def test_of_many_uses_of_one_yes_at_once_one_acts(store: Store):
    async def work():
        ledger, outcomes = Ledger(store), list[tuple[bool, Any]]()

        async def use(number: int):
            outcomes.append(await acted(ledger, number, way=yes))

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(use, number)
        assert sum(act for act, _ in outcomes) == 1
        assert len({answer for _, answer in outcomes}) == 1

    with_limit(work)


# -- trouble ----------------------------------------------------------------------------------------------------------


class Breaking(MemoryStore):
    """A store that stops working when it is told to."""

    broken = False

    async def get(self, key: str) -> bytes | None:
        self.look()
        return await super().get(key)

    async def add(self, key: str, value: bytes, *, ttl_s: float, durable: bool = False) -> bytes | None:
        self.look()
        return await super().add(key, value, ttl_s=ttl_s, durable=durable)

    async def swap(self, key: str, old: bytes, new: bytes, *, ttl_s: float, durable: bool = False) -> bool:
        self.look()
        return await super().swap(key, old, new, ttl_s=ttl_s, durable=durable)

    async def delete(self, key: str, *, only: bytes | None = None) -> bool:
        self.look()
        return await super().delete(key, only=only)

    def look(self) -> None:
        if self.broken:
            raise Unavailable("broken", code="store_unavailable", hint="later")


def test_without_its_store_nothing_is_begun():
    async def work():
        store = Breaking()
        store.broken = True
        assert (await told(acted(Ledger(store)))).reason == "store_unavailable"

    with_limit(work)


def test_an_effect_whose_answer_could_not_be_kept_still_answers_is_logged_and_is_never_repeated(
    caplog: pytest.LogCaptureFixture,
):
    clock = Clock()

    async def work():
        store = Breaking(clock=clock)
        ledger = Ledger(store, wait_s=0, lease_s=1_000)
        async with once(ledger) as turn:
            store.broken = True
            assert not await turn.finish("done")
            assert not turn.kept
        store.broken = False
        assert (await told(acted(ledger))).reason == "in_progress"
        clock.now += 1_000
        assert (await told(acted(ledger))).reason == "ambiguous_outcome"

    with_limit(work)
    assert any("could not be brought up to date" in record.message for record in caplog.records)


@pytest.mark.parametrize("junk", [b"", b"not json", b"[]", b'{"state":"gone"}', b'{"state":"done","fingerprint":1}'])
def test_an_entry_that_cannot_be_read_is_trouble_and_not_an_empty_place(junk: bytes):
    async def work():
        store = MemoryStore()
        ledger = Ledger(store)
        await acted(ledger)
        ((name, value),) = await store.scan("once/", limit=1)
        await store.swap(name, value, junk, ttl_s=60)
        assert (await told(acted(ledger))).reason == "store_unavailable"

    with_limit(work)


def test_a_turn_ends_once():
    async def work():
        ledger = Ledger(MemoryStore())
        async with once(ledger) as turn:
            assert await turn.finish("first")
            assert await turn.finish("second")
            await turn.release()
        assert await acted(ledger) == (False, "first")

    with_limit(work)


def test_a_replayed_turn_cannot_change_what_is_kept():
    async def work():
        ledger = Ledger(MemoryStore())
        await acted(ledger, "first")
        async with once(ledger) as turn:
            assert isinstance(turn, Turn)
            await turn.finish("second")
            await turn.release()
        assert await acted(ledger) == (False, "first")

    with_limit(work)


def with_limit(work: Callable[[], Awaitable[None]], seconds: float = 30) -> None:
    async def bounded():
        with anyio.fail_after(seconds):
            await work()

    anyio.run(bounded)
