"""How a record becomes one line, and how a line is read back without being believed.

A line is compact ASCII JSON: `seq`, `prev`, `time`, then the other fields sorted, and on signed lines `sig` at the end.
`prev` is the SHA-256 of the previous line's bytes without its newline. ASCII keeps lone surrogates, bidi and control
characters harmless in a terminal, and gives one spelling per value: a line that re-encodes differently is foreign.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from pathlib import PurePath
from typing import Any, Final, NamedTuple, TypedDict, cast

GENESIS: Final = "0" * 64
"""What the first record of a chain carries as `prev`."""

RESERVED: Final = frozenset({"seq", "prev", "time", "log", "sig"})
MAX_LINE_BYTES: Final = 1 << 20
MAX_TEXT_CHARS: Final = 4_000
MAX_FIELD_CHARS: Final = 256
WHOLE: Final = frozenset({"targets"})
"""Fields that are kept in full, since they say what was touched; only a flood of them is shortened."""
LONG_BYTES: Final = 64 << 10
MAX_DEPTH: Final = 24
MAX_NODES: Final = 5_000
MAX_INT_BITS: Final = 1_024
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
SIGNATURE: Final = re.compile(rb',"sig":"([0-9a-f]{128})"\}\Z')
FRAME: Final = re.compile(
    rb'\{"seq":(0|[1-9][0-9]{0,17}),"prev":"([0-9a-f]{64})","time":"([0-9]{4}-[0-9:T.-]{21}Z)"[,}]'
)


class AuditRecord(TypedDict, total=False):
    """What the pipeline puts into a record. Every field may be left out; fields not named here pass through.

    `seq`, `prev`, `time`, `log` and `sig` belong to the log itself.
    """

    kind: str
    """What happened: a protocol method such as `tools/call`, or `auth`, `kill_switch`, ..."""
    caller: str | None
    tenant: str | None
    agent: Mapping[str, str | None]
    """The client program as it names itself: `{"name": ..., "version": ...}`."""
    trace_id: str | None
    span_id: str | None
    server: str
    name: str | None
    """The tool, resource or prompt."""
    targets: Sequence[str]
    """What the call was about (path, table, repo@rev, ticket, origin), or `AuditLog.digest` of it when personal."""
    args_digest: str | None
    decision: str
    rule: str | None
    status: str
    duration_ms: float
    bytes_out: int
    phase: str
    """`call` for what needs one record; an effect has `intent` before and `outcome` after, joined by `intent`."""
    intent: str | None


class Frame(NamedTuple):
    """What the log itself put at the start of a line."""

    seq: int
    prev: str
    time: str


encoder: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def canonical(value: object) -> str:
    """One spelling per value. What JSON cannot say is named by its type, never by its content."""
    try:
        return encoder.encode(value)
    except (TypeError, ValueError, RecursionError):
        return encoder.encode(_Plain(MAX_TEXT_CHARS).plain(value))


def hash_line(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def stamp(seconds: float) -> str:
    """UTC with microseconds: sorts as text. A clock that is out of its mind is clamped, not believed and not fatal."""
    try:
        moment = EPOCH + timedelta(seconds=seconds)
    except (OverflowError, ValueError):
        moment = datetime.max.replace(tzinfo=UTC) if seconds > 0 else datetime.min.replace(tzinfo=UTC)
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def unstamp(text: str) -> float:
    """Seconds since the epoch; a text that is no time counts as the distant past."""
    try:
        return (datetime.fromisoformat(text) - EPOCH).total_seconds()
    except (ValueError, TypeError):
        return (datetime.min.replace(tzinfo=UTC) - EPOCH).total_seconds()


def body(fields: Mapping[str, object], seconds: float) -> bytes:
    """Everything after `prev`, encoded when the record is taken: later changes to the objects do not matter."""
    encoded = canonical(fields if isinstance(fields, dict) else dict(fields))
    if len(encoded) > LONG_BYTES:
        encoded = shortened(fields)
    separator = "," if len(encoded) > len("{}") else ""
    return f'"time":"{stamp(seconds)}"{separator}{encoded[1:]}'.encode("ascii")


def line(seq: int, prev: str, rest: bytes) -> bytes:
    return b'{"seq":%d,"prev":"%s",%s' % (seq, prev.encode("ascii"), rest)


def brief(fields: Mapping[str, object]) -> Mapping[str, object]:
    """A record whose free text (names, methods, ids: whatever a caller may choose) is no longer than it need be."""
    long = {key: value for key, value in fields.items() if key not in WHOLE and is_long(key, value)}
    plain = _Plain(MAX_FIELD_CHARS)
    return {**fields, **{key: plain.plain(value) for key, value in long.items()}} if long else fields


def is_long(key: str, value: object) -> bool:
    if key == "agent" and isinstance(value, Mapping):
        return any(is_long("", part) for part in cast("Mapping[object, object]", value).values())
    return isinstance(value, str) and len(value) > MAX_FIELD_CHARS


def shortened(fields: Mapping[str, object]) -> str:
    """A record that would flood the log keeps its shape: long texts are cut, then the largest fields only counted."""
    kept = {str(key)[:MAX_TEXT_CHARS]: _Plain(MAX_TEXT_CHARS).plain(value) for key, value in fields.items()}
    sizes = {key: len(canonical(value)) + len(canonical(key)) for key, value in kept.items()}
    total = sum(sizes.values())
    for key in sorted(sizes, key=lambda name: (name == "targets", -sizes[name])):
        if total <= MAX_LINE_BYTES // 2:
            break
        kept[key] = {"cut_bytes": sizes[key]}
        total -= sizes[key]
    encoded = canonical(kept)
    return encoded if len(encoded) <= MAX_LINE_BYTES // 2 else canonical({"cut_bytes": total, "cut_fields": len(kept)})


def frame(raw: bytes) -> Frame | None:
    """Number, link and time of a line, read without trusting the rest of it."""
    found = FRAME.match(raw)
    return found and Frame(int(found[1]), found[2].decode(), found[3].decode())


def parse(raw: bytes) -> dict[str, Any] | None:
    """The record, if the line is spelled as we spell it: doubled keys, blanks, NaN and odd escapes are not."""
    try:
        value: object = json.loads(raw)
        if not isinstance(value, dict):
            return None
        record = cast("dict[str, Any]", value)
        return record if spelling(raw, record) == raw else None
    except (ValueError, RecursionError):
        return None


def spelling(raw: bytes, record: Mapping[str, Any]) -> bytes:
    """How the log would have written this record, given the frame and the signature that `raw` carries."""
    framed, signed = FRAME.match(raw), SIGNATURE.search(raw)
    outside = {*(("seq", "prev", "time") if framed else ()), *(("sig",) if signed else ())}
    middle = encoder.encode({key: value for key, value in record.items() if key not in outside}).encode("ascii")[1:-1]
    start = raw[: framed.end() - 1] + (b"," if middle else b"") if framed else b"{"
    return start + middle + (raw[signed.start() :] if signed else b"}")


class _Plain:
    """Rebuilds a value from what JSON can say, within bounds: a cycle or a bomb costs no more than any other record."""

    def __init__(self, max_chars: int) -> None:
        self.max_chars = max_chars
        self.nodes = 0

    def plain(self, value: object, depth: int = 0) -> object:
        self.nodes += 1
        if self.nodes > MAX_NODES or depth > MAX_DEPTH:
            return "<cut>"
        match value:
            case None | bool():
                return value
            case str():
                return self.text(value)
            case int():
                return value if value.bit_length() <= MAX_INT_BITS else f"<int of {value.bit_length()} bits>"
            case float():
                return value if value - value == 0 else str(value)
            case PurePath() | datetime():
                return self.text(str(value))
            case Mapping():
                items = cast("Mapping[object, object]", value).items()
                return {self.key(key): self.plain(item, depth + 1) for key, item in items if self.nodes <= MAX_NODES}
            case list() | tuple():
                return self.sequence(cast("Sequence[object]", value), depth)
            case set() | frozenset():
                parts = self.sequence(tuple(cast("AbstractSet[object]", value)), depth)
                return sorted(parts, key=encoder.encode)
            case _:
                return f"<{type(value).__name__}>"

    def key(self, value: object) -> str:
        if isinstance(value, str | int | float):
            return self.text(str(value) if isinstance(value, str) else encoder.encode(self.plain(value)))
        return f"<{type(value).__name__}>"

    def sequence(self, values: Sequence[object], depth: int) -> list[object]:
        room = max(0, MAX_NODES - self.nodes)
        kept = [self.plain(item, depth + 1) for item in values[:room]]
        return kept if len(values) <= room else [*kept, f"<{len(values) - room} more>"]

    def text(self, value: str) -> str:
        if len(value) <= self.max_chars:
            return value
        return f"{value[: self.max_chars]}...(+{len(value) - self.max_chars})"
