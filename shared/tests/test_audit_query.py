"""Who touched this."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mcp_bulkhead.audit import AuditLog, query

START = 1_700_000_000.0


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Two servers, one of them with two processes; a record each second, in turns."""
    now = [START]

    def clock() -> float:
        return now[0]

    logs = [
        AuditLog(tmp_path, server="filesystem", clock=clock),
        AuditLog(tmp_path, server="filesystem", clock=clock),
        AuditLog(tmp_path, server="git", clock=clock, segment_bytes=500),
    ]
    for log in logs:
        log.start()
        log.append_durable_sync({"name": "warm_up"})
    records: list[tuple[int, dict[str, Any]]] = [
        (0, {"name": "fs_read", "caller": "ann", "targets": ["docs/a.md", "docs/b.md"]}),
        (1, {"name": "fs_write", "caller": "bob", "targets": ["docs/a.md"]}),
        (2, {"name": "git_log", "caller": "ann", "targets": ["docs@main"]}),
        (0, {"name": "fs_read", "caller": "ann", "targets": ["docs2/a.md"]}),
        (1, {"name": "fs_read", "caller": "bob", "targets": [logs[1].digest("patient 7")]}),
        (2, {"name": "git_show", "caller": "bob", "targets": ["docs[1]"]}),
    ]
    for number, (at, record) in enumerate(records):
        now[0] = START + 10 + number
        logs[at].append_durable_sync({**record, "n": number})
    for log in logs:
        log.close(10)
    return tmp_path


def numbers(directory: Path, **wanted: Any) -> list[int]:
    return [record["n"] for record in query(directory, **wanted) if "n" in record]


def test_records_of_all_chains_and_servers_come_in_the_order_they_were_written(directory: Path) -> None:
    assert numbers(directory) == [0, 1, 2, 3, 4, 5]
    assert numbers(directory / "git") == [2, 5]


def test_a_target_names_a_thing_and_what_lies_below_it_but_not_its_namesakes(directory: Path) -> None:
    assert numbers(directory, target="docs") == [0, 1, 2]
    assert numbers(directory, target="docs/a.md") == [0, 1]
    assert numbers(directory, target="doc") == []


def test_a_target_may_be_a_glob_and_a_name_with_brackets_is_still_a_name(directory: Path) -> None:
    assert numbers(directory, target="*/a.md") == [0, 1, 3]
    assert numbers(directory, target="docs[1]") == [5]


def test_a_personal_target_is_found_by_who_knows_it_and_not_shown(directory: Path) -> None:
    (found,) = query(directory, target="patient 7")
    assert found["n"] == 4
    assert "patient" not in str(found)
    (directory / "filesystem" / "digest.key").unlink()
    assert numbers(directory, target="patient 7") == []


def test_tool_caller_and_time_narrow_together(directory: Path) -> None:
    at = [datetime.fromtimestamp(START + 10 + number, UTC) for number in range(6)]
    assert numbers(directory, tool="fs_read", caller="ann") == [0, 3]
    assert numbers(directory, tool="git_*") == [2, 5]
    assert numbers(directory, since=at[4]) == [4, 5]
    assert numbers(directory, until=at[1]) == [0, 1]
    assert numbers(directory, since=at[1], until=at[3], caller="ann") == [2, 3]


def test_a_limit_keeps_the_newest(directory: Path) -> None:
    assert numbers(directory, limit=2) == [4, 5]


def test_a_line_that_cannot_be_read_is_shown_whatever_was_asked_for(directory: Path) -> None:
    path = next(iter(sorted((directory / "filesystem" / "chain-0").glob("seg-*"))))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"\xff garbage\n", b'["a list"]\n', *lines[1:]]))
    found = list(query(directory, caller="bob"))
    assert [record["unreadable"] for record in found if "unreadable" in record] == [
        f"filesystem/chain-0/{path.name}:2",
        f"filesystem/chain-0/{path.name}:3",
    ]
    assert [record["n"] for record in found if "n" in record] == [1, 4, 5]


def test_a_folder_without_a_log_has_no_records(tmp_path: Path) -> None:
    assert list(query(tmp_path)) == []
    assert list(query(tmp_path / "nowhere")) == []
