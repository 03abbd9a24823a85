"""Other programs are told of an effect once it has happened; whatever their sinks do, no call notices."""

import json
import os
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_bulkhead import events
from mcp_bulkhead.errors import Missing
from mcp_bulkhead.event_file import MAX_LINE_BYTES, JsonLines
from mcp_bulkhead.events import LOST, Event, Events, check_name, event_of, installed_sinks

WITHIN_S = 20.0


def event(number: int = 0, **more: Any) -> Event:
    told: dict[str, Any] = {"name": "file.written", "tenant": "acme", "actor": "ann", "data": {"n": number}}
    return Event(**(told | more))


class Kept:
    """A sink that keeps everything, after it was let through, and fails as it is told to."""

    def __init__(self, *, errors: Sequence[BaseException] = (), poison: int | None = None, shut: bool = False) -> None:
        self.events: list[Event] = []
        self.errors = list(errors)
        self.poison = poison
        self.called = threading.Semaphore(0)
        self.gate = threading.Event()
        self.closed = 0
        if not shut:
            self.gate.set()

    def write(self, events: Sequence[Event]) -> None:
        self.called.release()
        assert self.gate.wait(WITHIN_S)
        if self.errors:
            raise self.errors.pop(0)
        if any(each.data.get("n") == self.poison is not None for each in events):
            raise ValueError("poison")
        self.events.extend(events)

    def close(self) -> None:
        self.closed += 1

    @property
    def numbers(self) -> list[int]:
        return [each.data["n"] for each in self.events if each.name != LOST]


@pytest.fixture
def opened() -> Iterator[Callable[..., Events]]:
    made: list[Events] = []

    def open_one(sinks: dict[str, Any], **options: Any) -> Events:
        made.append(Events(sinks, **options))
        return made[-1]

    yield open_one
    for each in made:
        each.close(WITHIN_S)


def lines(*paths: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in paths for line in path.read_text("ascii").splitlines()]


def until(holds: Callable[[], bool]) -> None:
    limit = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < limit
        time.sleep(0.002)


# -- what is an event -------------------------------------------------------------------------------------------------

CALL: dict[str, Any] = {"tenant": "acme", "actor": "ann", "targets": ["notes.txt"], "trace_id": "4bf9", "arguments": {}}


def about(*targets: str) -> dict[str, Any]:
    return {**CALL, "targets": targets}


def test_a_call_with_an_effect_has_an_event_that_says_who_what_and_in_which_trace():
    made = event_of("file.written", **CALL, result={"path": "notes.txt", "etag": "e", "diff": "secret"}, shows=["etag"])
    assert made is not None
    assert (made.name, made.tenant, made.actor, made.target, made.trace_id) == (
        "file.written", "acme", "ann", "notes.txt", "4bf9",
    )  # fmt: skip
    assert made.data == {"etag": "e"}
    assert len(made.id) == 32
    assert abs(made.time - time.time()) < 60


