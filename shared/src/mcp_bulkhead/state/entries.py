"""How a line of the ledger is written into the store, and read back."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from .store import unavailable

State = Literal["running", "done", "failed", "free"]
STATES: Final = ("running", "done", "failed", "free")


@dataclass(frozen=True, slots=True)
class Record:
    """What became of one call, as far as the ledger knows."""

    state: State
    fingerprint: str
    turn: str = ""
    answer: Any = None
    left_out: Mapping[str, Any] | None = None
    """Size and digest of an answer that was too large to keep."""


def spelled(value: Any) -> bytes:
    """Any JSON value, its order kept; ASCII, so that lone surrogates and control characters stay what they were."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def digest_of(value: Any) -> str:
    """For comparing only: one spelling per value, and what JSON cannot say is compared as text."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def seal_record(state: State, fingerprint: str, *, turn: str = "", answer: Any = None, limit: int = 0) -> bytes:
    record: dict[str, Any] = {"state": state, "fingerprint": fingerprint, "turn": turn}
    text = spelled(answer)
    if state == "done" and len(text) > limit:
        record["left_out"] = {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    elif answer is not None:
        record["answer"] = answer
    return spelled(record)


def open_record(data: bytes) -> Record:
    """The record in `data`. What cannot be read is trouble with the store, never an empty place."""
    try:
        found: Any = json.loads(data)
    except ValueError as error:
        raise unavailable() from error
    if not isinstance(found, dict):
        raise unavailable()
    fields = cast("dict[str, Any]", found)
    state, fingerprint = fields.get("state"), fields.get("fingerprint")
    if state not in STATES or not isinstance(fingerprint, str):
        raise unavailable()
    return Record(state, fingerprint, str(fields.get("turn", "")), fields.get("answer"), fields.get("left_out"))
