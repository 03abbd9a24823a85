"""From a declared fence to what the kernel is told: by version, by place, and against a reference decision."""

import errno
import os
import ssl
import sys
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_bulkhead.errors import Unsupported
from mcp_bulkhead.guards import landlock, runtime_paths, sandbox
from mcp_bulkhead.guards.fence import READ, WRITE, Fence, rules_for
from mcp_bulkhead.guards.landlock import Fs, Handled, Net, Place, Ruleset, Scope
from mcp_bulkhead.guards.runtime_paths import interpreter_paths, system_paths
from mcp_bulkhead.guards.sandbox import Applied, ChildFence, NotApplied, apply, posture_of, probe

T = TypeVar("T")
ABI = probe().abi
needs_landlock = pytest.mark.skipif(not ABI, reason="this system has no Landlock")


def on_a_thread(act: Callable[[], T]) -> T:
    """The kernel fences threads: one that ends takes its fence with it."""
    with ThreadPoolExecutor(1) as passing:
        return passing.submit(act).result(30)


def error_of(act: Callable[[], object]) -> int:
    try:
        act()
    except OSError as error:
        return error.errno or -1
    return 0


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """`apply` believes that no other thread runs, so that a test may fence in a thread of its own."""
    monkeypatch.setattr(sandbox, "threads_here", lambda: 1)


# -- what each version knows -------------------------------------------------------------------------------------------

KNOWN = {1: 0x1FFF, 2: 0x3FFF, 3: 0x7FFF, 4: 0x7FFF, 5: 0xFFFF, 6: 0xFFFF, 7: 0xFFFF}


@pytest.mark.parametrize("abi", KNOWN)
def test_a_ruleset_names_only_what_the_kernel_knows(abi: int):
    handled = rules_for(Fence(bind=(80,)), abi).handled
    assert int(handled.fs) == KNOWN[abi]
    assert handled.net == (Net.BIND_TCP | Net.CONNECT_TCP if abi >= 4 else Net(0))
    assert handled.scope == (Scope.ABSTRACT_SOCKETS | Scope.SIGNALS if abi >= 6 else Scope(0))


def test_a_newer_kernel_is_asked_for_what_we_know_and_no_more():
    assert rules_for(Fence(), 99).handled == rules_for(Fence(), 7).handled


def test_what_is_declared_open_is_not_handled():
    handled = rules_for(Fence(execute=True, connect=None, signals=True, abstract_sockets=True), 7).handled
    assert handled == Handled(Fs(0xFFFF) & ~Fs.EXECUTE, Net(0), Scope(0))


def test_places_and_ports_become_rules_with_the_rights_of_their_mode():
    rules = rules_for(Fence(read=("/r",), write=(3,), execute=("/x",), connect=(1,), bind=(2,), runtime=("/lib",)), 7)
    assert rules.declared == (("/r", READ), (3, WRITE), ("/x", READ | Fs.EXECUTE))
    assert rules.ports == ((1, Net.CONNECT_TCP), (2, Net.BIND_TCP))
    assert rules.runtime[0] == ("/lib", READ)
    assert dict(rules.runtime)["/dev/null"] == Fs.READ_FILE | Fs.WRITE_FILE


def test_no_mode_gives_more_than_it_says():
    assert READ == Fs.READ_FILE | Fs.READ_DIR
    never = Fs.EXECUTE | Fs.MAKE_CHAR | Fs.MAKE_BLOCK | Fs.MAKE_FIFO | Fs.MAKE_SOCK | Fs.IOCTL_DEV
    assert not WRITE & never


# -- every version, on this kernel -------------------------------------------------------------------------------------


