"""A killed process loses nothing it was promised, and the log goes on truthfully."""

import hashlib
import itertools
import json
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest

from mcp_bulkhead.audit import AuditLog, query, verify
from mcp_bulkhead.errors import Unavailable

LOST_AT_MOST_S = 0.05
SLACK_S = 0.10
"""A loaded machine may not run the writer's thread at once; what is promised is LOST_AT_MOST_S of running."""

WRITER = """
    import os, sys, time
    from pathlib import Path
    from mcp_bulkhead.audit import AuditLog
    log = AuditLog(Path(sys.argv[1]), server="filesystem", segment_bytes=int(sys.argv[2]))
    log.start()
    log.append_durable_sync({"n": -1})
    n = 0
    while True:
        if n % 25 == 24:
            log.append_durable_sync({"n": n, "phase": "intent", "intent": str(n)})
            kind = "durable"
        else:
            log.append({"n": n})
            kind = "grouped"
        os.write(1, f"{kind} {n} {time.perf_counter()}\\n".encode())
        n += 1
        time.sleep(0.0005)
"""


def started(directory: Path, **options: Any) -> AuditLog:
    log = AuditLog(directory, server="filesystem", **options)
    log.start()
    return log


def killed(directory: Path, after: int, segment_bytes: int = 1 << 24) -> list[tuple[str, int, float]]:
    """What a writing process had been told was taken, when it was killed after `after` records."""
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(directory), str(segment_bytes)], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    seen = [child.stdout.readline() for _ in range(after)]
    child.kill()
    seen += child.stdout.readlines()
    child.wait(30)
    child.stdout.close()
    told = [line.split() for line in seen if line.endswith(b"\n")]
    return [(kind.decode(), int(number), float(moment)) for kind, number, moment in told]


def chain(directory: Path) -> Path:
    return directory / "filesystem" / "chain-0"


def last_segment(directory: Path) -> Path:
    return max(chain(directory).glob("seg-*.jsonl"))


def own_records(directory: Path, kind: str) -> list[dict[str, Any]]:
    paths = sorted(chain(directory).glob("seg-*.jsonl"))
    records = [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]
    return [record for record in records if record.get("log") == kind]


@pytest.mark.parametrize("after", [10, 137, 400])
def test_a_killed_process_loses_no_durable_record_and_only_the_last_moment_of_the_others(
    tmp_path: Path, after: int
) -> None:
    told = killed(tmp_path, after, segment_bytes=20_000)
    kept = {record["n"] for record in query(tmp_path) if "n" in record}
    durable = {number for kind, number, _ in told if kind == "durable"}
    assert durable <= kept
    last_moment = told[-1][2]
    lost = [moment for _, number, moment in told if number not in kept]
    worst = max((last_moment - moment for moment in lost), default=0.0)
    assert worst <= LOST_AT_MOST_S + SLACK_S, f"{len(lost)} records of the last {worst * 1_000:.1f} ms"
    assert not lost or [number for _, number, _ in told][-len(lost) :] == [
        number for _, number, _ in told if number not in kept
    ]
    assert verify(tmp_path).ok
    log = started(tmp_path)
    log.append_durable_sync({"n": "again"})
    log.close(10)
    report = verify(tmp_path)
    assert report.ok, report.problems
    assert {intent.intent for intent in report.open_intents} == {
        str(number) for number in kept if number % 25 == 24 and number >= 0
    }


def test_a_torn_last_line_is_set_aside_and_told(tmp_path: Path) -> None:
    log = started(tmp_path)
    log.append_durable_sync({"n": 1})
    log.close(10)
    torn = b'{"seq":5,"prev":"0123'
    with last_segment(tmp_path).open("ab") as file:
        file.write(torn)
    before = verify(tmp_path)
    assert before.ok
    assert any("unfinished" in note.message for note in before.notes)
    log = started(tmp_path)
    log.append_durable_sync({"n": 2})
    log.close(10)
    (told,) = own_records(tmp_path, "recovered")
    (piece,) = told["torn"]
    assert (piece["bytes"], piece["sha256"]) == (len(torn), hashlib.sha256(torn).hexdigest())
    assert (chain(tmp_path) / piece["file"]).read_bytes() == torn
    report = verify(tmp_path)
    assert report.ok, report.problems
    assert any("torn bytes" in note.message for note in report.notes)
    assert [record["n"] for record in query(tmp_path)] == [1, 2]


