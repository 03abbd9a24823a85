"""How often, how much and how many at once: every bound a looping model runs into, with the way out in the refusal."""

import time
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, TypeVar

import anyio

from ..errors import Busy, RateLimited, Spent
from .call import Call

HOUR_S: Final = 3600.0
MINUTE_S: Final = 60.0
FLOOD: Final = 25
"""Requests of all kinds a minute, in multiples of the calls of one kind that are allowed."""
MAX_CALLERS: Final = 4_096
Kept = TypeVar("Kept")
SEAT_WAIT_S: Final = 2.0
MAX_WAITING: Final = 64


@dataclass(slots=True)
class Window:
    """A sliding window of amounts over time."""

    length_s: float
    seen: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])
    total: int = 0

    def drop_old(self, now: float) -> None:
        while self.seen and self.seen[0][0] <= now - self.length_s:
            self.total -= self.seen.popleft()[1]

    def add(self, amount: int, now: float) -> None:
        self.seen.append((now, amount))
        self.total += amount

    def wait_s(self, now: float, needed: float, limit: float) -> float:
        """How long until `needed` more fit under `limit`."""
        excess = self.total + needed - limit
        for when, amount in self.seen:
            excess -= amount
            if excess <= 0:
                return max(0.0, when + self.length_s - now)
        return self.length_s


@dataclass(frozen=True, slots=True)
class Bounds:
    """The operator's numbers; None means no bound."""

    per_minute: int | None = 120
    calls_per_hour: int | None = None
    bytes_per_hour: int | None = None
    cost_per_hour: float | None = None
    steps_per_session: int | None = None
    at_once: int = 16
    at_once_per_caller: int = 4
    repeats: int = 3


@dataclass(slots=True)
class Account:
    """What one caller has used, in all its sessions: a new session is no new budget."""

    rates: dict[str, Window] = field(default_factory=dict[str, Window])
    calls: Window = field(default_factory=lambda: Window(HOUR_S))
    sent: Window = field(default_factory=lambda: Window(HOUR_S))
    cost: Window = field(default_factory=lambda: Window(HOUR_S))
    requests: Window = field(default_factory=lambda: Window(MINUTE_S))


@dataclass(slots=True)
class Course:
    """What happened in one session so far."""

    steps: Window = field(default_factory=lambda: Window(HOUR_S))
    last_read: tuple[str, bytes, int] | None = None


