"""An untouched log always verifies; a tampered one never does, and the report says where."""

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcp_bulkhead.audit import AuditLog, Report, verify

SETTINGS = settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
TEXT = st.text(max_size=12)
FIELDS = st.fixed_dictionaries(
    {"targets": st.lists(TEXT, max_size=3), "caller": TEXT},
    optional={"n": st.integers(), "share": st.floats(), "nested": st.dictionaries(TEXT, TEXT, max_size=2)},
)
SHAPE = st.fixed_dictionaries(
    {
        "runs": st.lists(st.lists(FIELDS, min_size=1, max_size=12), min_size=1, max_size=3),
        "segment_bytes": st.sampled_from([500, 1_500, 1 << 24]),
        "checkpoint_every": st.sampled_from([1, 4, 1_000]),
        "second_chain": st.booleans(),
        "expired": st.booleans(),
    }
)


def make_log(directory: Path, shape: dict[str, Any]) -> None:
    """A real log of some runs, of one or two chains, with or without an expired beginning."""
    now = [1_000_000.0]
    options: dict[str, Any] = {
        "server": "git",
        "segment_bytes": shape["segment_bytes"],
        "checkpoint_every": shape["checkpoint_every"],
        "clock": lambda: now[0],
    }
    if shape["expired"]:
        old = AuditLog(directory, **options)
        old.start()
        old.append_durable_sync({"old": True})
        old.close(10)
        now[0] += 40 * 86_400
    for records in shape["runs"]:
        logs = [AuditLog(directory, **options) for _ in range(2 if shape["second_chain"] else 1)]
        for log in logs:
            log.start()
            for number, record in enumerate(records):
                now[0] += 1
                log.append(record)
                if number % 3 == 0:
                    log.append_durable_sync({"group": "ends"})
        assert logs[0].sweep()
        for log in logs:
            log.close(10)


@contextmanager
def made(shape: dict[str, Any]) -> Generator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="audit-"))
    try:
        make_log(directory, shape)
        yield directory
    finally:
        shutil.rmtree(directory)


class Chain:
    """The lines of chain-0 as somebody with an editor, and without the key, sees them."""

    def __init__(self, directory: Path) -> None:
        self.folder = directory / "git" / "chain-0"
        self.files = sorted(self.folder.glob("seg-*.jsonl"))
        self.lines = [(file, line) for file in self.files for line in file.read_bytes().split(b"\n")[:-1]]

    def seq(self, at: int) -> int:
        return int(json.loads(self.lines[at][1])["seq"])

    def save(self) -> None:
        for file in self.files:
            file.write_bytes(b"".join(line + b"\n" for home, line in self.lines if home == file))


def named_near(report: Report, *seqs: int) -> bool:
    """Some problem names one of these records or the one beside it."""
    return any(problem.seq is not None and abs(problem.seq - seq) <= 1 for problem in report.problems for seq in seqs)


def kinds(report: Report) -> set[str]:
    return {problem.kind for problem in report.problems}


@SETTINGS
@given(SHAPE)
def test_an_untouched_log_verifies_with_its_own_and_with_a_kept_key(shape: dict[str, Any]) -> None:
    with made(shape) as directory:
        report = verify(directory)
        assert report.ok, report.problems
        assert report.unsealed == 0
        assert report.tombstones == (1 if shape["expired"] else 0)
        assert verify(directory / "git", public_key=directory / "git" / "audit.pub").ok


@SETTINGS
@given(SHAPE, st.data())
def test_any_changed_byte_is_named(shape: dict[str, Any], data: st.DataObject) -> None:
    with made(shape) as directory:
        chain = Chain(directory)
        at = data.draw(st.integers(0, len(chain.lines) - 1))
        file, line = chain.lines[at]
        place = data.draw(st.integers(0, len(line) - 1))
        byte = data.draw(st.integers(0, 255).filter(lambda value: value not in (line[place], 10)))
        seq = chain.seq(at)
        chain.lines[at] = (file, line[:place] + bytes([byte]) + line[place + 1 :])
        chain.save()
        report = verify(directory)
        assert named_near(report, seq), (line[place : place + 1], byte, report.problems)


@SETTINGS
@given(SHAPE, st.data())
def test_a_dropped_record_is_named(shape: dict[str, Any], data: st.DataObject) -> None:
    with made(shape) as directory:
        chain = Chain(directory)
        at = data.draw(st.integers(0, len(chain.lines) - 1))
        seq = chain.seq(at)
        del chain.lines[at]
        chain.save()
        report = verify(directory)
        assert named_near(report, seq), report.problems
        assert kinds(report) & {"dropped", "truncated", "missing_segment"}


