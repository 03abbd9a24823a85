"""Handles on living things (a browser context, a cursor in a database): kept in this process, closed in any case.

    tabs = LiveHandles("tab", key, close=Tab.close, per_caller=4)
    handle = await tabs.open(caller, make_tab, ttl_s=600)
    async with tabs.use(caller, handle) as tab: ...

What must outlive the process, or be seen by several workers, is a value and not a thing: `stored_handles.py`.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import anyio

from ..errors import Busy, Spent, Unavailable
from .handle_tokens import HandleTokens, expired
from .owner import Owner, owned

T = TypeVar("T")
CLOSE_S: Final = 5.0
SWEEP_EVERY_S: Final = 5.0
log = logging.getLogger("mcp_bulkhead.state")


@dataclass(eq=False, slots=True)
class Held(Generic[T]):
    """One living thing, and how long it may stay so."""

    holder: str
    value: T
    ttl_s: float
    sliding: bool
    ends_at: float
    users: int = 0
    closing: bool = False


class LiveHandles(Generic[T]):
    """The handles of one kind. Each is good for the caller it was made for, until its time is over.

    The time is fixed, or counted anew from the end of each use. Nothing is closed under a caller that uses it, but at
    `shutdown`. `close` is awaited once for every thing, for at most `close_s`; it may fail, which is logged.
    """

    def __init__(
        self,
        kind: str,
        key: bytes,
        *,
        close: Callable[[T], Awaitable[None]] | None = None,
        per_caller: int = 8,
        at_most: int = 256,
        close_s: float = CLOSE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tokens = HandleTokens(kind, key)
        self.per_caller = per_caller
        self.at_most = at_most
        self.close_s = close_s
        self.clock = clock
        self.held: dict[str, Held[T]] = {}
        self.ended: set[Held[T]] = set()
        """No longer to be had, but still in use."""
        self.opening: Counter[str] = Counter()
        self.closing: set[asyncio.Task[None]] = set()
        self.over = False
        self._close_value = close

    @property
    def kind(self) -> str:
        return self.tokens.kind

    @property
    def live(self) -> int:
        """How many things are alive or being made, for a gauge."""
        return len(self.held) + len(self.ended) + self.opening.total()

    def held_by(self, owner: Owner) -> int:
        holder = owned(owner)
        alive = (*self.held.values(), *self.ended)
        return sum(held.holder == holder for held in alive) + self.opening[holder]

    async def open(self, owner: Owner, make: Callable[[], Awaitable[T]], *, ttl_s: float, sliding: bool = True) -> str:
        """Make a thing and a handle on it. Its place is taken before it is made: quotas hold for calls at once too."""
        holder = owned(owner)
        if self.held_by(owner) >= self.per_caller or self.live >= self.at_most:
            await self.sweep()
            await self._closings()  # another call's sweep may be at it
        self._admit(owner)
        self.opening[holder] += 1
        try:
            value = await make()
        finally:
            self.opening[holder] -= 1
            self.opening += Counter()  # forgets callers at zero
        handle, token = self.tokens.make(owner)
        held = Held(holder, value, ttl_s, sliding, self.clock() + ttl_s)
        if self.over:
            await self._close([held])
            raise closing_down()
        self.held[token.name] = held
        return handle

    @asynccontextmanager
    async def use(self, owner: Owner, handle: str) -> AsyncGenerator[T]:
        """The thing behind `handle`, which stays alive while the block runs."""
        name = self.tokens.open(owner, handle).name
        held = self.held.get(name)
        if held is None or self._is_over(held):
            raise expired(self.kind)
        held.users += 1
        try:
            yield held.value
        finally:
            held.users -= 1
            if held.sliding:
                held.ends_at = self.clock() + held.ttl_s
            if held in self.ended and not held.users:
                await self._close([held])

    async def close(self, owner: Owner, handle: str) -> None:
        """Give it back: now, or when its last use ends."""
        name = self.tokens.open(owner, handle).name
        if name not in self.held:
            raise expired(self.kind)
        await self._end([name])

    async def evict(self, owner: Owner | None = None) -> int:
        """End what `owner` (or everybody) holds, by the operator's word; what is in use ends after that use."""
        holder = None if owner is None else owned(owner)
        names = [name for name, held in self.held.items() if holder in (None, held.holder)]
        await self._end(names)
        return len(names)

    async def sweep(self) -> int:
        """Close what has expired; how many that were."""
        names = [name for name, held in self.held.items() if self._is_over(held)]
        await self._end(names)
        return len(names)

    async def keep_sweeping(self, every_s: float = SWEEP_EVERY_S) -> None:
        """For the server's lifespan: what nobody asks for again is closed too. Ends by cancellation."""
        while True:
            await anyio.sleep(every_s)
            await self.sweep()

    async def shutdown(self) -> None:
        """Close everything, in use or not; nothing can be opened any more."""
        self.over = True
        everything = [*self.held.values(), *self.ended]
        self.held.clear()
        await self._close(everything)
        await self._closings()

    # -- ending -------------------------------------------------------------------------------------------------------

    def _admit(self, owner: Owner) -> None:
        if self.over:
            raise closing_down()
        count = self.held_by(owner)
        if count >= self.per_caller:
            raise over_quota(self.kind, owner, count, self.per_caller)
        if self.live >= self.at_most:
            raise Busy(
                f"All {self.at_most} {self.kind} handles of this server are in use.",
                code="handles_exhausted",
                hint="Close those you no longer need, or try again later.",
                retry_after_s=30.0,
            )

    def _is_over(self, held: Held[T]) -> bool:
        """A sliding time stands still during use."""
        return held.ends_at <= self.clock() and not (held.sliding and held.users)

    async def _end(self, names: Iterable[str]) -> None:
        ended = [self.held.pop(name) for name in names if name in self.held]
        self.ended.update(held for held in ended if held.users)
        await self._close([held for held in ended if not held.users])

    async def _close(self, things: Iterable[Held[T]]) -> None:
        """Once each, side by side, and to the end whoever is cancelled meanwhile; until then they count as alive."""
        tasks = {self._start_closing(held) for held in things if not held.closing}
        if not tasks:
            return
        with anyio.CancelScope(shield=True):
            done, late = await asyncio.wait(tasks, timeout=self.close_s)
            for task in done:
                if not task.cancelled() and (error := task.exception()) is not None:
                    log.error("closing a %s failed", self.kind, exc_info=error)
            for task in late:
                task.cancel()
                log.error("closing a %s took longer than %g seconds", self.kind, self.close_s)
            if late:
                await asyncio.wait(late, timeout=self.close_s)

    def _start_closing(self, held: Held[T]) -> "asyncio.Task[None]":
        def forget(task: "asyncio.Task[None]") -> None:
            self.closing.discard(task)
            self.ended.discard(held)

        held.closing = True
        self.ended.add(held)
        task = asyncio.create_task(self._close_one(held.value), name=f"close-{self.kind}")
        self.closing.add(task)
        task.add_done_callback(forget)
        return task

    async def _close_one(self, value: T) -> None:
        if self._close_value is not None:
            await self._close_value(value)

    async def _closings(self) -> None:
        if self.closing:
            await asyncio.wait(self.closing, timeout=self.close_s)


def over_quota(kind: str, owner: Owner, count: int, limit: int) -> Spent:
    return Spent(
        f"{owner.id} holds {count} of {limit} {kind} handles.",
        code="handle_quota",
        hint=f"Close a {kind} handle that is no longer needed, or wait until one expires.",
        details={"caller": owner.id, "held": count, "limit": limit},
    )


def closing_down() -> Unavailable:
    return Unavailable("The server is shutting down.", code="shutting_down", hint="Try again in a moment.")
