"""The guard around one folder: hostile paths, links of every kind, things that are no files; each way of opening."""

import ctypes
import errno
import os
import resource
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import pytest

from mcp_bulkhead.errors import Failure
from mcp_bulkhead.guards.deny import DenyRules
from mcp_bulkhead.guards.openat2 import MAX_TRIES, Openat2
from mcp_bulkhead.guards.openers import Method
from mcp_bulkhead.guards.path_failures import BY_ERRNO, failure_from
from mcp_bulkhead.guards.paths import Entry, Kind, OpenedDir, RootFS
from mcp_bulkhead.guards.posix_walk import MAX_HELD, _Descent, _read_link
from mcp_bulkhead.guards.root_handle import RootHandle

# "bare walk": as on a system without O_PATH and /proc.
WAYS = ["openat2", "walk", "bare walk"] if sys.platform == "linux" else ["bare walk"]
NO_RULES = DenyRules([])

OpenRoot = Callable[..., RootFS]


def cannot_reopen(_handle: RootHandle) -> bool:
    return False


def open_descriptors() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


@pytest.fixture(params=WAYS)
def open_root(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenRoot]:
    """Opens roots by one method, closes them, and finds any descriptor that was left open."""
    way: str = request.param
    if way == "bare walk":
        monkeypatch.setattr(RootHandle, "can_reopen", cannot_reopen)
    before = open_descriptors()
    opened: list[RootFS] = []

    def opener(path: object, **options: object) -> RootFS:
        opened.append(RootFS(str(path), method=cast("Method", way.removeprefix("bare ")), **options))  # pyright: ignore[reportArgumentType]
        return opened[-1]

    yield opener
    for root in opened:
        root.close()
    assert open_descriptors() == before


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`root/` beside `outside/`, with a file in each and siblings whose names only begin like the root's."""
    (tmp_path / "root" / "sub" / "deep").mkdir(parents=True)
    for name in ("outside", "root2", "root'", "root "):
        (tmp_path / name).mkdir()
        (tmp_path / name / "secret").write_text("OUTSIDE")
    (tmp_path / "root" / "file").write_text("file")
    (tmp_path / "root" / "sub" / "file").write_text("sub/file")
    return tmp_path / "root"


@pytest.fixture
def root(open_root: OpenRoot, folder: Path) -> RootFS:
    return open_root(folder)


def read(root: RootFS, rel: str) -> str:
    with root.open_file(rel) as opened:
        return opened.pread(4096, 0).decode()


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(Failure) as failed:
        call()
    assert failed.value.hint
    return failed.value.reason


@contextmanager
def at_most(seconds: int) -> Generator[None]:
    def expired(_signal: int, _frame: object) -> None:
        raise TimeoutError("the guard waited")

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


# Paths as text


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../",
        "../.",
        "./..",
        "../outside/secret",
        "sub/../../outside/secret",
        "sub/deep/../../../outside/secret",
        "sub//..//..//outside/secret",
        "../root2/secret",
        "../root'/secret",
        "../root /secret",
        "../root/file",
        "sub/../..",
        "/etc/passwd",
        "//etc/passwd",
        "/",
        "/../etc/passwd",
        "/proc/self/environ",
        "/file",
    ],
)
def test_a_path_that_leads_out_is_refused(root: RootFS, path: str):
    assert refusal(lambda: root.open_file(path)) == "outside_root"
    assert refusal(lambda: root.open_dir(path)) == "outside_root"
    assert refusal(lambda: root.stat(path)) == "outside_root"
    assert refusal(lambda: root.resolve(path)) == "outside_root"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("file\0", "invalid_path"),
        ("\0", "invalid_path"),
        ("sub/\ud800", "invalid_path"),
        ("n" * 256, "name_too_long"),
        ("x/" * 2048, "name_too_long"),
        ("é" * 2048, "name_too_long"),
        ("x/" * 2047 + "x", "not_found"),
        ("sub/../" * 585, "is_dir"),
        ("", "is_dir"),
        (".", "is_dir"),
        ("sub", "is_dir"),
        ("sub/", "is_dir"),
        ("sub/..", "is_dir"),
        ("file/", "not_dir"),
        ("file/.", "not_dir"),
        ("file/..", "not_dir"),
        ("file/../file", "not_dir"),
        ("file/x", "not_dir"),
        ("missing", "not_found"),
        ("missing/", "not_found"),
        ("missing/../file", "not_found"),
        ("FILE.", "not_found"),
        (" file", "not_found"),
        ("file ", "not_found"),
        ("'file'", "not_found"),
        ('"file"', "not_found"),
        ("~", "not_found"),
        ("~/file", "not_found"),
        ("~root", "not_found"),
        ("$HOME", "not_found"),
        ("%66ile", "not_found"),
        ("%2e%2e/outside/secret", "not_found"),
        ("..%2foutside%2fsecret", "not_found"),
        ("..\\outside\\secret", "not_found"),
        ("sub\\file", "not_found"),
        ("...", "not_found"),
        ("\u2024\u2024/outside/secret", "not_found"),
        ("\uff0e\uff0e/outside", "not_found"),
        ("..\u2215outside", "not_found"),
        ("\udcff", "not_found"),
        ("fi\u200ble", "not_found"),
        ("-rf", "not_found"),
    ],
)
def test_a_path_that_names_no_file_says_why(root: RootFS, path: str, code: str):
    assert refusal(lambda: root.open_file(path)) == code


