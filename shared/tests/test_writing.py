"""Changing files below a root: what is kept, what is refused, and with which words; on each way of opening."""

import ctypes
import errno
import os
import resource
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from mcp_bulkhead.errors import Failure
from mcp_bulkhead.guards import attributes, renames, temps
from mcp_bulkhead.guards.contents import Manner
from mcp_bulkhead.guards.copying import copy
from mcp_bulkhead.guards.deleting import delete, look_before_deleting
from mcp_bulkhead.guards.folder_lock import FolderLock
from mcp_bulkhead.guards.moving import move
from mcp_bulkhead.guards.openers import Method
from mcp_bulkhead.guards.paths import RootFS
from mcp_bulkhead.guards.renames import by_links
from mcp_bulkhead.guards.reserved import TEMP_PREFIX, TRASH
from mcp_bulkhead.guards.root_handle import RootHandle
from mcp_bulkhead.guards.trees import MAX_DEPTH, survey
from mcp_bulkhead.guards.writing import Writer

WAYS = ["openat2", "walk", "bare walk"] if sys.platform == "linux" else ["bare walk"]

OpenWriter = Callable[..., Writer]


def cannot_reopen(_handle: RootHandle) -> bool:
    return False


def descriptors() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


@pytest.fixture(params=WAYS)
def open_writer(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[OpenWriter]:
    """Opens writers over `root/`, closes their roots, and finds any descriptor or temporary file left behind."""
    way: str = request.param
    if way == "bare walk":
        monkeypatch.setattr(RootHandle, "can_reopen", cannot_reopen)
    before = descriptors()
    opened: list[RootFS] = []

    def opener(
        folder: str = "root", *, fsync: bool = False, keep_hard_links: bool = False, **options: object
    ) -> Writer:
        (tmp_path / folder).mkdir(exist_ok=True)
        options = {"writable": True, **options}
        method = cast("Method", way.removeprefix("bare "))
        opened.append(RootFS(str(tmp_path / folder), method=method, **options))  # pyright: ignore[reportArgumentType]
        return Writer(opened[-1], fsync=fsync, keep_hard_links=keep_hard_links, patience_s=0.2)

    yield opener
    for root in opened:
        root.close()
    assert descriptors() == before
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(TEMP_PREFIX)]


@pytest.fixture
def writer(open_writer: OpenWriter) -> Writer:
    return open_writer()


@pytest.fixture
def root(writer: Writer) -> Path:
    return Path(writer.root.path)


def put(writer: Writer, rel: str, content: bytes) -> str:
    with writer.open(rel) as target:
        return target.put(content).etag


def append(writer: Writer, rel: str, content: bytes) -> None:
    with writer.open(rel) as target:
        target.append(content)


def code(act: Callable[[], object]) -> str:
    with pytest.raises(Failure) as caught:
        act()
    return caught.value.reason


def etag_of(writer: Writer, rel: str) -> str:
    with writer.root.open_file(rel) as file:
        return file.etag()


def paths_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# Files


def test_a_file_is_created_whole_and_told_with_its_etag(writer: Writer, root: Path):
    with writer.open("new.txt") as target:
        assert target.file is None
        written = target.put(b"hello")
    assert (root / "new.txt").read_bytes() == b"hello"
    assert (written.created, written.size, written.etag) == (True, 5, etag_of(writer, "new.txt"))


def test_a_new_file_has_the_mode_every_program_gives(writer: Writer, root: Path):
    put(writer, "ours", b"")
    (root / "theirs").touch()
    assert (root / "ours").stat().st_mode == (root / "theirs").stat().st_mode


def test_a_replaced_file_keeps_mode_owner_and_attributes(writer: Writer, root: Path):
    path = root / "f"
    path.write_bytes(b"old")
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 12345, 54321)
    if sys.platform == "linux":
        os.setxattr(path, "user.origin", b"https://example.org")
    before = path.stat()
    with writer.open("f") as target:
        written = target.put(b"new")
    after = path.stat()
    assert path.read_bytes() == b"new"
    assert written.lost == ()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    if sys.platform == "linux":
        assert os.getxattr(path, "user.origin") == b"https://example.org"


def test_an_access_list_survives_a_replacement(writer: Writer, root: Path):
    if sys.platform != "linux":
        return
    path = root / "f"
    path.write_bytes(b"old")
    # user::rw- user:1234:rw- group::r-- mask::rw- other::---
    entries = ((1, 6, 2**32 - 1), (2, 6, 1234), (4, 4, 2**32 - 1), (16, 6, 2**32 - 1), (32, 0, 2**32 - 1))
    acl = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + rights.to_bytes(2, "little") + who.to_bytes(4, "little")
        for tag, rights, who in entries
    )
    os.setxattr(path, "system.posix_acl_access", acl)
    mode = path.stat().st_mode
    put(writer, "f", b"new")
    assert os.getxattr(path, "system.posix_acl_access") == acl
    assert path.stat().st_mode == mode


def test_set_user_bits_do_not_pass_to_changed_content(writer: Writer, root: Path):
    (root / "tool").write_bytes(b"old")
    (root / "tool").chmod(0o6755)
    put(writer, "tool", b"new")
    assert stat.S_IMODE((root / "tool").stat().st_mode) == 0o755