@SETTINGS
@given(SHAPE, st.data())
def test_swapped_records_are_named(shape: dict[str, Any], data: st.DataObject) -> None:
    with made(shape) as directory:
        chain = Chain(directory)
        one = data.draw(st.integers(0, len(chain.lines) - 2))
        other = data.draw(st.integers(one + 1, len(chain.lines) - 1))
        seqs = chain.seq(one), chain.seq(other)
        (file, line), (other_file, other_line) = chain.lines[one], chain.lines[other]
        chain.lines[one], chain.lines[other] = (file, other_line), (other_file, line)
        chain.save()
        report = verify(directory)
        assert named_near(report, *seqs), report.problems
        assert "reordered" in kinds(report), report.problems


@SETTINGS
@given(SHAPE, st.data())
def test_a_repeated_record_is_named(shape: dict[str, Any], data: st.DataObject) -> None:
    with made(shape) as directory:
        chain = Chain(directory)
        at = data.draw(st.integers(0, len(chain.lines) - 1))
        after = data.draw(st.integers(at, len(chain.lines) - 1))
        seq = chain.seq(at)
        chain.lines.insert(after + 1, (chain.lines[after][0], chain.lines[at][1]))
        chain.save()
        report = verify(directory)
        assert ("duplicated", seq) in {(problem.kind, problem.seq) for problem in report.problems}, report.problems


@SETTINGS
@given(SHAPE, st.data())
def test_a_record_replaced_by_a_copy_of_another_is_named(shape: dict[str, Any], data: st.DataObject) -> None:
    with made(shape) as directory:
        chain = Chain(directory)
        at = data.draw(st.integers(0, len(chain.lines) - 1))
        other = data.draw(st.integers(0, len(chain.lines) - 1).filter(lambda index: index != at))
        seq = chain.seq(at)
        chain.lines[at] = (chain.lines[at][0], chain.lines[other][1])
        chain.save()
        assert named_near(verify(directory), seq)


@SETTINGS
@given(SHAPE, st.data())
def test_a_tail_cut_at_any_byte_is_named(shape: dict[str, Any], data: st.DataObject) -> None:
    with made(shape) as directory:
        chain = Chain(directory)
        last = chain.files[-1]
        last.write_bytes(last.read_bytes()[: data.draw(st.integers(0, last.stat().st_size - 1))])
        assert "truncated" in kinds(verify(directory))


@SETTINGS
@given(SHAPE, st.data())
def test_a_tail_cut_by_whole_records_and_segments_is_named(shape: dict[str, Any], data: st.DataObject) -> None:
    with made(shape) as directory:
        chain = Chain(directory)
        keep = data.draw(st.integers(0, len(chain.lines) - 1))
        first_gone = chain.seq(keep)
        chain.lines = chain.lines[:keep]
        chain.save()
        for file in chain.files:
            if not file.stat().st_size and data.draw(st.booleans()):
                file.unlink()
        report = verify(directory)
        assert ("truncated", first_gone) in {(problem.kind, problem.seq) for problem in report.problems}, (
            report.problems
        )


@SETTINGS
@given(SHAPE, st.data())
def test_a_checkpoint_with_another_signature_is_named(shape: dict[str, Any], data: st.DataObject) -> None:
    with made(shape) as directory:
        chain = Chain(directory)
        signed = [index for index, (_, line) in enumerate(chain.lines) if b'"log":"checkpoint"' in line]
        at = data.draw(st.sampled_from(signed))
        file, line = chain.lines[at]
        signature = data.draw(st.binary(min_size=64, max_size=64)).hex().encode()
        seq = chain.seq(at)
        chain.lines[at] = (file, re.sub(rb'"sig":"[0-9a-f]+"', b'"sig":"' + signature + b'"', line))
        chain.save()
        report = verify(directory)
        assert ("forged", seq) in {(problem.kind, problem.seq) for problem in report.problems}, report.problems


