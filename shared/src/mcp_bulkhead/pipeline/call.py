"""One call on its way through the pipeline, and the person or program it is for."""

import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from ..errors import Busy, Crashed, Failure, Invalid, RateLimited, Refused, Spent, TimedOut, Unavailable
from ..state.cursors import binding

if TYPE_CHECKING:
    import anyio

    from ..tools import Tool

Status = Literal["ok", "client_error", "server_error", "timeout", "cancelled"]
PROGRESS_EVERY_S: Final = 0.1
CHARS_PER_TOKEN: Final = 4


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. `scopes` is None when the operator did not limit this caller."""

    id: str
    tenant: str
    agent: str | None = None
    agent_version: str | None = None
    session: str | None = None
    scopes: frozenset[str] | None = None

    def may(self, scope: str | None) -> bool:
        return scope is None or self.scopes is None or scope in self.scopes


@dataclass(slots=True, eq=False)
class Call:
    """Everything the layers learn about one call, in the order they learn it."""

    method: str
    name: str | None
    arguments: Mapping[str, Any]
    caller: Caller
    protocol: str
    transport: Literal["memory", "pipe", "tcp"]
    request_id: str | int | None = None
    trace_id: str | None = None
    span_id: str | None = None
    report: Callable[[float, float | None, str | None], Awaitable[None]] | None = None
    leg: int = 1
    usual_chars: int = 20_000
    hard_chars: int = 100_000

    started: float = field(default_factory=time.perf_counter)
    tool: "Tool | None" = None
    targets: tuple[str, ...] = ()
    personal: bool = False
    scope: str | None = None
    switch: str | None = None
    """The name by which the operator can switch this off."""
    failure: Failure | None = None
    rule: str | None = None
    status: Status = "ok"
    valid_arguments: bool | None = None
    args_digest: str | None = None
    intent: str | None = None
    bytes_out: int = 0
    handler_s: float | None = None
    """Time in the handler, which is time in the system behind."""
    entered: bool = False
    cancel: "anyio.CancelScope | None" = None
    switched_off: bool = False
    last_progress: tuple[float, float] = (-1.0, 0.0)
    """The highest value reported, and when."""

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self.started

    def touched(self, *places: str) -> None:
        """What the call really was about, as its handler found out: a link's target, a name written in full."""
        self.targets = tuple(dict.fromkeys((*self.targets, *places)))

    def fail(self, failure: Failure) -> None:
        """Remember why the call failed, for the audit and the metrics."""
        self.failure = failure
        if isinstance(failure, Refused):
            self.rule = failure.rule
        elif isinstance(failure, Busy | RateLimited | Spent | Invalid):
            self.rule = failure.reason
        self.status = status_of(failure)

    def bound_to(self, *, leaving_out: frozenset[str]) -> bytes:
        """What a continuation of this call is bound to: caller, tool, and the arguments that do not size the page."""
        kept = {key: value for key, value in self.arguments.items() if key not in leaving_out}
        return binding(f"{self.caller.tenant}/{self.caller.id}", self.name or self.method, kept)

    def budget(self, asked_tokens: int | None) -> int:
        """How many characters this answer may have: the usual number, or what was asked for up to the cap."""
        return min(asked_tokens * CHARS_PER_TOKEN if asked_tokens else self.usual_chars, self.hard_chars)

    async def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Tell the client how far the call is: never backwards, at most ten times a second."""
        highest, when = self.last_progress
        now = time.perf_counter()
        if self.report is None or done <= highest or now - when < PROGRESS_EVERY_S:
            return
        self.last_progress = (done, now)
        await self.report(done, total, message)


def status_of(failure: Failure) -> Status:
    if isinstance(failure, TimedOut):
        return "timeout"
    return "server_error" if isinstance(failure, Crashed | Unavailable) else "client_error"


_current: ContextVar[Call | None] = ContextVar("mcp_bulkhead_call", default=None)


def current_call() -> Call:
    """The call this task works for."""
    call = _current.get()
    if call is None:
        raise RuntimeError("there is no call here: handlers run inside the pipeline")
    return call


def current_call_or_none() -> Call | None:
    return _current.get()


@contextmanager
def entered(call: Call) -> Generator[None]:
    """Make `call` the current one while the block runs."""
    token = _current.set(call)
    try:
        yield
    finally:
        _current.reset(token)
