"""Why a call did not do what was asked, and what to do next.

Failure                  the call did not do what was asked; says why and what to do next
├─ Invalid               the arguments cannot be right          field, problem
│  └─ BadCursor          the continuation is not ours, or not for this call
├─ Refused               a rule said no                         rule, who may change it
│  ├─ OutsideRoot        the place is not in any folder the operator opened
│  ├─ ReadOnly           the place, or the whole server, is open for reading only
│  ├─ NotAllowed         a deny rule, a missing scope or a kill switch
│  ├─ TooCostly          the estimate is over the limit
│  └─ NeedsPerson        a person must agree, and cannot be asked here
├─ Missing               there is no such thing
├─ Conflict              it exists already, or somebody else changed it in between
├─ Stale                 the precondition names an older state
├─ TooLarge              more than may be returned or read at once
├─ Unsupported           the system behind cannot do this
├─ Spent                 an operator's budget, or patience with repeats, is used up
├─ Crashed               our own fault; the cause is in the server's log
└─ Later                 try again                              retry_after_s
   ├─ Busy  RateLimited  TimedOut  Unavailable

A failure is what the *model* reads: no stack, no path outside the caller's roots, no secret, no echo of what it sent.
The Python cause belongs in `raise ... from error`; it reaches the log, never the client.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

MAX_ERROR_CHARS = 2_000
"""Clients cut long error texts; ours always pass whole."""


class Failure(Exception):  # noqa: N818 - the tree reads as outcomes, not as bugs
    """The call did not do what was asked.

    `hint` names the next useful step. `code` is stable and documented; a subclass carries its default.
    """

    code: ClassVar[str] = "failed"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        code: str | None = None,
        retryable: bool | None = None,
        retry_after_s: float | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.reason = code or type(self).code
        self.may_retry = type(self).retryable if retryable is None else retryable
        self.retry_after_s = retry_after_s
        self.details = dict(details or {})

    def as_dict(self) -> dict[str, Any]:
        """The one shape every client sees, in the text block and in `_meta`."""
        error: dict[str, Any] = {
            "code": self.reason,
            "message": self.message,
            "hint": self.hint,
            "retryable": self.may_retry,
        }
        if self.retry_after_s is not None:
            error["retry_after_s"] = round(self.retry_after_s, 3)
        if self.details:
            error["details"] = self.details
        return error


class Invalid(Failure):
    """The arguments cannot be right: names the field and the problem, never the value."""

    code = "invalid_arguments"

    def __init__(self, message: str, *, field: str | None = None, problem: str | None = None, **more: Any) -> None:
        details = dict(more.pop("details", None) or {})
        if field is not None:
            details["field"] = field
        if problem is not None:
            details["problem"] = problem
        super().__init__(message, details=details, **more)


class BadCursor(Invalid):
    """The continuation token was not issued by us, or was issued for another caller, tool or arguments."""

    code = "bad_cursor"


class Refused(Failure):
    """A rule said no. `rule` names it; `who` says who may change it."""

    code = "refused"

    def __init__(self, message: str, *, rule: str | None = None, who: str | None = None, **more: Any) -> None:
        details = dict(more.pop("details", None) or {})
        if who is not None:
            details["who_may_change_it"] = who
        super().__init__(message, details=details, **more)
        self.rule = rule or self.reason


class OutsideRoot(Refused):
    code = "outside_root"


class ReadOnly(Refused):
    code = "read_only"


class NotAllowed(Refused):
    code = "not_allowed"


class TooCostly(Refused):
    code = "too_costly"


class NeedsPerson(Refused):
    code = "confirmation_unavailable"


class Missing(Failure):
    code = "not_found"


class Conflict(Failure):
    code = "conflict"


class Stale(Failure):
    code = "stale"


class TooLarge(Failure):
    code = "too_large"


class Unsupported(Failure):
    code = "unsupported"


class Spent(Failure):
    """An operator's bound is used up; asking the same again will not help."""

    code = "budget_spent"


class Crashed(Failure):
    code = "internal_error"


class Later(Failure):
    """Nothing is wrong with the call; the moment is. Try again after `retry_after_s`."""

    code = "try_later"
    retryable = True


class Busy(Later):
    """Too many calls are running, or what is needed is in use."""

    code = "busy"


class RateLimited(Later):
    """Too many calls of this kind in the last minute."""

    code = "rate_limited"


class TimedOut(Later):
    """The call took longer than it may and was stopped."""

    code = "timeout"


class Unavailable(Later):
    """The system behind the server does not answer as it should."""

    code = "unavailable"