def test_what_may_not_be_kept_is_told_and_the_groups_rights_end(
    writer: Writer, root: Path, monkeypatch: pytest.MonkeyPatch
):
    path = root / "f"
    path.write_bytes(b"old")
    path.chmod(0o664)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no")

    st = path.stat()
    other = os.stat_result((st.st_mode, *st[1:4], st.st_uid + 1, st.st_gid + 1, *st[6:]))
    monkeypatch.setattr(os, "fchown", refuse)
    fd = os.open(root / "g", os.O_RDWR | os.O_CREAT, 0o600)
    assert attributes.copy_attributes(fd, fd, other) == ("owner", "group")
    assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o644
    os.close(fd)


@pytest.mark.parametrize(
    ("refused", "lost", "mode"),
    [("owner", ("owner",), 0o664), ("chmod", ("mode",), 0o600), ("xattr", ("user.x",), 0o664)],
)
def test_each_thing_that_may_not_be_kept_is_told_by_name(
    root: Path, monkeypatch: pytest.MonkeyPatch, refused: str, lost: tuple[str, ...], mode: int
):
    def chown(_fd: int, uid: int, _gid: int) -> None:
        if uid != -1:
            raise PermissionError(errno.EPERM, "no")

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "no")

    def accept(*_: object) -> bytes:
        return b""

    def attributes_of(_fd: int) -> list[str]:
        return ["user.x", "security.capability"]

    (root / "old").touch(0o600)
    old, new = os.open(root / "old", os.O_RDWR), os.open(root / "new", os.O_RDWR | os.O_CREAT, 0o600)
    st = os.fstat(old)
    uid = st.st_uid + (refused == "owner")
    before = os.stat_result((stat.S_IFREG | 0o664, *st[1:4], uid, st.st_gid, *st[6:]))
    monkeypatch.setattr(os, "fchown", chown)
    monkeypatch.setattr(os, "listxattr", attributes_of, raising=False)
    monkeypatch.setattr(os, "getxattr", accept, raising=False)
    monkeypatch.setattr(os, "setxattr", refuse if refused == "xattr" else accept, raising=False)
    if refused == "chmod":
        monkeypatch.setattr(os, "fchmod", refuse)
    assert attributes.copy_attributes(old, new, before) == lost
    assert stat.S_IMODE(os.fstat(new).st_mode) == mode
    os.close(old)
    os.close(new)


def test_a_replaced_file_leaves_its_other_hard_links_as_they_were(writer: Writer, root: Path):
    outside = root.parent / "outside"
    outside.write_bytes(b"old")
    os.link(outside, root / "f")
    put(writer, "f", b"new")
    assert ((root / "f").read_bytes(), outside.read_bytes()) == (b"new", b"old")


def test_an_append_to_a_hard_linked_file_changes_no_other_name(writer: Writer, root: Path):
    outside = root.parent / "outside"
    outside.write_bytes(b"old")
    os.link(outside, root / "f")
    append(writer, "f", b"+new")
    assert ((root / "f").read_bytes(), outside.read_bytes()) == (b"old+new", b"old")


@pytest.mark.parametrize("new", [b"much longer than before", b"s", b""])
def test_hard_links_are_kept_where_the_operator_wants_it(open_writer: OpenWriter, new: bytes):
    writer = open_writer(keep_hard_links=True)
    root = Path(writer.root.path)
    (root / "one").write_bytes(b"old text")
    os.link(root / "one", root / "two")
    put(writer, "one", new)
    assert (root / "two").read_bytes() == new
    append(writer, "two", b"!")
    assert (root / "one").read_bytes() == new + b"!"
    assert (root / "one").stat().st_nlink == 2


def test_an_append_adds_to_the_same_file(writer: Writer, root: Path):
    (root / "log").write_bytes(b"one\n")
    inode = (root / "log").stat().st_ino
    append(writer, "log", b"two\n")
    assert (root / "log").read_bytes() == b"one\ntwo\n"
    assert (root / "log").stat().st_ino == inode
    append(writer, "fresh", b"first")
    assert (root / "fresh").read_bytes() == b"first"


def test_every_version_has_another_etag_however_fast_they_come(writer: Writer):
    """Inodes are used again at once and clocks tick slowly: size, inode and time alone would repeat."""
    seen = {put(writer, "f", b"%03d" % number) for number in range(300)}
    assert len(seen) == 300


def test_a_file_is_written_through_a_link_inside_and_the_link_stays(writer: Writer, root: Path):
    (root / "real").mkdir()
    (root / "real" / "f").write_bytes(b"old")
    (root / "link").symlink_to("real/f")
    with writer.open("link") as target:
        assert target.put(b"new").rel == "real/f"
    assert (root / "link").is_symlink()
    assert (root / "real" / "f").read_bytes() == b"new"


def test_nothing_is_created_through_a_dangling_link(writer: Writer, root: Path):
    (root / "out").symlink_to(root.parent / "planted")
    (root / "in").symlink_to("nowhere")
    assert code(lambda: put(writer, "out", b"x")) == "outside_root"
    assert code(lambda: put(writer, "in", b"x")) == "not_regular"
    assert code(lambda: writer.mkdir("in")) == "exists"
    assert code(lambda: writer.make_all("in/below")) in {"not_dir", "too_many_links"}
    assert paths_below(root.parent) == ["root", "root/in", "root/out"]