@SETTINGS
@given(SHAPE, st.data())
def test_a_history_rewritten_from_some_point_without_the_key_is_named(
    shape: dict[str, Any], data: st.DataObject
) -> None:
    """The best that can be done without the key: every number and hash right again, checkpoints kept or left out."""
    with made(shape) as directory:
        chain = Chain(directory)
        start = data.draw(st.integers(0, len(chain.lines) - 1))
        drop, without_checkpoints, longer = (data.draw(st.booleans()) for _ in range(3))
        first = json.loads(chain.lines[start][1])
        seq, prev = first["seq"], first["prev"]
        todo = chain.lines[start + 1 :] if drop else chain.lines[start:]
        kept: list[tuple[Path, bytes]] = []
        for index, (file, line) in enumerate(todo):
            record = json.loads(line)
            if record.get("log") == "checkpoint" and without_checkpoints:
                continue
            rest = {key: value for key, value in record.items() if key not in ("seq", "prev", "time", "sig")}
            if not drop and index == 0:
                rest["caller"] = "somebody else"
            signed = {"sig": record["sig"]} if "sig" in record else {}
            rebuilt = {"seq": seq, "prev": prev, "time": record["time"], **dict(sorted(rest.items())), **signed}
            raw = json.dumps(rebuilt, separators=(",", ":")).encode()
            kept.append((file, raw))
            seq, prev = seq + 1, hashlib.sha256(raw).hexdigest()
        for _ in range(3 if longer else 0):
            raw = b'{"seq":%d,"prev":"%s","time":"2026-01-01T00:00:00.000000Z","x":1}' % (seq, prev.encode())
            kept.append((chain.files[-1], raw))
            seq, prev = seq + 1, hashlib.sha256(raw).hexdigest()
        chain.lines[start:] = kept
        chain.save()
        report = verify(directory)
        assert kinds(report) & {"forged", "rewritten", "truncated"}, report.problems


@SETTINGS
@given(SHAPE, st.data())
def test_a_deleted_segment_is_named(shape: dict[str, Any], data: st.DataObject) -> None:
    with made(shape) as directory:
        chain = Chain(directory)
        file = data.draw(st.sampled_from(chain.files))
        first = int(file.stem.removeprefix("seg-"))
        file.unlink()
        report = verify(directory)
        assert named_near(report, first), report.problems
        assert kinds(report) & {"missing_segment", "truncated"}


@SETTINGS
@given(SHAPE, st.data())
def test_a_deleted_chain_is_named(shape: dict[str, Any], data: st.DataObject) -> None:
    with made(shape) as directory:
        chains = sorted((directory / "git").glob("chain-*"))
        gone = data.draw(st.sampled_from(chains))
        shutil.rmtree(gone)
        report = verify(directory)
        assert ("missing_chain", f"git/{gone.name}") in {(problem.kind, problem.file) for problem in report.problems}


@SETTINGS
@given(SHAPE, st.data())
def test_a_small_signed_file_that_is_changed_removed_or_exchanged_is_named(
    shape: dict[str, Any], data: st.DataObject
) -> None:
    with made(shape) as directory:
        server = directory / "git"
        names = ["chain-0/head.json", "chains.json", *(["chain-0/expired.json"] if shape["expired"] else [])]
        name = data.draw(st.sampled_from(names))
        path = server / name
        content = path.read_bytes().rstrip()
        how = data.draw(st.sampled_from(["change", "remove", "exchange"]))
        if how == "remove":
            path.unlink()
        elif how == "exchange":
            path.write_bytes((server / data.draw(st.sampled_from([one for one in names if one != name]))).read_bytes())
        else:
            place = data.draw(st.integers(0, len(content) - 1))
            byte = data.draw(st.integers(33, 126).filter(lambda value: value != content[place]))
            path.write_bytes(content[:place] + bytes([byte]) + content[place + 1 :])
        report = verify(directory)
        assert any(problem.file.startswith("git/") for problem in report.problems), (name, how)


LAUNDERINGS: dict[str, Callable[[Chain], None]] = {}


def laundering(change: Callable[[Chain], None]) -> Callable[[Chain], None]:
    LAUNDERINGS[change.__name__.replace("_", " ")] = change
    return change


@laundering
def the_tail_is_cut(chain: Chain) -> None:
    chain.lines = chain.lines[:-4]
    chain.save()


@laundering
def the_tail_is_cut_and_the_head_removed(chain: Chain) -> None:
    the_tail_is_cut(chain)
    (chain.folder / "head.json").unlink()


@laundering
def the_last_record_is_rewritten(chain: Chain) -> None:
    file, line = chain.lines[-2]
    chain.lines[-2:] = [(file, line[:-1] + b',"x":1}')]
    chain.save()


