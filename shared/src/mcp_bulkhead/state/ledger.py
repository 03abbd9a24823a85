"""What was already done: a repeated call gets the answer of the first one, and no second effect.

    async with ledger.once(caller, "fs_write", key, fingerprint(arguments)) as turn:
        if turn.replayed:
            return turn.answer
        answer = await act()
        await turn.finish(answer)

An entry is on disk before the effect. Beside it stands a lease, which the acting process renews: an entry without one
is of a process that died (or stood still) in between, and nobody can say whether the effect happened. A retry is told
so, unless the operation is safe to repeat. Nothing needs two names changed at once: the lease comes before the entry
and goes after the answer, so that dying at any step leaves an entry that is too careful, never one that is wrong.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import Any, Final, NamedTuple

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from ..errors import (
    Busy,
    Conflict,
    Failure,
    Invalid,
    Missing,
    RateLimited,
    Refused,
    Spent,
    Stale,
    TooLarge,
    Unavailable,
    Unsupported,
)
from .entries import Record, State, digest_of, open_record, seal_record
from .owner import Owner, digest, owned
from .retelling import ambiguous, confirmation_used, in_progress, other_arguments, replay
from .store import Store

DAY_S: Final = 24 * 3600.0
LEASE_S: Final = 5.0
WAIT_S: Final = 10.0
FINISH_S: Final = 10.0
FIRST_PAUSE_S: Final = 0.005
LONGEST_PAUSE_S: Final = 0.2
MAX_ANSWER_BYTES: Final = 64 << 10
MAX_KEY_CHARS: Final = 200
NOTHING_DONE: Final = (Busy, Conflict, Invalid, Missing, RateLimited, Refused, Spent, Stale, TooLarge, Unsupported)
"""A handler that fails so says that it did not act. After a timeout, a crash or a broken connection nobody knows."""
PASSING: Final = (Busy, RateLimited)
log = logging.getLogger("mcp_bulkhead.state")


def fingerprint(arguments: Mapping[str, Any], *, leaving_out: frozenset[str] = frozenset({"idempotency_key"})) -> str:
    """What makes two calls the same call: the arguments as validated, without those that only name the call."""
    return digest_of({key: value for key, value in arguments.items() if key not in leaving_out})


class Entry(NamedTuple):
    """One line of the ledger, as a call asks for it."""

    key: str
    fingerprint: str
    confirmation: bool = False
    """A person's yes: spent by a failure too, and bound to its arguments for good."""
    safe_to_repeat: bool = False


class Turn:
    """The right to act, once, or the answer of the call that acted before."""

    def __init__(self, ledger: "Ledger", entry: Entry, *, mine: bytes | None, answer: Any = None) -> None:
        self.replayed = mine is None
        self.answer = answer
        self.kept = False
        """Whether the answer is in the ledger. Without it a retry is told `ambiguous_outcome`, and does not act."""
        self.entry = entry
        self._ledger = ledger
        self._mine = mine

    async def finish(self, answer: Any) -> bool:
        """Keep the answer (any JSON value) for a retry. The effect has happened: trouble is logged, not raised."""
        return await self._close("done", answer)

    async def release(self) -> None:
        """Nothing was done: the key, or the person's yes, is free again for the same call."""
        if self.entry.confirmation:
            await self._close("free")
        elif self._mine is not None:
            mine, self._mine = self._mine, None
            await self._ledger.quietly(self._ledger.store.delete(self.entry.key, only=mine))

    async def fell_through(self, failure: Failure) -> None:
        """The handler failed without acting."""
        if self.entry.confirmation and not isinstance(failure, PASSING):
            await self._close("failed", {**failure.as_dict(), "retryable": False})
        else:
            await self.release()

    async def _close(self, state: State, answer: Any = None) -> bool:
        if self._mine is None:
            return self.kept
        sealed = seal_record(state, self.entry.fingerprint, answer=answer, limit=self._ledger.max_answer_bytes)
        mine, self._mine = self._mine, None
        store, ttl_s = self._ledger.store, self._ledger.ttl_s
        kept = await self._ledger.quietly(store.swap(self.entry.key, mine, sealed, ttl_s=ttl_s, durable=True))
        self.kept = kept is True
        if kept is False:
            log.error("an operation outlived its lease and was repeated; its own answer is not kept")
        return self.kept