def test_a_path_that_leaves_is_refused_for_every_change(writer: Writer, root: Path):
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "f").write_bytes(b"OUTSIDE")
    (root / "link").symlink_to(outside)
    (root / "f").write_bytes(b"in")
    for place in ("../outside/f", "link/f", "/etc/passwd", "link/../../outside/f"):
        assert code(lambda rel=place: put(writer, rel, b"x")) == "outside_root"
        assert code(lambda rel=place: append(writer, rel, b"x")) == "outside_root"
        assert code(lambda rel=place: writer.mkdir(rel)) == "outside_root"
        assert code(lambda rel=place: delete(writer, rel)) == "outside_root"
        assert code(lambda rel=place: move(writer, "f", writer, rel)) == "outside_root"
        assert code(lambda rel=place: move(writer, rel, writer, "g")) == "outside_root"
        assert code(lambda rel=place: copy(writer.root, rel, writer, "g")) == "outside_root"
        assert code(lambda rel=place: copy(writer.root, "f", writer, rel)) == "outside_root"
    assert paths_below(outside) == ["f"]
    assert paths_below(root) == ["f", "link"]


def test_a_read_only_root_refuses_before_it_looks(open_writer: OpenWriter):
    writer = open_writer(writable=False)
    other = open_writer("other")
    (Path(writer.root.path) / "f").write_bytes(b"old")
    put(other, "g", b"other")
    for act in (
        lambda: put(writer, "f", b"x"),
        lambda: put(writer, "missing/f", b"x"),
        lambda: append(writer, "f", b"x"),
        lambda: writer.mkdir("d"),
        lambda: writer.make_all("d/e"),
        lambda: delete(writer, "f"),
        lambda: delete(writer, "missing"),
        lambda: move(writer, "f", writer, "g"),
        lambda: move(writer, "f", other, "f"),
        lambda: move(other, "g", writer, "g"),
        lambda: copy(writer.root, "f", writer, "g"),
        lambda: copy(other.root, "g", writer, "g"),
    ):
        assert code(act) == "read_only"
    assert paths_below(Path(writer.root.path)) == ["f"]


def test_what_is_read_only_can_still_be_copied_out(open_writer: OpenWriter):
    source, target = open_writer("source", writable=False), open_writer("target")
    (Path(source.root.path) / "f").write_bytes(b"content")
    (Path(source.root.path) / "f").chmod(0o700)
    assert copy(source.root, "f", target, "f").rel == "f"
    assert (Path(target.root.path) / "f").read_bytes() == b"content"
    assert stat.S_IMODE((Path(target.root.path) / "f").stat().st_mode) == 0o700


@pytest.mark.parametrize("name", [".env", "id_rsa", "sub/.ssh/authorized_keys", "a.PEM", ".env.local", ".env/x"])
def test_denied_names_cannot_be_written_made_or_removed(writer: Writer, root: Path, name: str):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    (root / "f").write_bytes(b"mine")
    path.write_bytes(b"secret")
    assert code(lambda: put(writer, name, b"x")) == "denied"
    assert code(lambda: append(writer, name, b"x")) == "denied"
    assert code(lambda: delete(writer, name)) == "denied"
    assert code(lambda: move(writer, name, writer, "free")) == "denied"
    assert code(lambda: move(writer, "f", writer, name, replace=True)) == "denied"
    assert code(lambda: copy(writer.root, name, writer, "free")) == "denied"
    assert code(lambda: copy(writer.root, "f", writer, name, replace=True)) == "denied"
    path.unlink()
    assert code(lambda: put(writer, name, b"x")) == "denied"
    assert code(lambda: writer.mkdir(name)) == "denied"
    assert code(lambda: writer.make_all(f"{name}/deeper")) == "denied"
    assert not path.exists()


def test_a_link_cannot_lend_its_name_to_a_denied_file(writer: Writer, root: Path):
    (root / ".env").write_bytes(b"secret")
    (root / "notes.txt").symlink_to(".env")
    assert code(lambda: put(writer, "notes.txt", b"x")) == "denied"
    assert (root / ".env").read_bytes() == b"secret"


def test_a_folder_with_secrets_is_neither_renamed_open_nor_filled_nor_deleted(writer: Writer, root: Path):
    """`.kube/config` is closed by its path: under another folder name it would be open."""
    (root / ".kube").mkdir()
    (root / ".kube" / "config").write_bytes(b"secret")
    (root / "plan").mkdir()
    (root / "plan" / "config.json").write_bytes(b"planted")
    (root / "app").mkdir()
    (root / "app" / ".env").write_bytes(b"secret")
    assert code(lambda: move(writer, ".kube", writer, "open")) == "denied"
    assert code(lambda: move(writer, "plan", writer, ".docker")) == "denied"
    assert code(lambda: copy(writer.root, "plan", writer, ".docker")) == "denied"
    assert code(lambda: delete(writer, ".kube", recursive=True)) == "denied"
    assert code(lambda: delete(writer, ".kube", recursive=True, trash=False)) == "denied"
    assert code(lambda: copy(writer.root, ".kube", writer, "open")) == "denied"
    assert code(lambda: delete(writer, "app", recursive=True)) == "denied"
    assert move(writer, "app", writer, "app2").to == "app2"
    assert (root / "app2" / ".env").read_bytes() == b"secret"


