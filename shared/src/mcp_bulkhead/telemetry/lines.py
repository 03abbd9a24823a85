"""One log record, one JSON line: what may be said, and how it is written.

The line is pure ASCII, so no terminal, encoding or line splitter can misread it. Secrets go out first, then long values
are cut, then what is invisible is escaped. Of an exception we say its type and where it passed, not its message: the
messages of other people's exceptions quote what they choked on, and that is the user's data.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from logging import LogRecord
from types import TracebackType
from typing import Any, cast

from ..errors import Failure
from ..guards.secrets import Redactor
from ..guards.text import clean, json_is_plain

MAX_VALUE_CHARS = 8_000
MAX_DEPTH = 8
MAX_ITEMS = 100
MAX_CAUSES = 8
MAX_FRAMES = 12
TALKATIVE = ("mcp", "client")
"""The SDK's loggers (`client` is its client session): they format tool names, URIs and error texts into records."""


@dataclass(frozen=True)
class Rules:
    """What a line may say. `ours`: import names whose messages are trusted; all others are cut to their first line."""

    service: str
    ours: tuple[str, ...]
    redactor: Redactor
    exception_text: bool = False

    def trusts(self, logger: str) -> bool:
        root = logger.partition(".")[0]
        return any(root == name or root.startswith(f"{name}_") for name in self.ours)


def line_of(record: LogRecord, fields: Mapping[str, Any], rules: Rules) -> bytes:
    event: dict[str, Any] = {
        "ts": stamp(record.created),
        "level": record.levelname.lower(),
        "service": rules.service,
        "logger": record.name,
        "event": message_of(record, rules),
    }
    event |= {key: value for key, value in fields.items() if key not in event}
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        event["exception"] = list(told(error, rules))
    return rendered(event, rules.redactor)


def rendered(event: Mapping[str, Any], redactor: Redactor) -> bytes:
    line = rendered_as_is(event)
    if line is None or needs_care(line, redactor):
        line = encoded(presentable(event, redactor))
    return line.encode("ascii") + b"\n"


def rendered_as_is(event: Mapping[str, Any]) -> str | None:
    try:
        return encoded(event)
    except (TypeError, ValueError, RecursionError):
        return None


def encoded(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def needs_care(line: str, redactor: Redactor) -> bool:
    """Almost no line does: looking once at the whole is five times cheaper than going through every value."""
    return len(line) > MAX_VALUE_CHARS or not json_is_plain(line) or redactor.suspects_json(line)


def presentable(value: Any, redactor: Redactor, depth: int = 0) -> Any:
    """The value as JSON that holds no secret, nothing invisible and nothing endless."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, bytes | bytearray):
        return f"<{len(value)} bytes>"
    if depth < MAX_DEPTH and isinstance(value, Mapping):
        pairs = list(cast("Mapping[Any, Any]", value).items())[:MAX_ITEMS]
        return {said(str(key), redactor): presentable(item, redactor, depth + 1) for key, item in pairs}
    if depth < MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
        return [presentable(item, redactor, depth + 1) for item in list(cast("list[Any]", value))[:MAX_ITEMS]]
    if isinstance(value, float) and value - value == 0:  # neither infinite nor NaN, which are not JSON
        return value
    return said(str(value), redactor)


def said(text: str, redactor: Redactor) -> str:
    text = redactor.redact(text).text
    if len(text) > MAX_VALUE_CHARS:
        text = f"{text[:MAX_VALUE_CHARS]}… (+{len(text) - MAX_VALUE_CHARS} characters)"
    return clean(text).text


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def message_of(record: LogRecord, rules: Rules) -> str:
    if rules.trusts(record.name):
        return record.getMessage()
    message = with_withheld_arguments(record) if is_talkative(record.name) else record.getMessage()
    return message.partition("\n")[0]  # asyncio, for one, appends the repr of futures and their exceptions


def is_talkative(logger: str) -> bool:
    return logger.partition(".")[0] in TALKATIVE


def with_withheld_arguments(record: LogRecord) -> str:
    template = record.msg if isinstance(record.msg, str) else f"<{type(record.msg).__qualname__}>"
    if not record.args:
        return template
    try:
        return template % without_text(record.args)
    except (TypeError, ValueError, KeyError):
        return template


class Withheld:
    def __repr__(self) -> str:
        return "[withheld]"


def without_text(arguments: Any) -> Any:
    if isinstance(arguments, Mapping):
        return {key: number_or_nothing(value) for key, value in cast("Mapping[Any, Any]", arguments).items()}
    return tuple(number_or_nothing(value) for value in arguments)


def number_or_nothing(value: Any) -> Any:
    return value if isinstance(value, int | float) else Withheld()


def told(error: BaseException, rules: Rules) -> Iterator[dict[str, Any]]:
    """The exception and its causes, outermost first."""
    seen: BaseException | None = error
    for _ in range(MAX_CAUSES):
        if seen is None:
            return
        yield told_alone(seen, rules)
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def told_alone(error: BaseException, rules: Rules) -> dict[str, Any]:
    kind = type(error)
    result: dict[str, Any] = {"type": f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")}
    message = str(error) if rules.exception_text else harmless_message(error)
    if message:
        result["message"] = message
    if isinstance(error, BaseExceptionGroup):
        parts = cast("BaseExceptionGroup[BaseException]", error).exceptions[:MAX_CAUSES]
        result["parts"] = [told_alone(part, rules) for part in parts]
    result["at"] = list(places(error.__traceback__))[-MAX_FRAMES:]
    return result


def harmless_message(error: BaseException) -> str | None:
    """Ours never echo what was sent, the system's come from a fixed list, a missing module is no user's data."""
    if isinstance(error, Failure):
        return f"{error.reason}: {error.message}"
    if isinstance(error, ImportError):
        return str(error)
    return error.strerror if isinstance(error, OSError) else None


def places(trace: TracebackType | None) -> Iterator[str]:
    while trace is not None:
        code = trace.tb_frame.f_code
        yield f"{trace.tb_frame.f_globals.get('__name__', '?')}:{trace.tb_lineno} {code.co_name}"
        trace = trace.tb_next