def test_two_events_have_two_ids():
    assert len({event().id for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "what",
    [
        {"arguments": {"dry_run": True}},
        {"result": {"applied": False}},
        {"failed": True},
        {"replayed": True},
    ],
)
def test_what_did_not_happen_or_not_again_has_no_event(what: dict[str, Any]):
    assert event_of("file.written", **(CALL | what)) is None


def test_a_tool_without_an_event_name_has_none():
    assert event_of(None, **CALL) is None


def test_of_the_result_nothing_is_passed_on_that_is_not_named_and_what_is_missing_is_left_out():
    made = event_of("file.written", **CALL, result={"a": 1, "b": 2}, shows=["b", "c"])
    assert made is not None
    assert made.data == {"b": 2}
    none = event_of("file.written", **CALL, result={"a": 1})
    assert none is not None
    assert none.data == {}


def test_a_call_about_several_things_names_them_all():
    made = event_of("file.moved", **about("a", "b"))
    assert made is not None
    assert (made.target, made.data) == ("a", {"targets": ["a", "b"]})
    untargeted = event_of("file.moved", **about())
    assert untargeted is not None
    assert (untargeted.target, untargeted.data) == (None, {})


def test_an_event_is_named_by_what_and_what_happened():
    assert check_name("ticket.replied") == "ticket.replied"
    for name in ("", "written", "File.written", "file.", ".written", "file written", "file.written\n", LOST):
        with pytest.raises(TypeError, match="named like"):
            check_name(name)


# -- passing on -------------------------------------------------------------------------------------------------------


def test_every_sink_gets_every_event_in_order_and_is_closed_once(opened: Callable[..., Events]):
    sinks = {"a": Kept(), "b": Kept()}
    bus = opened(sinks)
    for number in range(500):
        bus.emit(event(number))
    bus.close(WITHIN_S)
    bus.close(WITHIN_S)
    assert [sink.numbers for sink in sinks.values()] == [list(range(500))] * 2
    assert [sink.closed for sink in sinks.values()] == [1, 1]
    assert bus.lost == {"a": 0, "b": 0}


def test_without_an_event_no_thread_is_started_and_the_sink_is_closed(opened: Callable[..., Events]):
    sink, before = Kept(), threading.active_count()
    bus = opened({"a": sink})
    assert threading.active_count() == before
    bus.close(WITHIN_S)
    assert sink.closed == 1


def test_a_sink_that_hangs_delays_neither_the_caller_nor_another_sink_and_what_it_misses_is_counted(
    opened: Callable[..., Events],
):
    stuck, fine = Kept(shut=True), Kept()
    bus = opened({"stuck": stuck, "fine": fine}, capacity=100)
    began = time.perf_counter()
    for number in range(100):
        bus.emit(event(number))
    until(lambda: len(fine.events) == 100)
    for number in range(100, 130):
        bus.emit(event(number))
    assert time.perf_counter() - began < WITHIN_S / 2
    until(lambda: len(fine.events) == 130)
    assert bus.lost == {"stuck": 30, "fine": 0}
    bus.close(0.05)
    assert bus.lost["stuck"] == 130
    stuck.gate.set()


def test_a_sink_is_told_how_many_events_it_missed(opened: Callable[..., Events]):
    sink = Kept(shut=True)
    bus = opened({"a": sink}, capacity=10)
    for number in range(25):
        bus.emit(event(number))
    sink.gate.set()
    until(lambda: len(sink.events) >= 10)
    bus.emit(event(99))
    bus.close(WITHIN_S)
    assert sink.numbers == [*range(10), 99]
    assert [each.data for each in sink.events if each.name == LOST] == [{"lost": 15}]
    assert bus.lost == {"a": 15}


def test_a_sink_in_trouble_is_tried_again_until_it_takes_what_waits(
    opened: Callable[..., Events], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(events, "FIRST_PAUSE_S", 0.001)
    sink = Kept(errors=[OSError(28, "full")] * 4)
    bus = opened({"a": sink})
    for number in range(10):
        bus.emit(event(number))
    until(lambda: len(sink.events) == 10)
    bus.close(WITHIN_S)
    assert sink.numbers == list(range(10))
    assert bus.lost == {"a": 0}
    assert len([record for record in caplog.records if "fails" in record.message]) == 1


def test_one_event_a_sink_cannot_take_does_not_take_the_others_with_it(
    opened: Callable[..., Events], caplog: pytest.LogCaptureFixture
):
    sink = Kept(poison=5)
    bus = opened({"a": sink})
    for number in range(10):
        bus.emit(event(number))
    bus.close(WITHIN_S)
    assert set(sink.numbers) == set(range(10)) - {5}
    assert bus.lost == {"a": 1}
    assert any(record.exc_info for record in caplog.records)


def test_a_sink_that_always_fails_loses_everything_and_it_is_said(
    opened: Callable[..., Events], caplog: pytest.LogCaptureFixture
):
    sink = Kept(errors=[RuntimeError("broken")] * 1_000)
    bus = opened({"a": sink})
    for number in range(10):
        bus.emit(event(number))
    bus.close(WITHIN_S)
    assert bus.lost == {"a": 10}
    assert any("has missed 10 events" in record.message for record in caplog.records)


def test_a_sink_that_is_down_at_the_end_keeps_the_process_no_longer_than_was_said(opened: Callable[..., Events]):
    sink = Kept(errors=[OSError(5, "down")] * 1_000)
    bus = opened({"a": sink})
    bus.emit(event())
    assert sink.called.acquire(timeout=WITHIN_S)
    bus.close(WITHIN_S)
    assert bus.lost == {"a": 1}
    assert sink.closed == 1
    bus.emit(event())
    assert bus.lost == {"a": 2}


def test_only_sinks_the_operator_names_are_loaded_and_a_wrong_name_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    installed = tmp_path / "packages" / "some_sinks-1.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: some-sinks\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(
        f"[{events.ENTRY_POINTS}]\nlines = mcp_bulkhead.event_file:lines_beside\nbroken = nowhere_at_all:sink\n"
    )
    monkeypatch.setattr(sys, "path", [str(installed.parent), *sys.path])
    made = installed_sinks(["lines"], server="filesystem", state_dir=tmp_path)
    assert list(made) == ["lines"]
    made["lines"].write([event()])
    assert len(lines(tmp_path / "filesystem-events.jsonl")) == 1
    with pytest.raises(Missing) as wrong:
        installed_sinks(["line"], server="filesystem", state_dir=tmp_path)
    assert {"broken", "lines"} <= set(wrong.value.hint.removesuffix(".").replace(":", ",").split(", "))


# -- the file ---------------------------------------------------------------------------------------------------------


def test_the_file_has_one_object_a_line_with_everything_that_was_told(tmp_path: Path):
    path = tmp_path / "events.jsonl"
    sink = JsonLines(path)
    sink.write([event(1, id="a" * 32, time=1_790_000_000.25, target="x", trace_id="4bf9"), event(2)])
    first, second = lines(path)
    assert first == {
        "id": "a" * 32, "time": "2026-09-21T14:13:20.250Z", "name": "file.written", "tenant": "acme", "actor": "ann",
        "target": "x", "trace_id": "4bf9", "data": {"n": 1},
    }  # fmt: skip
    assert second["data"] == {"n": 2}


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_the_files_are_the_owner_s_alone_and_stay_so_over_rotations(tmp_path: Path):
    path = tmp_path / "state" / "events.jsonl"
    path.parent.mkdir()
    path.touch()
    path.chmod(0o644)
    before = os.umask(0)
    try:
        sink = JsonLines(path, max_bytes=300)
        for number in range(6):
            sink.write([event(number)])
    finally:
        os.umask(before)
    modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert len(modes) > 3
    assert set(modes.values()) == {0o600}


def test_the_file_turns_over_by_size_and_the_oldest_goes(tmp_path: Path):
    path = tmp_path / "events.jsonl"
    sink = JsonLines(path, max_bytes=1_000, keep=3, fsync=False)
    for number in range(100):
        sink.write([event(number)])
    kept = [path, *(path.with_name(f"events.jsonl.{number}") for number in (1, 2, 3))]
    assert sorted(tmp_path.glob("events.jsonl*")) == sorted([*kept, path.with_name("events.jsonl.lock")])
    assert all(each.stat().st_size <= 1_000 for each in kept)
    numbers = [line["data"]["n"] for line in lines(*reversed(kept))]
    assert numbers == list(range(numbers[0], 100))
    assert len(numbers) >= 12


def test_a_line_a_killed_process_left_unfinished_is_ended_and_spoils_no_other(tmp_path: Path):
    path = tmp_path / "events.jsonl"
    sink = JsonLines(path)
    sink.write([event(1)])
    with path.open("ab") as file:
        file.write(b'{"id":"12')
    sink.write([event(2)])
    first, torn, second = path.read_text().splitlines()
    assert [json.loads(line)["data"]["n"] for line in (first, second)] == [1, 2]
    assert torn == '{"id":"12'


@pytest.mark.skipif(os.name != "posix", reason="file size limits are POSIX")
def test_a_disk_that_takes_only_half_a_batch_has_it_taken_back_and_whole_later(tmp_path: Path):
    code = """
        import resource, signal, sys
        from pathlib import Path
        from mcp_bulkhead.event_file import JsonLines
        from mcp_bulkhead.events import Event
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        path = Path(sys.argv[1])
        sink = JsonLines(path)
        batches = [[Event(name="a.b", tenant="t", actor="a", data={"n": n})] * 3 for n in range(3)]
        sink.write(batches[0])
        size = path.stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + size // 2, resource.RLIM_INFINITY))
        try:
            sink.write(batches[1])
        except OSError as error:
            print(error.errno, path.stat().st_size == size)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        sink.write(batches[1])
    """
    path = tmp_path / "events.jsonl"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(path)], check=True, timeout=60, capture_output=True, text=True
    )
    assert done.stdout == "27 True\n"
    assert [line["data"]["n"] for line in lines(path)] == [0, 0, 0, 1, 1, 1]