def test_a_name_in_another_unicode_spelling_is_the_same_file(writer: Writer, root: Path):
    (root / "cafe\u0301").write_bytes(b"old")
    put(writer, "caf\u00e9", b"new")
    assert [path.name for path in root.iterdir()] == ["cafe\u0301"]
    assert (root / "cafe\u0301").read_bytes() == b"new"
    assert code(lambda: writer.mkdir("caf\u00e9")) == "exists"
    (root / "caf\u00e9").write_bytes(b"other")
    (root / "cafe\u0301").rename(root / "e\u0301\u0302")
    delete(writer, "caf\u00e9", trash=False)
    assert [path.name for path in root.iterdir()] == ["e\u0301\u0302"]


@pytest.mark.parametrize("rel", ["", ".", "./", "sub/.", "sub/..", "..", "sub/"])
def test_only_a_name_below_the_root_can_be_changed(writer: Writer, root: Path, rel: str):
    (root / "sub").mkdir()
    (root / "f").write_bytes(b"f")
    assert code(lambda: put(writer, rel, b"x")) in {"is_dir", "the_root", "invalid_path", "outside_root"}
    if rel != "sub/":
        assert code(lambda: delete(writer, rel, recursive=True)) in {"the_root", "invalid_path", "outside_root"}
        assert code(lambda: move(writer, rel, writer, "g")) in {"the_root", "invalid_path", "outside_root"}
    assert paths_below(root) == ["f", "sub"]


def test_a_closing_slash_means_a_folder_and_no_link_to_one(writer: Writer, root: Path):
    (root / "f").write_bytes(b"f")
    (root / "dir").mkdir()
    (root / "link").symlink_to("dir")
    for rel in ("f/", "link/"):
        assert code(lambda path=rel: delete(writer, path, recursive=True)) == "not_dir"
    assert code(lambda: put(writer, "f/", b"x")) == "not_dir"
    delete(writer, "dir/", trash=False)
    writer.mkdir("made/")
    assert paths_below(root) == ["f", "link", "made"]


def test_the_servers_own_names_are_out_of_reach(writer: Writer, root: Path):
    for name in (f"{TEMP_PREFIX}x", TEMP_PREFIX.upper() + "x", f"{TEMP_PREFIX}x/y", TRASH, f"{TRASH}/x", TRASH.upper()):
        (root / f"{TEMP_PREFIX}x").mkdir(exist_ok=True)
        assert code(lambda rel=name: put(writer, rel, b"x")) in {"denied", "not_found"}
        assert code(lambda rel=name: writer.mkdir(rel)) in {"denied", "not_found"}
        assert code(lambda rel=name: delete(writer, rel)) in {"denied", "not_found"}
    (root / f"{TEMP_PREFIX}x").rmdir()


def test_what_is_no_regular_file_is_not_written(writer: Writer, root: Path):
    os.mkfifo(root / "pipe")
    (root / "dir").mkdir()
    with socket.socket(socket.AF_UNIX) as door:
        os.chdir(root)
        door.bind("door")
    for name in ("pipe", "door"):
        assert code(lambda rel=name: put(writer, rel, b"x")) == "not_regular"
        assert code(lambda rel=name: append(writer, rel, b"x")) == "not_regular"
        assert code(lambda rel=name: copy(writer.root, rel, writer, "copy")) == "not_regular"
    assert code(lambda: put(writer, "dir", b"x")) == "is_dir"
    assert code(lambda: put(writer, "missing/f", b"x")) == "not_found"
    assert code(lambda: put(writer, "pipe/f", b"x")) == "not_dir"
    assert code(lambda: put(writer, "n" * 300, b"x")) == "name_too_long"


# Somebody else


def other_program(path: Path, what: str) -> None:
    match what:
        case "replaces":
            path.with_name("theirs").write_bytes(b"theirs")
            path.with_name("theirs").replace(path)
        case "writes":
            path.write_bytes(b"theirs")
        case "same size and time":
            st = path.stat()
            path.write_bytes(b"THEIRS"[: st.st_size])
            os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))
        case "permissions":
            path.chmod(0o400)
        case _:
            path.unlink()


@pytest.mark.parametrize("what", ["replaces", "writes", "same size and time", "permissions", "removes"])
@pytest.mark.parametrize("how", ["put", "append", "hard links"])
def test_a_change_by_another_program_in_between_is_never_overwritten(open_writer: OpenWriter, what: str, how: str):
    writer = open_writer(keep_hard_links=how == "hard links")
    root = Path(writer.root.path)
    (root / "f").write_bytes(b"theold")
    if how == "hard links":
        os.link(root / "f", root / "linked")
    with writer.open("f") as target:
        other_program(root / "f", what)
        theirs = (root / "f").read_bytes() if (root / "f").exists() else None
        assert code(lambda: target.append(b"x") if how == "append" else target.put(b"ours")) == "stale"
    assert ((root / "f").read_bytes() if (root / "f").exists() else None) == theirs