@pytest.mark.parametrize("path", ["file", "./file", "sub/../file", "sub//..//./file", "sub/deep/../../file", ".//file"])
def test_every_way_of_writing_a_path_resolves_to_the_same_one(root: RootFS, path: str):
    with root.open_file(path) as opened:
        assert opened.rel == "file"
    assert root.resolve(path) == "file"
    assert root.stat(path).name == "file"


@pytest.mark.parametrize("path", ["", ".", "./", "sub/..", "sub/deep/../../", "sub/../."])
def test_the_root_itself_can_be_listed(root: RootFS, path: str):
    with root.open_dir(path) as opened:
        assert opened.rel == ""
        assert sorted(name for name, _ in opened.names()) == ["file", "sub"]
    assert root.stat(path).name == "root"
    assert root.resolve(path) == ""


@pytest.mark.parametrize(
    "name",
    [
        "~",
        "%2e%2e",
        "file ",
        " ",
        "'file'",
        "new\nline",
        "tab\t",
        "-rf",
        "a\\b",
        "\udcff\udcfe",
        "..x",
        "...",
        "*",
        "é",
        "a:b",
    ],
)
def test_odd_names_are_taken_literally(root: RootFS, folder: Path, name: str):
    (folder / "sub" / name).write_text("odd")
    assert read(root, f"sub/{name}") == "odd"
    with root.open_dir("sub") as opened:
        assert (name, Kind.FILE) in opened.names()
        with opened.child_file(name) as child:
            assert child.rel == f"sub/{name}"


@pytest.mark.parametrize("levels", [MAX_HELD + 10, 2_040])
def test_a_very_deep_tree_is_read_with_few_handles(root: RootFS, folder: Path, levels: int):
    build_deep(folder, levels)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_descriptors() + MAX_HELD + 20, hard))
    try:
        assert read(root, "d/" * levels + "f") == "deep"
        back = min(levels, 500)
        assert read(root, "d/" * back + "../" * back + "file") == "file"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        remove_deep(folder)


def build_deep(folder: Path, levels: int) -> None:
    at = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    written = os.open("f", os.O_WRONLY | os.O_CREAT, dir_fd=at)
    os.write(written, b"deep")
    os.close(written)
    os.close(at)


def remove_deep(folder: Path) -> None:
    """From the top: the clean-up of temporary folders would recurse too far."""
    while (folder / "d" / "d").exists():
        (folder / "d" / "d").rename(folder / "e")
        (folder / "d").rmdir()
        (folder / "e").rename(folder / "d")
    (folder / "d" / "f").unlink()
    (folder / "d").rmdir()


def test_going_far_back_up_follows_no_link_that_was_put_there_meanwhile(folder: Path):
    build_deep(folder, MAX_HELD + 3)
    handle = RootHandle(str(folder))
    try:
        with _Descent(handle.fd) as here:
            for _ in range(MAX_HELD + 3):
                here.down("d")
            (folder / "d" / "d").rename(folder / "kept")
            (folder / "d" / "d").symlink_to(folder.parent / "outside")
            with pytest.raises(NotADirectoryError):
                for _ in range(MAX_HELD + 3):
                    here.up()
    finally:
        (folder / "d" / "d").unlink()
        (folder / "kept").rename(folder / "d" / "d")
        remove_deep(folder)
        handle.close()


# Unicode spellings

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.mark.parametrize(("stored", "asked"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED), ("\u00c5", "\u212b")])
def test_a_name_in_the_other_unicode_form_is_found(root: RootFS, folder: Path, stored: str, asked: str):
    (folder / stored / stored).mkdir(parents=True)
    (folder / stored / stored / "plain").write_text("found")
    with root.open_file(f"{asked}/./{asked}/plain") as opened:
        assert opened.rel == f"{stored}/{stored}/plain"
    assert root.stat(f"{asked}/{asked}").name == stored
    assert refusal(lambda: root.open_file(f"{asked}/{asked}/nothing")) == "not_found"
    assert refusal(lambda: root.open_file(f"{asked}/none-{asked}/plain")) == "not_found"


def test_the_exact_spelling_wins_when_both_exist(root: RootFS, folder: Path):
    (folder / COMPOSED).write_text("composed")
    (folder / DECOMPOSED).write_text("decomposed")
    assert read(root, COMPOSED) == "composed"
    assert read(root, DECOMPOSED) == "decomposed"


def test_two_other_spellings_are_ambiguous(root: RootFS, folder: Path):
    (folder / "\u1e69").write_text("one")  # s with dot below and dot above
    (folder / "s\u0323\u0307").write_text("two")
    assert refusal(lambda: root.open_file("s\u0307\u0323")) == "ambiguous_name"


