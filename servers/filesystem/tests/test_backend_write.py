"""Writing as the tools will call it: preconditions, modes, turns, quotas, and nobody's edit lost."""

import asyncio
import base64
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from mcp_bulkhead.errors import Busy, Failure, Spent
from mcp_bulkhead.guards.paths import RootFS, Roots
from mcp_bulkhead.guards.reserved import TEMP_PREFIX, TRASH
from mcp_bulkhead_filesystem.backend.changes import MAX_FILE_BYTES, Changes
from mcp_bulkhead_filesystem.backend.editing import Edit
from mcp_bulkhead_filesystem.backend.locks import MoveGate, Turns
from mcp_bulkhead_filesystem.backend.quotas import Quota
from mcp_bulkhead_filesystem.backend.workers import Job, Stopped, Workers
from mcp_bulkhead_filesystem.backend.writing import Writes

T = TypeVar("T")
Act = Callable[[Writes], Awaitable[T]]
Acts = tuple[Act[object], ...]
JOB = Job(soft_until=2**62)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "root").mkdir()
    return tmp_path / "root"


@contextmanager
def opened(*folders: Path, writable: bool = True) -> Generator[Roots]:
    roots = Roots([RootFS(str(folder), writable=writable) for folder in folders])
    try:
        yield roots
    finally:
        roots.close()


def run(
    act: Act[T],
    *folders: Path,
    writable: bool = True,
    files_per_hour: int = 0,
    bytes_per_hour: int = 0,
    max_file_bytes: int = MAX_FILE_BYTES,
) -> T:
    async def within(roots: Roots) -> T:
        workers = Workers(4)
        try:
            async with asyncio.timeout(60):
                writes = Writes(
                    roots,
                    workers,
                    fsync=False,
                    files_per_hour=files_per_hour,
                    bytes_per_hour=bytes_per_hour,
                    max_file_bytes=max_file_bytes,
                )
                return await act(writes)
        finally:
            workers.close()

    with opened(*folders, writable=writable) as roots:
        return asyncio.run(within(roots))


def refused(act: Act[object], *folders: Path, writable: bool = True, max_file_bytes: int = MAX_FILE_BYTES) -> Failure:
    with pytest.raises(Failure) as caught:
        run(act, *folders, writable=writable, max_file_bytes=max_file_bytes)
    return caught.value


# Edits and writes


def test_an_edit_tells_what_it_did_and_the_new_etag(folder: Path):
    (folder / "f").write_bytes(b"one\r\ntwo\r\n")

    async def act(writes: Writes):
        first = await writes.edit("f", [Edit("two", "2")])
        return first, await writes.edit("f", [Edit("2", "II")], etag=first.etag)

    first, second = run(act, folder)
    assert (first.path, first.replaced, first.applied, first.bytes) == ("f", 1, True, 8)
    assert first.diff == "@@ -1,2 +1,2 @@\n one\n-two\n+2"
    assert second.etag != first.etag
    assert (folder / "f").read_bytes() == b"one\r\nII\r\n"


def test_a_dry_run_tells_the_same_and_changes_nothing(folder: Path):
    (folder / "f").write_bytes(b"one\n")
    (folder / "d").mkdir()
    before = (folder / "f").stat()

    async def act(writes: Writes):
        edit = await writes.edit("f", [Edit("one", "two")], dry_run=True)
        told = [
            await writes.write("f", "other\n", mode="replace", dry_run=True),
            await writes.write("new/deep/f", "x", create_parents=True, dry_run=True),
            await writes.write("f", "x", mode="append", dry_run=True),
            await writes.mkdir("made", dry_run=True),
            await writes.move("f", "g", dry_run=True),
            await writes.move("f", "g", copy=True, dry_run=True),
            await writes.look("d"),
        ]
        done = await writes.edit("f", [Edit("one", "two")], dry_run=True, etag=edit.etag)
        return edit, done, told

    edit, done, told = run(act, folder)
    assert edit == done
    assert edit.diff == "@@ -1,1 +1,1 @@\n-one\n+two"
    assert not any(each.applied for each in (edit, *told))
    assert (folder / "f").stat() == before
    assert sorted(path.name for path in folder.iterdir()) == ["d", "f"]