def test_a_file_that_appears_in_between_is_not_overwritten(writer: Writer, root: Path):
    with writer.open("f") as target:
        (root / "f").write_bytes(b"theirs")
        assert code(lambda: target.put(b"ours")) == "exists"
    assert (root / "f").read_bytes() == b"theirs"


def test_a_folder_that_another_process_holds_is_waited_for_then_reported(writer: Writer, root: Path):
    (root / "f").write_bytes(b"old")
    fd = os.open(root, os.O_RDONLY)
    with FolderLock(fd, 1.0):
        begun = time.monotonic()
        assert code(lambda: put(writer, "f", b"new")) == "busy"
        assert 0.15 < time.monotonic() - begun < 5
    put(writer, "f", b"new")
    os.close(fd)
    assert (root / "f").read_bytes() == b"new"


def test_a_held_target_keeps_other_writers_out_from_the_start(writer: Writer, root: Path):
    (root / "f").write_bytes(b"old")
    with writer.open("f", hold=True) as target:
        assert code(lambda: put(writer, "g", b"x")) == "busy"
        target.put(b"new")
    put(writer, "g", b"x")
    assert (root / "f").read_bytes() == b"new"


def test_a_file_system_without_locks_is_used_without(writer: Writer, root: Path, monkeypatch: pytest.MonkeyPatch):
    import fcntl

    def no_locks(_fd: int, _what: int) -> None:
        raise OSError(errno.ENOLCK, "none here")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    put(writer, "f", b"new")
    assert (root / "f").read_bytes() == b"new"


def test_raising_from_a_step_calls_the_change_off(writer: Writer, root: Path):
    (root / "f").write_bytes(b"old")
    steps: list[str] = []
    put(writer, "counted", b"")
    with writer.open("f", step=steps.append) as target:
        target.put(b"newer")
    assert steps == ["temp", "written", "attributes", "compared", "placed"]
    for stop in steps[:-1]:

        def step(name: str, stop: str = stop) -> None:
            if name == stop:
                raise Failure("off")

        with writer.open("f", step=step) as target:
            assert code(lambda target=target: target.put(b"newest")) == "failed"
    assert (root / "f").read_bytes() == b"newer"
    assert paths_below(root) == ["counted", "f"]


def test_a_full_disk_leaves_the_old_content(open_writer: OpenWriter):
    """A limit on file size is met by the same code as a full disk, at the same places."""
    for keep in (False, True):
        writer = open_writer(keep_hard_links=keep)
        root = Path(writer.root.path)
        for name in ("f", "log"):
            (root / name).unlink(missing_ok=True)
        (root / "f").write_bytes(b"old" * 1000)
        (root / "log").write_bytes(b"log" * 1000)
        if keep:
            os.link(root / "f", root / "f2")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, hard))
        try:
            assert code(lambda w=writer: put(w, "f", b"x" * 20_000)) == "no_space"
            assert code(lambda w=writer: append(w, "log", b"x" * 20_000)) == "no_space"
            assert code(lambda w=writer: put(w, "new", b"x" * 20_000)) == "no_space"
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert (root / "f").read_bytes() == b"old" * 1000
        assert (root / "log").read_bytes() == b"log" * 1000
        assert not (root / "new").exists()


def test_the_systems_refusal_is_told_as_such(writer: Writer, root: Path, monkeypatch: pytest.MonkeyPatch):
    for number, reason in (
        (errno.EACCES, "permission_denied"),
        (errno.EROFS, "read_only"),
        (errno.ENOSPC, "no_space"),
        (errno.EDQUOT, "no_space"),
        (errno.EIO, "unavailable"),
    ):

        def refuse(*_: object, number: int = number, **__: object) -> int:
            raise OSError(number, "no")

        with monkeypatch.context() as patch:
            patch.setattr(os, "write", refuse)
            assert code(lambda: put(writer, "f", b"x")) == reason
    assert paths_below(root) == []


def test_a_change_that_is_made_is_told_as_made_even_if_the_disk_does_not_confirm_it(
    open_writer: OpenWriter, monkeypatch: pytest.MonkeyPatch
):
    writer = open_writer(fsync=True)
    root = Path(writer.root.path)
    real = os.fsync

    def refuse_folders(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EIO, "no")
        real(fd)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    for content in (b"one", b"two"):
        with writer.open("f") as target:
            assert target.put(content).lost == ("fsync",)
    writer.mkdir("d")
    move(writer, "f", writer, "d/f")
    assert (root / "d" / "f").read_bytes() == b"two"


# Temporary files


