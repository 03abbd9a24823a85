"""What happened, so that it can be shown afterwards: an append-only, chained, signed record of every call.

`AuditLog` writes, `verify` says whether anything was changed, `query` answers who touched what.
Each name loads when it is used: a server that writes does not pay for reading.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .log import AuditLog as AuditLog
    from .records import AuditRecord as AuditRecord
    from .report import OpenIntent as OpenIntent
    from .report import Problem as Problem
    from .report import Report as Report
    from .search import query as query
    from .verification import verify as verify

HOMES: Final[Mapping[str, str]] = {
    "AuditLog": "log",
    "AuditRecord": "records",
    "OpenIntent": "report",
    "Problem": "report",
    "Report": "report",
    "query": "search",
    "verify": "verification",
}

__all__ = ["AuditLog", "AuditRecord", "OpenIntent", "Problem", "Report", "query", "verify"]


def __getattr__(name: str) -> Any:
    home = HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