@needs_landlock
@pytest.mark.parametrize("abi", range(1, ABI + 1))
def test_the_rules_of_every_older_version_are_accepted_and_keep_their_word(abi: int, tmp_path: Path):
    """What is built for an old kernel behaves on a new one as there: what it did not handle is left alone."""
    for name in ("mine/one/draft", "mine/two/draft", "other"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("text")
    ruleset, absent = sandbox.built(rules_for(Fence(write=(tmp_path / "mine",), connect=(1,), bind=(1,)), abi))
    assert absent == ()

    def inside() -> None:
        ruleset.enter()
        assert error_of((tmp_path / "other").read_text) == errno.EACCES
        assert error_of(lambda: os.truncate(tmp_path / "other", 0)) == (errno.EACCES if abi >= 3 else 0)
        (tmp_path / "mine" / "one" / "draft").write_text("new")
        moved = error_of(lambda: (tmp_path / "mine/one/draft").rename(tmp_path / "mine/two/moved"))
        assert moved == (0 if abi >= 2 else errno.EXDEV)

    on_a_thread(inside)
    ruleset.close()


def test_a_posture_says_for_every_version_what_it_stops_and_what_it_leaves():
    fence = Fence(read=("/home/me/secret-project",), write=("/state",), connect=(4318, 53))
    texts: dict[int, tuple[str, str]] = {}
    for abi in KNOWN:
        posture = posture_of(fence, abi)
        assert posture.on
        assert f"ABI {abi}" in posture.sentence
        assert "secret-project" not in posture.sentence
        texts[abi] = "; ".join(posture.stops), "; ".join(posture.leaves)
    said = {
        "no file can be moved": (1, 2),
        "read in 2 declared places and changed in 1 declared place": (1, 99),
        "no program on disk": (1, 99),
        "of TCP ports only 53, 4318 can be connected to": (4, 99),
        "no process outside can be signalled": (6, 99),
        "no abstract socket": (6, 99),
    }
    left = {
        "truncate": (1, 3),
        "ioctl": (1, 5),
        "TCP connections to anywhere": (1, 4),
        "listening on any": (1, 99),
        "signalling processes": (1, 6),
        "connecting to abstract": (1, 6),
        "UDP": (1, 99),
    }
    for abi, (stops, leaves) in texts.items():
        assert {words for words in said if words in stops} == {w for w, (a, b) in said.items() if a <= abi < b}
        assert {words for words in left if words in leaves} == {w for w, (a, b) in left.items() if a <= abi < b}


def test_a_posture_follows_what_the_fence_declares_open():
    fence = Fence(execute=True, connect=None, bind=(), signals=True, abstract_sockets=True)
    posture = posture_of(fence, 7, ("/nowhere",))
    assert posture.stops == (
        "files are read in no declared place and changed in no declared place",
        "no TCP port can be listened on",
    )
    assert {"TCP connections to anywhere", "signalling processes of this user"} < set(posture.leaves)
    assert "starting programs, which stay behind the same fence" in posture.leaves
    assert "only named programs can be started" in posture_of(Fence(execute=("/bin",)), 7).stops
    record = posture.record()
    assert (record["sandbox"], record["abi"], record["absent"]) == ("landlock", 7, ["/nowhere"])


# -- why there is no fence ---------------------------------------------------------------------------------------------

REFUSALS = {
    errno.ENOSYS: "no_landlock",
    errno.EOPNOTSUPP: "disabled",
    errno.EPERM: "forbidden",
    errno.EIO: "failed",
}


@pytest.mark.parametrize("code", REFUSALS)
def test_a_kernel_without_landlock_is_a_typed_reason(code: int, monkeypatch: pytest.MonkeyPatch):
    def refuse() -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(landlock, "version", refuse)
    for outcome in (apply(Fence()), ChildFence.prepare(Fence())):
        assert isinstance(outcome, NotApplied)
        assert outcome.reason == REFUSALS[code]
        assert not outcome.posture.on
        assert outcome.words in outcome.posture.sentence
        assert outcome.posture.record() == {"sandbox": "off", "reason": REFUSALS[code], "detail": ""}


def test_another_system_is_a_typed_reason(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    outcome = apply(Fence())
    assert isinstance(outcome, NotApplied)
    assert (outcome.reason, outcome.abi) == ("not_linux", 0)


@needs_landlock
def test_with_other_threads_nothing_is_applied():
    def both() -> tuple[Applied | NotApplied, int]:
        return apply(Fence()), error_of(Path("/etc/passwd").read_text)

    outcome, error = on_a_thread(both)
    assert isinstance(outcome, NotApplied)
    assert (outcome.reason, outcome.abi, error) == ("threads", ABI, 0)
    assert "other threads run already" in outcome.posture.sentence
    assert f"({outcome.detail})" in outcome.posture.sentence


@needs_landlock
@pytest.mark.skipif(ABI < 4, reason="this kernel's Landlock knows no ports")
@pytest.mark.usefixtures("alone")
def test_a_rule_that_the_kernel_refuses_leaves_nothing_half_done():
    descriptors = sorted(Path("/proc/self/fd").iterdir())
    for outcome in (apply(Fence(connect=(70_000,))), ChildFence.prepare(Fence(connect=(70_000,)))):
        assert isinstance(outcome, NotApplied)
        assert (outcome.reason, outcome.detail) == ("failed", "Invalid argument")
    assert error_of(Path("/etc/passwd").read_text) == 0
    assert sorted(Path("/proc/self/fd").iterdir()) == descriptors


@needs_landlock
@pytest.mark.usefixtures("alone")
def test_more_fences_than_the_kernel_stacks_are_a_typed_reason():
    child = ChildFence.prepare(Fence(runtime=()))
    assert isinstance(child, ChildFence)

    def pile_up() -> list[Applied | NotApplied]:
        piled = [apply(Fence(runtime=())) for _ in range(17)]
        with pytest.raises(Unsupported, match="was not started"):
            child.start(lambda: pytest.fail("started without its fence"))
        return piled

    *up, last = on_a_thread(pile_up)
    assert all(isinstance(outcome, Applied) for outcome in up)
    assert isinstance(last, NotApplied)
    assert (last.reason, last.abi) == ("too_deep", ABI)
    child.close()


@needs_landlock
@pytest.mark.usefixtures("alone")
def test_places_that_do_not_exist_are_reported_and_stay_closed(tmp_path: Path):
    late = tmp_path / "late"

    def inside() -> tuple[Applied | NotApplied, int]:
        return apply(Fence(read=(late,), write=(tmp_path,), runtime=("/nowhere",))), error_of(late.mkdir)

    outcome, error = on_a_thread(inside)
    assert isinstance(outcome, Applied)
    assert (outcome.absent, outcome.posture.absent, error) == ((str(late),), (str(late),), 0)


@needs_landlock
def test_threads_are_counted_by_the_kernel_and_without_it_by_python():
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, daemon=True)
    before = sandbox.threads_that_stay()
    thread.start()
    assert sandbox.threads_here() == before + 1
    stop.set()
    thread.join()
    assert sandbox.threads_that_stay() == before
    child = ChildFence.prepare(Fence(runtime=()))
    assert isinstance(child, ChildFence)
    assert child.start(sandbox.threads_here) == threading.active_count() + 1
    child.close()


@pytest.mark.parametrize(("counts", "expected"), [([2, 2, 1], 1), ([3, 3, 2], 3)])
def test_a_thread_that_just_ended_is_waited_for_and_one_that_stays_is_not(
    counts: list[int], expected: int, monkeypatch: pytest.MonkeyPatch
):
    """The kernel's counts are played back: one thread goes after two looks, the other one for longer than we wait."""
    played = iter(counts)
    monkeypatch.setattr(sandbox, "threads_here", lambda: next(played))
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    if expected > 1:
        monkeypatch.setattr(sandbox, "PATIENCE_S", 0.0)
    assert sandbox.threads_that_stay() == expected


@needs_landlock
def test_a_ruleset_is_closed_once_and_its_rules_need_something_to_give_back(tmp_path: Path):
    ruleset = Ruleset(Handled(Fs.EXECUTE, Net(0), Scope(0)))
    assert ruleset.allow(tmp_path, Fs.READ_FILE)
    ruleset.allow_port(1, Net.CONNECT_TCP)
    ruleset.close()
    ruleset.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        ruleset.enter()


# -- what an interpreter needs -----------------------------------------------------------------------------------------


def test_an_interpreter_gets_its_parts_and_nobody_s_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    home, package = tmp_path / "home", tmp_path / "packages"
    for folder in (home / "project", package):
        folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home / "project"))
    started, beside = str(tmp_path / "started-here"), str(tmp_path / "home" / "project")
    monkeypatch.setattr(sys, "path", [started, "", "/", str(home), beside, str(package), "/nowhere", *sys.path])
    (tmp_path / "started-here").mkdir()
    found = interpreter_paths()
    assert package in found
    assert {Path("/"), home, home / "project", Path(started)}.isdisjoint(found)
    assert all(path.exists() for path in found)
    assert not [path for path in found if set(path.parents) & set(found)]
    for needed in (os.__file__, ssl.__file__, pytest.__file__, sandbox.__file__, "/dev/null"):
        assert {Path(needed), *Path(needed).parents} & set(found), needed
    assert not {Path("/etc"), Path("/etc/ssl"), Path("/usr"), Path("/proc"), Path("/dev")} & set(found)