def test_temporary_files_are_in_no_listing_and_stale_ones_are_swept(
    open_writer: OpenWriter, monkeypatch: pytest.MonkeyPatch
):
    writer = open_writer()
    root = Path(writer.root.path)
    (root / f"{TEMP_PREFIX}1").write_bytes(b"left by a crash")
    (root / f"{TEMP_PREFIX}2" / "sub").mkdir(parents=True)
    (root / f"{TEMP_PREFIX}2" / "link").symlink_to(root.parent)
    (root / "f").write_bytes(b"f")
    with writer.root.open_dir("") as opened:
        assert [name for name, _ in opened.names()] == ["f"]
        assert [entry.name for entry in opened.entries()] == ["f"]
    put(writer, "f", b"fresh ones stay")
    assert (root / f"{TEMP_PREFIX}1").exists()
    monkeypatch.setattr(temps, "STALE_AFTER_S", -1.0)
    put(open_writer(), "f", b"stale ones go")
    assert paths_below(root) == ["f"]


# Folders


def test_folders_are_created_each_in_the_one_before(writer: Writer, root: Path):
    assert writer.make_all("a/b/c") == 3
    assert writer.make_all("a/b/c") == 0
    assert writer.make_all("a/b/d/") == 1
    writer.mkdir("a/x")
    assert code(lambda: writer.mkdir("a/x")) == "exists"
    assert code(lambda: writer.mkdir("none/x")) == "not_found"
    (root / "file").write_bytes(b"")
    assert code(lambda: writer.make_all("file/x")) == "not_dir"
    assert code(lambda: writer.make_all("new/../x")) in {"invalid_path", "not_found"}
    assert paths_below(root) == ["a", "a/b", "a/b/c", "a/b/d", "a/x", "file"]


def test_a_very_deep_path_is_made_without_running_out_of_anything(writer: Writer, root: Path):
    depth = 1_500
    assert writer.make_all("/".join("d" * depth)) == depth
    # Not even the standard library can walk down there.
    subprocess.run(["rm", "-rf", root / "d"], check=True, timeout=60)


# Moving


def test_a_move_never_overwrites_unless_told_to(writer: Writer, root: Path):
    (root / "a").write_bytes(b"a")
    (root / "b").write_bytes(b"b")
    assert code(lambda: move(writer, "a", writer, "b")) == "exists"
    assert code(lambda: move(writer, "a", writer, "a")) == "exists"
    assert (root / "b").read_bytes() == b"b"
    moved = move(writer, "a", writer, "b", replace=True)
    assert (moved.rel, moved.to, moved.is_dir) == ("a", "b", False)
    assert paths_below(root) == ["b"]
    assert (root / "b").read_bytes() == b"a"


def test_a_move_acts_on_the_link_itself(writer: Writer, root: Path):
    (root / "dir").mkdir()
    (root / "target").write_bytes(b"t")
    (root / "link").symlink_to("target")
    (root / "dangling").symlink_to("nowhere")
    move(writer, "link", writer, "moved")
    move(writer, "dangling", writer, "dir/dangling")
    assert (root / "moved").readlink() == Path("target")
    assert paths_below(root) == ["dir", "dir/dangling", "moved", "target"]
    delete(writer, "moved", trash=False)
    assert (root / "target").read_bytes() == b"t"


def test_folders_move_whole_and_only_onto_empty_ones(writer: Writer, root: Path):
    (root / "a" / "in").mkdir(parents=True)
    (root / "full" / "x").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "f").write_bytes(b"f")
    assert code(lambda: move(writer, "a", writer, "full")) == "exists"
    assert code(lambda: move(writer, "a", writer, "full", replace=True)) == "not_empty"
    assert code(lambda: move(writer, "a", writer, "f", replace=True)) == "not_dir"
    assert code(lambda: move(writer, "f", writer, "full", replace=True)) == "is_dir"
    assert code(lambda: move(writer, "a", writer, "a/in/b")) == "into_itself"
    assert code(lambda: move(writer, "missing", writer, "x")) == "not_found"
    assert code(lambda: move(writer, "a", writer, "no/x")) == "not_found"
    assert move(writer, "a", writer, "empty", replace=True).is_dir
    assert paths_below(root) == ["empty", "empty/in", "f", "full", "full/x"]


def test_between_two_names_of_one_file_the_old_name_goes(writer: Writer, root: Path):
    (root / "a").write_bytes(b"same")
    os.link(root / "a", root / "b")
    move(writer, "a", writer, "b", replace=True)
    assert paths_below(root) == ["b"]


def test_a_move_between_roots_is_one_rename(open_writer: OpenWriter):
    one, two = open_writer("one"), open_writer("two")
    put(one, "f", b"content")
    inode = (Path(one.root.path) / "f").stat().st_ino
    move(one, "f", two, "g")
    assert (Path(two.root.path) / "g").stat().st_ino == inode
    assert paths_below(Path(one.root.path)) == []


def test_a_move_to_another_file_system_is_refused_whole(writer: Writer, root: Path, monkeypatch: pytest.MonkeyPatch):
    put(writer, "f", b"content")

    def other_file_system(*_: object) -> None:
        raise OSError(errno.EXDEV, "cross-device")

    writer.manner = Manner(other_file_system, fsync=False)
    assert code(lambda: move(writer, "f", writer, "g")) == "cross_root"
    assert code(lambda: delete(writer, "f")) == "cross_root"
    assert paths_below(root) == [TRASH, f"{TRASH}/.gitignore", "f"]


def lacking(*_: object) -> int:
    ctypes.set_errno(errno.EINVAL)
    return -1


