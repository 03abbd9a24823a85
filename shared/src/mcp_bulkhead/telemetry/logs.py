"""Logging: one JSON line per event, to stderr and nowhere else.

Everything takes one way out: a standard logging handler on the root logger, so that the SDK, uvicorn, asyncio, warnings
and uncaught exceptions come out as the same lines. structlog is the front door for server code and hands its events to
that handler; it costs 40 ms to import, so `bridge_structlog()` is called after the first answer (`get_logger` here does
it when it must). Call `configure` before `MCPServer()`, which otherwise installs its own handler, and give uvicorn
`log_config=None`, whose default writes access lines to stdout.
"""

import logging
import sys
import threading
from collections.abc import Callable, Generator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TextIO

from ..guards.secrets import Redactor
from .contained import contained
from .lines import TALKATIVE, Rules, line_of, rendered
from .writer import LineWriter

Status = Literal["ok", "client_error", "server_error", "timeout"]

FIELDS = "bulkhead_fields"
CALLS = "mcp_bulkhead.call"
LEVEL_OF_STATUS = MappingProxyType(
    {"ok": logging.INFO, "client_error": logging.INFO, "timeout": logging.WARNING, "server_error": logging.ERROR}
)
CONTEXT: ContextVar[Mapping[str, Any]] = ContextVar("mcp_bulkhead_log_context", default=MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One call, as the operator sees it. There is no field for arguments or results, and none may be added."""

    method: str
    tool: str | None
    status: Status
    duration_ms: float
    tenant_id: str | None = None
    session_id: str | None = None
    input_hash: str | None = None
    output_bytes: int = 0
    request_id: str | int | None = None
    trace_id: str | None = None


class JsonLines(logging.Handler):
    def __init__(self, writer: LineWriter, rules: Rules) -> None:
        super().__init__()
        self.writer = writer
        self.rules = rules

    def emit(self, record: logging.LogRecord) -> None:
        # Below INFO only our own code speaks: others print whole messages, headers and frames there.
        if record.levelno < logging.INFO and not self.rules.trusts(record.name):
            return
        line = contained(lambda: line_of(record, self.fields_of(record), self.rules), None)
        contained(lambda: self.writer.write(line or unprintable(record, self.rules)), None)

    def fields_of(self, record: logging.LogRecord) -> dict[str, Any]:
        fields = {**CONTEXT.get(), **getattr(record, FIELDS, {})}
        if self.writer.lost:
            fields["lines_lost"] = self.writer.lost
        return fields


@dataclass
class Logs:
    """The installed logging. `flush` before the process ends; `close` puts back what was there before."""

    handler: JsonLines
    undo: tuple[Callable[[], None], ...]

    def flush(self, timeout_s: float = 0.1) -> bool:
        with self.handler.lock or threading.RLock():
            return self.handler.writer.flush(timeout_s)

    def close(self) -> None:
        self.flush()
        for step in self.undo:
            step()


def configure(
    level: str = "INFO",
    service: str = "",
    *,
    stream: TextIO | None = None,
    redactor: Redactor | None = None,
    ours: tuple[str, ...] = ("mcp_bulkhead",),
    exception_text: bool = False,
) -> Logs:
    """Send everything that is logged to stderr, as JSON lines.

    `ours` are the import names of the server and its library: only they may speak below INFO. `exception_text` adds the
    messages of foreign exceptions, which may quote a user's data: for a developer's machine.
    """
    rules = Rules(service, ours, redactor or Redactor(), exception_text)
    handler = JsonLines(LineWriter(stream or sys.stderr), rules)
    wanted = logging.getLevelNamesMapping()[level.upper()]
    undo = (take_over_loggers(handler, wanted), take_over_hooks())
    if "structlog" in sys.modules:
        bridge_structlog()
    return Logs(handler, undo)


def call_record(record: CallRecord) -> None:
    """Log one finished call."""
    logger, level = logging.getLogger(CALLS), LEVEL_OF_STATUS[record.status]
    if logger.isEnabledFor(level):
        logger.log(level, "call", extra={FIELDS: {name: getattr(record, name) for name in CallRecord.__slots__}})


@contextmanager
def bound(**fields: Any) -> Generator[None]:
    """Everything logged inside carries these fields: request id, trace id, tenant."""
    token = CONTEXT.set(MappingProxyType({**CONTEXT.get(), **fields}))
    try:
        yield
    finally:
        CONTEXT.reset(token)


def get_logger(name: str) -> Any:
    """A structlog logger for server code: `get_logger(__name__).info("opened", roots=3)`."""
    bridge_structlog()
    import structlog

    return structlog.stdlib.get_logger(name)


def bridge_structlog() -> None:
    """Let structlog's loggers end in our handler. Its own default prints to stdout, which is the protocol's."""
    import structlog

    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, structlog.contextvars.merge_contextvars, hand_over],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def hand_over(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> tuple[tuple[str], dict[str, Any]]:
    """The last structlog processor: an event dictionary becomes a standard log call."""
    message = str(event.pop("event", ""))
    event.pop("positional_args", None)
    passed = {key: event.pop(key) for key in ("exc_info", "stack_info") if key in event}
    return (message,), {**passed, "extra": {FIELDS: dict(event)}}


def unprintable(record: logging.LogRecord, rules: Rules) -> bytes:
    event = {"level": record.levelname.lower(), "service": rules.service, "logger": record.name}
    return rendered({**event, "event": "unprintable log record", "line": record.lineno}, rules.redactor)


def take_over_loggers(handler: JsonLines, level: int) -> Callable[[], None]:
    root = logging.getLogger()
    before, level_before = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in TALKATIVE}
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(max(level, logging.INFO))
    logging.captureWarnings(capture=True)

    def undo() -> None:
        logging.captureWarnings(capture=False)
        root.handlers[:] = before
        root.setLevel(level_before)
        for name, old in levels.items():
            logging.getLogger(name).setLevel(old)

    return undo


def take_over_hooks() -> Callable[[], None]:
    """Exceptions nobody caught are lines too: their plain traceback would carry paths and values."""
    before = sys.excepthook, threading.excepthook, sys.unraisablehook
    log = logging.getLogger("mcp_bulkhead.uncaught")
    sys.excepthook = lambda _kind, error, _trace: log.critical("uncaught exception", exc_info=error)
    threading.excepthook = lambda args: log.error("uncaught exception in a thread", exc_info=args.exc_value)
    sys.unraisablehook = lambda args: log.error("exception in a destructor or callback", exc_info=args.exc_value)

    def undo() -> None:
        sys.excepthook, threading.excepthook, sys.unraisablehook = before

    return undo
