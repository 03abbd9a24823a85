"""Another process swaps folders, files and links as fast as it can, while we change things: nothing outside changes."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from mcp_bulkhead.errors import Failure
from mcp_bulkhead.guards.copying import copy
from mcp_bulkhead.guards.deleting import delete
from mcp_bulkhead.guards.deny import DenyRules
from mcp_bulkhead.guards.moving import move
from mcp_bulkhead.guards.openers import Method
from mcp_bulkhead.guards.paths import RootFS
from mcp_bulkhead.guards.root_handle import RootHandle
from mcp_bulkhead.guards.writing import Writer

WAYS = ["openat2", "walk", "bare walk"] if sys.platform == "linux" else ["bare walk"]
KINDS = ("write", "edit", "mkdir", "move", "delete")

# What we change may take a swapped name away for good, so each swap first puts back what it needs.
SWAPPER = """
import ctypes, json, os, select, shutil, sys, time
root, outside = sys.argv[1:3]
ends = time.monotonic() + float(sys.argv[3])
libc = ctypes.CDLL(None, use_errno=True)
def exchange(one, other):
    # RENAME_EXCHANGE: no moment without either of them. Elsewhere there is a short one.
    if hasattr(libc, "renameat2"):
        libc.renameat2(-100, one.encode(), -100, other.encode(), 2)
    else:
        os.rename(one, one + ".swap"); os.rename(other, one); os.rename(one + ".swap", other)
def attempt(act, *given):
    try:
        act(*given)
    except OSError:
        pass
def file_or_link():
    one, other = root + "/file", root + "/.file"
    if not (os.path.islink(one) or os.path.islink(other)):
        attempt(os.unlink, other)
        attempt(os.symlink, outside + "/f", other)
    exchange(one, other)
def nested():
    exchange(root + "/pile/x", root + "/pile/.x")
def relink(target):
    attempt(os.symlink, target, root + "/new")
    attempt(os.rename, root + "/new", root + "/flip")
def out_and_back():
    attempt(os.rename, root + "/move/in", outside + "/in")
    attempt(os.rename, outside + "/in", root + "/move/in")