@pytest.mark.parametrize("lacks", ["by links", "by number", "EINVAL"])
def test_moves_are_exclusive_without_the_kernels_help(open_writer: OpenWriter, lacks: str):
    writer = open_writer()
    root = Path(writer.root.path)
    exclusive = by_links
    if lacks == "by number" and (number := renames.syscall_number()) is not None:
        exclusive = renames._by_number(ctypes.CDLL(None, use_errno=True).syscall, number)
    if lacks == "EINVAL":
        exclusive = renames._by_function(lacking, 1)
    writer.manner = Manner(exclusive, fsync=False)
    (root / "dir" / "in").mkdir(parents=True)
    (root / "taken").mkdir()
    (root / "link").symlink_to("dir")
    put(writer, "f", b"f")
    put(writer, "g", b"g")
    for name in ("f", "link", "dir"):
        assert code(lambda rel=name: move(writer, rel, writer, "g")) == "exists"
        assert code(lambda rel=name: move(writer, rel, writer, "taken")) == "exists"
    assert code(lambda: move(writer, "dir", writer, "dir/in/dir")) == "into_itself"
    for name in ("f", "link", "dir"):
        move(writer, name, writer, f"{name}2")
    assert paths_below(root) == ["dir2", "dir2/in", "f2", "g", "link2", "taken"]
    assert (root / "link2").is_symlink()


def test_an_older_c_library_is_done_without(monkeypatch: pytest.MonkeyPatch, writer: Writer, root: Path):
    libc = ctypes.CDLL(None, use_errno=True)

    class Older:
        syscall = libc.syscall

    def load(*_: object, **__: object) -> type[Older]:
        return Older

    monkeypatch.setattr(ctypes, "CDLL", load)
    for known in (True, False):
        if not known:
            monkeypatch.setattr(renames, "SYS_RENAMEAT2", {})
        exclusive = renames.exclusive_rename()
        assert (exclusive is by_links) is (not known or sys.platform != "linux")
        writer.manner = Manner(exclusive, fsync=False)
        put(writer, f"f{known}", b"x")
        assert code(lambda known=known: move(writer, f"f{known}", writer, f"f{known}")) == "exists"
    assert paths_below(root) == ["fFalse", "fTrue"]


def test_a_file_system_without_hard_links_is_told_of(writer: Writer, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    writer.manner = Manner(by_links, fsync=False)
    monkeypatch.setattr(os, "link", refuse)
    assert code(lambda: put(writer, "f", b"x")) == "unsupported"


# Copying


def test_a_folder_is_copied_whole_with_modes_and_links(writer: Writer, root: Path):
    (root / "a" / "sub").mkdir(parents=True)
    (root / "a" / "sub" / "tool").write_bytes(b"#!")
    (root / "a" / "sub" / "tool").chmod(0o751)
    (root / "a" / "link").symlink_to("sub/tool")
    (root / "a" / "sub").chmod(0o750)
    copied = copy(writer.root, "a", writer, "b")
    assert (copied.what.files, copied.what.dirs, copied.what.bytes) == (2, 2, 2 + len("sub/tool"))
    assert stat.S_IMODE((root / "b" / "sub" / "tool").stat().st_mode) == 0o751
    assert stat.S_IMODE((root / "b" / "sub").stat().st_mode) == 0o750
    assert (root / "b" / "link").readlink() == Path("sub/tool")
    assert code(lambda: copy(writer.root, "a", writer, "b")) == "exists"
    assert code(lambda: copy(writer.root, "a", writer, "b", replace=True)) == "exists"
    assert code(lambda: copy(writer.root, "a", writer, "a/sub/c")) == "into_itself"


def test_a_copied_file_overwrites_only_when_told_to(writer: Writer, root: Path):
    put(writer, "a", b"a")
    put(writer, "b", b"b")
    assert code(lambda: copy(writer.root, "a", writer, "b")) == "exists"
    assert copy(writer.root, "a", writer, "b", replace=True).file is not None
    assert (root / "b").read_bytes() == b"a"
    (root / "link").symlink_to("a")
    assert copy(writer.root, "link", writer, "c").rel == "c"
    assert not (root / "c").is_symlink()


def test_a_copy_that_fails_leaves_nothing(writer: Writer, root: Path):
    (root / "a").mkdir()
    (root / "a" / "f").write_bytes(b"f")
    os.mkfifo(root / "a" / "pipe")
    assert code(lambda: copy(writer.root, "a", writer, "b")) == "not_regular"
    assert paths_below(root) == ["a", "a/f", "a/pipe"]


# Deleting


def test_deleted_things_are_in_the_trash_and_can_be_moved_back(writer: Writer, root: Path):
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "f").write_bytes(b"f")
    gone = delete(writer, "a/b/f")
    assert gone.trash is not None
    assert gone.trash.startswith(f"{TRASH}/")
    assert gone.trash.endswith("/a/b/f")
    assert (root / gone.trash).read_bytes() == b"f"
    assert not (root / "a" / "b" / "f").exists()
    assert code(lambda: delete(writer, gone.trash or "")) == "denied"
    move(writer, gone.trash, writer, "a/b/f")
    assert (root / "a" / "b" / "f").read_bytes() == b"f"
    whole = delete(writer, "a", recursive=True)
    assert (whole.what.dirs, whole.what.files, whole.what.bytes) == (2, 1, 1)
    assert (root / TRASH / ".gitignore").read_text() == "*\n"
    assert code(lambda: move(writer, TRASH, writer, "bin")) == "denied"


