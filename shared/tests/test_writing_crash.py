"""A process is killed in the middle of a change: the old or the new is there, whole, and nothing that can be seen."""

import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from mcp_bulkhead.guards import temps
from mcp_bulkhead.guards.paths import RootFS
from mcp_bulkhead.guards.reserved import TEMP_PREFIX, TRASH
from mcp_bulkhead.guards.writing import Writer

OLD = b"old line\n" * 1_000
NEW = b"the new line\n" * 5_000

CHILD = """
import sys
from mcp_bulkhead.guards.copying import copy
from mcp_bulkhead.guards.deleting import delete
from mcp_bulkhead.guards.moving import move
from mcp_bulkhead.guards.paths import RootFS
from mcp_bulkhead.guards.renames import by_links
from mcp_bulkhead.guards.contents import Manner
from mcp_bulkhead.guards.writing import Writer

def step(name):
    print(name, flush=True)
    sys.stdin.readline()

NEW = b"the new line\\n" * 5_000
w = Writer(RootFS(sys.argv[1], writable=True))
if sys.argv[2].endswith("by links"):
    w.manner = Manner(by_links)
match sys.argv[2].split(" by ")[0]:
    case "replace":
        w.open("f", step=step).put(NEW)
    case "create":
        w.open("new", step=step).put(NEW)
    case "append to a hard link":
        w.open("linked", step=step).append(NEW)
    case "copy":
        copy(w.root, "folder", w, "new", step=step)
    case "move":
        move(w, "folder", w, "new", step=step)
    case "trash":
        delete(w, "folder", recursive=True, step=step)
    case "loop":
        for turn in range(100_000):
            with w.open("f") as target:
                target.put(b"%d\\n" % turn * (turn % 7 * 3_000 + 1))
            print(turn, flush=True)
print("done", flush=True)
"""

Ends = tuple[bytes | None, ...]
CHANGES: Mapping[str, tuple[str, Ends]] = MappingProxyType(
    {
        "replace": ("f", (OLD, NEW)),
        "create": ("new", (None, NEW)),
        "create by links": ("new", (None, NEW)),
        "append to a hard link": ("linked", (OLD, OLD + NEW)),
        "copy": ("new/f", (None, OLD)),
        "move": ("new/f", (None, OLD)),
        "trash": ("folder/f", (OLD, None)),
    }
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "folder" / "sub").mkdir(parents=True)
    for name in ("f", "linked", "folder/f", "folder/sub/g"):
        (root / name).write_bytes(OLD)
    (tmp_path / "other name").hardlink_to(root / "linked")
    return root


def killed_at(root: Path, what: str, step: int) -> str | None:
    """Run the change up to its so manieth step, kill it there with -9, and say the step's name; None: it was over."""
    command = [sys.executable, "-c", CHILD, str(root), what]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin
        assert child.stdout
        try:
            for _ in range(step):
                child.stdout.readline()
                child.stdin.write("go on\n")
                child.stdin.flush()
            name = child.stdout.readline().strip()
        finally:
            child.kill()
    assert name
    return None if name == "done" else name


def visible(root: Path) -> set[str]:
    opened = RootFS(str(root))
    with opened.open_dir("") as folder:
        names = {name for name, _ in folder.names()}
    opened.close()
    return names - {TRASH}


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


@pytest.mark.parametrize("what", sorted(CHANGES))
def test_a_kill_at_any_step_leaves_the_old_or_the_new(what: str, root: Path, monkeypatch: pytest.MonkeyPatch):
    name, ends = CHANGES[what]
    steps: list[str] = []
    seen: list[bytes | None] = []
    for number in range(100):
        restored(root)
        step = killed_at(root, what, number)
        seen.append(content(root / name))
        assert seen[-1] in ends, f"half a change after {step}"
        assert visible(root) <= {"f", "linked", "folder", "new"}
        assert content(root.parent / "other name") == OLD
        if step is None:
            break
        steps.append(step)
    assert seen[0] == ends[0]
    assert seen[-1] == ends[1]
    assert len(steps) >= 2
    assert "placed" in steps
    sweeps_all(root, monkeypatch)


def restored(root: Path) -> None:
    for name in ("f", "linked"):
        (root / name).unlink()
        (root / name).write_bytes(OLD)
    (root / "linked").unlink()
    (root / "linked").hardlink_to(root.parent / "other name")
    new = root / "new"
    if new.is_dir():
        shutil.rmtree(new)
    new.unlink(missing_ok=True)
    (root / "folder" / "sub").mkdir(parents=True, exist_ok=True)
    (root / "folder" / "f").write_bytes(OLD)
    (root / "folder" / "sub" / "g").write_bytes(OLD)


def sweeps_all(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temps, "STALE_AFTER_S", -1.0)
    opened = RootFS(str(root), writable=True)
    Writer(opened).open("f").close()
    opened.close()
    assert not [path for path in root.iterdir() if path.name.startswith(TEMP_PREFIX)]


@pytest.mark.parametrize("kills", [8, pytest.param(200, marks=pytest.mark.long)])
def test_a_kill_at_any_moment_leaves_one_whole_version(kills: int, root: Path, monkeypatch: pytest.MonkeyPatch):
    chance = random.Random(kills)
    whole: Callable[[int], bytes] = lambda turn: b"%d\n" % turn * (turn % 7 * 3_000 + 1)  # noqa: E731
    for _ in range(kills):
        command = [sys.executable, "-c", CHILD, str(root), "loop"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout
            last = -1
            for _ in range(chance.randrange(1, 60)):
                last = int(child.stdout.readline())
            child.kill()
        found = (root / "f").read_bytes()
        turn = int(found.partition(b"\n")[0])
        assert turn >= last, "a version that was reported as written is gone"
        assert found == whole(turn)
        assert visible(root) == {"f", "linked", "folder"}
    sweeps_all(root, monkeypatch)