def test_a_user_whom_the_system_does_not_know_has_no_home_to_spare(monkeypatch: pytest.MonkeyPatch):
    def unknown() -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "home", staticmethod(unknown))
    monkeypatch.setattr(sys, "path", ["first", "/"])
    assert Path("/") not in interpreter_paths()


def test_modules_in_use_are_readable_and_odd_ones_do_no_harm():
    package, single, built_in = ModuleType("package"), ModuleType("single"), ModuleType("built_in")
    package.__path__ = ["/a/package"]
    single.__file__ = "/b/single.py"
    modules = {"package": package, "single": single, "built_in": built_in, "package.inner": single}
    modules["blocked"] = None  # pyright: ignore[reportArgumentType] - how an import is forbidden
    assert list(runtime_paths._loaded(modules)) == ["/a/package", "/b/single.py"]


def test_a_path_that_climbs_is_not_taken_for_what_it_climbs_out_of(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    climbing = f"{tmp_path}/a/../b"
    assert runtime_paths._existing([f"{tmp_path}/a", climbing]) == (tmp_path / "a", Path(climbing))


def test_a_program_of_the_system_gets_nothing_of_ours():
    found = {path.resolve() for path in system_paths()}
    assert Path("/usr").resolve() in found
    assert not [path for path in found if path.is_relative_to("/proc") or path.is_relative_to(Path.home())]


# -- random fences, and a reference that decides like them -------------------------------------------------------------

FOLDERS = ("", "a", "a/b", "c")
FILES = ("top", "a/one", "a/b/two", "c/three")
Mode = str
Declared = dict[str, Mode]
Operation = tuple[str, str, str]

operations = st.one_of(
    st.tuples(st.sampled_from(["read", "write", "truncate", "unlink"]), st.sampled_from(FILES), st.just("")),
    st.tuples(st.sampled_from(["list", "create", "mkdir", "symlink", "rmdir"]), st.just(""), st.sampled_from(FOLDERS)),
    st.tuples(st.sampled_from(["rename", "link"]), st.sampled_from(FILES), st.sampled_from(FOLDERS)),
)
declarations = st.dictionaries(st.sampled_from([*FOLDERS, *FILES]), st.sampled_from(["read", "write"]), max_size=4)


def modes_at(declared: Declared, path: str) -> set[Mode]:
    """What is declared for a path, or for any folder above it."""
    above = [path, *(str(parent) for parent in Path(path).parents)]
    return {mode for place, mode in declared.items() if (place or ".") in above or place == path}


def allowed(declared: Declared, operation: Operation) -> bool:
    name, file, folder = operation
    parent = str(Path(file).parent).strip(".")
    if name == "read":
        return bool(modes_at(declared, file))
    if name == "list":
        return bool(modes_at(declared, folder))
    if name in {"write", "truncate"}:
        return "write" in modes_at(declared, file) or (name == "truncate" and ABI < 3)
    if name == "unlink":
        return "write" in modes_at(declared, parent)
    if name in {"rename", "link"}:
        both = "write" in modes_at(declared, parent) and "write" in modes_at(declared, folder)
        return both and (ABI >= 2 or parent == folder)
    return "write" in modes_at(declared, folder)


class Tree:
    """A small tree, put back in order after each operation: a rule holds to an inode, so inodes must stay."""

    def __init__(self, root: Path) -> None:
        self.root, self.kept = root / "tree", root / "kept"
        self.kept.mkdir()
        for folder in FOLDERS:
            (self.root / folder).mkdir(parents=True)
        for file in FILES:
            (self.root / file).write_text("text")
            os.link(self.root / file, self.kept / Path(file).name)

    def act(self, operation: Operation) -> Callable[[], object]:
        name, file, folder = operation
        at, new = self.root / file, self.root / folder / "new"
        return {
            "read": at.read_text,
            "write": lambda: os.close(os.open(at, os.O_WRONLY)),
            "truncate": lambda: os.truncate(at, 0),
            "unlink": at.unlink,
            "list": lambda: list((self.root / folder).iterdir()),
            "create": lambda: os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDONLY)),
            "mkdir": new.mkdir,
            "symlink": lambda: new.symlink_to("nowhere"),
            "rmdir": (self.root / folder / "empty").rmdir,
            "rename": lambda: at.rename(new),
            "link": lambda: new.hardlink_to(at),
        }[name]

    @contextmanager
    def in_order(self) -> Generator[None]:
        for folder in FOLDERS:
            (self.root / folder / "empty").mkdir()
        yield
        for folder in FOLDERS:
            for left in (self.root / folder / "empty", self.root / folder / "new"):
                if left.is_dir():
                    left.rmdir()
                left.unlink(missing_ok=True)
        for file in FILES:
            kept = self.kept / Path(file).name
            kept.write_text("text")
            if not (self.root / file).exists():
                os.link(kept, self.root / file)


