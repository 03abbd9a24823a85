"""What is measured of a call, and under which names: data, shared by every backend.

Nothing that a client can choose freely becomes a label. A tool, prompt or scheme that we do not serve, a method or
version that the protocol does not have, and an error code beyond the first hundred all collapse to one word.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from .logs import Status

UNKNOWN = "_unknown"
MAX_CODES = 100
CODE = re.compile(r"-?[0-9]{1,6}|[A-Za-z][A-Za-z0-9_.]{0,63}")
VERSIONS = frozenset({"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"})
METHODS = frozenset(
    {
        "completion/complete",
        "initialize",
        "logging/setLevel",
        "notifications/cancelled",
        "notifications/initialized",
        "notifications/progress",
        "notifications/roots/list_changed",
        "ping",
        "prompts/get",
        "prompts/list",
        "resources/list",
        "resources/read",
        "resources/subscribe",
        "resources/templates/list",
        "resources/unsubscribe",
        "server/discover",
        "subscriptions/listen",
        "tools/call",
        "tools/list",
    }
)

Labels = Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class CallFacts:
    """One finished call. `error_type` is the protocol's view (`tool_error`, a JSON-RPC code); `error_code` is ours."""

    method: str
    status: Status
    duration_s: float
    tool: str | None = None
    prompt: str | None = None
    resource_scheme: str | None = None
    error_type: str | None = None
    error_code: str | None = None
    rpc_status_code: str | None = None
    protocol_version: str | None = None
    transport: Literal["pipe", "tcp"] | None = None
    arguments_valid_first_try: bool | None = None
    scope_failure: bool = False
    backend_s: float | None = None
    cost_units: float | None = None
    request_id: str | int | None = None


@dataclass
class Vocabulary:
    """The words that may become labels."""

    tools: frozenset[str] = frozenset()
    prompts: frozenset[str] = frozenset()
    schemes: frozenset[str] = frozenset()
    codes: set[str] = field(default_factory=set[str])

    def know(self, *, tools: Iterable[str] = (), prompts: Iterable[str] = (), schemes: Iterable[str] = ()) -> None:
        """Add what the server now offers; a name that was once served stays known."""
        self.tools |= frozenset(tools)
        self.prompts |= frozenset(prompts)
        self.schemes |= frozenset(schemes)

    def code(self, code: str | None) -> str:
        if not code:
            return ""
        if code not in self.codes:
            if len(self.codes) >= MAX_CODES or not CODE.fullmatch(code):
                return UNKNOWN
            self.codes.add(code)
        return code

    def labels_of(self, facts: CallFacts) -> dict[str, str]:
        error_code = self.code(facts.error_code)
        error_type = self.code(facts.error_type) or ("tool_error" if error_code and facts.tool else error_code)
        return {
            "mcp.method.name": known(facts.method, METHODS),
            "gen_ai.tool.name": known(facts.tool, self.tools),
            "gen_ai.prompt.name": known(facts.prompt, self.prompts),
            "gen_ai.operation.name": "execute_tool" if facts.method == "tools/call" else "",
            "error.type": error_type,
            "rpc.response.status_code": self.code(facts.rpc_status_code),
            "network.transport": facts.transport or "",
            "mcp.protocol.version": known(facts.protocol_version, VERSIONS),
            "mcp_bulkhead.error.code": error_code,
            "mcp_bulkhead.status": facts.status,
            "mcp_bulkhead.resource.scheme": known(facts.resource_scheme, self.schemes),
            "mcp_bulkhead.arguments.valid": {True: "true", False: "false", None: ""}[facts.arguments_valid_first_try],
        }


def known(word: str | None, words: frozenset[str]) -> str:
    if word is None:
        return ""
    return word if word in words else UNKNOWN


@dataclass(frozen=True)
class Instrument:
    """`value` says what one call adds, or None when this call does not count here.

    `wide` are labels for OpenTelemetry only, where an empty one costs nothing.
    """

    name: str
    kind: Literal["counter", "histogram"]
    unit: str
    help: str
    labels: tuple[str, ...]
    value: Callable[[CallFacts], float | None]
    wide: tuple[str, ...] = ()


# The boundaries that the MCP semantic conventions prescribe, in seconds.
DURATION_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
# Most calls of a local server are over long before the first of those.
BACKEND_BUCKETS = (0.0005, 0.001, 0.002, 0.005, *DURATION_BUCKETS)

TOOL = "gen_ai.tool.name"
METHOD = "mcp.method.name"
WHERE = ("network.transport", "mcp.protocol.version")

OPERATION = Instrument(
    "mcp.server.operation.duration",
    "histogram",
    "s",
    "From receiving a request to sending its answer.",
    (METHOD, TOOL, "error.type", *WHERE),
    lambda facts: facts.duration_s,
    wide=("gen_ai.prompt.name", "gen_ai.operation.name", "rpc.response.status_code"),
)
SESSION = Instrument(
    "mcp.server.session.duration",
    "histogram",
    "s",
    "From the first to the last message of a session.",
    ("error.type", *WHERE),
    lambda facts: facts.duration_s,
)
CALL_INSTRUMENTS = (
    OPERATION,
    Instrument(
        "mcp_bulkhead.calls",
        "counter",
        "",
        "Requests answered.",
        (METHOD, TOOL, "mcp_bulkhead.status"),
        lambda _: 1,
    ),
    Instrument(
        "mcp_bulkhead.errors",
        "counter",
        "",
        "Requests that ended in an error, by its code.",
        (METHOD, TOOL, "mcp_bulkhead.error.code"),
        lambda facts: None if facts.status == "ok" else 1,
    ),
    Instrument(
        "mcp_bulkhead.arguments",
        "counter",
        "",
        "Tool calls by whether their arguments were valid at the first try.",
        (TOOL, "mcp_bulkhead.arguments.valid"),
        lambda facts: None if facts.arguments_valid_first_try is None else 1,
    ),
    Instrument(
        "mcp_bulkhead.resource_reads",
        "counter",
        "",
        "Resources read.",
        ("mcp_bulkhead.resource.scheme", "mcp_bulkhead.status"),
        lambda facts: 1 if facts.method == "resources/read" else None,
    ),
    Instrument(
        "mcp_bulkhead.scope_failures",
        "counter",
        "",
        "Calls refused because the caller lacks a scope.",
        (METHOD, TOOL),
        lambda facts: 1 if facts.scope_failure else None,
    ),
    Instrument(
        "mcp_bulkhead.backend.duration",
        "histogram",
        "s",
        "Time a call spent in the system behind the server.",
        (TOOL,),
        lambda facts: facts.backend_s,
    ),
    Instrument(
        "mcp_bulkhead.budget_spent",
        "counter",
        "",
        "Cost units charged to callers' budgets.",
        (TOOL,),
        lambda facts: facts.cost_units or None,
    ),
)


def buckets_of(instrument: Instrument) -> tuple[float, ...]:
    return DURATION_BUCKETS if instrument in (OPERATION, SESSION) else BACKEND_BUCKETS
