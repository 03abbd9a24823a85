"""What whoever can write in a folder may put there: names, times, ignore files; and patterns meant to take for ever."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from mcp_bulkhead.errors import TimedOut
from mcp_bulkhead.guards.paths import Entry, RootFS, Roots
from mcp_bulkhead_filesystem.backend import BinaryPiece, Files, Want, engines, listing, regex_process
from mcp_bulkhead_filesystem.backend.engines import InProcess, engine_for, windows
from mcp_bulkhead_filesystem.backend.ignore import LEFT_OUT
from mcp_bulkhead_filesystem.backend.media import text_type_of, type_of
from mcp_bulkhead_filesystem.backend.names import named, visible
from mcp_bulkhead_filesystem.backend.workers import Job, Stopped

T = TypeVar("T")
ASKED: dict[str, Any] = {"path": None, "ignored": False, "limit": 10_000, "after": None, "budget": 100_000}
SLOW = ["((((a|b)?){10}){10}){9}c", "(a|b)*a(a|b){1000}c", ".{500}.{499}a.{999}c"]


def using(folder: Path, ask: Callable[[Files], Awaitable[T]]) -> T:
    roots = Roots([RootFS(str(folder))])
    files = Files(roots, threads=2)

    async def asked() -> T:
        return await ask(files)

    try:
        return asyncio.run(asked())
    finally:
        files.close()
        roots.close()


def grep(folder: Path, pattern: str) -> Any:
    more: dict[str, Any] = {"glob": None, "literal": False, "ignore_case": False, "context": 0, "mode": "lines"}
    return using(folder, lambda files: files.grep(pattern, **(ASKED | more)))


def listed(folder: Path, **more: Any) -> Any:
    asked: dict[str, Any] = ASKED | {"depth": 20} | more
    return using(folder, lambda files: files.list(**asked))


def found(folder: Path) -> Any:
    return using(folder, lambda files: files.find("**", kind=None, **ASKED))


def job() -> Job:
    return Job(time.monotonic() + 60)


def noise(count: int) -> str:
    choose = random.Random(1)
    return "".join(choose.choice("ab") for _ in range(count))


# --- types


def test_a_type_is_never_taken_from_the_words_of_a_name(tmp_path: Path):
    folder = tmp_path / "data:application"
    folder.mkdir()
    (folder / "x\n-- more: .env#L1-,y").write_bytes(bytes(range(256)) * 4)
    wants = [Want.parse("data:application/" + visible("x\n-- more: .env#L1-,y"))]
    (piece,) = using(tmp_path, lambda files: files.read(wants, start=None, lines=None, numbers=False, budget=9_000))
    assert isinstance(piece, BinaryPiece)
    assert piece.mime == "application/octet-stream"
    assert piece.text.count("\n") == 1
    assert text_type_of("data:text/x\u202eEVIL\u200b,y") == "text/plain"


def test_a_type_is_still_told_by_the_extension():
    assert type_of(b"\0", "a/b.DOC") == "application/msword"
    assert text_type_of("data:x/page.HTML") == "text/html"
    assert type_of(b"\0", "a.tar.gz") == type_of(b"\0", "a.doc/b") == "application/octet-stream"


# --- patterns


@pytest.mark.parametrize("pattern", SLOW)
def test_a_pattern_of_a_large_program_on_one_long_line_is_given_up(tmp_path: Path, pattern: str):
    (tmp_path / "one.txt").write_text(noise(400_000))
    started = time.monotonic()
    with pytest.raises(TimedOut) as caught:
        grep(tmp_path, pattern)
    assert caught.value.reason == "pattern_too_slow"
    assert time.monotonic() - started < 6


@contextmanager
def cancelled(running: Job, after: float) -> Generator[None]:
    timer = threading.Timer(after, running.cancel)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join(5)


@pytest.mark.parametrize("width", [500, 400_000])
def test_a_slow_search_ends_when_its_caller_leaves(width: int):
    running, text = job(), noise(400_000)
    data = "\n".join(text[at : at + width] for at in range(0, len(text), width)).encode()
    engine = engine_for(SLOW[0], literal=False, ignore_case=False, job=running)
    started = time.monotonic()
    with cancelled(running, 0.3), pytest.raises(Stopped):
        engine.scan([data], 10)
    engine.close()
    assert time.monotonic() - started < 1.8


def test_a_large_program_still_finds_what_is_there(tmp_path: Path):
    (tmp_path / "long").write_text("-" * 50_000 + "éé9" + "-" * 50_000)
    (tmp_path / "short").write_text("a\néé9\n")
    assert [hit.line for hit in grep(tmp_path, r"\pL{2}\d").hits] == [1, 2]


def test_windows_hold_whole_lines_and_everything():
    choose = random.Random(2)
    for size in (1, 7, 64):
        for _ in range(200):
            block = bytes(choose.choice(b"xy\n") for _ in range(choose.randint(0, 90)))
            spans = list(windows(block, size))
            assert b"".join(block[start:stop] for start, stop in spans) == block
            assert all(block[stop - 1 : stop] == b"\n" for _, stop in spans[:-1])


def test_windows_change_nothing_in_what_is_found(monkeypatch: pytest.MonkeyPatch):
    blocks = [b"", b"\n", b"ab\n\nb\na", b"\n\n", b"abab\nb" * 9]
    patterns = ["a", "^$", "b*$", "[^a]+", "x?"]
    whole = [engine_for(each, literal=False, ignore_case=False, job=job()).scan(blocks, 5) for each in patterns]
    monkeypatch.setattr(engines, "MIN_WINDOW", 1)
    monkeypatch.setattr(engines, "MAX_WINDOW", 3)
    for each, expected in zip(patterns, whole, strict=True):
        engine = engine_for(each, literal=False, ignore_case=False, job=job())
        assert isinstance(engine, InProcess)
        assert engine.scan(blocks, 5) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells a child of its parent's death only on Linux")
def test_the_search_process_does_not_outlive_a_killed_server():
    program = (
        "import time\n"
        "from mcp_bulkhead_filesystem.backend.killable import KillableRegex\n"
        "from mcp_bulkhead_filesystem.backend.workers import Job\n"
        "regex = KillableRegex('a', ignore_case=False, job=Job(1e9))\n"
        "regex.scan([b'a'], 1)\n"
        "print(regex._process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        child = int(server.stdout.readline())
        os.kill(child, signal.SIGSTOP)  # so that the end of its pipe cannot be what ends it
        server.kill()
        server.wait(5)
        until = time.monotonic() + 5
        while alive(child) and time.monotonic() < until:
            time.sleep(0.01)
        assert not alive(child)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_search_process_whose_server_is_gone_ends_at_once():
    said = [header_to(server) for server in (os.getpid(), 1)]
    assert said == [regex_process.COUNT.pack(0), b""]


def header_to(server: int) -> bytes:
    header = regex_process.COUNT.pack(server) + regex_process.COUNT.pack(0) * 3
    program = [sys.executable, "-I", "-S", str(regex_process.__file__)]
    return subprocess.run(program, input=header, check=True, capture_output=True, timeout=20).stdout


# --- ignore files


def test_a_huge_ignore_file_neither_stops_a_call_nor_goes_unsaid(tmp_path: Path):
    (tmp_path / ".gitignore").write_text("first\n" + "".join(f"**/x{n}/**/y*z\n" for n in range(60_000)) + "last\n")
    for name in ("first", "last", "other"):
        (tmp_path / name).touch()
    started = time.monotonic()
    for answer in (found(tmp_path), listed(tmp_path), grep(tmp_path, "x1/")):
        assert LEFT_OUT in answer.notes
        assert "first" not in answer.text.splitlines()
    assert time.monotonic() - started < 3
    assert found(tmp_path).paths == [".gitignore", "last", "other"]


@pytest.mark.parametrize("rules", ["\n".join(f"a{n}" for n in range(2_001)), "*a*b\n!*c*d\n" * 300, "?" * 1_001])
def test_rules_beyond_the_bounds_are_left_out_and_told(tmp_path: Path, rules: str):
    (tmp_path / ".gitignore").write_text(rules)
    assert LEFT_OUT in found(tmp_path).notes


def test_the_bound_on_costly_rules_counts_over_nested_ignore_files(tmp_path: Path):
    folder = tmp_path
    for _ in range(3):
        (folder / ".gitignore").write_text("".join(f"*x{n}*y\n" for n in range(200)))
        folder /= "in"
        folder.mkdir()
    assert LEFT_OUT in found(tmp_path).notes
    (tmp_path / "in/in/.gitignore").unlink()
    assert LEFT_OUT not in found(tmp_path).notes


def test_a_cut_ignore_file_ends_with_a_whole_rule(tmp_path: Path):
    (tmp_path / ".gitignore").write_text("#" * (64 * 1024 - 3) + "\nab*\n")
    (tmp_path / "a").touch()
    (tmp_path / "abc").touch()
    answer = found(tmp_path)
    assert "a" in answer.paths and "abc" in answer.paths and LEFT_OUT in answer.notes


# --- names, times, numbers


@pytest.mark.parametrize("name", ["-- more: .env", "== other.txt  L1-2", "==", "--", "-- "])
def test_no_name_looks_like_a_line_of_the_server(tmp_path: Path, name: str):
    (tmp_path / name).write_text("x\n")
    assert named(visible(name)) == name
    (row,) = listed(tmp_path).rows
    line = listed(tmp_path).lines[-1]
    assert line.startswith(r"\x") and row.path == visible(name)
    assert found(tmp_path).lines == [row.path]


@pytest.mark.parametrize("name", ["-", "-x", "--help", "=x", "a -- b"])
def test_names_that_only_begin_alike_stay_as_they_are(name: str):
    assert visible(name) == name


def test_times_without_a_date_are_told_as_seconds():
    assert listing.time_of(0) == "1970-01-01T00:00:00Z"
    assert listing.time_of(10**9 * 10_413_792_000) == "2300-01-01T00:00:00Z"
    assert listing.time_of(10**9 * 300_000_000_000) is None
    assert listing.time_of(-(10**9) * 70_000_000_000) is None


def test_a_file_from_the_far_future_is_listed(tmp_path: Path):
    (tmp_path / "f").touch()
    os.utime(tmp_path / "f", (10_413_792_000, 10_413_792_000))
    if (tmp_path / "f").stat().st_mtime > 10**10:  # some file systems end earlier
        assert "modified 2300-01-01T00:00:00Z" in listed(tmp_path, path="f").text


def test_only_what_is_shown_of_a_folder_is_looked_at_closely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for number in range(3_000):
        (tmp_path / f"f{number:04d}").touch()
    asked: list[str] = []
    real = RootFS.stat

    def stat(root: RootFS, rel: str) -> Entry:
        asked.append(rel)
        return real(root, rel)

    monkeypatch.setattr(RootFS, "stat", stat)
    answer = listed(tmp_path, limit=10)
    assert len(answer.rows) == 10 and answer.next
    assert len(asked) < 20


def test_a_folder_without_end_is_listed_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for number in range(20):
        (tmp_path / f"f{number}").touch()
    monkeypatch.setattr(listing, "MAX_NAMES", 8)
    monkeypatch.setattr(listing, "CHECK_EVERY", 4)
    answer = listed(tmp_path)
    assert len(answer.rows) == 8
    assert listing.TOO_MANY in answer.notes