def test_a_dry_run_is_refused_as_the_real_thing_would_be(folder: Path):
    (folder / "f").write_bytes(b"one\n")
    absent: Acts = (
        lambda w: w.edit("f", [Edit("missing", "x")], dry_run=True),
        lambda w: w.edit("g", [Edit("one", "x")], dry_run=True),
        lambda w: w.move("g", "h", dry_run=True),
    )
    for act in absent:
        assert refused(act, folder).reason in {"no_match", "not_found"}
    present: Acts = (
        lambda w: w.write("f", "x", dry_run=True),
        lambda w: w.mkdir("f", dry_run=True),
        lambda w: w.mkdir("f", parents=False, dry_run=True),
        lambda w: w.move("f", "f", dry_run=True),
    )
    for act in present:
        assert refused(act, folder).reason in {"exists", "not_dir"}
    changing: Acts = (
        lambda w: w.edit("f", [Edit("one", "x")], dry_run=True),
        lambda w: w.write("g", "x", dry_run=True),
        lambda w: w.mkdir("d", dry_run=True),
        lambda w: w.move("f", "g", dry_run=True),
        lambda w: w.move("f", "g", copy=True, dry_run=True),
        lambda w: w.look("f"),
        lambda w: w.write("n/g", "x", create_parents=True, dry_run=True),
    )
    for act in changing:
        assert refused(act, folder, writable=False).reason == "read_only"


def test_an_old_etag_is_stale_for_every_kind_of_write(folder: Path):
    (folder / "f").write_bytes(b"one\n")

    async def act(writes: Writes):
        told = await writes.edit("f", [Edit("one", "two")], dry_run=True)
        (folder / "f").write_bytes(b"one\none more\n")
        reasons: list[str] = []
        for change in (
            writes.edit("f", [Edit("more", "two")], etag=told.etag),
            writes.write("f", "x", mode="replace", etag=told.etag),
            writes.write("f", "x", mode="append", etag=told.etag),
            writes.write("gone", "x", mode="replace", etag=told.etag),
        ):
            try:
                await change
            except Failure as failure:
                reasons.append(failure.reason)
        return reasons

    assert run(act, folder) == ["stale"] * 4
    assert (folder / "f").read_bytes() == b"one\none more\n"


def test_each_mode_of_writing_does_what_its_name_says(folder: Path):
    async def act(writes: Writes):
        return [
            await writes.write("f", "one\n"),
            await writes.write("f", "two\n", mode="replace"),
            await writes.write("f", "three\n", mode="append"),
            await writes.write("g", "new\n", mode="replace"),
            await writes.write("h", "new\n", mode="append"),
            await writes.write("a/b/f", "deep\n", create_parents=True),
        ]

    told = run(act, folder)
    assert [each.created for each in told] == [True, False, False, True, True, True]
    assert told[1].diff == "@@ -1,1 +1,1 @@\n-one\n+two"
    assert (folder / "f").read_text() == "two\nthree\n"
    assert (folder / "a" / "b" / "f").read_text() == "deep\n"
    assert refused(lambda w: w.write("f", "x"), folder).reason == "exists"
    assert refused(lambda w: w.write("n/f", "x"), folder).reason == "not_found"
    assert refused(lambda w: w.write("n/.env", "x", create_parents=True), folder).reason == "denied"
    assert not (folder / "n").exists()
    assert refused(lambda w: w.write("f", "x", mode="truncate"), folder).reason == "invalid_arguments"
    assert refused(lambda w: w.write("a", "x", mode="replace"), folder).reason == "is_dir"


