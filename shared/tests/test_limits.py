"""Windows, budgets, repeats and seats, with a clock of their own."""

from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_bulkhead.errors import Busy, Later, RateLimited, Spent
from mcp_bulkhead.pipeline.call import Call, Caller
from mcp_bulkhead.pipeline.limits import MAX_CALLERS, MAX_WAITING, Bounds, Limits, Seats, Window
from mcp_bulkhead.testing.requirements import requirement


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def call_by(caller: str = "me", method: str = "resources/read", session: str | None = None) -> Call:
    return Call(method, "x", {}, Caller(caller, "tenant", session=session), "2026-07-28", "memory")


def bounds_of(given: dict[str, Any]) -> Bounds:
    usual: dict[str, Any] = {"per_minute": None, **given}
    return Bounds(**usual)


def wait_of(refused: Later | Spent) -> float:
    assert refused.retry_after_s is not None
    return refused.retry_after_s


def limits(**bounds: int) -> tuple[Limits, Clock]:
    clock = Clock()
    return Limits(bounds_of(bounds), clock), clock


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 5)), max_size=40))
def test_a_window_holds_what_was_added_in_its_length(steps: list[tuple[float, int]]):
    window, now = Window(60.0), 0.0
    all_added: list[tuple[float, int]] = []
    for wait, amount in steps:
        now += wait
        window.drop_old(now)
        window.add(amount, now)
        all_added.append((now, amount))
        assert window.total == sum(many for when, many in all_added if when > now - 60.0)


@given(st.integers(1, 10), st.lists(st.floats(0, 20), min_size=1, max_size=60))
def test_no_minute_holds_more_than_the_limit(limit: int, waits: list[float]):
    control, clock = limits(per_minute=limit)
    admitted: list[float] = []
    for wait in waits:
        clock.now += wait
        try:
            control.admit(call_by(), 1)
        except RateLimited as refused:
            assert 0 <= wait_of(refused) <= 60.001
        else:
            admitted.append(clock.now)
    assert all(sum(1 for when in admitted if end - 60 < when <= end) <= limit for end in admitted)


def test_after_the_time_it_names_a_call_is_let_in():
    control, clock = limits(per_minute=2)
    for _ in range(2):
        control.admit(call_by(), 1)
        clock.now += 7
    with pytest.raises(RateLimited) as refused:
        control.admit(call_by(), 1)
    clock.now += wait_of(refused.value)
    control.admit(call_by(), 1)


def test_callers_methods_and_sessions_have_windows_of_their_own():
    control, _ = limits(per_minute=1)
    control.admit(call_by("me"), 1)
    control.admit(call_by("you"), 1)
    control.admit(call_by("me", "prompts/get"), 1)
    with pytest.raises(RateLimited):
        control.admit(call_by("me"), 1)


@requirement("LIMIT-6")
@pytest.mark.parametrize("bounds", [{"cost_per_hour": 10}, {"calls_per_hour": 2}])
def test_a_budget_binds_and_frees_itself_after_an_hour(bounds: dict[str, int]):
    control, clock = limits(**bounds)
    control.admit(call_by(), 5)
    clock.now += 600
    control.admit(call_by(), 5)
    with pytest.raises(Spent) as spent:
        control.admit(call_by(), 5)
    assert spent.value.may_retry
    assert spent.value.retry_after_s == pytest.approx(3_000)
    clock.now += wait_of(spent.value)
    control.admit(call_by(), 5)


@requirement("LIMIT-6")
def test_bytes_are_booked_when_they_were_sent():
    control, clock = limits(bytes_per_hour=100)
    call = call_by()
    control.admit(call, 1)
    call.bytes_out = 150
    control.settle(call)
    with pytest.raises(Spent):
        control.admit(call_by(), 1)
    clock.now += 3_601
    control.admit(call_by(), 1)


def test_a_refused_call_costs_nothing_of_the_budgets():
    control, _ = limits(cost_per_hour=10, calls_per_hour=100)
    control.admit(call_by(), 8)
    for _ in range(5):
        with pytest.raises(Spent):
            control.admit(call_by(), 8)
    control.admit(call_by(), 2)


def test_the_account_used_longest_ago_is_forgotten_first():
    control, _ = limits(per_minute=1)
    for number in range(MAX_CALLERS + 1):
        control.admit(call_by(str(number)), 1)
    assert len(control.accounts) == MAX_CALLERS
    control.admit(call_by("0"), 1)


def test_a_third_identical_answer_is_told_so_and_any_change_starts_anew():
    control, _ = limits()
    for answer in ("a", "a", "b", "b", "a"):
        control.repeated(call_by(), "same", answer)
    control.repeated(call_by(), "same", "a")
    with pytest.raises(Spent) as told:
        control.repeated(call_by(), "same", "a")
    assert told.value.reason == "unchanged_repeat"
    control.repeated(call_by(), "other", "a")
    control.repeated(call_by(), "same", "a")
    control.forget_reads(call_by())
    control.repeated(call_by(), "same", "a")


@requirement("LIMIT-4")
@given(st.integers(1, 4), st.integers(1, 4), st.lists(st.sampled_from("abc"), max_size=24))
def test_seats_never_hold_more_than_allowed_and_are_all_free_in_the_end(total: int, each: int, callers: list[str]):
    async def work() -> None:
        seats, most = Seats(total, each), {"all": 0, "one": 0}

        async def one(caller: str) -> None:
            async with seats.seat(call_by(caller)):
                most["all"] = max(most["all"], seats.taken)
                most["one"] = max(most["one"], *seats.by_caller.values())
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as tasks:
            for caller in callers:
                tasks.start_soon(one, caller)
        assert most["all"] <= total
        assert most["one"] <= each
        assert (seats.taken, seats.by_caller, seats.waiting) == (0, {}, 0)

    anyio.run(work)


@requirement("LIMIT-4")
def test_when_too_many_wait_already_a_call_is_busy_at_once():
    async def work() -> None:
        seats = Seats(1, 1)

        async def wait() -> None:
            with pytest.raises(Busy):
                async with seats.seat(call_by()):
                    raise AssertionError("there is no seat")

        async with seats.seat(call_by()), anyio.create_task_group() as tasks:
            for _ in range(MAX_WAITING):
                tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            with anyio.fail_after(0.5), pytest.raises(Busy) as busy:
                async with seats.seat(call_by()):
                    raise AssertionError("there is no seat")
            assert busy.value.retry_after_s

    anyio.run(work)


def test_where_there_are_no_sessions_the_steps_of_the_last_hour_count():
    limited, clock = limits(steps_per_session=2)
    modern = Call("tools/call", "x", {}, Caller("me", "tenant"), "2026-07-28", "tcp")
    limited.admit(modern, 1)
    limited.admit(modern, 1)
    with pytest.raises(Spent):
        limited.admit(modern, 1)
    clock.now += 3_601
    limited.admit(modern, 1)


def test_a_session_keeps_its_steps_however_long_it_lasts():
    limited, clock = limits(steps_per_session=1)
    limited.admit(call_by(session="s"), 1)
    clock.now += 10_000
    with pytest.raises(Spent):
        limited.admit(call_by(session="s"), 1)