def check_against_the_reference(declared: Declared, by_descriptor: bool, wanted: list[Operation]) -> None:
    with TemporaryDirectory() as folder:
        tree = Tree(Path(folder))
        pins = {path: os.open(tree.root / path, os.O_PATH) for path in declared}
        places: dict[str, Place] = {path: pins[path] if by_descriptor else tree.root / path for path in declared}
        fence = Fence(
            read=tuple(places[path] for path, mode in declared.items() if mode == "read"),
            write=tuple(places[path] for path, mode in declared.items() if mode == "write"),
            runtime=(),
        )
        child = ChildFence.prepare(fence)
        assert isinstance(child, ChildFence)
        for operation in wanted:
            act = tree.act(operation)
            with tree.in_order():
                error = child.start(partial(error_of, act))
            assert error in {0, errno.EACCES, errno.EXDEV}, operation
            assert (error == 0) == allowed(declared, operation), operation
        child.close()
        for pin in pins.values():
            os.close(pin)


@needs_landlock
@settings(deadline=None, max_examples=60)
@given(declarations, st.booleans(), st.lists(operations, min_size=1, max_size=12))
def test_the_kernel_decides_as_declared(declared: Declared, by_descriptor: bool, wanted: list[Operation]):
    check_against_the_reference(declared, by_descriptor, wanted)


@pytest.mark.long
@needs_landlock
@settings(deadline=None, max_examples=1_500)
@given(declarations, st.booleans(), st.lists(operations, min_size=1, max_size=30))
def test_the_kernel_decides_as_declared_for_long(declared: Declared, by_descriptor: bool, wanted: list[Operation]):
    check_against_the_reference(declared, by_descriptor, wanted)
