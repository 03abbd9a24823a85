"""What a repeated call is told, when it is not simply given the answer of the first."""

from collections.abc import Mapping
from typing import Any

from ..errors import Busy, Conflict, Failure, Refused
from .entries import Record


def replay(record: Record) -> Any:
    """The answer of the first call, or what stands for it."""
    if record.state == "failed":
        raise failure_from(record.answer)
    if record.left_out is not None:
        raise Conflict(
            "This call was carried out before; its answer was too large to keep.",
            code="answer_not_kept",
            hint="Do not repeat it. Read the present state to see what it did.",
            details=record.left_out,
        )
    return record.answer


def failure_from(told: Mapping[str, Any]) -> Failure:
    """A failure that was kept, as it was told the first time."""
    return Failure(
        str(told.get("message", "")),
        hint=str(told.get("hint", "")),
        code=str(told.get("code", "failed")),
        retryable=bool(told.get("retryable")),
        details=told.get("details"),
    )


def other_arguments() -> Conflict:
    return Conflict(
        "This idempotency key was used before, with other arguments.",
        code="idempotency_conflict",
        hint="Repeat the earlier arguments to get its answer, or use a new key for a new effect.",
    )


def confirmation_used() -> Refused:
    return Refused(
        "This confirmation was used already, or was given for another call.",
        code="confirmation_used",
        rule="confirmation",
        hint="A person's yes is good for one call with the arguments it showed. Call again without it to ask.",
    )


def in_progress(waited_s: float) -> Busy:
    return Busy(
        f"The same call is still in progress, after waiting {waited_s:g} seconds for it.",
        code="in_progress",
        hint="Repeat the call with the same key and arguments to get its answer; it will not be done twice.",
        retry_after_s=5.0,
    )


def ambiguous(*, confirmation: bool) -> Conflict:
    again = "ask the person again" if confirmation else "repeat it with a new key"
    return Conflict(
        "An earlier attempt at this call was interrupted; whether it took effect is not known.",
        code="ambiguous_outcome",
        hint=f"Look before repeating: read the present state. Only if the effect is missing, {again}.",
    )
