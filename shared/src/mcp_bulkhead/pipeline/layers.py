"""The layers around every call, each a few lines: what it checks before, what it books after.

A layer takes the runtime, the call, and `proceed`; it raises a `Failure` to refuse, and returns what it got otherwise.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from secrets import token_hex
from time import perf_counter
from typing import Any, Final

import anyio

from ..errors import Failure, NotAllowed, TimedOut
from ..tools import COST_UNITS
from .call import Call
from .runtime import Recorder, Runtime
from .switch import switched_off

OUTCOME_S: Final = 2.0
log = logging.getLogger("mcp_bulkhead")
Proceed = Callable[[], Awaitable[Any]]
Layer = Callable[[Runtime, Call, Proceed], Awaitable[Any]]


async def audited(runtime: Runtime, call: Call, proceed: Proceed) -> Any:
    """Outermost: whatever happens to a call, refusals and cancellations included, one record tells it."""
    result = None
    try:
        result = await proceed()
    except anyio.get_cancelled_exc_class():
        call.status = "cancelled"
        raise
    finally:
        if runtime.audit is not None:
            record = record_of(runtime, call, phase="outcome" if call.intent else "call")
            if runtime.settings.audit_payloads and result is not None:
                record["result_digest"] = runtime.audit.keep_payload(result)
            await write_down(runtime.audit, record, durable=call.intent is not None)
    return result


async def write_down(audit: Recorder, record: dict[str, Any], *, durable: bool) -> None:
    """Reads are committed in groups; the outcome of an effect is on disk before its answer leaves."""
    if not durable:
        audit.append(record)
        return
    try:
        with anyio.move_on_after(OUTCOME_S, shield=True):
            await audit.append_durable(record)
    except Failure:  # the effect has happened: its answer must leave even when the disk just filled up
        log.exception("the outcome of %s could not be made durable", record["name"])


async def measured(runtime: Runtime, call: Call, proceed: Proceed) -> Any:
    """Metrics and one log line; neither carries an argument or a result."""
    try:
        return await proceed()
    finally:
        if runtime.observe is not None:
            runtime.observe(call)
        if runtime.log is not None:
            runtime.log(call)


async def switched(runtime: Runtime, call: Call, proceed: Proceed) -> Any:
    """The operator's kill switch, before anything costs anything. The list of tools stays: it shows what is left."""
    if call.method != "tools/list":
        runtime.switch.check(call.switch)
    if call.tool is None and runtime.scope_off is not None and runtime.scope_off(call.scope):
        raise switched_off()
    return await proceed()


async def permitted(runtime: Runtime, call: Call, proceed: Proceed) -> Any:
    """The caller's scopes against the declaration's."""
    if not call.caller.may(call.scope):
        raise NotAllowed(
            f"This needs the scope {call.scope}, which the caller does not have.",
            code="missing_scope",
            rule="scope",
            who="the operator, by the caller's scopes",
            hint=f"Ask the user to grant {call.scope}; the other tools still work.",
            details={"scope": call.scope},
        )
    return await proceed()


async def metered(runtime: Runtime, call: Call, proceed: Proceed) -> Any:
    """Rate and budgets. A second leg counts too: that it is one is only the client's word."""
    runtime.limits.admit(call, COST_UNITS[call.tool.cost] if call.tool else 1)
    result = await proceed()
    runtime.limits.settle(call)
    return result


async def seated(runtime: Runtime, call: Call, proceed: Proceed) -> Any:
    """One of the seats at work; freed whatever happens."""
    async with runtime.seats.seat(call):
        return await proceed()


async def intended(runtime: Runtime, call: Call, proceed: Proceed) -> Any:
    """An effect is written down durably before it happens; if that fails, so does the call."""
    if runtime.audit is not None and call.tool is not None and not call.tool.reads:
        # Named before it is written: a caller that goes away meanwhile still owes this intent an outcome.
        call.intent = token_hex(8)
        await runtime.audit.append_durable(record_of(runtime, call, phase="intent"))
    return await proceed()