@pytest.mark.parametrize(
    ("raw", "content", "wanted"),
    [
        (b"old\r\nold\r\n", "new\nnew\n", b"new\r\nnew\r\n"),
        (b"old\r\n", "kept\r\nas sent\n", b"kept\r\nas sent\n"),
        (b"\xef\xbb\xbfold\n", "né\n", b"\xef\xbb\xbfn\xc3\xa9\n"),
        ("old\r\n".encode("utf-16"), "né\n", "né\r\n".encode("utf-16")),
        ("Où est-il allé ?\n".encode("latin-1"), "né\n", "né\n".encode("latin-1")),
        (b"\x89PNG\r\n\x1a\n\0\0", "text\n", b"text\n"),
        (b"", "né\n", "né\n".encode()),
    ],
)
def test_a_file_that_is_written_anew_keeps_its_encoding_mark_and_line_ends(
    folder: Path, raw: bytes, content: str, wanted: bytes
):
    (folder / "f").write_bytes(raw)
    run(lambda w: w.write("f", content, mode="replace"), folder)
    assert (folder / "f").read_bytes() == wanted


def test_appended_text_is_in_the_files_encoding(folder: Path):
    (folder / "f").write_bytes("old\r\n".encode("utf-16"))
    (folder / "g").write_bytes("Où est-il allé ?".encode("latin-1"))
    run(lambda w: w.write("f", "né\n", mode="append"), folder)
    run(lambda w: w.write("g", " Né.", mode="append"), folder)
    assert (folder / "f").read_bytes() == "old\r\nné\r\n".encode("utf-16")
    assert (folder / "g").read_bytes() == "Où est-il allé ? Né.".encode("latin-1")
    assert refused(lambda w: w.write("g", "→", mode="append"), folder).reason == "unencodable"


def test_base64_is_written_byte_for_byte(folder: Path):
    raw = bytes(range(256))
    (folder / "f").write_bytes(b"old\r\n")
    sent = base64.encodebytes(raw).decode()
    assert run(lambda w: w.write("f", sent, mode="replace", is_base64=True), folder).bytes == 256
    assert (folder / "f").read_bytes() == raw
    assert refused(lambda w: w.write("g", "no base64!", is_base64=True), folder).details["field"] == "content"


def test_what_is_too_large_is_refused_before_anything_is_written(folder: Path):
    (folder / "f").write_bytes(b"x" * 200)
    assert refused(lambda w: w.write("g", "x" * 200), folder, max_file_bytes=100).reason == "too_large"
    assert refused(lambda w: w.edit("f", [Edit("x", "y", all=True)]), folder, max_file_bytes=100).reason == "too_large"
    assert sorted(path.name for path in folder.iterdir()) == ["f"]


# Names


def test_shown_names_are_understood_and_new_ones_are_taken_literally(folder: Path):
    strange = os.fsencode(folder) + b"/caf\xe9 \x01"
    Path(os.fsdecode(strange)).mkdir()
    Path(os.fsdecode(strange + b"/f")).write_bytes(b"one")

    async def act(writes: Writes):
        edited = await writes.edit(r"caf\xe9 \x01/f", [Edit("one", "two")])
        made = await writes.write(r"caf\xe9 \x01/new\x41", "x")
        return edited.path, made.path

    assert run(act, folder) == (r"caf\xe9 \x01/f", r"caf\xe9 \x01/new\x5cx41")
    assert sorted(path.name for path in Path(os.fsdecode(strange)).iterdir()) == ["f", r"new\x41"]
    run(lambda w: w.write(r"plain\x41", "x"), folder)
    assert (folder / r"plain\x41").read_text() == "x"