class Limits:
    """Rate windows and budgets per caller, steps and repeats per session; the oldest entries make room."""

    def __init__(self, bounds: Bounds, clock: Callable[[], float] = time.monotonic) -> None:
        self.bounds = bounds
        self.clock = clock
        self.accounts: OrderedDict[str, Account] = OrderedDict()
        self.courses: OrderedDict[str, Course] = OrderedDict()

    def account(self, call: Call) -> Account:
        return remembered(self.accounts, f"{call.caller.tenant}/{call.caller.id}", Account)

    def course(self, call: Call) -> Course:
        return remembered(self.courses, f"{call.caller.tenant}/{call.caller.id}/{call.caller.session or ''}", Course)

    def admit(self, call: Call, cost: int) -> None:
        """Count the call, or refuse it before it costs anything."""
        now, account, bounds = self.clock(), self.account(call), self.bounds
        if bounds.per_minute is not None:
            self.admit_rate(call, account, now, bounds.per_minute)
        for window, limit, needed, what in (
            (account.calls, bounds.calls_per_hour, 1, "calls"),
            (account.sent, bounds.bytes_per_hour, 1, "bytes"),
            (account.cost, bounds.cost_per_hour, cost, "cost units"),
        ):
            if limit is None:
                continue
            window.drop_old(now)
            if window.total + needed > limit:
                raise spent(what, limit, window.wait_s(now, needed, limit))
        course = self.course(call)
        if call.transport == "tcp" and call.caller.session is None:
            course.steps.drop_old(now)  # no session to count over: the last hour stands for it
        if bounds.steps_per_session is not None and course.steps.total >= bounds.steps_per_session:
            raise Spent(
                f"This session has used its {bounds.steps_per_session} steps.",
                hint="Finish with what you have and report to the user; a new session starts a new budget.",
            )
        course.steps.add(1, now)
        account.calls.add(1, now)
        account.cost.add(cost, now)

    def admit_rate(self, call: Call, account: Account, now: float, limit: int) -> None:
        window = account.rates.setdefault(f"{call.method}:{call.tool.name if call.tool else ''}", Window(MINUTE_S))
        window.drop_old(now)
        if window.total >= limit:
            wait = window.wait_s(now, 1, limit)
            raise RateLimited(
                f"More than {limit} calls a minute of this kind.",
                hint="Wait `retry_after_s` seconds, or ask for more in one call.",
                retry_after_s=wait,
            )
        window.add(1, now)

    def floods(self, call: Call) -> bool:
        """Whether this caller sends more requests of any kind, answered or refused, than anybody could mean."""
        if self.bounds.per_minute is None:
            return False
        window, now = self.account(call).requests, self.clock()
        window.drop_old(now)
        if window.total >= self.bounds.per_minute * FLOOD:
            return True
        window.add(1, now)
        return False

    def settle(self, call: Call) -> None:
        """Book what the answer cost."""
        if self.bounds.bytes_per_hour is not None:
            self.account(call).sent.add(call.bytes_out, self.clock())

    def repeated(self, call: Call, arguments: str, answer: str) -> None:
        """Stop a loop: the third identical read in a row with an identical answer is told so instead."""
        if not self.bounds.repeats:
            return
        course = self.course(call)
        same = f"{call.method}:{call.name}:{arguments}"
        digest = blake2b(answer.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        before = course.last_read
        times = before[2] + 1 if before and before[0] == same and before[1] == digest else 1
        course.last_read = (same, digest, times)
        if times >= self.bounds.repeats:
            raise Spent(
                f"This is the same call as before, and nothing has changed since ({times} times now).",
                hint="Use the answer you already have. To watch for a change, wait before asking again; "
                "to see more, change the arguments.",
                code="unchanged_repeat",
            )

    def forget_reads(self, call: Call) -> None:
        """Any other call in between makes the next read a new one."""
        self.course(call).last_read = None


def remembered(table: OrderedDict[str, Kept], who: str, make: Callable[[], Kept]) -> Kept:
    """The entry of `who`, made when there is none; the one used longest ago makes room."""
    found = table.get(who)
    if found is None:
        found = table[who] = make()
        while len(table) > MAX_CALLERS:
            table.popitem(last=False)
    else:
        table.move_to_end(who)
    return found


def spent(what: str, limit: float, wait: float) -> Spent:
    return Spent(
        f"The budget of {limit:g} {what} an hour is used up.",
        hint="Finish with what you have and tell the user; the operator can raise the budget.",
        retryable=True,
        retry_after_s=wait,
    )


class Seats:
    """How many calls work at once. A call waits a moment for a seat; then it is told to come back."""

    def __init__(self, at_once: int, per_caller: int) -> None:
        self.at_once = at_once
        self.per_caller = per_caller
        self.taken = 0
        self.by_caller: dict[str, int] = {}
        self.waiting = 0
        self.freed = anyio.Event()

    @asynccontextmanager
    async def seat(self, call: Call) -> AsyncGenerator[None]:
        who = f"{call.caller.tenant}/{call.caller.id}"
        if not self.try_sit(who):
            await self.wait_for(who)
        try:
            yield
        finally:
            self.stand_up(who)

    def try_sit(self, who: str) -> bool:
        mine = self.by_caller.get(who, 0)
        if self.taken >= self.at_once or mine >= self.per_caller:
            return False
        self.taken += 1
        self.by_caller[who] = mine + 1
        return True

    async def wait_for(self, who: str) -> None:
        if self.waiting >= MAX_WAITING:
            raise busy()
        self.waiting += 1
        try:
            with anyio.move_on_after(SEAT_WAIT_S):
                while True:
                    await self.freed.wait()
                    if self.try_sit(who):
                        return
        finally:
            self.waiting -= 1
        raise busy()

    def stand_up(self, who: str) -> None:
        self.taken -= 1
        left = self.by_caller[who] - 1
        if left:
            self.by_caller[who] = left
        else:
            del self.by_caller[who]
        self.freed.set()
        self.freed = anyio.Event()


def busy() -> Busy:
    return Busy(
        "Too many calls are running at once.",
        hint="Wait for an answer before sending more; call again after `retry_after_s` seconds.",
        retry_after_s=1.0,
    )
