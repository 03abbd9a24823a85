"""What the layers share: the parts built from settings once, before the first call."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ..state.cursors import Cursors
from .call import Call
from .limits import Bounds, Limits, Seats
from .switch import KillSwitch

if TYPE_CHECKING:
    from ..settings import ServerSettings


class Recorder(Protocol):
    """Where the record of every call goes (`audit.AuditLog`, or nothing when the operator switched it off)."""

    def append(self, record: Mapping[str, Any]) -> None: ...
    async def append_durable(self, record: Mapping[str, Any]) -> int: ...
    def digest(self, value: Any) -> str: ...
    def keep_payload(self, value: Any, /) -> str: ...


@dataclass(slots=True)
class Runtime:
    """One server's shared parts."""

    server: str
    version: str
    settings: "ServerSettings"
    cursors: Cursors
    limits: Limits
    seats: Seats
    switch: KillSwitch
    transport: Literal["memory", "pipe", "tcp"] = "memory"
    audit: Recorder | None = None
    observe: Callable[[Call], None] | None = None
    log: Callable[[Call], None] | None = None
    scope_off: Callable[[str | None], bool] | None = None
    """Whether every tool of a scope is switched off; what mirrors them is then off too."""
    trace_of: Callable[[], str | None] | None = None
    """The trace that the SDK's span of this call belongs to, when somebody exports traces."""
    streams: int = 0
    """Subscriptions that are open now."""
    redact: Callable[[str], str] | None = None
    in_flight: set[Call] = field(default_factory=set[Call])


def bounds_of(settings: "ServerSettings") -> Bounds:
    return Bounds(
        per_minute=settings.rate_limit_per_minute or None,
        calls_per_hour=settings.budget_calls_per_hour,
        bytes_per_hour=settings.budget_bytes_per_hour,
        cost_per_hour=settings.budget_cost_per_hour,
        steps_per_session=settings.budget_steps_per_session,
        at_once=settings.max_concurrency,
        at_once_per_caller=settings.max_concurrency_per_caller,
        repeats=settings.repeat_limit,
    )