def test_paths_name_their_root_when_there_are_several(tmp_path: Path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()

    async def act(writes: Writes):
        made = await writes.write("one/f", "x")
        copied = await writes.move("one/f", "two/g", copy=True)
        moved = await writes.move("one/f", "two/h")
        gone = await writes.delete("two/g")
        return made.path, copied.to, copied.copied, moved.path, moved.to, gone

    made, to, copied, moved, place, gone = run(act, tmp_path / "one", tmp_path / "two")
    assert (made, to, copied, moved, place) == ("one/f", "two/g", True, "one/f", "two/h")
    assert gone.trash is not None
    assert gone.trash.startswith(f"two/{TRASH}/")
    assert (gone.files, gone.dirs, gone.bytes) == (1, 0, 1)


def test_deleting_is_held_to_what_was_looked_at(folder: Path):
    (folder / "d" / "sub").mkdir(parents=True)
    (folder / "d" / "f").write_text("x")

    async def act(writes: Writes):
        seen = await writes.look("d")
        (folder / "d" / "more").write_text("y")
        try:
            await writes.delete("d", recursive=True, digest=seen.digest)
        except Failure as failure:
            again = await writes.look("d")
            gone = await writes.delete("d", recursive=True, trash=False, digest=again.digest)
            return failure.reason, gone
        raise AssertionError

    reason, gone = run(act, folder)
    assert reason == "stale"
    assert (gone.files, gone.dirs, gone.trash) == (2, 2, None)
    assert not list(folder.iterdir())


def test_folders_are_made_with_those_above_them(folder: Path):
    async def act(writes: Writes):
        return await writes.mkdir("a/b/c"), await writes.mkdir("a/b/c"), await writes.mkdir("a/x", parents=False)

    assert [each.created for each in run(act, folder)] == [True, False, True]
    assert refused(lambda w: w.mkdir("n/x", parents=False), folder).reason == "not_found"


# Nobody's edit is lost


def test_pipelined_edits_of_one_file_all_land(folder: Path):
    """The most used server loses 19 of 20 of these, and reports 20 successes."""
    (folder / "f").write_text("".join(f"line {number}: todo\n" for number in range(60)))
    (folder / "link").symlink_to("f")

    async def act(writes: Writes):
        return await asyncio.gather(
            *(
                writes.edit(("f", "./f", "link", str(folder / "f"))[number % 4], [Edit(f"line {number}: todo", "done")])
                for number in range(60)
            )
        )

    told = run(act, folder)
    assert all(each.applied and each.replaced == 1 for each in told)
    assert (folder / "f").read_text() == "done\n" * 60


EDITOR = """
import json, sys, threading
from mcp_bulkhead.errors import Failure
from mcp_bulkhead.guards.paths import RootFS, Roots
from mcp_bulkhead_filesystem.backend.changes import MAX_FILE_BYTES, Changes
from mcp_bulkhead_filesystem.backend.editing import Edit
from mcp_bulkhead_filesystem.backend.workers import Job
me, edits, threads, fsync = int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5] == "fsync"
changes = Changes(Roots([RootFS(sys.argv[1], writable=True)]), fsync=fsync, patience_s=30.0)
told = {}
def work(first):
    for number in range(first, edits, threads):
        key = f"{me}.{number}"
        try:
            done = changes.edit("f", [Edit(f"[{key}]", f"<{key}>")], etag=None, dry_run=False, job=Job(2**62))
            told[key] = "applied" if done.applied else "?"
        except Failure as failure:
            told[key] = failure.reason
workers = [threading.Thread(target=work, args=(first,)) for first in range(threads)]
print("ready", flush=True)
sys.stdin.readline()
for worker in workers:
    worker.start()
for worker in workers:
    worker.join()
print(json.dumps(told), flush=True)
"""


def edited_by_processes(folder: Path, edits: int, threads: int, fsync: str) -> tuple[Counter[str], set[str], set[str]]:
    keys = [f"{process}.{number}" for process in range(2) for number in range(edits)]
    (folder / "f").write_text("".join(f"[{key}]\r\n" for key in keys), newline="")
    commands = [
        [sys.executable, "-c", EDITOR, str(folder), str(process), str(edits), str(threads), fsync]
        for process in range(2)
    ]
    editors = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for command in commands
    ]
    told: dict[str, str] = {}
    try:
        for editor in editors:
            assert editor.stdout
            assert editor.stdout.readline() == "ready\n"
        for editor in editors:
            assert editor.stdin
            editor.stdin.write("go\n")
            editor.stdin.flush()
        for editor in editors:
            out, _ = editor.communicate(timeout=300)
            told.update(json.loads(out))
    finally:
        for editor in editors:
            editor.kill()
            editor.communicate()
    text = (folder / "f").read_bytes().decode()
    lines = text.split("\r\n")
    assert len(lines) == len(keys) + 1
    landed = {line[1:-1] for line in lines if line.startswith("<")}
    assert {line[1:-1] for line in lines if line} == set(keys)
    return Counter(told.values()), landed, {key for key, value in told.items() if value == "applied"}