def test_a_tail_of_zeros_as_a_power_cut_leaves_it_is_set_aside_too(tmp_path: Path) -> None:
    log = started(tmp_path)
    log.append_durable_sync({"n": 1})
    log.close(10)
    with last_segment(tmp_path).open("ab") as file:
        file.write(b"\0" * 200_000 + b"\n" + b"\0" * 10)
    log = started(tmp_path)
    log.append_durable_sync({"n": 2})
    log.close(10)
    assert verify(tmp_path).ok
    assert own_records(tmp_path, "recovered")[0]["torn"][0]["bytes"] == 200_011


def test_a_segment_that_was_only_named_is_used_again(tmp_path: Path) -> None:
    log = started(tmp_path, segment_bytes=1)
    log.append_durable_sync({"n": 1})
    log.close(10)
    last = json.loads(last_segment(tmp_path).read_bytes().splitlines()[-1])["seq"]
    (chain(tmp_path) / f"seg-{last + 1:012d}.jsonl").touch()
    assert verify(tmp_path).ok
    log = started(tmp_path)
    log.append_durable_sync({"n": 2})
    log.close(10)
    assert verify(tmp_path).ok


def test_records_that_a_killed_process_left_unsigned_are_counted_and_told(tmp_path: Path) -> None:
    code = """
        import os, sys, time
        from pathlib import Path
        from mcp_bulkhead.audit import AuditLog
        log = AuditLog(Path(sys.argv[1]), server="filesystem")
        log.start()
        log.append_durable_sync({"n": 0})
        log.keeper.wrote = lambda chain, receipts: None     # the moment before the next sync
        for n in range(5):
            log.append({"n": n})
        limit = time.monotonic() + 10
        while log.writer.chain.at.seq < 7 and time.monotonic() < limit:
            time.sleep(0.001)
        os._exit(9)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], timeout=30, check=False)
    assert done.returncode == 9
    report = verify(tmp_path)
    assert report.ok
    assert report.unsealed == 5
    log = started(tmp_path)
    log.append_durable_sync({"n": "again"})
    log.close(10)
    report = verify(tmp_path)
    assert report.ok
    assert report.unsealed == 0
    assert any("5 records before this process" in note.message for note in report.notes)


def test_a_log_taken_away_from_under_a_running_process_is_noticed_refused_and_told(tmp_path: Path) -> None:
    log = started(tmp_path)
    for number in range(3):
        log.append_durable_sync({"n": number})
    last_segment(tmp_path).rename(tmp_path / "stolen.jsonl")
    with pytest.raises(Unavailable):
        log.append_durable_sync({"n": 3})
    log.append_durable_sync({"n": 4})
    log.close(10)
    (told,) = own_records(tmp_path, "recovered")
    assert told["missing"] == 5
    report = verify(tmp_path)
    assert {problem.kind for problem in report.problems} == {"missing_segment", "truncated"}
    assert [record["n"] for record in query(tmp_path)] == [4]


def test_a_lock_file_cleaned_up_by_hand_does_not_let_two_processes_write_one_chain_for_long(tmp_path: Path) -> None:
    log = started(tmp_path)
    log.append_durable_sync({"n": 0})
    (chain(tmp_path) / "lock").unlink()
    with pytest.raises(Unavailable):
        log.append_durable_sync({"n": 1})
    log.append_durable_sync({"n": 2})
    log.close(10)
    assert verify(tmp_path).ok


def test_verifying_and_querying_beside_a_writing_process_never_raise_a_false_alarm(tmp_path: Path) -> None:
    ticks = itertools.count(1_000_000)
    log = started(tmp_path, segment_bytes=3_000, retention_days=0.001, clock=lambda: float(next(ticks)))
    log.append_durable_sync({"n": -1})
    done = threading.Event()

    def write() -> None:
        for number in range(100_000):
            log.append({"n": number})
            if number % 10 == 0:
                log.append_durable_sync({"n": number})
            if done.is_set():
                return

    writing = threading.Thread(target=write)
    writing.start()
    try:
        for _ in range(25):
            report = verify(tmp_path)
            assert report.ok, report.problems
            assert not any("unreadable" in record for record in query(tmp_path))
    finally:
        done.set()
        writing.join(30)
        log.close(10)
    report = verify(tmp_path)
    assert report.ok, report.problems
    assert report.tombstones > 0