def test_a_link_in_place_of_the_trash_is_refused(writer: Writer, root: Path):
    outside = root.parent / "outside"
    outside.mkdir()
    (root / TRASH).symlink_to(outside)
    put(writer, "f", b"f")
    assert code(lambda: delete(writer, "f")) in {"not_dir", "too_many_links"}
    assert paths_below(outside) == []
    assert (root / "f").exists()


def test_only_a_recursive_deletion_takes_what_is_in_a_folder(writer: Writer, root: Path):
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "f").write_bytes(b"OUTSIDE")
    (root / "a" / "b" / "c").mkdir(parents=True)
    (root / "a" / "link").symlink_to(outside)
    (root / "a" / "b" / "f").write_bytes(b"f")
    os.mkfifo(root / "a" / "pipe")
    assert code(lambda: delete(writer, "a")) == "not_empty"
    assert code(lambda: delete(writer, "a", trash=False)) == "not_empty"
    delete(writer, "a/b/c", trash=False)
    gone = delete(writer, "a", recursive=True, trash=False)
    assert (gone.what.dirs, gone.what.files) == (2, 3)
    assert paths_below(root) == []
    assert paths_below(outside) == ["f"]
    assert code(lambda: delete(writer, "a", recursive=True)) == "not_found"


def test_a_deletion_that_is_disturbed_says_how_far_it_came(writer: Writer, root: Path):
    outside = root.parent / "outside"
    outside.mkdir()
    (outside / "f").write_bytes(b"OUTSIDE")
    for name in ("one", "sub"):
        (root / "a" / name).mkdir(parents=True)
        (root / "a" / name / "f").write_bytes(b"f")

    def step(name: str) -> None:
        if name == "deleting" and not (root / "gone").exists():
            (root / "a" / "sub").rename(root / "gone")
            (root / "a" / "sub").symlink_to(outside)

    with pytest.raises(Failure) as caught:
        delete(writer, "a", recursive=True, trash=False, step=step)
    assert caught.value.reason == "busy"
    assert caught.value.details["deleted"] in (0, 1, 2)
    assert paths_below(outside) == ["f"]
    assert (root / "gone" / "f").exists()


def test_a_folder_swapped_while_it_is_looked_through_is_not_followed(writer: Writer, root: Path):
    (root / "a" / "sub").mkdir(parents=True)

    def swap(_name: str) -> bool:
        (root / "a" / "sub").rename(root / "gone")
        (root / "a" / "sub").symlink_to(root.parent)
        return False

    with writer.spot("a") as spot:
        assert code(lambda: survey(spot, lambda _below: swap)) == "busy"


def test_a_rule_that_closes_something_meanwhile_stops_the_deletion(writer: Writer, root: Path):
    (root / "a").mkdir()
    (root / "a" / "f").write_bytes(b"f")

    def step(name: str) -> None:
        if name == "compared":
            (root / "a" / ".env").write_bytes(b"secret")

    assert code(lambda: delete(writer, "a", recursive=True, trash=False, step=step)) == "denied"
    assert (root / "a" / ".env").exists()


def test_what_a_person_agreed_to_delete_is_what_is_deleted(writer: Writer, root: Path):
    (root / "a").mkdir()
    (root / "a" / "f").write_bytes(b"f")
    seen = look_before_deleting(writer, "a")
    assert seen.digest == look_before_deleting(writer, "a").digest
    (root / "a" / "precious").write_bytes(b"p")
    assert code(lambda: delete(writer, "a", recursive=True, digest=seen.digest)) == "stale"
    seen = look_before_deleting(writer, "a")
    assert delete(writer, "a", recursive=True, digest=seen.digest).what.files == 2


def test_a_tree_too_deep_for_our_handles_is_refused_untouched(writer: Writer, root: Path):
    writer.make_all("/".join("d" * (MAX_DEPTH + 5)))
    before = descriptors()
    for act in (
        lambda: delete(writer, "d", recursive=True),
        lambda: delete(writer, "d", recursive=True, trash=False),
        lambda: copy(writer.root, "d", writer, "e"),
    ):
        assert code(act) == "too_deep"
    assert descriptors() == before
    delete(writer, "/".join("d" * 10), recursive=True, trash=False)
    delete(writer, "d", recursive=True, trash=False)
    assert paths_below(root) == []


def test_threads_that_change_one_folder_do_not_disturb_each_other(writer: Writer, root: Path):
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(20):
                put(writer, f"f{number}", b"%d" % turn)
                writer.mkdir(f"d{number}")
                move(writer, f"d{number}", writer, f"e{number}")
                delete(writer, f"e{number}", trash=False)
        except BaseException as error:  # noqa: BLE001 - shown by the assertion
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    writer.manner = Manner(writer.manner.exclusive, fsync=False, patience_s=20)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert paths_below(root) == ["f0", "f1", "f2", "f3"]