@pytest.mark.parametrize(
    ("edits", "fsync"),
    [(100, "no"), pytest.param(500, "no", marks=pytest.mark.long), pytest.param(500, "fsync", marks=pytest.mark.long)],
)
def test_no_edit_of_eight_threads_in_each_of_two_processes_is_lost(folder: Path, edits: int, fsync: str):
    told, landed, applied = edited_by_processes(folder, edits, 8, fsync)
    assert landed == applied, "what was reported and what is there differ"
    assert told["applied"] == 2 * edits
    assert not [path for path in folder.iterdir() if path.name.startswith(TEMP_PREFIX)]


def test_a_naive_editor_loses_edits_in_the_same_race(folder: Path):
    """The control: read, replace, write, from eight threads."""
    keys = [str(number) for number in range(200)]
    (folder / "f").write_text("".join(f"[{key}]\n" for key in keys))

    def work(first: int) -> None:
        for key in keys[first::8]:
            text = (folder / "f").read_text()
            (folder / f"t{first}").write_text(text.replace(f"[{key}]", f"<{key}>"))
            (folder / f"t{first}").replace(folder / "f")

    threads = [threading.Thread(target=work, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert (folder / "f").read_text().count("<") < 200


def test_a_file_that_never_rests_is_reported_and_left_alone(folder: Path):
    (folder / "f").write_text("one\n")

    class Restless(Job):
        """Another program writes whenever we have read."""

        def check(self) -> None:
            (folder / "f").write_text(f"one\n{time.perf_counter_ns()}\n")

    with opened(folder) as roots, pytest.raises(Busy):
        Changes(roots, fsync=False).edit(
            "f", [Edit("one", "two")], etag=None, dry_run=False, job=Restless(soft_until=2**62)
        )
    assert (folder / "f").read_text().startswith("one\n")


def test_a_cancelled_change_is_not_made(folder: Path):
    (folder / "f").write_text("one\n")
    with opened(folder) as roots:
        changes = Changes(roots, fsync=False)
        for steps in range(8):
            job = Cancelled(soft_until=2**62, done=steps)
            try:
                changes.edit("f", [Edit("one", "one more")], etag=None, dry_run=False, job=job)
            except Stopped:
                assert (folder / "f").read_text() == "one\n"
            else:
                assert steps >= 5
                break
        assert (folder / "f").read_text() == "one more\n"
    assert [path.name for path in folder.iterdir()] == ["f"]


class Cancelled(Job):
    """Cancelled after so many looks."""

    def check(self) -> None:
        if not self.done:
            raise Stopped
        self.done -= 1


# Quotas, turns, the gate


def test_a_quota_bounds_files_and_bytes_by_the_hour():
    now = 0.0
    quota = Quota(3, 100, clock=lambda: now)
    for _ in range(3):
        with quota.spending(1, 10):
            pass
    with pytest.raises(Spent) as caught, quota.spending(1, 0):
        pass
    assert (caught.value.reason, caught.value.details["of"]) == ("quota_spent", "files")
    assert caught.value.retry_after_s == 3_660
    now = 3_659.0
    with pytest.raises(Spent):
        quota.check(1, 0)
    now = 3_660.0
    quota.check(3, 100)
    with pytest.raises(Spent), quota.spending(1, 101):
        pass
    with pytest.raises(KeyError), quota.spending(3, 100):
        raise KeyError
    quota.check(3, 100)
    quota.charge(3, 1)
    with pytest.raises(Spent):
        quota.check(1, 0)
    Quota().check(10**9, 10**15)


def test_threads_cannot_share_the_last_of_a_quota():
    quota = Quota(100, 0)
    spent: list[int] = []

    def work() -> None:
        for _ in range(50):
            try:
                with quota.spending(1, 1):
                    spent.append(1)
            except Spent:
                return

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(spent) == 100


def test_a_spent_quota_stops_writes_edits_and_copies_untouched(folder: Path):
    (folder / "f").write_text("one two\n")
    (folder / "d").mkdir()
    for number in range(3):
        (folder / "d" / f"{number}").write_text("x" * 10)

    async def act(writes: Writes):
        await writes.edit("f", [Edit("one", "1")])
        reasons: list[str] = []
        for change in (
            lambda: writes.edit("f", [Edit("two", "2")]),
            lambda: writes.write("g", "x"),
            lambda: writes.write("f", "x", mode="append"),
            lambda: writes.move("d", "e", copy=True),
            lambda: writes.move("f", "g", copy=True),
        ):
            try:
                await change()
            except Failure as failure:
                reasons.append(failure.reason)
        return reasons

    assert run(act, folder, files_per_hour=1) == ["quota_spent"] * 5
    assert sorted(path.name for path in folder.iterdir()) == ["d", "f"]
    assert (folder / "f").read_text() == "1 two\n"
    copied = run(lambda w: w.move("d", "e", copy=True), folder, files_per_hour=3, bytes_per_hour=30)
    assert (copied.files, copied.bytes) == (3, 30)


def test_turns_are_in_order_and_a_wait_has_an_end():
    async def act() -> list[int]:
        turns, order = Turns(), list[int]()

        async def one(number: int) -> None:
            async with turns.turn("key", 10):
                await asyncio.sleep(0)
                order.append(number)

        async with turns.turn("key", 1):
            waiting = [asyncio.create_task(one(number)) for number in range(5)]
            with pytest.raises(Busy):
                async with turns.turn("key", 0.01):
                    pass
            async with turns.turn("other", 1):
                pass
        await asyncio.gather(*waiting)
        assert not turns._locks
        return order

    assert asyncio.run(act()) == [0, 1, 2, 3, 4]


def test_a_folder_moves_while_nothing_else_changes():
    gate = MoveGate()
    with gate.change(1), gate.change(1), pytest.raises(Busy), gate.move(0.05):
        pass
    with gate.move(1):
        with pytest.raises(Busy), gate.change(0.05):
            pass
        with pytest.raises(Busy), gate.move(0.05):
            pass
    with gate.move(1):
        pass
    with gate.change(1):
        pass


# Against a model that knows nothing but bytes


class Files(RuleBasedStateMachine):
    """One file, written and edited in every way; the model holds its bytes, and its lines as a reader sees them."""

    codecs = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"])
    eols = st.sampled_from(["\n", "\r\n"])
    lines = st.lists(st.sampled_from(["élan", "señor", "a", "b", ""]), max_size=5)

    @initialize(codec=codecs, eol=eols, final=st.booleans())
    def begin(self, codec: str, eol: str, final: bool) -> None:
        self.home = Path(tempfile.mkdtemp())
        self.roots = Roots([RootFS(str(self.home), writable=True)])
        self.changes = Changes(self.roots, fsync=False)
        self.codec, self.eol = codec, eol
        self.text = "élan vital, señor\nune ligne" + ("\n" if final else "")
        (self.home / "f").write_bytes(self.raw)
        (self.home / "f").chmod(0o640)

    def teardown(self) -> None:
        if hasattr(self, "home"):
            self.roots.close()
            shutil.rmtree(self.home)

    @property
    def raw(self) -> bytes:
        return self.text.replace("\n", self.eol).encode(self.codec)

    @invariant()
    def the_bytes_are_the_models(self) -> None:
        if hasattr(self, "home"):
            assert (self.home / "f").read_bytes() == self.raw
            assert (self.home / "f").stat().st_mode & 0o777 == 0o640
            assert [path.name for path in self.home.iterdir()] == ["f"]

    @rule(data=st.data(), new=lines, every=st.booleans(), dry_run=st.booleans(), stale=st.booleans())
    def edit(self, data: st.DataObject, new: list[str], every: bool, dry_run: bool, stale: bool) -> None:
        keep = self.text.index("\n")  # the first line tells the encoding
        if keep + 1 >= len(self.text):
            return
        start = data.draw(st.integers(keep, len(self.text) - 1))
        old = self.text[start : data.draw(st.integers(start + 1, len(self.text)))]
        put_in = ("\n" if start == keep else "") + "\n".join(new)
        wanted = self.text.replace(old, put_in)
        if not wanted.startswith(self.text[: keep + 1]):
            return
        try:
            done = self.changes.edit(
                "f",
                [Edit(old, put_in, all=every)],
                etag="0" * 16 if stale else None,
                dry_run=dry_run,
                job=JOB,
            )
        except Failure as failure:
            assert stale or failure.reason in {"no_change", "ambiguous"}
            places = sum(self.text.startswith(old, place) for place in range(len(self.text)))
            assert stale or old == put_in or places > 1
            return
        assert not stale
        assert done.applied is not dry_run
        assert done.replaced == self.text.count(old)
        self.text = self.text if dry_run else wanted

    @rule(new=lines, final=st.booleans())
    def replace(self, new: list[str], final: bool) -> None:
        text = "élan vital, señor\n" + "\n".join(new) + ("\n" if final else "")
        self.changes.write(
            "f", text, mode="replace", is_base64=False, etag=None, create_parents=False, dry_run=False, job=JOB
        )
        self.text = text

    @rule(new=lines)
    def append(self, new: list[str]) -> None:
        text = "\n".join(new)
        self.changes.write(
            "f", text, mode="append", is_base64=False, etag=None, create_parents=False, dry_run=False, job=JOB
        )
        self.text += text


def test_writes_and_edits_do_what_a_model_of_bytes_does():
    run_state_machine_as_test(Files, settings=settings(max_examples=120, stateful_step_count=15, deadline=None))


# Speed


def medians(folder: Path, *, fsync: bool, turns: int) -> Iterator[float]:
    (folder / "f").write_text("line one\nline two 0\n")
    with opened(folder) as roots:
        changes = Changes(roots, fsync=fsync)

        def edit(turn: int) -> None:
            changes.edit("f", [Edit(f"two {turn}", f"two {turn + 1}")], etag=None, dry_run=False, job=JOB)

        def write(turn: int) -> None:
            changes.write(
                "w", f"{turn}", mode="replace", is_base64=False, etag=None, create_parents=False, dry_run=False, job=JOB
            )

        for act in (write, edit):
            taken: list[float] = []
            for turn in range(turns):
                begun = time.perf_counter()
                act(turn)
                taken.append(time.perf_counter() - begun)
            yield statistics.median(taken)


def test_a_small_write_or_edit_takes_no_longer_than_a_few_system_calls(folder: Path):
    write, edit = medians(folder, fsync=False, turns=200)
    assert write < 0.02
    assert edit < 0.02
