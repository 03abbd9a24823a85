import asyncio
import json
import os
import stat
import statistics
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from mcp_bulkhead.audit import AuditLog, query, verify
from mcp_bulkhead.errors import Unavailable

RECORD: dict[str, Any] = {
    "kind": "tools/call",
    "caller": "local",
    "tenant": "default",
    "agent": {"name": "desktop", "version": "1.2"},
    "trace_id": "a" * 32,
    "span_id": "b" * 16,
    "server": "filesystem",
    "name": "fs_read",
    "targets": ["docs/a.md"],
    "args_digest": "hmac:0",
    "decision": "allow",
    "rule": None,
    "status": "ok",
    "duration_ms": 1.25,
    "bytes_out": 120,
    "phase": "call",
}


def started(directory: Path, **options: Any) -> AuditLog:
    log = AuditLog(directory, server="filesystem", **options)
    log.start()
    return log


def written(directory: Path) -> list[dict[str, Any]]:
    return list(query(directory))


def raw_lines(directory: Path) -> list[bytes]:
    paths = sorted(directory.glob("filesystem/chain-*/seg-*.jsonl"))
    return [line for path in paths for line in path.read_bytes().splitlines()]


def run_child(code: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_record_is_one_line_that_carries_the_hash_of_the_line_before(tmp_path: Path) -> None:
    import hashlib

    log = started(tmp_path)
    for number in range(20):
        log.append({**RECORD, "targets": [f"docs/{number}.md"]})
    log.close(10)
    lines = raw_lines(tmp_path)
    records = [json.loads(line) for line in lines]
    assert [record["seq"] for record in records] == list(range(1, len(lines) + 1))
    assert records[0]["prev"] == "0" * 64
    for before, record in zip(lines, records[1:], strict=False):
        assert record["prev"] == hashlib.sha256(before).hexdigest()
    assert verify(tmp_path).ok


def test_a_thousand_refusals_are_all_there_in_order(tmp_path: Path) -> None:
    log = started(tmp_path)
    for number in range(1_000):
        log.append({**RECORD, "decision": "deny", "rule": "outside_root", "targets": [f"t{number}"]})
    log.close(10)
    assert [record["targets"] for record in written(tmp_path)] == [[f"t{number}"] for number in range(1_000)]
    report = verify(tmp_path)
    assert report.ok
    assert not report.unsealed


def test_threads_and_tasks_append_at_once_and_nothing_is_lost_or_mixed(tmp_path: Path) -> None:
    log = started(tmp_path, segment_bytes=20_000)

    def work(worker: int) -> None:
        for number in range(500):
            log.append({**RECORD, "caller": f"w{worker}", "n": number})

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    log.close(20)
    found: dict[str, list[int]] = {}
    for record in written(tmp_path):
        found.setdefault(record["caller"], []).append(record["n"])
    assert found == {f"w{worker}": list(range(500)) for worker in range(8)}
    report = verify(tmp_path)
    assert report.ok
    assert report.segments > 1


def test_a_durable_record_is_in_the_file_and_under_a_signature_when_it_returns(tmp_path: Path) -> None:
    log = started(tmp_path)
    seq = log.append_durable_sync({**RECORD, "phase": "intent", "intent": "i1"})
    last = json.loads(raw_lines(tmp_path)[-1])
    assert (last["seq"], last["intent"]) == (seq, "i1")
    log.close(10)


def test_durable_records_of_many_tasks_share_their_syncs_and_get_their_own_numbers(tmp_path: Path) -> None:
    log = started(tmp_path)

    async def announce() -> list[int]:
        return await asyncio.gather(*(log.append_durable({**RECORD, "n": number}) for number in range(100)))

    numbers = asyncio.run(announce())
    log.close(10)
    assert {record["seq"]: record["n"] for record in written(tmp_path)} == {seq: n for n, seq in enumerate(numbers)}


def test_a_waiter_that_is_cancelled_leaves_its_record_and_a_working_log(tmp_path: Path) -> None:
    log = started(tmp_path)

    async def give_up() -> None:
        waiting = asyncio.create_task(log.append_durable({**RECORD, "n": 1}))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await log.append_durable({**RECORD, "n": 2})

    asyncio.run(give_up())
    log.close(10)
    assert [record["n"] for record in written(tmp_path)] == [1, 2]


def test_an_intent_without_an_outcome_is_listed_and_is_no_tampering(tmp_path: Path) -> None:
    log = started(tmp_path)
    for name in ("done", "vanished"):
        log.append_durable_sync({**RECORD, "name": "fs_write", "phase": "intent", "intent": name})
    log.append_durable_sync({**RECORD, "name": "fs_write", "phase": "outcome", "intent": "done"})
    log.close(10)
    report = verify(tmp_path)
    assert report.ok
    assert [(one.intent, one.name) for one in report.open_intents] == [("vanished", "fs_write")]


def test_appending_costs_the_caller_well_under_a_third_of_a_millisecond(tmp_path: Path) -> None:
    log = started(tmp_path)
    log.append_durable_sync(RECORD)
    spent: list[float] = []
    for _ in range(400):
        begun = time.perf_counter()
        log.append(RECORD)
        spent.append(time.perf_counter() - begun)
        time.sleep(0.0005)
    log.close(10)
    assert statistics.median(spent) < 0.000_3


def test_closing_is_quick_idempotent_and_ends_in_a_checkpoint(tmp_path: Path) -> None:
    log = started(tmp_path)
    for _ in range(500):
        log.append(RECORD)
    begun = time.perf_counter()
    log.close()
    assert time.perf_counter() - begun < 0.3
    log.close()
    assert json.loads(raw_lines(tmp_path)[-1])["log"] == "checkpoint"
    assert len(written(tmp_path)) == 500


def test_a_log_that_was_never_used_makes_no_file_and_closes_at_once(tmp_path: Path) -> None:
    log = started(tmp_path / "audit")
    log.close()
    assert not (tmp_path / "audit").exists()
    unstarted = AuditLog(tmp_path / "audit", server="filesystem")
    unstarted.append(RECORD)
    unstarted.close()


def test_after_the_end_appending_is_harmless_and_an_effect_is_refused(tmp_path: Path) -> None:
    log = started(tmp_path)
    log.append(RECORD)
    log.close(10)
    log.append(RECORD)
    with pytest.raises(Unavailable):
        log.append_durable_sync(RECORD)
    assert len(written(tmp_path)) == 1
    assert log.lost == 2


def test_one_user_has_one_chain_over_restarts_and_a_second_process_takes_the_next(tmp_path: Path) -> None:
    for _ in range(3):
        log = started(tmp_path)
        log.append(RECORD)
        log.close(10)
    assert [path.name for path in tmp_path.glob("filesystem/chain-*")] == ["chain-0"]
    first, second = started(tmp_path), started(tmp_path)
    for number in range(50):
        first.append_durable_sync({**RECORD, "n": number})
        second.append_durable_sync({**RECORD, "n": number})
    first.close(10)
    second.close(10)
    report = verify(tmp_path)
    assert report.ok
    assert (report.chains, len(written(tmp_path))) == (2, 103)


def test_two_processes_that_start_together_share_keys_and_lose_nothing(tmp_path: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from mcp_bulkhead.audit import AuditLog
        sys.stdin.readline()
        log = AuditLog(Path(sys.argv[1]), server="filesystem")
        log.start()
        print(log.digest({"same": 1}))
        for n in range(300):
            log.append({"who": sys.argv[2], "n": n})
        log.append_durable_sync({"who": sys.argv[2], "n": 300})
        log.close(20)
    """
    children = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(tmp_path), who],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for who in ("a", "b", "c")
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    outputs = [child.communicate(timeout=60)[0] for child in children]
    assert len(set(outputs)) == 1
    report = verify(tmp_path)
    assert report.ok, report.problems
    found = sorted((record["who"], record["n"]) for record in written(tmp_path))
    assert found == [(who, n) for who in ("a", "b", "c") for n in range(301)]


def test_folders_and_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    run_child(
        """
        import os, sys
        from pathlib import Path
        os.umask(0)
        from mcp_bulkhead.audit import AuditLog
        log = AuditLog(Path(sys.argv[1]) / "state" / "audit", server="filesystem", payloads=True)
        log.start()
        log.keep_payload({"a": 1})
        log.append_durable_sync({"a": 1})
        log.close(10)
        """,
        tmp_path,
    )
    entries = [*(tmp_path / "state").rglob("*"), tmp_path / "state"]
    assert len(entries) > 10
    if os.name == "posix":
        for entry in entries:
            wanted = 0o700 if entry.is_dir() else 0o600
            assert stat.S_IMODE(entry.lstat().st_mode) == wanted, entry


def test_a_place_that_cannot_be_written_refuses_effects_counts_reads_and_says_so_afterwards(tmp_path: Path) -> None:
    place = tmp_path / "audit"
    place.write_text("in the way")
    log = started(place)
    log.append(RECORD)
    with pytest.raises(Unavailable) as refused:
        log.append_durable_sync(RECORD)
    assert str(tmp_path) not in json.dumps(refused.value.as_dict())
    assert (log.healthy, log.lost) == (False, 2)
    place.unlink()
    log.append_durable_sync({**RECORD, "n": "after"})
    assert (log.healthy, log.lost) == (True, 0)
    log.close(10)
    told = [record for record in map(json.loads, raw_lines(place)) if record.get("log") == "lost"]
    assert [record["lost"] for record in told] == [2]
    report = verify(place)
    assert report.ok
    assert any("2 records" in note.message for note in report.notes)


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file size are POSIX")
def test_a_full_disk_leaves_whole_lines_and_the_loss_is_told_when_there_is_room_again(tmp_path: Path) -> None:
    out = run_child(
        """
        import resource, sys
        from pathlib import Path
        from mcp_bulkhead.audit import AuditLog
        from mcp_bulkhead.errors import Unavailable
        log = AuditLog(Path(sys.argv[1]), server="filesystem")
        log.start()
        log.append_durable_sync({"n": 0})
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        kept = refused = 0
        for n in range(1, 60):
            try:
                log.append_durable_sync({"n": n, "text": "x" * 100})
                kept += 1
            except Unavailable:
                refused += 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        log.append_durable_sync({"n": "after"})
        log.close(10)
        print(kept, refused)
        """,
        tmp_path,
    )
    kept, refused = map(int, out.split())
    assert kept > 3
    assert refused > 3
    report = verify(tmp_path)
    assert report.ok, report.problems
    assert sum(record.get("lost", 0) for record in map(json.loads, raw_lines(tmp_path))) == refused
    assert [record["n"] for record in written(tmp_path)] == [*range(kept + 1), "after"]


def test_digests_are_equal_for_equal_values_keyed_and_silent_about_the_value(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "one", server="filesystem")
    other = AuditLog(tmp_path / "two", server="filesystem")
    assert log.digest({"b": [1, "\udcff"], "a": None}) == log.digest({"a": None, "b": [1, "\udcff"]})
    assert log.digest("x") != log.digest("y")
    assert log.digest("x") != other.digest("x")
    assert log.digest("x") == AuditLog(tmp_path / "one", server="filesystem").digest("x")
    assert log.digest("x").startswith("hmac:")
    assert len(log.digest("x")) == len("hmac:") + 32


def test_a_digest_without_a_place_for_its_key_says_that_it_does_not_last(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("in the way")
    log = AuditLog(tmp_path / "audit", server="filesystem")
    assert log.digest("x").startswith("hmac-ephemeral:")
    assert log.digest("x") == log.digest("x")


def test_payloads_are_kept_only_on_request_under_the_digest_they_return(tmp_path: Path) -> None:
    quiet = started(tmp_path / "quiet")
    quiet.keep_payload({"secret": "canary"})
    quiet.append_durable_sync(RECORD)
    quiet.close(10)
    assert not list((tmp_path / "quiet").rglob("payloads"))
    log = started(tmp_path / "full", payloads=True)
    digest = log.keep_payload({"path": "a", "text": "\ud800"})
    log.append_durable_sync({**RECORD, "args_digest": digest})
    log.close(10)
    path = tmp_path / "full" / "filesystem" / "payloads" / f"{digest.removeprefix('hmac:')}.json"
    assert json.loads(path.read_text()) == {"path": "a", "text": "\ud800"}
    assert verify(tmp_path / "full").ok
    path.write_text('{"path":"b"}')
    assert [problem.kind for problem in verify(tmp_path / "full").problems] == ["payload_edited"]


def test_the_logs_own_fields_cannot_be_set_by_a_caller_and_a_servers_name_is_no_path(tmp_path: Path) -> None:
    log = started(tmp_path)
    with pytest.raises(ValueError, match="belong to the log"):
        log.append({"log": "checkpoint"})
    log.close()
    for name in ("../up", "", "A", "a/b", ".", "a\n"):
        with pytest.raises(ValueError, match="name"):
            AuditLog(tmp_path, server=name)


def test_importing_the_package_loads_nothing_heavy_and_starts_nothing() -> None:
    out = run_child("""
        import sys, time, json, hashlib, pathlib, typing, datetime, threading
        import mcp_bulkhead.errors
        begun = time.process_time()
        import mcp_bulkhead.audit
        spent = time.process_time() - begun
        from mcp_bulkhead.audit import AuditLog, query, verify
        heavy = {"cryptography", "asyncio", "logging", "concurrent.futures", "dataclasses", "mcp"} & set(sys.modules)
        print(json.dumps([sorted(heavy), threading.active_count(), spent]))
    """)
    heavy, threads, spent = json.loads(out)
    assert heavy == []
    assert threads == 1
    assert spent < 0.005


def test_a_report_reads_as_lines_for_a_terminal_and_as_data_for_a_program(tmp_path: Path) -> None:
    log = started(tmp_path)
    log.append_durable_sync({**RECORD, "name": "fs_write", "phase": "intent", "intent": "i1"})
    log.close(10)
    report = verify(tmp_path)
    assert str(report).splitlines() == [
        "open intent i1 of fs_write in filesystem/chain-0",
        "nothing was changed: 3 records in 1 segments of 1 chains, 1 checkpoints, 0 expired segments, 0 not yet signed",
    ]
    path = tmp_path / "filesystem" / "chain-0" / "seg-000000000001.jsonl"
    path.write_bytes(path.read_bytes().replace(b"fs_write", b"fs_weite"))
    report = verify(tmp_path)
    assert str(report).startswith("PROBLEM edited filesystem/chain-0/seg-000000000001.jsonl:2 (record 2): ")
    data = json.loads(json.dumps(report.as_dict()))
    assert (data["ok"], data["problems"][0]["kind"], data["problems"][0]["seq"]) == (False, "edited", 2)
