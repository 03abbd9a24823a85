"""Handles against a model of them, through uses that overlap with expiry, eviction and the end."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from mcp_bulkhead.errors import Failure
from mcp_bulkhead.state.handles import LiveHandles

QUOTA = 3
AT_MOST = 5
CALLERS = st.sampled_from(["ann", "bob", "cyd"])


@dataclass(frozen=True)
class Caller:
    id: str
    tenant: str = "acme"


@dataclass(eq=False)
class Thing:
    """What the model knows of one thing."""

    number: int
    caller: str
    ttl_s: float
    sliding: bool
    ends: float
    handle: str = ""
    users: int = 0
    withdrawn: bool = False
    closed: bool = False


@dataclass(eq=False)
class Use:
    thing: Thing
    manager: Any


def nothing() -> Any:
    """For a rule that made nothing."""
    none: Any = multiple
    return none()


class HandlesModel(RuleBasedStateMachine):
    things: Bundle[Thing] = Bundle("things")
    uses: Bundle[Use] = Bundle("uses")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.runner = asyncio.Runner()
        self.closed: Counter[int] = Counter()
        self.model: list[Thing] = []
        self.handles: LiveHandles[Thing] = LiveHandles(
            "tab", b"key", close=self.close_thing, per_caller=QUOTA, at_most=AT_MOST, clock=lambda: self.now
        )

    async def close_thing(self, thing: Thing) -> None:
        self.closed[thing.number] += 1

    def over(self, thing: Thing) -> bool:
        return thing.withdrawn or (thing.ends <= self.now and not (thing.sliding and thing.users))

    def withdraw(self, *things: Thing) -> None:
        for thing in things:
            thing.withdrawn = True
            thing.closed = thing.closed or not thing.users

    def alive(self, caller: str | None = None) -> int:
        return sum(not thing.closed and caller in (None, thing.caller) for thing in self.model)

    def sweep_model(self) -> None:
        self.withdraw(*(thing for thing in self.model if self.over(thing)))

    @rule(target=things, caller=CALLERS, ttl_s=st.sampled_from([5.0, 20.0]), sliding=st.booleans())
    def open(self, caller: str, ttl_s: float, sliding: bool) -> Any:
        if self.alive(caller) >= QUOTA or self.alive() >= AT_MOST:
            self.sweep_model()
        expected = (
            "handle_quota" if self.alive(caller) >= QUOTA
            else "handles_exhausted" if self.alive() >= AT_MOST
            else None
        )  # fmt: skip
        thing = Thing(len(self.model), caller, ttl_s, sliding, self.now + ttl_s)

        async def make() -> Thing:
            return thing

        try:
            thing.handle = self.runner.run(self.handles.open(Caller(caller), make, ttl_s=ttl_s, sliding=sliding))
        except Failure as failure:
            assert failure.reason == expected
            return nothing()
        assert expected is None
        self.model.append(thing)
        return thing

    @rule(target=uses, thing=things, caller=CALLERS)
    def use(self, thing: Thing, caller: str) -> Any:
        expected = "handle_unknown" if caller != thing.caller else "handle_expired" if self.over(thing) else None
        manager = self.handles.use(Caller(caller), thing.handle)
        try:
            assert self.runner.run(manager.__aenter__()) is thing
        except Failure as failure:
            assert failure.reason == expected
            return nothing()
        assert expected is None
        thing.users += 1
        return Use(thing, manager)

    @rule(use=consumes(uses))
    def stop_using(self, use: Use) -> None:
        self.runner.run(use.manager.__aexit__(None, None, None))
        use.thing.users -= 1
        if use.thing.sliding:
            use.thing.ends = self.now + use.thing.ttl_s
        if use.thing.withdrawn:
            self.withdraw(use.thing)

    @rule(thing=things, caller=CALLERS)
    def close(self, thing: Thing, caller: str) -> None:
        known = caller == thing.caller
        expected = "handle_unknown" if not known else "handle_expired" if thing.withdrawn else None
        try:
            self.runner.run(self.handles.close(Caller(caller), thing.handle))
        except Failure as failure:
            assert failure.reason == expected
        else:
            assert expected is None
            self.withdraw(thing)

    @rule(caller=st.none() | CALLERS)
    def evict(self, caller: str | None) -> None:
        due = [thing for thing in self.model if not thing.withdrawn and caller in (None, thing.caller)]
        assert self.runner.run(self.handles.evict(None if caller is None else Caller(caller))) == len(due)
        self.withdraw(*due)

    @rule()
    def sweep(self) -> None:
        due = [thing for thing in self.model if self.over(thing) and not thing.withdrawn]
        assert self.runner.run(self.handles.sweep()) == len(due)
        self.withdraw(*due)

    @rule(seconds=st.sampled_from([1.0, 5.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def exactly_what_is_over_is_closed_and_once(self) -> None:
        assert self.closed == {thing.number: 1 for thing in self.model if thing.closed}
        assert self.handles.live == self.alive()
        for caller in ("ann", "bob", "cyd"):
            assert self.handles.held_by(Caller(caller)) == self.alive(caller)

    def teardown(self) -> None:
        self.runner.run(self.handles.shutdown())
        assert self.closed == {thing.number: 1 for thing in self.model}
        assert self.handles.live == 0
        self.runner.close()


HandlesModel.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
test_no_course_of_uses_tells_the_handles_from_their_model = HandlesModel.TestCase