@laundering
def the_end_is_rewritten_and_made_longer(chain: Chain) -> None:
    file, line = chain.lines[-3]
    start = json.loads(line)
    seq, prev = start["seq"], start["prev"]
    chain.lines = chain.lines[:-3]
    for _ in range(6):
        raw = b'{"seq":%d,"prev":"%s","time":"2026-01-01T00:00:00.000000Z"}' % (seq, prev.encode())
        chain.lines.append((file, raw))
        seq, prev = seq + 1, hashlib.sha256(raw).hexdigest()
    chain.save()


@laundering
def everything_in_the_chain_is_removed(chain: Chain) -> None:
    shutil.rmtree(chain.folder)


@laundering
def the_segments_are_removed(chain: Chain) -> None:
    for file in chain.files:
        file.unlink()


@laundering
def the_head_is_forged(chain: Chain) -> None:
    the_tail_is_cut(chain)
    seq = chain.seq(-1)
    digest = hashlib.sha256(chain.lines[-1][1]).hexdigest()
    head = (chain.folder / "head.json").read_bytes()
    head = re.sub(rb'"seq":\d+', b'"seq":%d' % seq, re.sub(rb'"hash":"\w+"', b'"hash":"%s"' % digest.encode(), head))
    (chain.folder / "head.json").write_bytes(head)


@laundering
def the_list_of_chains_is_removed(chain: Chain) -> None:
    (chain.folder.parent / "chains.json").unlink()


@laundering
def the_head_is_removed(chain: Chain) -> None:
    (chain.folder / "head.json").unlink()


@laundering
def the_list_of_chains_and_the_chain_are_removed(chain: Chain) -> None:
    shutil.rmtree(chain.folder)
    (chain.folder.parent / "chains.json").unlink()


NEEDS_A_SIBLING = {"the list of chains and the chain are removed"}
"""Where a lone chain goes with everything that names it, only an anchor kept elsewhere can tell."""


@pytest.mark.parametrize(
    ("how", "second_chain"),
    [(how, second) for how in sorted(LAUNDERINGS) for second in (True, False) if second or how not in NEEDS_A_SIBLING],
)
def test_what_was_tampered_with_before_a_restart_is_not_made_good_by_the_restart(
    tmp_path: Path, how: str, second_chain: bool
) -> None:
    shape = {
        "runs": [[{"n": number} for number in range(12)]],
        "segment_bytes": 1_500,
        "checkpoint_every": 5,
        "second_chain": second_chain,
        "expired": False,
    }
    make_log(tmp_path, shape)
    LAUNDERINGS[how](Chain(tmp_path))
    assert not verify(tmp_path).ok
    for _ in range(2):
        log = AuditLog(tmp_path, server="git")
        log.start()
        log.append_durable_sync({"after": "restart"})
        log.close(10)
        report = verify(tmp_path)
        assert not report.ok, how
        assert any(problem.file.startswith("git/chain-0") for problem in report.problems), report.problems
    if not second_chain and how == "the list of chains is removed":
        assert kinds(verify(tmp_path)) == {"damaged_at_start"}


@pytest.mark.long
@settings(SETTINGS, max_examples=600)
@given(SHAPE, st.data())
def test_any_mixture_of_edits_is_noticed(shape: dict[str, Any], data: st.DataObject) -> None:
    with made(shape) as directory:
        chain = Chain(directory)
        before = list(chain.lines)
        for _ in range(data.draw(st.integers(1, 5))):
            at = data.draw(st.integers(0, len(chain.lines) - 1))
            match data.draw(st.sampled_from(["drop", "move", "copy", "edit"])):
                case "drop" if len(chain.lines) > 1:
                    del chain.lines[at]
                case "move":
                    file, line = chain.lines.pop(at)
                    chain.lines.insert(data.draw(st.integers(0, len(chain.lines))), (file, line))
                case "copy":
                    chain.lines.insert(data.draw(st.integers(0, len(chain.lines))), chain.lines[at])
                case _:
                    file, line = chain.lines[at]
                    place = data.draw(st.integers(0, len(line)))
                    chain.lines[at] = (file, line[:place] + b"7" + line[place:])
        chain.save()
        same = [line for _, line in chain.lines] == [line for _, line in before]
        on_disk = [line for file in chain.files for line in file.read_bytes().split(b"\n")[:-1]]
        if not same and on_disk != [line for _, line in before]:
            assert not verify(directory).ok