def test_another_spelling_opens_no_denied_folder(root: RootFS, folder: Path):
    (folder / f".env-{COMPOSED}").mkdir()
    (folder / f".env-{COMPOSED}" / "x").write_text("no")
    assert refusal(lambda: root.open_file(f".env-{DECOMPOSED}/x")) == "denied"


def test_a_dangling_link_with_an_unusual_name_is_missing(root: RootFS, folder: Path):
    (folder / COMPOSED).symlink_to("nowhere")
    assert refusal(lambda: root.open_file(COMPOSED)) == "not_found"


# Links

Links = dict[str, str]


@pytest.fixture
def links(folder: Path) -> Path:
    outside = folder.parent / "outside"
    for name, target in {
        "rel": "sub/file",
        "rel_dir": "sub",
        "dot": ".",
        "up": "sub/..",
        "abs": f"{folder}/sub/file",
        "abs_dir": f"{folder}/sub",
        "abs_messy": f"/{folder}//sub/./../sub/file",
        "abs_root": f"{folder}",
        "abs_root_slash": f"{folder}/",
        "slash": "sub/",
        "chain1": "chain2",
        "chain2": "abs_dir",
        "sub/back": "../file",
        "sub/abs_back": f"{folder}/rel_dir/deep/../file",
        "loop1": "loop2",
        "loop2": "loop1",
        "self": "self",
        "abs_loop": f"{folder}/abs_loop",
        "grow": "grow/x",
        "dangling": "nowhere",
        "abs_dangling": f"{folder}/nowhere",
        "out": f"{outside}/secret",
        "out_dir": f"{outside}",
        "rel_out": "../outside/secret",
        "rel_out_dir": "../outside",
        "sub/deep_out": "../../outside/secret",
        "out_chain": "rel_out",
        "out_and_in": "../root/file",
        "abs_out_and_in": f"{outside}/../root/file",
        "abs_escape": f"{folder}/../outside/secret",
        "sibling": f"{folder}2/secret",
        "sibling_quote": f"{folder}'/secret",
        "sibling_space": f"{folder} /secret",
        "top": "/",
        "proc": "/proc/self/root",
        "parent": "..",
        "file_as_dir": "file/x",
    }.items():
        (folder / name).symlink_to(target)
    return folder


@pytest.mark.parametrize(
    ("path", "resolved"),
    [
        ("rel", "sub/file"),
        ("rel_dir/file", "sub/file"),
        ("dot/dot/./dot/file", "file"),
        ("up/file", "file"),
        ("abs", "sub/file"),
        ("abs_dir/file", "sub/file"),
        ("abs_dir/deep/../file", "sub/file"),
        ("abs_dir//./file", "sub/file"),
        ("abs_messy", "sub/file"),
        ("abs_root/file", "file"),
        ("abs_root//file", "file"),
        ("abs_root_slash/file", "file"),
        ("slash/file", "sub/file"),
        ("chain1/file", "sub/file"),
        ("sub/back", "file"),
        ("rel_dir/back", "file"),
        ("sub/abs_back", "sub/file"),
        ("abs_dir/abs_back", "sub/file"),
        ("rel_dir/../file", "file"),
        ("rel_dir/deep/../../abs_root/chain1/file", "sub/file"),
    ],
)
def test_a_link_that_stays_inside_is_followed(root: RootFS, links: Path, path: str, resolved: str):
    with root.open_file(path) as opened:
        assert opened.rel == resolved
        assert opened.pread(100, 0).decode() == resolved
    assert root.resolve(path) == resolved


@pytest.mark.parametrize(
    ("path", "resolved"),
    [
        ("rel_dir", "sub"),
        ("rel_dir/", "sub"),
        ("abs_dir/.", "sub"),
        ("abs_root", ""),
        ("slash/", "sub"),
        ("chain1", "sub"),
    ],
)
def test_a_link_to_a_folder_is_a_folder(root: RootFS, links: Path, path: str, resolved: str):
    with root.open_dir(path) as opened:
        assert opened.rel == resolved
    assert root.resolve(path) == resolved
    assert refusal(lambda: root.open_file(path)) == "is_dir"


@pytest.mark.parametrize(
    "path",
    [
        "out",
        "out_dir/secret",
        "out_dir/",
        "rel_out",
        "rel_out_dir/secret",
        "sub/deep_out",
        "out_chain",
        "out_and_in",
        "abs_out_and_in",
        "abs_escape",
        "sibling",
        "sibling_quote",
        "sibling_space",
        "top",
        "top/etc/passwd",
        "proc/etc/passwd",
        "parent/outside/secret",
        "dot/parent/root/file",
        "rel_dir/../../outside/secret",
    ],
)
def test_a_link_that_leads_out_is_refused(root: RootFS, links: Path, path: str):
    assert refusal(lambda: root.open_file(path)) == "outside_root"
    assert refusal(lambda: root.open_dir(path)) == "outside_root"
    assert refusal(lambda: root.resolve(path)) == "outside_root"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("loop1", "too_many_links"),
        ("loop1/x", "too_many_links"),
        ("self", "too_many_links"),
        ("abs_loop", "too_many_links"),
        ("grow", "too_many_links"),
        ("dangling", "not_found"),
        ("abs_dangling", "not_found"),
        ("rel/", "not_dir"),
        ("rel/x", "not_dir"),
        ("rel/..", "not_dir"),
        ("abs/", "not_dir"),
        ("file_as_dir", "not_dir"),
    ],
)
def test_a_link_that_leads_nowhere_says_why(root: RootFS, links: Path, path: str, code: str):
    assert refusal(lambda: root.open_file(path)) == code
    assert refusal(lambda: root.open_dir(path)) == code