@pytest.mark.skipif(os.name != "posix", reason="links need no privilege on POSIX")
def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path):
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "events.jsonl").symlink_to(victim)
    with pytest.raises(OSError, match=r"symbolic|not a regular"):
        JsonLines(tmp_path / "events.jsonl").write([event()])
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize("data", [{"x": "y" * MAX_LINE_BYTES}, {"x": object()}, {"x": float("nan")}])
def test_data_that_is_too_large_or_is_not_json_is_left_out_and_said_to_be(tmp_path: Path, data: dict[str, Any]):
    path = tmp_path / "events.jsonl"
    JsonLines(path).write([event(data=data), event(7)])
    first, second = lines(path)
    assert list(first["data"]) == ["left_out"]
    assert first["actor"] == "ann"
    assert second["data"] == {"n": 7}


@given(st.text(), st.text(), st.dictionaries(st.text(), st.text() | st.integers() | st.none(), max_size=4))
def test_any_text_stays_in_its_line_and_comes_back(
    tmp_path_factory: pytest.TempPathFactory, actor: str, target: str, data: dict[str, Any]
):
    path = tmp_path_factory.mktemp("any") / "events.jsonl"
    JsonLines(path, fsync=False).write([event(actor=actor, target=target, data=data)])
    assert path.read_bytes().count(b"\n") == 1
    (line,) = lines(path)
    assert (line["actor"], line["target"], line["data"]) == (actor, target, data)


