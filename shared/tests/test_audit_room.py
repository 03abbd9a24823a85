"""An audit log that has no room: too many processes, too many bytes, too long a text."""

from pathlib import Path
from typing import Any

import pytest

from mcp_bulkhead.audit import AuditLog, query, verify
from mcp_bulkhead.audit.chain import SLOTS
from mcp_bulkhead.audit.files import private_folder, try_lock
from mcp_bulkhead.errors import Unavailable

MB = 1 << 20


def started(directory: Path, **options: Any) -> AuditLog:
    log = AuditLog(directory, server="git", **options)
    log.start()
    return log


def hold(directory: Path, slots: range) -> list[int]:
    taken = [try_lock(private_folder(directory / "git" / f"chain-{slot}") / "lock") for slot in slots]
    return [lock for lock in taken if lock is not None]


def test_a_process_for_which_no_chain_is_left_is_told_so_before_it_serves(tmp_path: Path):
    assert len(hold(tmp_path, range(SLOTS))) == SLOTS
    log = AuditLog(tmp_path, server="git")
    with pytest.raises(Unavailable) as refused:
        log.reserve()
    assert refused.value.reason == "audit_unavailable"
    assert "--state-dir" in refused.value.hint
    assert not log.healthy


def test_a_reserved_chain_is_nobody_elses_and_is_the_one_that_is_written(tmp_path: Path):
    hold(tmp_path, range(1, SLOTS))
    first, second = AuditLog(tmp_path, server="git"), AuditLog(tmp_path, server="git")
    first.reserve()
    with pytest.raises(Unavailable):
        second.reserve()
    first.start()
    first.append_durable_sync({"n": 1})
    first.close(10)
    assert [record["n"] for record in query(tmp_path)] == [1]
    assert verify(tmp_path).ok
    second.reserve()


def test_a_reserved_chain_that_was_never_used_is_let_go_and_leaves_nothing_to_complain_about(tmp_path: Path):
    log = AuditLog(tmp_path, server="git")
    log.reserve()
    log.start()
    log.close(10)
    assert (lock := try_lock(tmp_path / "git" / "chain-0" / "lock")) is not None
    assert lock
    assert verify(tmp_path).problems == []


def test_a_folder_that_cannot_be_written_is_no_reason_not_to_serve(tmp_path: Path):
    (tmp_path / "git").write_text("no folder")
    log = AuditLog(tmp_path, server="git")
    log.reserve()
    assert not log.healthy


def size(directory: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in directory.rglob(pattern))


def test_over_its_size_the_oldest_segments_go_early_and_the_rest_verifies(tmp_path: Path):
    log = started(tmp_path, max_bytes=MB)
    for number in range(40):
        log.append_durable_sync({"n": number, "targets": ["x" * 50_000]})
    assert log.sweep()
    log.close(10)
    assert size(tmp_path, "seg-*") <= MB + MB // 8
    kept = [record["n"] for record in query(tmp_path)]
    assert kept == list(range(kept[0], 40))
    assert 5 < kept[0] < 30
    report = verify(tmp_path)
    assert report.ok, report.problems
    assert report.tombstones


def test_payloads_go_before_records_do(tmp_path: Path):
    log = started(tmp_path, max_bytes=MB, payloads=True)
    for number in range(8):
        log.keep_payload({"n": number, "content": "x" * 400_000})
        log.append_durable_sync({"n": number})
    assert log.sweep()
    log.close(10)
    assert 0 < size(tmp_path, "payloads/*.json") <= MB
    assert [record["n"] for record in query(tmp_path)] == list(range(8))
    assert verify(tmp_path).ok


def test_free_text_of_a_caller_is_cut_and_what_was_touched_is_kept_whole(tmp_path: Path):
    log = started(tmp_path)
    path = "deep/" * 800
    log.append_durable_sync(
        {"name": "n" * 4_000, "agent": {"name": "a" * 4_000, "version": "1"}, "targets": [path], "bytes_out": 7}
    )
    log.close(10)
    (record,) = query(tmp_path)
    assert record["name"] == "n" * 256 + "...(+3744)"
    assert record["agent"] == {"name": "a" * 256 + "...(+3744)", "version": "1"}
    assert record["targets"] == [path]
    assert record["bytes_out"] == 7
    assert verify(tmp_path).ok