def test_stat_sees_the_link_and_only_its_parents_are_resolved(root: RootFS, links: Path):
    for path in ("rel", "out", "dangling", "loop1", "abs_dir", "rel_dir/back", "abs_dir/back"):
        assert root.stat(path).kind is Kind.LINK
    assert root.stat("rel_dir/").kind is Kind.DIR
    assert root.stat("rel_dir/file").kind is Kind.FILE
    assert refusal(lambda: root.stat("out_dir/secret")) == "outside_root"
    assert refusal(lambda: root.stat("out_dir/")) == "outside_root"


def test_links_can_be_refused_altogether(open_root: OpenRoot, links: Path):
    root = open_root(links, follow_links=False)
    assert read(root, "sub/file") == "sub/file"
    for path in ("rel", "abs", "rel_dir/file", "out", "loop1"):
        assert refusal(lambda path=path: root.open_file(path)) == "denied"
    assert root.stat("rel").kind is Kind.LINK


def test_forty_links_are_followed_and_no_more(root: RootFS, folder: Path):
    (folder / "l0").symlink_to("file")
    for number in range(1, 41):
        (folder / f"l{number}").symlink_to(f"l{number - 1}" if number % 2 else f"{folder}/l{number - 1}")
    assert read(root, "l39") == "file"
    assert refusal(lambda: root.open_file("l40")) == "too_many_links"


def test_a_hard_link_is_an_ordinary_file_and_shows_its_count(root: RootFS, folder: Path):
    (folder / "hard").hardlink_to(folder.parent / "outside" / "secret")
    with root.open_file("hard") as opened:
        assert opened.nlink == 2
    assert root.stat("hard").nlink == 2


def test_magic_links_are_not_followed(open_root: OpenRoot):
    root = open_root("/proc")
    me = os.getpid()
    for path in (
        f"{me}/root/etc/passwd",
        f"{me}/cwd",
        f"{me}/fd/0",
        f"{me}/exe",
        "self/root/etc/passwd",
        "self/status",
    ):
        assert refusal(lambda path=path: root.open_file(path)) == "too_many_links"
    with root.open_file(f"{me}/status") as opened:
        assert opened.pread(5, 0) == b"Name:"


def test_the_whole_file_system_can_be_a_root(open_root: OpenRoot, links: Path):
    root = open_root("/")
    below = str(links).lstrip("/")
    assert read(root, f"{below}/abs") == "sub/file"
    assert read(root, f"{below}/out") == "OUTSIDE"
    assert refusal(lambda: root.open_file("..")) == "outside_root"
    assert root.name == "root"


# Deny rules