def test_two_processes_share_one_file_and_its_turning_over_without_losing_a_line(tmp_path: Path):
    path = tmp_path / "events.jsonl"
    code = """
        import sys
        from pathlib import Path
        from mcp_bulkhead.event_file import JsonLines
        from mcp_bulkhead.events import Event
        sink = JsonLines(Path(sys.argv[1]), max_bytes=5_000, keep=100, fsync=False)
        sys.stdin.readline()
        for n in range(200):
            sink.write([Event(name="a.b", tenant="t", actor=sys.argv[2], data={"n": n})])
    """
    writers = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(path), name], stdin=subprocess.PIPE)
        for name in ("red", "blue")
    ]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(b"go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    found = lines(*(each for each in tmp_path.glob("events.jsonl*") if each.suffix != ".lock"))
    assert sorted((line["actor"], line["data"]["n"]) for line in found) == sorted(
        (name, number) for name in ("red", "blue") for number in range(200)
    )


def test_what_the_file_was_told_before_a_kill_is_there_and_whole(tmp_path: Path):
    code = """
        import os, sys
        from pathlib import Path
        from mcp_bulkhead.event_file import JsonLines
        from mcp_bulkhead.events import Event
        sink = JsonLines(Path(sys.argv[1]))
        n = 0
        while True:
            sink.write([Event(name="a.b", tenant="t", actor="a", data={"n": n})])
            os.write(1, f"{n}\\n".encode())
            n += 1
    """
    path = tmp_path / "events.jsonl"
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code), str(path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    for _ in range(20):
        child.stdout.readline()
    child.kill()
    told = 20 + child.stdout.read().count(b"\n")
    child.wait(30)
    child.stdout.close()
    JsonLines(path).write([event(-1)])
    numbers = [line["data"]["n"] for line in lines(path) if line["data"]["n"] >= 0]
    assert numbers[:told] == list(range(told))
