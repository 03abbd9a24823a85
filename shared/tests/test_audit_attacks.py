"""Somebody with hands on the files, or on what is written into them. What cannot be caught is said here too."""

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from mcp_bulkhead.audit import AuditLog, query, verify
from mcp_bulkhead.errors import Invalid, Missing, Unavailable

posix_only = pytest.mark.skipif(sys.platform == "win32", reason="links, FIFOs and modes are POSIX")


def write(directory: Path, *records: dict[str, Any], **options: Any) -> None:
    log = AuditLog(directory, server="git", **options)
    log.start()
    for record in records:
        log.append_durable_sync(record)
    log.close(10)


def chain(directory: Path) -> Path:
    return directory / "git" / "chain-0"


def segment(directory: Path) -> Path:
    return min(chain(directory).glob("seg-*"))


def kinds(directory: Path, **options: Any) -> set[str]:
    return {problem.kind for problem in verify(directory, **options).problems}


def test_an_older_copy_of_everything_is_a_valid_log_unless_a_head_was_kept_elsewhere(tmp_path: Path) -> None:
    log, older, anchors = tmp_path / "log", tmp_path / "older", tmp_path / "anchors.jsonl"
    write(log, {"n": 1})
    shutil.copytree(log, older)
    write(log, {"n": 2})
    anchors.write_text("\n".join(verify(log).heads) + "\n")
    assert verify(log, anchors=anchors).ok
    shutil.rmtree(log)
    shutil.copytree(older, log)
    assert verify(log).ok, "nothing on the same disk can show this"
    assert kinds(log, anchors=anchors) == {"truncated"}
    write(log, {"n": "another second"}, {"n": "another third"}, {"n": "and more"})
    assert verify(log).ok
    assert kinds(log, anchors=anchors) == {"rewritten"}
    shutil.rmtree(log / "git" / "chain-0")
    assert "missing_chain" in kinds(log, anchors=anchors)
    shutil.rmtree(log / "git")
    assert "empty" in kinds(log)


def test_an_older_copy_of_one_chain_is_noticed_by_its_sibling(tmp_path: Path) -> None:
    first, second = (AuditLog(tmp_path, server="git") for _ in range(2))
    first.start()
    first.append_durable_sync({"n": 1})
    second.start()
    second.append_durable_sync({"n": 1})
    shutil.copytree(chain(tmp_path), tmp_path / "older")
    first.append_durable_sync({"n": 2})
    first.close(10)
    second.close(10)
    assert verify(tmp_path).ok
    shutil.rmtree(chain(tmp_path))
    shutil.copytree(tmp_path / "older", chain(tmp_path))
    report = verify(tmp_path)
    assert {(problem.kind, problem.file) for problem in report.problems} == {("truncated", "git/chain-0")}


def test_a_history_written_anew_with_an_own_key_passes_only_where_no_public_key_was_kept(tmp_path: Path) -> None:
    log, kept = tmp_path / "log", tmp_path / "kept.pub"
    write(log, {"n": "true"})
    shutil.copy(log / "git" / "audit.pub", kept)
    shutil.rmtree(log)
    write(log, {"n": "false"})
    assert verify(log).ok, "whoever replaces keys and log alike cannot be told from the owner"
    assert kinds(log, public_key=kept) == {"unknown_key"}