@pytest.fixture
def secrets(folder: Path) -> Path:
    for name in (".env", ".ssh/id_rsa", ".ssh/config", "Server.KEY", ".kube/config", ".netrc", "ok/readme"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("hidden")
    for name, target in {
        "notes.txt": ".env",
        "abs.txt": f"{folder}/.env",
        "keys": ".ssh",
        "abs_keys": f"{folder}/.ssh",
        "kube": ".kube",
        "ok/up": "../.env",
        ".env.link": "ok/readme",
    }.items():
        (folder / name).symlink_to(target)
    return folder


@pytest.mark.parametrize(
    "path",
    [
        ".env",
        "ok/../.env",
        ".//.env",
        "notes.txt",
        "abs.txt",
        "ok/up",
        "keys/config",
        "keys/id_rsa",
        "abs_keys/config",
        "kube/config",
        ".ssh/config",
        "Server.KEY",
        ".netrc",
        "keys/../.env",
    ],
)
def test_a_denied_file_is_closed_under_every_name(root: RootFS, secrets: Path, path: str):
    assert refusal(lambda: root.open_file(path)) == "denied"
    assert refusal(lambda: root.resolve(path)) == "denied"


def test_a_link_named_like_a_secret_is_judged_by_where_it_leads(root: RootFS, secrets: Path):
    assert read(root, ".env.link") == "hidden"


def test_denied_entries_are_shown_without_their_size(root: RootFS, secrets: Path):
    with root.open_dir("") as opened:
        entries = {entry.name: entry for entry in opened.entries()}
        test = opened.deny_test()
        assert {name: test(name) for name, _ in opened.names()} == {name: e.denied for name, e in entries.items()}
    assert {name for name, entry in entries.items() if entry.denied} == {".env", ".env.link", ".netrc", "Server.KEY"}
    assert entries[".env"].size == 0
    assert entries["file"].size == 4
    assert root.stat(".env").denied
    assert root.stat(".env").size == 0
    assert root.stat(".ssh/config").denied
    assert not root.stat("notes.txt").denied
    with root.open_dir("keys") as below:
        assert below.rel == ".ssh"
        assert all(entry.denied for entry in below.entries())


def test_a_denied_folder_cannot_be_listed(open_root: OpenRoot, secrets: Path):
    root = open_root(secrets, deny=DenyRules(["sub", ".ssh"]))
    assert refusal(lambda: root.open_dir("sub")) == "denied"
    assert refusal(lambda: root.open_dir("sub/deep")) == "denied"
    assert refusal(lambda: root.open_dir("keys")) == "denied"
    with root.open_dir("") as opened:
        assert refusal(lambda: opened.child_dir("sub")) == "denied"


def test_children_obey_the_deny_rules(root: RootFS, secrets: Path):
    with root.open_dir("") as opened:
        assert refusal(lambda: opened.child_file(".env")) == "denied"
        with opened.child_dir(".ssh") as below:
            assert refusal(lambda: below.child_file("config")) == "denied"


def test_a_hard_link_to_a_secret_is_judged_by_its_own_name(root: RootFS, secrets: Path):
    """Rules are about names; the link count is there for whoever wants to be stricter."""
    (secrets / "plain.txt").hardlink_to(secrets / ".env")
    with root.open_file("plain.txt") as opened:
        assert opened.nlink == 2


# Things that are no files


@pytest.fixture
def oddities(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    os.mkfifo(folder / "pipe")
    (folder / "to_pipe").symlink_to("pipe")
    # A socket's address is short; its folder's path may be long.
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        yield folder


@pytest.mark.parametrize("name", ["pipe", "socket", "to_pipe"])
def test_pipes_and_sockets_are_refused_at_once(root: RootFS, oddities: Path, name: str):
    with at_most(10):
        assert refusal(lambda: root.open_file(name)) == "not_regular"
        assert refusal(lambda: root.open_dir(name)) == "not_dir"
        assert refusal(lambda: root.open_file(f"{name}/x")) == "not_dir"
        with root.open_dir("") as opened:
            assert refusal(lambda: opened.child_file(name)) == "not_regular"
            assert dict(opened.names())[name] is (Kind.LINK if name.startswith("to") else Kind.OTHER)
    assert root.stat("pipe").kind is Kind.OTHER


@pytest.mark.parametrize("name", ["null", "zero", "tty"])
def test_devices_are_refused_at_once(open_root: OpenRoot, name: str):
    root = open_root("/dev")
    with at_most(10):
        assert refusal(lambda: root.open_file(name)) == "not_regular"


if sys.platform == "linux":
    IN_OPEN = 0x20

    @contextmanager
    def opens_of(path: Path) -> Generator[Callable[[], int]]:
        """How often anybody really opened the file, as the kernel reports it."""
        libc = ctypes.CDLL(None, use_errno=True)
        watch = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert watch >= 0
        assert libc.inotify_add_watch(watch, os.fsencode(path), IN_OPEN) >= 0

        def count() -> int:
            try:
                return len(os.read(watch, 4096)) // 16
            except BlockingIOError:
                return 0

        try:
            yield count
        finally:
            os.close(watch)

    @pytest.mark.parametrize("name", ["pipe", ".env"])
    def test_what_is_refused_was_never_opened(root: RootFS, oddities: Path, secrets: Path, name: str):
        with opens_of(oddities / name) as count, root.open_dir("") as opened:
            refusal(lambda: root.open_file(name))
            refusal(lambda: opened.child_file(name))
            assert count() == 0
        with opens_of(oddities / "file") as count:
            read(root, "file")
            assert count() > 0


# Files and folders that change under us


class Swap(DenyRules):
    """Deny rules that do something at the moment between looking at a file and opening it."""

    def __init__(self, action: Callable[[], object]) -> None:
        super().__init__([])
        self.action: Callable[[], object] | None = action

    def matches(self, rel: str) -> str | None:
        if self.action is not None and rel.endswith("file"):
            action, self.action = self.action, None
            action()
        return None


def replace_with_link(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent.parent / "outside" / "secret")


def replace_with_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def test_a_file_swapped_before_the_open_leads_nowhere_else(open_root: OpenRoot, folder: Path):
    root = open_root(folder, deny=Swap(lambda: replace_with_link(folder / "file")))
    if root._handle.can_reopen():
        assert read(root, "file") == "file"
    else:
        assert refusal(lambda: root.open_file("file")) == "outside_root"
    assert refusal(lambda: root.open_file("file")) == "outside_root"


def test_a_file_swapped_for_a_pipe_does_not_block(open_root: OpenRoot, folder: Path):
    root = open_root(folder, deny=Swap(lambda: replace_with_pipe(folder / "file")))
    with at_most(10):
        if root._handle.can_reopen():
            assert read(root, "file") == "file"
        assert refusal(lambda: root.open_file("file")) == "not_regular"


@pytest.mark.parametrize("replace", [replace_with_link, replace_with_pipe])
def test_a_child_swapped_before_the_open_is_refused(open_root: OpenRoot, folder: Path, replace: Callable[[Path], None]):
    root = open_root(folder, deny=Swap(lambda: replace(folder / "file")))
    with at_most(10), root.open_dir("") as opened:
        assert refusal(lambda: opened.child_file("file")) == "not_regular"


def test_an_open_folder_stays_the_same_when_its_path_is_swapped(root: RootFS, folder: Path):
    with root.open_dir("sub") as opened:
        (folder / "sub").rename(folder / "moved")
        (folder / "sub").symlink_to(folder.parent / "outside")
        assert sorted(name for name, _ in opened.names()) == ["deep", "file"]
        with opened.child_file("file") as child:
            assert child.pread(100, 0) == b"sub/file"
        with opened.child_dir("deep") as below:
            assert list(below.names()) == []


def test_a_name_that_vanishes_during_a_listing_is_left_out(root: RootFS, folder: Path):
    with root.open_dir("sub") as opened:
        entries = opened.entries()
        first = next(entries)
        (folder / "sub" / "file").unlink()
        (folder / "sub" / "deep").rmdir()
        assert list(entries) == []
    assert first.name in ("file", "deep")


def test_a_moved_root_is_still_the_folder_that_was_opened(root: RootFS, folder: Path):
    (folder / "abs").symlink_to(folder / "sub" / "file")
    assert root.is_current()
    folder.rename(folder.with_name("elsewhere"))
    assert not root.is_current()
    folder.mkdir()
    (folder / "file").write_text("OUTSIDE")
    assert not root.is_current()
    assert read(root, "file") == "file"
    assert read(root, "abs") == "sub/file"
    assert refusal(lambda: root.open_file("../root/file")) == "outside_root"


def test_a_removed_root_says_so(root: RootFS, folder: Path):
    for name in ("sub/file", "file"):
        (folder / name).unlink()
    for name in ("sub/deep", "sub", ""):
        (folder / name).rmdir()
    with pytest.raises(Failure) as failed:
        root.open_file("file")
    assert (failed.value.reason, failed.value.may_retry) == ("unavailable", False)


def test_a_closed_root_opens_nothing(open_root: OpenRoot, folder: Path):
    root = open_root(folder)
    root.close()
    root.close()
    with (folder / "file").open():
        assert refusal(lambda: root.open_file("file")) == "unavailable"
        assert refusal(lambda: root.open_dir("")) == "unavailable"


# What comes back


def test_an_opened_file_knows_what_it_is(root: RootFS, folder: Path):
    st = (folder / "sub" / "file").stat()
    with root.open_file("sub/file") as opened:
        assert (opened.size, opened.mtime_ns, opened.mode) == (8, st.st_mtime_ns, st.st_mode)
        assert (opened.dev, opened.ino, opened.nlink) == (st.st_dev, st.st_ino, 1)
        assert opened.pread(3, 4) == b"fil"
        assert os.get_inheritable(opened.fd) is False
    opened.close()


def test_an_etag_changes_with_content_and_with_identity(root: RootFS, folder: Path):
    def etag() -> str:
        with root.open_file("file") as opened:
            return opened.etag()

    first = etag()
    assert first == etag()
    assert len(first) == 16
    (folder / "file").write_text("longer than before")
    second = etag()
    (folder / "new").write_text("longer than before")
    os.utime(folder / "new", ns=(0, (folder / "file").stat().st_mtime_ns))
    (folder / "new").replace(folder / "file")
    assert len({first, second, etag()}) == 3


def test_a_listing_shows_kinds_and_stats_without_following(root: RootFS, links: Path):
    with root.open_dir("") as opened:
        entries = {entry.name: entry for entry in opened.entries()}
        assert dict(opened.names()) == {name: entry.kind for name, entry in entries.items()}
    assert entries["out"].kind is Kind.LINK
    assert entries["sub"].kind is Kind.DIR
    st = (links / "file").stat()
    assert entries["file"] == Entry(
        "file", Kind.FILE, 4, st.st_mtime_ns, st.st_mode, st.st_dev, st.st_ino, st.st_nlink, denied=False
    )
    assert stat.S_ISLNK(entries["dangling"].mode)


@pytest.mark.parametrize("name", ["", ".", "..", "sub/file", "/etc", "../outside", "x\0", "\ud800", "n" * 5000])
def test_a_child_is_one_plain_name(root: RootFS, name: str):
    with root.open_dir("") as opened:
        assert refusal(lambda: opened.child_file(name)) in ("invalid_path", "name_too_long")
        assert refusal(lambda: opened.child_dir(name)) in ("invalid_path", "name_too_long")


@pytest.mark.parametrize(
    ("name", "as_file", "as_dir"),
    [
        ("out", "not_regular", "not_dir"),
        ("out_dir", "not_regular", "not_dir"),
        ("rel", "not_regular", "not_dir"),
        ("rel_dir", "not_regular", "not_dir"),
        ("missing", "not_found", "not_found"),
        ("n" * 300, "name_too_long", "name_too_long"),
    ],
)
def test_a_child_that_is_a_link_is_never_followed(root: RootFS, links: Path, name: str, as_file: str, as_dir: str):
    with root.open_dir("") as opened:
        assert refusal(lambda: opened.child_file(name)) == as_file
        assert refusal(lambda: opened.child_dir(name)) == as_dir
        assert refusal(lambda: opened.child_file("sub")) == "is_dir"
        assert refusal(lambda: opened.child_dir("file")) == "not_dir"


def test_a_closed_folder_lists_nothing(root: RootFS):
    opened = root.open_dir("")
    opened.close()
    for listing in (OpenedDir.names, OpenedDir.entries):
        assert refusal(lambda listing=listing: list(listing(opened))) == "unavailable"


def test_thousands_of_calls_leave_no_descriptor_open(root: RootFS, links: Path):
    paths = [
        "file",
        "abs",
        "out",
        "loop1",
        "missing",
        "file/x",
        "sub",
        "..",
        "rel_dir/../../outside/secret",
        "caf\u00e9",
    ]
    before = open_descriptors()
    for _ in range(100):
        for path in paths:
            for call in (root.open_file, root.open_dir):
                with suppress(Failure):
                    call(path).close()
            with suppress(Failure):
                root.stat(path)
                root.resolve(path)
    assert open_descriptors() == before


# What the operating system refuses


def test_every_known_errno_has_its_own_words():
    seen = {code: failure_from(OSError(code, "secret path")).as_dict() for code in BY_ERRNO}
    assert {answer["code"] for answer in seen.values()} == {
        "outside_root",
        "not_found",
        "not_dir",
        "is_dir",
        "too_many_links",
        "permission_denied",
        "name_too_long",
        "invalid_path",
        "busy",
    }
    assert failure_from(OSError(errno.EIO, "secret path")).reason == "unavailable"
    assert failure_from(OSError()).reason == "unavailable"
    assert "secret" not in repr(seen)


def test_running_out_of_descriptors_is_busy(root: RootFS):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(entry.name) for entry in Path("/dev/fd").iterdir())
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 10, hard))
    try:
        with pytest.raises(OSError):
            while True:
                taken.append(os.dup(1))
        assert refusal(lambda: root.open_file("sub/file")) == "busy"
        assert refusal(lambda: root.open_dir("")) == "busy"
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert read(root, "sub/file") == "sub/file"