async def timed(runtime: Runtime, call: Call, proceed: Proceed) -> Any:
    """The deadline, and the handle by which the kill switch stops a call in flight."""
    limit = (call.tool.deadline_s if call.tool else None) or runtime.settings.deadline_s
    with anyio.move_on_after(limit) as scope:
        call.cancel = scope
        runtime.in_flight.add(call)
        began = perf_counter()
        try:
            return await proceed()
        except anyio.get_cancelled_exc_class() as error:
            if was_cancelled():
                raise
            raise RuntimeError("the handler was cancelled from inside") from error
        finally:
            call.handler_s = perf_counter() - began
            runtime.in_flight.discard(call)
    if call.switched_off:
        raise switched_off()
    raise TimedOut(
        f"The call did not finish within {limit:g} seconds and was stopped.",
        hint="Ask for less: a narrower path, a smaller range or fewer results.",
    )


def was_cancelled() -> bool:
    """Whether somebody cancelled this task: a library's own cancelled future must not end the whole connection."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def record_of(runtime: Runtime, call: Call, *, phase: str) -> dict[str, Any]:
    """The audit's view of a call: who, what, about which targets, and how it ended. Arguments only as a digest."""
    caller = call.caller
    record: dict[str, Any] = {
        "phase": phase,
        "server": runtime.server,
        "method": call.method,
        "name": call.name,
        "caller": caller.id,
        "tenant": caller.tenant,
        "agent": {"name": caller.agent, "version": caller.agent_version},
        "session": caller.session,
        "request_id": None if call.request_id is None else str(call.request_id),
        "trace_id": call.trace_id,
        "span_id": call.span_id,
        "targets": targets_of(runtime, call),
        "args_digest": digest_of(runtime, call),
    }
    if phase != "intent":
        record |= {
            "decision": "refuse" if call.rule else "allow",
            "rule": call.rule,
            "code": call.failure.reason if call.failure else None,
            "status": call.status,
            "duration_ms": round(call.elapsed * 1000, 3),
            "bytes_out": call.bytes_out,
        }
    if call.intent:
        record["intent"] = call.intent
    return record


def turned_away(runtime: Runtime, rule: str, *, targets: Sequence[str] = ()) -> None:
    """Record what never became a call: no key, a wrong Host, a frame that is too large or no JSON."""
    log.warning("a request was refused: %s", rule)
    if runtime.audit is not None:
        nobody: dict[str, Any] = dict.fromkeys(("method", "name", "caller", "session", "request_id", "code"))
        refused = {
            "phase": "call",
            "server": runtime.server,
            "tenant": runtime.settings.tenant,
            "targets": list(targets),
        }
        runtime.audit.append(nobody | refused | {"decision": "refuse", "rule": rule, "status": "client_error"})


def digest_of(runtime: Runtime, call: Call) -> str | None:
    """The arguments' keyed digest; where the operator asked for it, they are kept in a private file of that name."""
    if call.args_digest is None and runtime.audit is not None:
        note = runtime.audit.keep_payload if runtime.settings.audit_payloads else runtime.audit.digest
        call.args_digest = note(call.arguments)
    return call.args_digest


def targets_of(runtime: Runtime, call: Call) -> list[str]:
    if call.personal and runtime.audit is not None:
        return [runtime.audit.digest(target) for target in call.targets]
    return list(call.targets)


def compose(layers: tuple[Layer, ...], runtime: Runtime, call: Call, inner: Proceed) -> Proceed:
    """`layers` around `inner`, the first one outermost."""
    proceed = inner
    for layer in reversed(layers):
        proceed = bound(layer, runtime, call, proceed)
    return proceed


def bound(layer: Layer, runtime: Runtime, call: Call, proceed: Proceed) -> Proceed:
    return lambda: layer(runtime, call, proceed)