def test_a_swapped_or_half_removed_pair_of_keys_stops_effects_instead_of_signing_with_another(tmp_path: Path) -> None:
    write(tmp_path / "a", {"n": 1})
    write(tmp_path / "b", {"n": 1})
    private = tmp_path / "a" / "git" / "audit.key"
    own = private.read_bytes()
    shutil.copy(tmp_path / "b" / "git" / "audit.key", private)
    for content in (private.read_bytes(), b"", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", None):
        private.unlink()
        if content is not None:
            private.write_bytes(content)
        with pytest.raises(Unavailable):
            write(tmp_path / "a", {"n": 2})
        assert verify(tmp_path / "a").ok
    private.write_bytes(own)
    shutil.copy(tmp_path / "b" / "git" / "audit.pub", tmp_path / "a" / "git" / "audit.pub")
    with pytest.raises(Unavailable):
        write(tmp_path / "a", {"n": 2})
    assert "unknown_key" in kinds(tmp_path / "a")


def test_a_retired_pair_of_keys_goes_on_counting_when_its_public_half_stays(tmp_path: Path) -> None:
    write(tmp_path, {"n": 1})
    server = tmp_path / "git"
    (server / "audit.pub").rename(server / "audit-2026.pub")
    (server / "audit.key").unlink()
    write(tmp_path, {"n": 2})
    report = verify(tmp_path)
    assert report.ok, report.problems
    assert "unknown_key" in kinds(tmp_path, public_key=server / "audit.pub")


@posix_only
def test_links_in_the_place_of_folders_and_files_are_refused_and_reported(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "git").symlink_to(elsewhere)
    with pytest.raises(Unavailable):
        write(tmp_path / "log", {"n": 1})
    assert list(elsewhere.iterdir()) == []
    write(tmp_path / "real", {"n": 1})
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    write(tmp_path / "linked", {"n": 2})
    assert verify(tmp_path / "linked").ok, "the folder that the operator names may be a link"
    path = segment(tmp_path / "real")
    path.rename(tmp_path / "moved.jsonl")
    path.symlink_to(tmp_path / "moved.jsonl")
    assert "misplaced" in kinds(tmp_path / "real")
    with pytest.raises(Unavailable):
        write(tmp_path / "real", {"n": 3})
    assert any("unreadable" in record for record in query(tmp_path / "real"))


@posix_only
def test_a_linked_chain_is_reported_and_not_followed(tmp_path: Path) -> None:
    write(tmp_path, {"n": 1})
    chain(tmp_path).rename(tmp_path / "away")
    chain(tmp_path).symlink_to(tmp_path / "away")
    assert kinds(tmp_path) == {"misplaced", "missing_chain"}
    log = AuditLog(tmp_path, server="git")
    log.start()
    with pytest.raises(Unavailable):
        log.append_durable_sync({"n": 2})
    log.close(10)


@posix_only
@pytest.mark.parametrize("name", ["seg-000000000001.jsonl", "head.json", "expired.json"])
def test_a_pipe_in_the_place_of_a_file_hangs_nobody(tmp_path: Path, name: str) -> None:
    write(tmp_path, {"n": 1})
    (chain(tmp_path) / name).unlink(missing_ok=True)
    os.mkfifo(chain(tmp_path) / name)
    assert not verify(tmp_path).ok
    list(query(tmp_path))
    log = AuditLog(tmp_path, server="git")
    log.start()
    with suppress(Unavailable):
        log.append_durable_sync({"n": 2}, timeout=10)
    log.close(10)
    assert not verify(tmp_path).ok


@posix_only
def test_modes_that_a_mount_widened_are_narrowed_again(tmp_path: Path) -> None:
    write(tmp_path, {"n": 1})
    private = tmp_path / "git" / "audit.key"
    private.chmod(0o664)
    chain(tmp_path).chmod(0o777)
    write(tmp_path, {"n": 2})
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(chain(tmp_path).stat().st_mode) == 0o700


def test_exchanged_chains_heads_and_tombstones_are_named(tmp_path: Path) -> None:
    first, second = (AuditLog(tmp_path, server="git") for _ in range(2))
    for log in (first, second):
        log.start()
        log.append_durable_sync({"n": 1})
    first.close(10)
    second.close(10)
    server = tmp_path / "git"
    (server / "chain-0").rename(server / "swap")
    (server / "chain-1").rename(server / "chain-0")
    (server / "swap").rename(server / "chain-1")
    assert "misplaced" in kinds(tmp_path)
    shutil.copy(server / "chain-0" / "head.json", server / "chain-1" / "head.json")
    heads = {(problem.kind, problem.file) for problem in verify(tmp_path).problems}
    assert {("misplaced", "git/chain-0/head.json"), ("misplaced", "git/chain-1/head.json")} & heads


@pytest.mark.parametrize("name", ["chain-0/head.json", "chains.json"])
def test_a_signed_file_that_is_simply_gone_is_named(tmp_path: Path, name: str) -> None:
    write(tmp_path, {"n": 1})
    (tmp_path / "git" / name).unlink()
    assert [(problem.kind, problem.file) for problem in verify(tmp_path).problems] == [("missing_head", f"git/{name}")]


def test_a_renamed_segment_is_named(tmp_path: Path) -> None:
    write(tmp_path, *({"n": number} for number in range(10)), segment_bytes=700)
    last = max(chain(tmp_path).glob("seg-*"))
    last.rename(last.with_name(f"seg-{int(last.stem[4:]) + 1:012d}.jsonl"))
    assert "misplaced" in kinds(tmp_path)


def test_a_line_with_a_doubled_key_or_another_spelling_is_not_taken_for_ours(tmp_path: Path) -> None:
    """Added after the last signature, rightly chained: only its spelling gives it away."""
    write(tmp_path, {"n": 1})
    lines = segment(tmp_path).read_bytes().splitlines()
    seq, prev = len(lines) + 1, hashlib.sha256(lines[-1]).hexdigest()
    start = f'{{"seq":{seq},"prev":"{prev}","time":"2026-01-01T00:00:00.000000Z",'
    for rest in ('"a":1,"a":2}', '"b":1,"a":2}', '"a": 1}', '"a":NaN}', '"a":"\\u0041"}', '"seq":1}', '"a":1e999}'):
        segment(tmp_path).write_bytes(b"\n".join([*lines, (start + rest).encode()]) + b"\n")
        assert kinds(tmp_path) == {"edited"}, rest
    segment(tmp_path).write_bytes(b"\n".join([*lines, (start + '"a":2}').encode()]) + b"\n")
    report = verify(tmp_path)
    assert (report.ok, report.unsealed) == (True, 1), "a well spelt addition can only be counted as not signed"


@pytest.mark.parametrize("value", [None, 1, "text", ["x"], {"a": 1}, [[1]], -1, True], ids=repr)
def test_lines_added_after_the_last_signature_cannot_make_the_reader_fall_over(tmp_path: Path, value: Any) -> None:
    write(tmp_path, {"n": 1})
    lines = segment(tmp_path).read_bytes().splitlines()
    names = ("chain", "head", "index", "intent", "key", "lost", "missing", "phase", "siblings", "torn", "unsealed")
    for log in ("recovered", "lost", "start", "checkpoint", "tombstone", value):
        fields = dict.fromkeys((*names, "targets", "name"), value) | {"log": log}
        for sig in ("", ',"sig":"' + "0" * 128 + '"'):
            seq, prev = len(lines) + 1, hashlib.sha256(lines[-1]).hexdigest()
            rest = json.dumps(dict(sorted(fields.items())), separators=(",", ":"))[1:-1]
            raw = f'{{"seq":{seq},"prev":"{prev}","time":"2026-99-99T99:99:99.999999Z",{rest}{sig}}}'
            segment(tmp_path).write_bytes(b"\n".join([*lines, raw.encode()]) + b"\n")
            assert verify(tmp_path).unsealed == 1
            list(query(tmp_path, target="x", tool="x"))
    write(tmp_path, {"n": 2}, {"phase": "intent", "intent": "last"})
    assert [intent.intent for intent in verify(tmp_path).open_intents] == ["last"]


@pytest.mark.parametrize(
    "record",
    [
        {"name": "\ud800\udfff\udc00", "\udcff": "\u202e\x00\u200b\x1b[2J"},
        {"n": float("nan"), "m": [float("inf"), -float("inf")], "z": -0.0},
        {"n": 10**5000},
        {"when": {1, 2}, "raw": b"\xff", "what": object(), "path": Path("a/b")},
        {1: "a", None: "b", (1, 2): "c", "targets": ("x", "y")},
        {"deep": json.loads("[" * 900 + "]" * 900)},
        {"name": "x" * 3_000_000},
        {"targets": ["p" * 4_096] * 20, "noise": ["y" * 100] * 100_000},
        {"k" * 100_000: 1, **{f"key{number}": "v" * 50 for number in range(100_000)}},
        {"name": 'a","seq":9,"prev":"b"}\n{"seq":1'},
        {},
    ],
    ids=[
        "surrogates", "not-finite", "long-int", "foreign-types", "odd-keys", "deep", "huge-text", "huge-list",
        "many-keys", "injection", "empty",
    ],
)  # fmt: skip
def test_no_record_breaks_the_log_floods_it_or_forges_a_line(tmp_path: Path, record: dict[Any, Any]) -> None:
    write(tmp_path, record, {"n": "after"})
    report = verify(tmp_path)
    assert report.ok, report.problems
    found = list(query(tmp_path))
    assert len(found) == 2
    assert found[-1]["n"] == "after"
    assert segment(tmp_path).stat().st_size < 1_500_000
    assert segment(tmp_path).read_bytes().isascii()


def test_long_targets_survive_the_noise_around_them(tmp_path: Path) -> None:
    write(tmp_path, {"targets": ["é" * 3_000] * 20, "noise": {str(number): "y" * 3_000 for number in range(400)}})
    (found,) = query(tmp_path)
    assert found["targets"] == ["é" * 3_000] * 20
    assert found["noise"]["cut_bytes"] > 1_000_000


def test_a_value_that_contains_itself_is_cut_and_not_followed(tmp_path: Path) -> None:
    loop: list[Any] = []
    loop += [loop, loop]
    write(tmp_path, {"loop": loop})
    assert verify(tmp_path).ok
    log = AuditLog(tmp_path, server="git")
    assert log.digest(loop) == log.digest(loop)


def test_a_record_is_what_it_was_when_it_was_appended(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, server="git")
    targets = ["before"]
    log.append({"targets": targets})
    targets[0] = "after"
    log.start()
    log.close(10)
    assert [record["targets"] for record in query(tmp_path)] == [["before"]]


def test_an_endless_line_is_one_unreadable_line(tmp_path: Path) -> None:
    write(tmp_path, {"n": 1})
    lines = segment(tmp_path).read_bytes().splitlines(keepends=True)
    segment(tmp_path).write_bytes(b"".join([lines[0], b"x" * 9_000_000 + b"\n", *lines[1:]]))
    assert "edited" in kinds(tmp_path)
    write(tmp_path, {"n": 2})
    assert "edited" in kinds(tmp_path)


def test_nothing_verifies_where_there_is_nothing(tmp_path: Path) -> None:
    assert kinds(tmp_path) == {"empty"}
    assert kinds(tmp_path / "nowhere") == {"empty"}


def test_a_key_or_anchors_that_cannot_be_read_are_an_error_and_not_a_pass(tmp_path: Path) -> None:
    write(tmp_path / "log", {"n": 1})
    with pytest.raises(Missing):
        verify(tmp_path / "log", public_key=tmp_path / "nowhere.pub")
    (tmp_path / "empty.pub").write_text("nothing")
    with pytest.raises(Invalid):
        verify(tmp_path / "log", public_key=tmp_path / "empty.pub")
    with pytest.raises(Missing):
        verify(tmp_path / "log", anchors=tmp_path / "nowhere.jsonl")
    (tmp_path / "anchors.jsonl").write_text('{"log":"head"}\n')
    assert kinds(tmp_path / "log", anchors=tmp_path / "anchors.jsonl") == {"forged"}


def test_the_private_key_is_not_needed_to_verify(tmp_path: Path) -> None:
    write(tmp_path / "log", {"n": 1})
    public = shutil.copy(tmp_path / "log" / "git" / "audit.pub", tmp_path)
    for secret in ("audit.key", "audit.pub", "digest.key"):
        (tmp_path / "log" / "git" / secret).unlink(missing_ok=True)
    assert verify(tmp_path / "log", public_key=Path(public)).ok
    assert "unknown_key" in kinds(tmp_path / "log")


def test_two_processes_that_make_the_first_keys_at_once_agree_on_them(tmp_path: Path) -> None:
    code = """
        import sys
        from pathlib import Path
        from mcp_bulkhead.audit.keys import Keys
        sys.stdin.readline()
        keys = Keys(Path(sys.argv[1]))
        keys.load()
        print(keys.key_id, keys.digest("x"))
    """
    children = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "git")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    told = {child.communicate(timeout=60)[0] for child in children}
    assert len(told) == 1
    assert all(told)