swaps = (
    lambda: exchange(root + "/dir", root + "/.dir"),
    lambda: exchange(root + "/deep/a", root + "/deep/.a"),
    file_or_link,
    nested,
    lambda: relink(outside),
    lambda: relink(root + "/safe"),
    out_and_back,
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


@pytest.fixture
def arena(tmp_path: Path) -> Path:
    """Each swapped name has a partner that leads outside, to things of the very names that are changed inside."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    for name in ("root/dir", "root/deep/a/b", "root/safe", "root/move/in", "outside", "outside/b"):
        (tmp_path / name).mkdir(parents=True)
        for file in ("f", "g", "m1"):
            (tmp_path / name / file).write_text("OUTSIDE" if name.startswith("outside") else "inside")
        (tmp_path / name / "made" / "sub").mkdir(parents=True)
        (tmp_path / name / "made" / "sub" / "f").write_text("OUTSIDE")
    (root / "file").write_text("inside")
    (root / ".dir").symlink_to(outside)
    (root / "deep" / ".a").symlink_to("../../outside")
    (root / ".file").symlink_to(outside / "f")
    (root / "flip").symlink_to(root / "safe")
    (root / "abs").symlink_to(root / "dir")
    return tmp_path


class Swapper:
    rounds = 0


@contextmanager
def swapping(arena: Path, seconds: int) -> Generator[Swapper]:
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


def state_of(outside: Path) -> Mapping[str, Any]:
    """All that could show an effect: names, kinds, content, inodes, times of change. `in` is a folder of ours."""
    found: dict[str, Any] = {}
    for at, folders, files in os.walk(outside):
        is_top = Path(at) == outside
        if is_top:
            folders[:] = [name for name in folders if name != "in"]
        for path in [Path(at), *(Path(at) / name for name in files)]:
            st = path.lstat()
            # The swapper itself moves a folder in and out of the top one.
            facts = (
                (st.st_mode, st.st_ino) if path == outside else (st.st_mode, st.st_ino, st.st_mtime_ns, st.st_ctime_ns)
            )
            found[str(path.relative_to(outside))] = (*facts, path.read_bytes() if path.is_file() else b"")
    return found


PLACES = ("dir", "deep/a", "deep/a/b", "flip", "abs", "move/in", "flip/../safe", "safe")


def put(writer: Writer, rel: str) -> str:
    with writer.open(rel) as target:
        target.put(b"written")
    return "done"


def edit(writer: Writer, rel: str) -> str:
    with writer.open(rel) as target:
        before = target.read()
        if before == b"OUTSIDE":
            return "LEAKED"
        target.put(before[-20:] + b".")
    return "done"


def append(writer: Writer, rel: str) -> str:
    with writer.open(rel) as target:
        if (target.file.size if target.file else 0) > 1_000:
            target.put(b"again")
        else:
            target.append(b"+")
    return "done"


def make(writer: Writer, rel: str) -> str:
    writer.mkdir(rel)
    return "done"


def make_all(writer: Writer, rel: str) -> str:
    writer.make_all(rel)
    return "done"


def moved(writer: Writer, rel: str, to: str, *, replace: bool) -> str:
    move(writer, rel, writer, to, replace=replace)
    return "done"


def deleted(writer: Writer, rel: str, *, trash: bool = False) -> str:
    delete(writer, rel, recursive=True, trash=trash)
    return "done"


def pile_deleted(writer: Writer, root: Path) -> str:
    """A whole folder is deleted while one of its folders is swapped for a link that leads out."""
    if not (root / "pile").exists():
        (root / "pile" / "x" / "sub").mkdir(parents=True)
        (root / "pile" / "x" / "f").write_text("inside")
        (root / "pile" / ".x").symlink_to(root.parent / "outside")
    return deleted(writer, "pile")


def calls_of(kind: str, writer: Writer, root: Path) -> list[Callable[[], str]]:
    calls: list[Callable[[], str]] = []
    for place in PLACES:
        match kind:
            case "write":
                calls += [
                    lambda at=place: put(writer, f"{at}/f"),
                    lambda at=place: append(writer, f"{at}/g"),
                    lambda: put(writer, "file"),
                ]
            case "edit":
                calls += [lambda at=place: edit(writer, f"{at}/f"), lambda: edit(writer, "file")]
            case "mkdir":
                calls += [
                    lambda at=place: make(writer, f"{at}/fresh"),
                    lambda at=place: make_all(writer, f"{at}/fresh/x/y"),
                    lambda at=place: deleted(writer, f"{at}/fresh"),
                ]
            case "move":
                calls += [
                    lambda at=place: moved(writer, f"{at}/m1", f"{at}/m2", replace=False),
                    lambda at=place: moved(writer, f"{at}/m2", f"{at}/m1", replace=True),
                    lambda at=place: moved(writer, f"{at}/made", "dir/taken", replace=False),
                    lambda at=place: moved(writer, "dir/taken", f"{at}/made", replace=False),
                    lambda at=place: copy(writer.root, f"{at}/f", writer, "safe/copy", replace=True) and "done",
                ]
            case _:
                calls += [
                    lambda at=place: deleted(writer, f"{at}/g"),
                    lambda at=place: put(writer, f"{at}/g"),
                    lambda at=place: deleted(writer, f"{at}/made"),
                    lambda at=place: make_all(writer, f"{at}/made/sub"),
                    lambda: pile_deleted(writer, root),
                ]
    return calls


def race(kind: str, writer: Writer, arena: Path, operations: int, seconds: int) -> tuple[Counter[str], int]:
    calls = calls_of(kind, writer, arena / "root")
    seen: Counter[str] = Counter()
    with swapping(arena, seconds) as swapper:
        for number in range(operations):
            try:
                seen[calls[number % len(calls)]()] += 1
            except Failure as failure:
                seen[failure.reason] += 1
    return seen, swapper.rounds


def check(way: str, kind: str, arena: Path, operations: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "bare walk":
        monkeypatch.setattr(RootHandle, "can_reopen", cannot_reopen)
    method = cast("Method", way.removeprefix("bare "))
    root = RootFS(str(arena / "root"), method=method, deny=DenyRules([]), writable=True)
    before, descriptors = state_of(arena / "outside"), open_descriptors()
    seen, rounds = race(kind, Writer(root, fsync=False), arena, operations, 60 + operations // 50)
    assert open_descriptors() == descriptors
    root.close()
    assert state_of(arena / "outside") == before
    assert seen["LEAKED"] == 0
    assert sum(seen.values()) == operations
    # The race was one: both sides came far, and met.
    assert rounds > operations // 500
    assert seen["done"] > operations // 20
    assert seen["outside_root"] > operations // 200
    assert set(seen) <= {
        "done",
        "busy",
        "exists",
        "is_dir",
        "not_dir",
        "not_empty",
        "not_found",
        "not_regular",
        "outside_root",
        "stale",
        "too_many_links",
    }


def cannot_reopen(_handle: RootHandle) -> bool:
    return False


def open_descriptors() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_nothing_outside_changes_while_paths_are_swapped(
    way: str, kind: str, arena: Path, monkeypatch: pytest.MonkeyPatch
):
    check(way, kind, arena, 2_000, monkeypatch)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", WAYS)
def test_nothing_outside_changes_in_a_long_race(way: str, kind: str, arena: Path, monkeypatch: pytest.MonkeyPatch):
    check(way, kind, arena, 200_000, monkeypatch)


USUAL: Mapping[str, Callable[[Path], object]] = {
    "write": lambda path: path.write_text("written"),
    "mkdir": lambda path: (path.parent / "fresh").mkdir(),
    "move": lambda path: (path.parent / "m1").replace(path.parent / "m2"),
    "delete": lambda path: shutil.rmtree(path.parent / "made"),
}


@pytest.mark.parametrize("kind", sorted(USUAL))
def test_the_same_race_defeats_a_check_before_the_change(kind: str, arena: Path):
    """The control: resolve, compare, then act on the path is the usual guard. It loses, so the race is a real one."""
    inside, outside = f"{os.path.realpath(arena / 'root')}/", arena / "outside"
    before = {rel: facts[-1] for rel, facts in state_of(outside).items()}
    changed = False
    with swapping(arena, 120):
        for number in range(200_000):
            path = arena / "root" / ("dir/f", "deep/a/b/f", "flip/f")[number % 3]
            (path.parent / "made").mkdir(exist_ok=True) if kind == "delete" and number % 50 == 0 else None
            try:
                if os.path.realpath(path).startswith(inside):
                    USUAL[kind](path)
            except OSError:
                pass
            if number % 20 == 0 and {rel: facts[-1] for rel, facts in state_of(outside).items()} != before:
                changed = True
                break
    assert changed