class Ledger:
    """Idempotency keys and used confirmations of one server, for all its workers that share the store."""

    def __init__(
        self,
        store: Store,
        *,
        ttl_s: float = DAY_S,
        lease_s: float = LEASE_S,
        wait_s: float = WAIT_S,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        self.store = store
        self.ttl_s = ttl_s
        self.lease_s = lease_s
        self.wait_s = wait_s
        self.max_answer_bytes = max_answer_bytes

    @asynccontextmanager
    async def once(
        self, caller: Owner, tool: str, key: str, fingerprint: str, *, safe_to_repeat: bool = False
    ) -> AsyncGenerator[Turn]:
        """Run the block once per `key` of this caller and tool.

        A block that ends without `finish` leaves an unknown outcome, unless it fails with a failure that says nothing
        was done. `safe_to_repeat`: doing it twice is the same as once, so an unknown outcome is no obstacle.
        """
        if not 0 < len(key) <= MAX_KEY_CHARS:
            raise Invalid(
                f"An idempotency key has 1 to {MAX_KEY_CHARS} characters.",
                field="idempotency_key",
                hint="Use any text that is new for each intended effect, such as a UUID.",
            )
        entry = Entry("once/" + owned(caller, tool, key), fingerprint, safe_to_repeat=safe_to_repeat)
        async with self._turn(entry) as turn:
            yield turn

    @asynccontextmanager
    async def consume(self, caller: Owner, tool: str, token_digest: str, fingerprint: str) -> AsyncGenerator[Turn]:
        """Run the block for a person's yes, which is good for one use: by this caller, for this very call.

        The token names the entry, whoever brings it: in other hands it is used up too, and shows nothing.
        A retry of the same call gets what the first one got, also its failure.
        """
        bound = digest(owned(caller, tool), fingerprint)
        async with self._turn(Entry("used/" + digest(token_digest), bound, confirmation=True)) as turn:
            yield turn

    # -- beginning ----------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _turn(self, entry: Entry) -> AsyncGenerator[Turn]:
        turn, lease = await self._begin(entry)
        if lease is None:
            yield turn
            return
        async with self._leased(lease):
            try:
                await checkpoint_if_cancelled()
            except anyio.get_cancelled_exc_class():
                await turn.release()
                raise
            try:
                yield turn
            except NOTHING_DONE as failure:
                await turn.fell_through(failure)
                raise

    async def _begin(self, entry: Entry) -> tuple[Turn, str | None]:
        deadline, pause = time.monotonic() + self.wait_s, FIRST_PAUSE_S
        while True:
            found = await self.store.get(entry.key)
            record = None if found is None else self._same_call(found, entry)
            if record is None or record.state == "free":
                if claim := await self._claim(entry, found):
                    return claim
            elif record.state != "running":
                return Turn(self, entry, mine=None, answer=replay(record)), None
            elif await self.store.get(lease_name(record.turn)) is None:
                # Looked up after the entry, and the entry again: an answer may have come in between.
                if found == await self.store.get(entry.key) and (claim := await self._take_over(entry, found)):
                    return claim
            elif time.monotonic() >= deadline:
                raise in_progress(self.wait_s)
            else:
                await anyio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)

    def _same_call(self, found: bytes, entry: Entry) -> Record:
        record = open_record(found)
        if record.fingerprint == entry.fingerprint:
            return record
        raise confirmation_used() if entry.confirmation else other_arguments()

    async def _take_over(self, entry: Entry, found: bytes | None) -> tuple[Turn, str] | None:
        if not entry.safe_to_repeat:
            raise ambiguous(confirmation=entry.confirmation)
        return await self._claim(entry, found)

    async def _claim(self, entry: Entry, found: bytes | None) -> tuple[Turn, str] | None:
        """Put our entry where `found` is; None when somebody was quicker. Shielded: half a claim helps nobody."""
        turn = token_hex(16)
        mine = seal_record("running", entry.fingerprint, turn=turn)
        won = False
        with anyio.CancelScope(shield=True):
            await self.store.add(lease_name(turn), b"1", ttl_s=self.lease_s)
            if found is None:
                won = await self.store.add(entry.key, mine, ttl_s=self.ttl_s, durable=True) is None
            else:
                won = await self.store.swap(entry.key, found, mine, ttl_s=self.ttl_s, durable=True)
        return (Turn(self, entry, mine=mine), lease_name(turn)) if won else None

    # -- while it runs ------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _leased(self, lease: str) -> AsyncGenerator[None]:
        beat = asyncio.create_task(self._renew(lease), name="ledger-lease")
        try:
            yield
        finally:
            beat.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait({beat})
            await self.quietly(self.store.delete(lease))

    async def _renew(self, lease: str) -> None:
        while True:
            await asyncio.sleep(self.lease_s / 3)
            if await self.quietly(self.store.touch(lease, ttl_s=self.lease_s)) is False:
                await self.quietly(self.store.add(lease, b"1", ttl_s=self.lease_s))

    async def quietly(self, operation: Awaitable[Any]) -> Any:
        """What is done after the effect: it must not turn a success into an error. None when it could not be done."""
        with anyio.move_on_after(FINISH_S, shield=True):
            try:
                return await operation
            except Unavailable:
                log.exception("the ledger could not be brought up to date; a retry is told that the outcome is unknown")
                return None
        log.error("the ledger could not be brought up to date within %g seconds", FINISH_S)
        return None


def lease_name(turn: str) -> str:
    return f"lease/{turn}"