UNPRIVILEGED = """
import os, sys
from mcp_bulkhead.errors import Failure
from mcp_bulkhead.guards.paths import RootFS
import mcp_bulkhead.guards.openat2
folder, method = sys.argv[1:]
root = RootFS(folder, method=method)
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
for call, path in ((root.open_file, "closed"), (root.open_dir, "locked"), (root.open_file, "locked/x")):
    try:
        call(path)
    except Failure as failure:
        print(failure.reason)
with root.open_file("passage/x") as opened:
    print(opened.size)
try:
    RootFS(folder + "/locked/below")
except Failure as failure:
    print(failure.reason)
"""


@pytest.mark.parametrize("method", [way for way in WAYS if " " not in way])
def test_the_permissions_of_the_system_are_respected(tmp_path: Path, method: str):
    for name in ("locked", "passage"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("x")
    (tmp_path / "locked" / "below").mkdir()
    (tmp_path / "closed").write_text("x")
    (tmp_path / "closed").chmod(0)
    # Entering is allowed, listing is not.
    (tmp_path / "passage").chmod(0o111)
    (tmp_path / "locked").chmod(0o700 if os.geteuid() == 0 else 0)
    tmp_path.chmod(0o755)
    run = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED, str(tmp_path), method],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    (tmp_path / "locked").chmod(0o700)
    (tmp_path / "passage").chmod(0o700)
    assert run.stdout.split() == ["permission_denied"] * 3 + ["1", "invalid_root"], run.stderr


