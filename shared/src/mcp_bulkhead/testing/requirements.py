"""What every server must do: one id, one sentence, one source each. Tied to the tests in both directions.

A `server` requirement is proved anew for every server by the published suite; a `library` requirement is a matter of
the pipeline or a transport alone, and is proved once, by the library's own tests.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

Proof = Literal["server", "library"]
Test = TypeVar("Test", bound=Callable[..., Any])

GROUPS: Final[Mapping[str, str]] = {
    "EX": "Examples: what the documentation shows is what happens",
    "RES": "Results",
    "ERR": "Failures",
    "ARG": "Arguments",
    "LIST": "Listings and schemas",
    "PROTO": "Protocol",
    "LIMIT": "Limits",
    "STOP": "Deadlines and cancellation",
    "GATE": "Kill switch and scopes",
    "AUDIT": "Audit and privacy",
    "STDIO": "Standard input and output",
    "EXIT": "Coming to an end",
    "HTTP": "HTTP",
    "FUZZ": "Whatever a model may send",
    "MANIFEST": "This manifest",
}
"""The groups of requirement ids, and what each is about."""


@dataclass(frozen=True, slots=True)
class Requirement:
    id: str
    sentence: str
    source: str
    proof: Proof = "server"

    @property
    def group(self) -> str:
        return self.id.partition("-")[0]


def requirement(*ids: str) -> Callable[[Test], Test]:
    """Mark a test as the proof of these requirements."""
    import pytest

    return pytest.mark.requirement(*ids)


SPEC: Final = "MCP specification"
HOUSE: Final = "Bulkhead design"
CLIENTS: Final = "client behaviour, as observed in November 2026"


def server(id: str, sentence: str, source: str) -> Requirement:  # noqa: A002 - it is its id
    return Requirement(id, sentence, source)


def library(id: str, sentence: str, source: str) -> Requirement:  # noqa: A002 - it is its id
    return Requirement(id, sentence, source, "library")


REQUIREMENTS: Final[Sequence[Requirement]] = (
    server("EX-1", "Every good example of a tool answers, and shows what it promises.", HOUSE),
    server("EX-2", "Every hostile example is refused with the code it names.", HOUSE),
    server("EX-3", "Every good resource and prompt example answers.", HOUSE),
    server("EX-4", "Every tool has at least one good and one hostile example.", HOUSE),
    server("EX-5", "The SDK's own client sees the answers and the refusals of the examples.", HOUSE),
    server("RES-1", "A typed tool answers with structured content that fits its output schema.", f"{SPEC}, tools"),
    server("RES-2", "The text of a typed answer is the same JSON, compact.", f"{HOUSE}: one representation, once"),
    server(
        "RES-3",
        "A payload tool has neither output schema nor structured content.",
        f"{CLIENTS}: several show the model only structured content when it is present",
    ),
    server("RES-4", "An answer is within its budget, and never over the hard cap.", f"{HOUSE}: a budget"),
    server("RES-5", "No answer holds a raw surrogate, control or bidi character.", f"{HOUSE}: untrusted is marked"),
    server("RES-6", "No answer carries an audience annotation.", f"{CLIENTS}: VS Code hides what is for the user only"),
    library(
        "RES-7", "An answer over its budget is cut at a natural edge, and its cursor goes on exactly there.", HOUSE
    ),
    library("RES-8", "A field that is null is left out of the answer, and not required by the schema.", CLIENTS),
    library(
        "RES-9", "A cursor opens for the same caller, tool and arguments only; any change to it is bad_cursor.", HOUSE
    ),
    library("RES-10", "An unexpected error becomes internal_error with a reference; its text stays in the log.", HOUSE),
    server(
        "ERR-1",
        "A refusal is one text block of compact JSON, equal to the object in _meta.",
        f"{HOUSE}: failures teach",
    ),
    server(
        "ERR-2",
        "A refusal has isError and no structured content.",
        f"{CLIENTS}: TypeScript SDK 1.x validates structured content on errors too, and throws the answer away",
    ),
    server(
        "ERR-3",
        "A refusal has code, message, hint and retryable, in under 2,000 characters.",
        f"{HOUSE}: failures teach",
    ),
    server("ERR-4", "A refusal does not echo what was sent.", f"{HOUSE}: no echo of input"),
    server("ERR-5", "The same attack through a resource URI is a protocol error, and no internal error.", HOUSE),
    server("ARG-1", "An argument that is not declared is refused.", f"{HOUSE}: unknown arguments refused"),
    server("ARG-2", "A bad argument is answered with its field and the problem, never with the value.", HOUSE),
    server(
        "ARG-3",
        'null and the text "null" mean that an optional argument was left out.',
        f"{CLIENTS}: strict modes fill every field",
    ),
    server("ARG-4", "An empty text means that an optional argument that is no plain text was left out.", CLIENTS),
    server(
        "ARG-5", "A list, object, number or boolean is understood when it arrives as JSON inside a string.", CLIENTS
    ),
    server("ARG-6", "A call without `arguments` is a call without arguments.", f"{CLIENTS}: Codex leaves them out"),
    library("ARG-7", "A filler never turns into a value: it means left out, or it is refused.", HOUSE),
    server(
        "LIST-1",
        "A tool's name is at most 32 of [a-z0-9_] and carries its domain; a server's key has at most 16.",
        f"{CLIENTS}: Cursor drops long names, Codex and Gemini cut them",
    ),
    server(
        "LIST-2",
        "A tool has a title, a description of at most 1,000 characters and all four hints.",
        f"{CLIENTS}: directories ask for it",
    ),
    server(
        "LIST-3",
        "An input schema is valid in draft 2020-12 and in draft-07.",
        f"{CLIENTS}: VS Code validates the one, Claude Code the other",
    ),
    server(
        "LIST-4",
        "An input schema uses only what every model API accepts, one plain type per property.",
        f"{CLIENTS}: Gemini refuses the whole request, Cursor the tool",
    ),
    server("LIST-5", "Every parameter is described, with its limits in words.", f"{CLIENTS}: Codex drops the keywords"),
    server("LIST-6", "An input schema has at most 8 KiB.", f"{CLIENTS}: one connector drops tools over 16 KiB"),
    server(
        "LIST-7",
        "An output schema has a root object and no reference outside itself.",
        f"{CLIENTS}: Python clients fail on it",
    ),
    server(
        "LIST-8", "Two processes list the same tools in the same bytes.", f"{CLIENTS}: lists are cached over restarts"
    ),
    server("LIST-9", "Listings carry cache hints in the 2026-07-28 era.", f"{SPEC}, caching"),
    server("LIST-10", "At most 15 tools are offered by default.", f"{CLIENTS}: hosts cap the tools of a request"),
    server(
        "LIST-11",
        "A tool that reads is not destructive, and one that changes something is not hinted as reading.",
        HOUSE,
    ),
    library(
        "LIST-12", "Whatever a tool declares, its published schema is portable, or the server does not start.", HOUSE
    ),
    server("PROTO-1", "An unknown tool is the protocol error -32602.", f"{SPEC}, tools"),
    server("PROTO-2", "String request ids come back as they were.", f"{CLIENTS}: Claude Code probes with one"),
    server("PROTO-3", "Unknown fields in _meta and in initialize are tolerated.", CLIENTS),
    server(
        "PROTO-4", "Every protocol version back to 2024-11-05 is served.", f"{CLIENTS}: Goose and Zed speak 2025-03-26"
    ),
    server(
        "PROTO-5",
        "Both eras get the same instructions, key facts within the first 2,000 characters.",
        f"{CLIENTS}: Claude Code cuts them",
    ),
    server("PROTO-6", "The server names itself and its version in both eras.", SPEC),
    server(
        "PROTO-7", "An unknown resource or prompt is a protocol error with a sentence, and no internal error.", SPEC
    ),
    server(
        "PROTO-8",
        "Interleaved parallel calls give the answers that sequential ones give.",
        f"{CLIENTS}: read tools are called in parallel",
    ),
    library("PROTO-9", "Requests with one and the same id do not mix up their answers or their records.", HOUSE),
    library("PROTO-10", "The SDK's in-process client passes the same pipeline.", HOUSE),
    library("PROTO-11", "Progress is monotonic and throttled.", HOUSE),
    server("LIMIT-1", "Over the rate limit a call is rate_limited, and says when to come back.", HOUSE),
    server("LIMIT-2", "A third identical read with an identical answer is told so instead.", HOUSE),
    server("LIMIT-3", "Over the budget of steps or calls a call is refused, for good or with the time to wait.", HOUSE),
    library(
        "LIMIT-4", "No more calls run at once than allowed, per server and caller; beyond that a call is busy.", HOUSE
    ),
    library("LIMIT-5", "Listings, resources, prompts and completion count too.", f"{HOUSE}: one pipeline for all"),
    library("LIMIT-6", "Budgets of bytes and of cost bind, and free themselves after an hour.", HOUSE),
    library("STOP-1", "A call past its deadline is a timeout, and everything it held is free again.", HOUSE),
    library("STOP-2", "Cancelling a call stops the backend within 500 ms, by notification and by hanging up.", HOUSE),
    server(
        "GATE-1",
        "A tool that was switched off is refused within a second, and gone from the list.",
        f"{HOUSE}: kill switch",
    ),
    library(
        "GATE-2", "The kill switch stops calls in flight, and clients of both eras hear that the list changed.", HOUSE
    ),
    server("GATE-3", "Without its scope a tool is not listed, and a call of it is missing_scope.", HOUSE),
    server("GATE-4", "Without a scope its resources can be neither listed nor read.", HOUSE),
    server("GATE-6", "Without its scope a prompt is neither listed nor given nor completed.", HOUSE),
    library("GATE-5", "With everything switched off, no kind of request reaches the backend.", HOUSE),
    server("AUDIT-1", "Every call is in the audit once, with decision and code.", HOUSE),
    server("AUDIT-2", "Arguments are in the audit as digests only.", HOUSE),
    server("AUDIT-3", "No marked argument appears in a log line, a metric or an error at debug level.", HOUSE),
    library("AUDIT-4", "1,000 refused calls are 1,000 records, and the chain verifies.", HOUSE),
    library("AUDIT-5", "An effect is on disk as an intent before it happens, and as an outcome after.", HOUSE),
    library("AUDIT-6", "A secret of the operator never leaves, in an answer or in an error.", HOUSE),
    library("AUDIT-7", "Cancelled and crashed calls are recorded as such.", HOUSE),
    server("STDIO-1", "Every byte on standard output is part of a JSON-RPC line.", f"{SPEC}, transports"),
    server("STDIO-2", "A line over the cap is refused, and the connection goes on.", HOUSE),
    server("STDIO-3", "Malformed JSON is answered with a parse error, and the connection goes on.", "JSON-RPC 2.0"),
    server(
        "STDIO-4",
        "The first line is answered within a second of the start, in either era.",
        f"{CLIENTS}: Claude Code probes for 3 s",
    ),
    library("STDIO-5", "Prints, children and libraries that write to standard output reach standard error.", HOUSE),
    server("EXIT-1", "At the end of its input a server exits with 0 within 2 s.", f"{CLIENTS}: SDKs wait 2 s"),
    server("EXIT-2", "SIGTERM ends it with 0 within 2 s.", CLIENTS),
    server("EXIT-3", "SIGINT ends it cleanly within 300 ms.", f"{CLIENTS}: Claude Code kills after 500 ms"),
    library("EXIT-4", "A call in flight, a stuck thread or a client that never reads holds up no end.", HOUSE),
    library("EXIT-5", "No child outlives the server.", HOUSE),
    server("HTTP-1", "A wrong Host or Origin is turned away.", f"{SPEC}, security"),
    server("HTTP-2", "A body over the cap is 413.", HOUSE),
    server("HTTP-3", "Without the right bearer key a request is 401 with WWW-Authenticate, and audited.", SPEC),
    server(
        "HTTP-4", "Binding beyond this machine without hosts and key is refused, with the fix in the message.", HOUSE
    ),
    server("HTTP-5", "/healthz and /readyz answer without a key, and say nothing but how the server is.", HOUSE),
    server("HTTP-6", "Both eras are served on one endpoint, at the same time.", HOUSE),
    library("HTTP-7", "/healthz asks the backend, and is 503 when that fails, without saying why.", HOUSE),
    library("HTTP-8", "SIGTERM ends an HTTP server with 0 within 2 s, with a call in flight too.", HOUSE),
    server("FUZZ-1", "Nothing that fits a tool's schema brings an internal error or a malformed answer.", HOUSE),
    server("FUZZ-2", "Nothing that breaks a tool's schema brings an internal error.", HOUSE),
    server("FUZZ-3", "No resource URI and no prompt argument brings an internal error.", HOUSE),
    server("MANIFEST-1", "Every requirement has a test, and every contract test a requirement.", HOUSE),
)
"""Everything that is promised, in the order a reader would ask."""
