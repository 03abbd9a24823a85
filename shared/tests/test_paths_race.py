"""Another process swaps folders, files and links as fast as it can, while we read: nothing from outside may come in."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import pytest

from mcp_bulkhead.errors import Failure
from mcp_bulkhead.guards.deny import DenyRules
from mcp_bulkhead.guards.openers import Method
from mcp_bulkhead.guards.paths import OpenedFile, RootFS
from mcp_bulkhead.guards.root_handle import RootHandle

WAYS = ["openat2", "walk", "bare walk"] if sys.platform == "linux" else ["bare walk"]

SWAPPER = """
import ctypes, json, os, select, sys, time
root, outside = sys.argv[1:3]
ends = time.monotonic() + float(sys.argv[3])
libc = ctypes.CDLL(None, use_errno=True)
def exchange(one, other):
    # RENAME_EXCHANGE: no moment without either of them. Elsewhere there is a short one.
    if hasattr(libc, "renameat2"):
        if libc.renameat2(-100, one.encode(), -100, other.encode(), 2):
            raise OSError(ctypes.get_errno(), "exchange")
    else:
        os.rename(one, one + ".swap"); os.rename(other, one); os.rename(one + ".swap", other)
def relink(target):
    os.symlink(target, root + "/new"); os.rename(root + "/new", root + "/flip")
swaps = (
    lambda: exchange(root + "/dir", root + "/.dir"),
    lambda: exchange(root + "/deep/a", root + "/deep/.a"),
    lambda: exchange(root + "/file", root + "/.file"),
    lambda: exchange(root + "/pipe", root + "/.pipe"),
    lambda: exchange(root + "/notes.txt", root + "/.env"),
    lambda: relink(outside),
    lambda: relink(root + "/safe"),
    lambda: (os.rename(root + "/move/in", outside + "/in"), os.rename(outside + "/in", root + "/move/in")),
)
print("ready", flush=True)
rounds = 0
while time.monotonic() < ends:
    for swap in swaps:
        swap()
    rounds += 1
    if rounds % 16 == 0 and select.select([0], [], [], 0)[0]:
        break
print(json.dumps(rounds), flush=True)
"""

PATHS = (
    "dir/f",
    "dir/../dir/f",
    "deep/a/b/f",
    "deep/a/b/../../../dir/f",
    "file",
    "./file",
    "pipe",
    "notes.txt",
    "flip/f",
    "flip/../safe/f",
    "abs/f",
    "move/in/../f",
    "move/in/../../safe/f",
    "move/in/../in/f",
)


@pytest.fixture
def arena(tmp_path: Path) -> Path:
    """Each swapped name has a partner that leads to a file of the same name outside."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    for name in ("root/dir", "root/deep/a/b", "root/safe", "root/move/in", "outside/b"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "f").write_text("OUTSIDE" if name.startswith("outside") else "inside")
    (outside / "f").write_text("OUTSIDE")
    (root / "move" / "f").write_text("inside")
    for name in ("file", "pipe", "notes.txt"):
        (root / name).write_text("inside")
    (root / ".dir").symlink_to(outside)
    (root / "deep" / ".a").symlink_to("../../outside")
    (root / ".file").symlink_to("../outside/f")
    os.mkfifo(root / ".pipe")
    (root / ".env").symlink_to(outside / "f")
    (root / "flip").symlink_to(root / "safe")
    (root / "abs").symlink_to(root / "dir")
    return tmp_path


class Swapper:
    rounds = 0


@contextmanager
def swapping(arena: Path, seconds: int) -> Generator[Swapper]:
    """Runs the other process; afterwards `rounds` says how often it swapped everything."""
    told = Swapper()
    command = [sys.executable, "-c", SWAPPER, str(arena / "root"), str(arena / "outside"), str(seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout
            assert other.stdin
            assert other.stdout.readline() == "ready\n"
            yield told
            other.stdin.close()
            told.rounds = json.loads(other.stdout.readline())
        finally:
            other.kill()


def read(opened: OpenedFile) -> str:
    with opened:
        return opened.pread(64, 0).decode()


def read_listed(root: RootFS, rel: str) -> str:
    """As a search does it: open the folder, take each name, open the file from the folder's handle."""
    with root.open_dir(rel) as opened:
        texts = {read(opened.child_file(name)) for name, _ in list(opened.names()) if name == "f"}
    return texts.pop() if texts else "nothing"


def race(root: RootFS, arena: Path, operations: int, seconds: int) -> tuple[Counter[str], int]:
    calls: list[Callable[[], str]] = [
        *(lambda path=path: read(root.open_file(path)) for path in PATHS),
        lambda: read_listed(root, "dir"),
        lambda: read_listed(root, "flip"),
        lambda: read_listed(root, "deep/a/b"),
        lambda: root.resolve("dir/f") and "resolved",
        lambda: root.stat("deep/a/b/f").kind.value,
    ]
    seen: Counter[str] = Counter()
    with swapping(arena, seconds) as swapper:
        for number in range(operations):
            try:
                seen[calls[number % len(calls)]()] += 1
            except Failure as failure:
                seen[failure.reason] += 1
    return seen, swapper.rounds


def check(way: str, arena: Path, operations: int, seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "bare walk":
        monkeypatch.setattr(RootHandle, "can_reopen", cannot_reopen)
    before = descriptors()
    root = RootFS(str(arena / "root"), method=cast("Method", way.removeprefix("bare ")), deny=DenyRules([".env"]))
    seen, rounds = race(root, arena, operations, seconds)
    root.close()
    assert seen["OUTSIDE"] == 0
    assert sum(seen.values()) == operations
    # The race was one: both sides came far, and we met the swapped names as well as the good ones.
    assert rounds > operations // 500
    assert seen["inside"] > operations // 10
    assert seen["outside_root"] > operations // 100
    assert seen["not_regular"] > 0
    assert set(seen) <= {
        "inside",
        "nothing",
        "resolved",
        "file",
        "outside_root",
        "not_found",
        "not_regular",
        "not_dir",
        "denied",
        "busy",
        "too_many_links",
    }
    assert descriptors() == before


def cannot_reopen(_handle: RootHandle) -> bool:
    return False


def descriptors() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


@pytest.mark.parametrize("way", WAYS)
def test_nothing_leaks_while_paths_are_swapped(way: str, arena: Path, monkeypatch: pytest.MonkeyPatch):
    check(way, arena, 20_000, 60, monkeypatch)


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_nothing_leaks_in_a_long_race(way: str, arena: Path, monkeypatch: pytest.MonkeyPatch):
    check(way, arena, 200_000, 600, monkeypatch)


def test_the_same_race_defeats_a_check_before_the_open(arena: Path):
    """The control: resolve, compare, then open is the usual guard. It loses at once, so the race is a real one."""
    inside = f"{os.path.realpath(arena / 'root')}/"

    def usual_guard(rel: str) -> str:
        path = arena / "root" / rel
        if not os.path.realpath(path).startswith(inside):
            return "refused"
        return path.read_text()

    leaks = 0
    with swapping(arena, 60):
        for number in range(100_000):
            try:
                leaks += usual_guard(("dir/f", "file", "deep/a/b/f")[number % 3]) == "OUTSIDE"
            except OSError:
                continue
            if leaks:
                break
    assert leaks