# Choosing the method

if sys.platform == "linux":

    def test_openat2_is_the_first_choice(folder: Path):
        root = RootFS(str(folder))
        root.close()
        assert root.method == "openat2"

    def test_without_proc_the_walk_is_chosen(folder: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(RootHandle, "can_reopen", cannot_reopen)
        root = RootFS(str(folder))
        root.close()
        assert root.method == "walk"
        before = open_descriptors()
        assert refusal(lambda: RootFS(str(folder), method="openat2")) == "unsupported"
        assert open_descriptors() == before

    def test_a_handle_is_reopened_only_where_that_is_sure_to_work(folder: Path, monkeypatch: pytest.MonkeyPatch):
        handle = RootHandle(str(folder))
        assert handle.can_reopen()
        handle.close()
        assert not handle.can_reopen()
        monkeypatch.delattr(os, "O_PATH")
        root = RootFS(str(folder))
        assert root.method == "walk"
        assert not root._handle.can_reopen()
        root.close()

    # A seccomp filter, as container runtimes install them: this one system call fails, all others pass.
    FILTERED = """
import ctypes, struct, sys
from mcp_bulkhead.errors import Failure
from mcp_bulkhead.guards.paths import RootFS
folder, errno = sys.argv[1], int(sys.argv[2])
rules = b"".join(struct.pack("HBBI", *rule) for rule in (
    (0x20, 0, 0, 0), (0x15, 0, 1, 437), (0x06, 0, 0, 0x00050000 | errno), (0x06, 0, 0, 0x7FFF0000)))
program = ctypes.create_string_buffer(rules)
class Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("rules", ctypes.c_void_p))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Filter(4, ctypes.addressof(program))), 0, 0) == 0
root = RootFS(folder)
with root.open_file("sub/file") as opened:
    print(root.method, opened.rel)
try:
    RootFS(folder, method="openat2")
except Failure as failure:
    print(failure.reason)
"""

    @pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM])
    def test_where_openat2_is_forbidden_the_walk_takes_over(folder: Path, code: int):
        run = subprocess.run(
            [sys.executable, "-c", FILTERED, str(folder), str(code)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert run.stdout.split() == ["walk", "sub/file", "unsupported"], run.stderr

    @pytest.mark.parametrize(("failures", "works"), [(1, True), (MAX_TRIES - 1, True), (MAX_TRIES, False)])
    def test_a_kernel_that_asks_to_try_again_is_asked_again(folder: Path, failures: int, works: bool):
        """A stand-in for the kernel: no real load makes it say EAGAIN exactly so often."""
        root = RootFS(str(folder), method="openat2")
        opener = cast("Openat2", root._opener)
        real = opener._syscall
        left = failures

        def reluctant(*args: object) -> int:
            nonlocal left
            if left == 0:
                return real(*args)
            left -= 1
            ctypes.set_errno(errno.EAGAIN)
            return -1

        opener._syscall = reluctant  # pyright: ignore[reportAttributeAccessIssue]
        if works:
            assert read(root, "sub/../file") == "file"
        else:
            assert refusal(lambda: root.open_file("sub/../file")) == "busy"
        root.close()

    def test_a_link_that_is_gone_when_it_is_looked_for_changes_nothing(folder: Path):
        root = RootFS(str(folder), method="openat2")
        assert cast("Openat2", root._opener)._without_first_link("sub/file", last_too=True) == "sub/file"
        root.close()


def test_a_link_that_is_gone_when_it_is_read_means_try_again(folder: Path):
    here = os.open(folder, os.O_RDONLY)
    try:
        with pytest.raises(BlockingIOError):
            _read_link(here, "file", OSError(errno.ELOOP, "a link a moment ago"))
    finally:
        os.close(here)


# The root itself


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "no usable path"),
        ("a\0b", "no usable path"),
        ("~/work", "starts with '~'"),
        ("missing", "does not exist"),
        ("file", "is not a folder"),
        ("dangling", "does not exist"),
        ("loop", "leads nowhere"),
        ("n" * 300, "cannot be opened"),
    ],
)
def test_a_root_that_cannot_be_opened_is_explained(
    folder: Path, path: str, problem: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(folder)
    (folder / "dangling").symlink_to("nowhere")
    (folder / "loop").symlink_to("loop")
    with pytest.raises(Failure) as failed:
        RootFS(path)
    assert failed.value.reason == "invalid_root"
    assert problem in failed.value.message
    assert failed.value.hint


def test_a_root_may_be_a_link_which_is_followed_once(open_root: OpenRoot, folder: Path):
    link = folder.parent / "current"
    link.symlink_to("root")
    (folder / "by_link").symlink_to(link / "sub" / "file")
    (folder / "by_path").symlink_to(folder / "sub" / "file")
    root = open_root(link)
    link.unlink()
    link.symlink_to("outside")
    assert (root.path, root.real_path, root.name) == (str(link), str(folder), "current")
    assert read(root, "file") == "file"
    assert read(root, "by_path") == read(root, "by_link") == "sub/file"
    assert refusal(lambda: root.open_file("secret")) == "not_found"


@pytest.mark.parametrize("name", ["root'", "root ", "root2"])
def test_roots_with_similar_names_stay_apart(open_root: OpenRoot, folder: Path, name: str):
    root = open_root(folder.parent / name)
    assert root.name == name
    assert read(root, "secret") == "OUTSIDE"
    assert refusal(lambda: root.open_file("file")) == "not_found"


def test_a_relative_root_becomes_absolute(open_root: OpenRoot, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(folder)
    assert open_root(".").path == str(folder)
    assert open_root("sub//deep/").path == str(folder / "sub" / "deep")
    assert open_root("sub/../../outside").path == str(folder.parent / "outside")
    assert open_root("sub", name="Work").name == "Work"
    assert open_root("sub", writable=True).writable
    with pytest.raises(Failure):
        RootFS("sub", name="..")
