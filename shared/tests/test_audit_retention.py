"""What is too old goes as a whole, and its going is signed."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mcp_bulkhead.audit import AuditLog, query, verify

DAY = 86_400.0


class Clock:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now

    def days(self, number: float) -> None:
        self.now += number * DAY


def started(directory: Path, clock: Callable[[], float], **options: Any) -> AuditLog:
    log = AuditLog(directory, server="git", clock=clock, **options)
    log.start()
    return log


def chain(directory: Path) -> Path:
    return directory / "git" / "chain-0"


def segment_names(directory: Path) -> list[str]:
    return sorted(path.name for path in chain(directory).glob("seg-*"))


def daily(directory: Path, clock: Clock, days: int) -> None:
    """A quiet user: one short session a day."""
    for number in range(days):
        log = started(directory, clock)
        log.append_durable_sync({"day": number})
        assert log.sweep()
        log.close(10)
        clock.days(1.01)


def test_a_quiet_log_keeps_thirty_days_and_verifies_on_every_one_of_them(tmp_path: Path) -> None:
    clock = Clock()
    for _ in range(8):
        daily(tmp_path, clock, 5)
        assert verify(tmp_path).ok
    assert verify(tmp_path).tombstones >= 9
    days = [record["day"] for record in query(tmp_path)]
    assert 28 <= len(days) <= 32
    assert verify(tmp_path, public_key=tmp_path / "git" / "audit.pub").ok


def test_a_process_that_never_restarts_rotates_and_expires_by_itself_when_swept(tmp_path: Path) -> None:
    clock = Clock()
    log = started(tmp_path, clock, retention_days=30)
    log.append_durable_sync({"n": "old"})
    clock.days(2)
    assert log.sweep()
    first = segment_names(tmp_path)
    log.append_durable_sync({"n": "newer"})
    assert len(segment_names(tmp_path)) == 2
    clock.days(29)
    assert log.sweep()
    assert segment_names(tmp_path) != first
    assert [record["n"] for record in query(tmp_path)] == ["newer"]
    clock.days(60)
    assert log.sweep()
    assert segment_names(tmp_path) == []
    assert verify(tmp_path).ok
    log.append_durable_sync({"n": "last"})
    log.close(10)
    report = verify(tmp_path)
    assert report.ok, report.problems
    assert [record["n"] for record in query(tmp_path)] == ["last"]


def test_a_log_of_which_everything_expired_goes_on_with_the_next_number_after_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    log = started(tmp_path, clock)
    last = log.append_durable_sync({"n": 1})
    clock.days(40)
    assert log.sweep()
    assert segment_names(tmp_path) == []
    log.close(10)
    log = started(tmp_path, clock)
    assert log.append_durable_sync({"n": 2}) > last
    log.close(10)
    assert verify(tmp_path).ok


def test_an_intent_that_expired_without_an_outcome_is_still_named(tmp_path: Path) -> None:
    clock = Clock()
    log = started(tmp_path, clock)
    for name in ("lost", "slow"):
        log.append_durable_sync({"phase": "intent", "intent": name})
    clock.days(40)
    assert log.sweep()
    log.append_durable_sync({"phase": "outcome", "intent": "slow"})
    log.close(10)
    report = verify(tmp_path)
    assert report.ok
    assert [(one.intent, one.seq) for one in report.open_intents] == [("lost", None)]


def test_a_segment_that_goes_without_a_tombstone_or_with_an_older_one_is_missed(tmp_path: Path) -> None:
    clock = Clock()
    daily(tmp_path, clock, 36)
    tombstone = chain(tmp_path) / "expired.json"
    older = tombstone.read_bytes()
    daily(tmp_path, clock, 3)
    newer = tombstone.read_bytes()
    assert newer != older
    tombstone.write_bytes(older)
    assert "missing_segment" in {problem.kind for problem in verify(tmp_path).problems}
    tombstone.write_bytes(newer)
    assert verify(tmp_path).ok
    (chain(tmp_path) / segment_names(tmp_path)[0]).unlink()
    assert "missing_segment" in {problem.kind for problem in verify(tmp_path).problems}


def test_tampering_does_not_become_clean_by_growing_old(tmp_path: Path) -> None:
    clock = Clock()
    daily(tmp_path, clock, 3)
    second = chain(tmp_path) / segment_names(tmp_path)[1]
    second.write_bytes(second.read_bytes().replace(b'"day":1', b'"day":7'))
    assert not verify(tmp_path).ok
    clock.days(40)
    daily(tmp_path, clock, 1)
    assert second.name not in segment_names(tmp_path)
    assert {problem.kind for problem in verify(tmp_path).problems} == {"damaged_at_expiry"}


def test_a_crash_between_the_tombstone_and_the_removal_is_finished_on_the_next_start(tmp_path: Path) -> None:
    clock = Clock()
    daily(tmp_path, clock, 3)
    kept = {name: (chain(tmp_path) / name).read_bytes() for name in segment_names(tmp_path)}
    clock.days(40)
    daily(tmp_path, clock, 1)
    for name, content in kept.items():
        (chain(tmp_path) / name).write_bytes(content)
    assert verify(tmp_path).ok
    daily(tmp_path, clock, 1)
    assert not kept.keys() & set(segment_names(tmp_path))
    assert verify(tmp_path).ok


def test_payloads_expire_with_the_records_that_name_them(tmp_path: Path) -> None:
    clock = Clock()
    log = started(tmp_path, clock, payloads=True)
    log.keep_payload({"n": "old"})
    kept = log.keep_payload({"n": "used again"})
    log.append_durable_sync({"n": 1})
    assert log.sweep()
    clock.days(20)
    log.keep_payload({"n": "used again"})
    assert log.sweep()
    assert len(list((tmp_path / "git" / "payloads").iterdir())) == 2
    clock.days(15)
    assert log.sweep()
    log.close(10)
    assert [path.stem for path in (tmp_path / "git" / "payloads").iterdir()] == [kept.removeprefix("hmac:")]


def test_a_clock_that_jumps_or_breaks_neither_stops_the_log_nor_breaks_the_chain(tmp_path: Path) -> None:
    times = iter([5.0, -1e9, float("nan"), float("inf"), -float("inf"), 1e300, -1e300, 0.0])
    now = [1_700_000_000.0]

    def clock() -> float:
        return now[0]

    log = started(tmp_path, clock)
    log.append_durable_sync({"n": "first"})
    for number, moment in enumerate(times):
        now[0] = moment
        log.append_durable_sync({"n": number})
    now[0] = 1_700_000_000.0
    log.append_durable_sync({"n": "last"})
    log.close(10)
    report = verify(tmp_path)
    assert report.ok, report.problems


def test_a_clock_set_back_expires_nothing(tmp_path: Path) -> None:
    clock = Clock()
    daily(tmp_path, clock, 3)
    clock.days(-400)
    daily(tmp_path, clock, 2)
    assert len(list(query(tmp_path))) == 5
    assert verify(tmp_path).ok


def test_the_tombstone_says_what_went(tmp_path: Path) -> None:
    clock = Clock()
    log = started(tmp_path, clock)
    for number in range(4):
        log.append_durable_sync({"n": number})
    clock.days(40)
    assert log.sweep()
    log.close(10)
    tombstone = json.loads((chain(tmp_path) / "expired.json").read_text())
    assert (tombstone["first_seq"], tombstone["last_seq"], tombstone["records"], tombstone["segments"]) == (1, 6, 6, 1)
    assert tombstone["from"].startswith("2023-11-14")
    assert tombstone["first_prev"] == "0" * 64
    assert len(tombstone["last_hash"]) == 64
    if os.name == "posix":
        assert (chain(tmp_path) / "expired.json").stat().st_mode & 0o777 == 0o600
