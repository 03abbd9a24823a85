"""What happens around every call, in one list, in this order.

    at the wire      audited     one record per call, refusals, crashes and cancellations included
                     measured    metrics and one log line
    at the call      switched    the operator's kill switch
                     permitted   the caller's scopes against the declaration's
                     metered     rate window, budgets per hour, steps per session
    at the handler   seated      how many work at once (waiting for a person holds no seat)
                     intended    an effect is on disk before it happens
                     timed       the deadline; cancelling frees what the handler held
    on the answer    tidied, redacted, cut and signed by `results.render`; a third identical read is told so

Tools, resources (read and list), prompts, completion and subscriptions all pass here; `adapter` hangs the groups on
the only places where the SDK can be hooked.
"""

from typing import Final

from .layers import Layer, audited, intended, measured, metered, permitted, seated, switched, timed

AT_THE_WIRE: Final[tuple[Layer, ...]] = (audited, measured)
AT_THE_CALL: Final[tuple[Layer, ...]] = (switched, permitted, metered)
AT_THE_HANDLER: Final[tuple[Layer, ...]] = (seated, intended, timed)
