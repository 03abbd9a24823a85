"""The ledger against a model of it, through calls that end, fail, break off, stand still and come again."""

import asyncio
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from mcp_bulkhead.errors import Busy, Failure, Stale
from mcp_bulkhead.state.ledger import Ledger, Turn
from mcp_bulkhead.state.store import MemoryStore

LEASE = 5_000.0
"""In seconds of the store's clock; the real clock never gets there, so nothing renews a lease but the model's rules."""
TTL = 20_000.0
LIMIT = 50
WAYS = st.sampled_from(["once", "consume"])
CALLERS = st.sampled_from(["ann", "bob"])
KEYS = st.sampled_from(["k1", "k2"])
PRINTS = st.sampled_from(["d1", "d2"])


@dataclass(frozen=True)
class Caller:
    id: str
    tenant: str = "acme"


@dataclass(eq=False)
class Running:
    """A block that is being executed."""

    manager: Any
    turn: Turn
    place: tuple[str, ...]
    lease_ends: float


@dataclass
class Expected:
    """What the ledger should know of one call."""

    bound: tuple[str, ...]
    state: str
    ends: float
    owner: Running | None = None
    answer: Any = None


class LedgerModel(RuleBasedStateMachine):
    blocks: Bundle[Running | None] = Bundle("blocks")

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0
        self.runner = asyncio.Runner()
        self.store = MemoryStore(clock=lambda: self.now)
        self.ledger = Ledger(self.store, ttl_s=TTL, lease_s=LEASE, wait_s=0, max_answer_bytes=LIMIT)
        self.expected: dict[tuple[str, ...], Expected] = {}
        self.abandoned: list[Running] = []

    def living(self, place: tuple[str, ...]) -> Expected | None:
        found = self.expected.get(place)
        return found if found is not None and found.ends > self.now else None

    def outcome(self, found: Expected | None, bound: tuple[str, ...], way: str, *, safe: bool) -> Any:
        if found is None:
            return "act"
        if found.bound != bound:
            return "idempotency_conflict" if way == "once" else "confirmation_used"
        if found.state in ("done", "failed"):
            return found.answer
        if found.state == "free":
            return "act"
        assert found.owner is not None
        if found.owner.lease_ends > self.now:
            return "in_progress"
        return "act" if safe and way == "once" else "ambiguous_outcome"

    @rule(target=blocks, way=WAYS, caller=CALLERS, key=KEYS, digest=PRINTS, safe=st.booleans())
    def call(self, way: str, caller: str, key: str, digest: str, safe: bool) -> Running | None:
        place = (way, caller, key) if way == "once" else (way, key)
        bound = (digest,) if way == "once" else (caller, digest)
        expected = self.outcome(self.living(place), bound, way, safe=safe)
        if way == "once":
            manager = self.ledger.once(Caller(caller), "t", key, digest, safe_to_repeat=safe)
        else:
            manager = self.ledger.consume(Caller(caller), "t", key, digest)
        try:
            turn = self.runner.run(manager.__aenter__())
        except Failure as failure:
            assert failure.reason == expected
            return None
        if turn.replayed:
            assert turn.answer == expected
            self.runner.run(manager.__aexit__(None, None, None))
            return None
        assert expected == "act"
        block = Running(manager, turn, place, self.now + LEASE)
        self.expected[place] = Expected(bound, "running", self.now + TTL, block)
        return block

    def mine(self, block: Running) -> Expected | None:
        found = self.living(block.place)
        return found if found is not None and found.state == "running" and found.owner is block else None

    def leave(self, block: Running, error: BaseException | None = None) -> None:
        told = (None, None, None) if error is None else (type(error), error, error.__traceback__)
        try:
            assert not self.runner.run(block.manager.__aexit__(*told))
        except (Failure, RuntimeError) as raised:
            assert raised is error
        block.lease_ends = 0

    @rule(
        block=consumes(blocks), answer=st.sampled_from(["small", "x" * (LIMIT - 2), "x" * (LIMIT - 1), None, {"a": 1}])
    )
    def finish(self, block: Running | None, answer: Any) -> None:
        if block is None:
            return
        found = self.mine(block)
        assert self.runner.run(block.turn.finish(answer)) == (found is not None)
        if found is not None:
            found.state, found.ends = "done", self.now + TTL
            found.answer = "answer_not_kept" if answer == "x" * (LIMIT - 1) else answer
        self.leave(block)

    @rule(block=consumes(blocks), passing=st.booleans())
    def fail_without_acting(self, block: Running | None, passing: bool) -> None:
        if block is None:
            return
        if (found := self.mine(block)) is not None:
            if block.place[0] == "once":
                del self.expected[block.place]
            else:
                found.state, found.ends = ("free" if passing else "failed"), self.now + TTL
                found.answer = "stale"
        self.leave(block, Busy("not now", hint="later") if passing else Stale("changed", hint="read it"))

    @rule(block=consumes(blocks))
    def break_off(self, block: Running | None) -> None:
        if block is not None:
            self.leave(block, RuntimeError("in the middle"))

    @rule(block=consumes(blocks))
    def die(self, block: Running | None) -> None:
        """Nothing is told to the ledger any more: its lease runs out by itself."""
        if block is not None:
            self.abandoned.append(block)

    @rule(seconds=st.sampled_from([1.0, LEASE - 1, LEASE, TTL - 1, TTL]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def it_keeps_what_the_model_keeps_and_nothing_else(self) -> None:
        entries = self.runner.run(self.store.scan("once/", limit=99)) + self.runner.run(
            self.store.scan("used/", limit=99)
        )
        assert len(entries) == sum(self.living(place) is not None for place in self.expected)
        assert all(len(value) < 300 for _, value in entries)

    def teardown(self) -> None:
        for task in asyncio.all_tasks(self.runner.get_loop()):
            task.cancel()
        for block in self.abandoned:
            self.leave(block, RuntimeError("in the middle"))
        self.runner.close()


LedgerModel.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
test_no_course_of_calls_tells_the_ledger_from_its_model = LedgerModel.TestCase
